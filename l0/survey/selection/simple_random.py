"""Simple random sampling: every set of its size has the same chance."""

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector
from l0.survey.selection.sample import Matrix


def draw(probability: Vector, rng: np.random.Generator) -> NDArray[np.intp]:
    """A sample of the size that the probabilities, all equal, add up to.

    Raises:
        InputError: probabilities that differ.
    """
    if not np.allclose(probability, probability[0], rtol=1e-9, atol=0):
        raise InputError(
            f"probabilities of simple_random go from {probability.min():g} to "
            f"{probability.max():g} in one stratum, but must be equal there, certain records "
            "aside. Use sampford for unequal ones."
        )
    return rng.permutation(len(probability))[: round(probability.sum())]


def joint_probability(probability: Vector, drawn: NDArray[np.intp]) -> Matrix:
    """P = n (n - 1) / (N (N - 1)) for two records (Cochran, 1977, section 2.1)."""
    records, size = len(probability), round(probability.sum())
    matrix = np.full((len(drawn), len(drawn)), size * (size - 1) / (records * max(records - 1, 1)))
    np.fill_diagonal(matrix, probability[drawn])
    return matrix
