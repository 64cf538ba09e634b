"""Sparse survey calibration: few records, and weights that reproduce published totals."""

from l0.errors import InputError
from l0.survey.calibrate import CalibrationResult, calibrate
from l0.survey.gated_fit import GatedFitSettings
from l0.survey.problem import CalibrationProblem
from l0.survey.refit import RefitSettings, refit
from l0.survey.selection import HybridSelection, select_hybrid, select_random

__all__ = [
    "CalibrationProblem",
    "CalibrationResult",
    "GatedFitSettings",
    "HybridSelection",
    "InputError",
    "RefitSettings",
    "calibrate",
    "refit",
    "select_hybrid",
    "select_random",
]
