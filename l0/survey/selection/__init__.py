"""Exact-size samples with known inclusion probabilities: one design a file, and the hybrid."""

from l0.survey.selection.allocation import allocate
from l0.survey.selection.designs import select
from l0.survey.selection.hybrid import select_hybrid, select_random
from l0.survey.selection.probabilities import inclusion_probabilities
from l0.survey.selection.sample import Balance, Sample

__all__ = [
    "Balance",
    "Sample",
    "allocate",
    "inclusion_probabilities",
    "select",
    "select_hybrid",
    "select_random",
]
