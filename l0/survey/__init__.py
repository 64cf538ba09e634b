"""Sparse survey calibration: few records, and weights that reproduce published totals."""

from l0.errors import InputError
from l0.survey.calibrate import CalibrationResult, calibrate
from l0.survey.checkpoint import Checkpoint
from l0.survey.dependencies import Dependencies, linear_dependencies
from l0.survey.diagnostics import diagnose, worst_targets
from l0.survey.frontier import Frontier, FrontierPoint, frontier
from l0.survey.gated_fit import GatedFitSettings
from l0.survey.gradual_pruning import GradualPruningSettings
from l0.survey.infeasibility import Conflict, Conflicts, certified_gap, find_conflicts
from l0.survey.penalised_fit import PenalisedFitSettings
from l0.survey.problem import CalibrationProblem
from l0.survey.refit import RefitResult, RefitSettings, refit
from l0.survey.selection import HybridSelection, select_hybrid, select_random

__all__ = [
    "CalibrationProblem",
    "CalibrationResult",
    "Checkpoint",
    "Conflict",
    "Conflicts",
    "Dependencies",
    "Frontier",
    "FrontierPoint",
    "GatedFitSettings",
    "GradualPruningSettings",
    "HybridSelection",
    "InputError",
    "PenalisedFitSettings",
    "RefitResult",
    "RefitSettings",
    "calibrate",
    "certified_gap",
    "diagnose",
    "find_conflicts",
    "frontier",
    "linear_dependencies",
    "refit",
    "select_hybrid",
    "select_random",
    "worst_targets",
]
