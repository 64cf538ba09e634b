"""Sparse survey calibration: few records, and weights that reproduce published totals."""

from l0.errors import InputError
from l0.survey.calibrate import CalibrationResult, calibrate
from l0.survey.checkpoint import Checkpoint
from l0.survey.classical import ClassicalCalibration, calibrate_classical
from l0.survey.dependencies import Dependencies, linear_dependencies
from l0.survey.diagnostics import diagnose, worst_targets
from l0.survey.estimation import (
    Estimate,
    QuantileEstimate,
    by_domain,
    collapse_strata,
    greg_total,
    hajek_total,
    horvitz_thompson_total,
    mean,
    quantile,
    ratio,
)
from l0.survey.frontier import Frontier, FrontierPoint, frontier
from l0.survey.gated_fit import GatedFitSettings
from l0.survey.gradual_pruning import GradualPruningSettings
from l0.survey.infeasibility import Conflict, Conflicts, certified_gap, find_conflicts
from l0.survey.penalised_fit import PenalisedFitSettings
from l0.survey.problem import CalibrationProblem
from l0.survey.refit import RefitResult, RefitSettings, refit
from l0.survey.replicates import ReplicateWeights, replicate_weights
from l0.survey.selection import (
    Balance,
    Sample,
    allocate,
    inclusion_probabilities,
    select,
    select_hybrid,
    select_random,
)

__all__ = [
    "Balance",
    "CalibrationProblem",
    "CalibrationResult",
    "Checkpoint",
    "ClassicalCalibration",
    "Conflict",
    "Conflicts",
    "Dependencies",
    "Estimate",
    "Frontier",
    "FrontierPoint",
    "GatedFitSettings",
    "GradualPruningSettings",
    "InputError",
    "PenalisedFitSettings",
    "QuantileEstimate",
    "RefitResult",
    "RefitSettings",
    "ReplicateWeights",
    "Sample",
    "allocate",
    "by_domain",
    "calibrate",
    "calibrate_classical",
    "certified_gap",
    "collapse_strata",
    "diagnose",
    "find_conflicts",
    "frontier",
    "greg_total",
    "hajek_total",
    "horvitz_thompson_total",
    "inclusion_probabilities",
    "linear_dependencies",
    "mean",
    "quantile",
    "ratio",
    "refit",
    "replicate_weights",
    "select",
    "select_hybrid",
    "select_random",
    "worst_targets",
]
