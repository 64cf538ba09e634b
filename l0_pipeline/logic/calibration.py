"""From tables to a calibration problem of ``l0.survey``, and back. Imports torch."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from l0.survey import CalibrationProblem, Frontier
from l0.survey.diagnostics import TargetError
from l0.survey.history import EpochRecord
from l0.survey.validation import Validation
from l0.survey.weights import effective_sample_size, weight_ratios
from l0_pipeline.logic import fit
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix, in_matrix_order
from l0_pipeline.logic.release.quality import FitQuality


def fitted_problem(
    constraint_matrix: ConstraintMatrix, targets: pl.DataFrame, *, design_weights: np.ndarray
) -> CalibrationProblem:
    """The fitted targets alone, with their scales and weights in the loss."""
    return problem_of("fitted", constraint_matrix, targets, design_weights=design_weights)


def problem_of(
    role: str,
    constraint_matrix: ConstraintMatrix,
    targets: pl.DataFrame,
    *,
    design_weights: np.ndarray,
) -> CalibrationProblem:
    """The targets of one role alone, with their scales and weights in the loss."""
    rows = in_matrix_order(targets, constraint_matrix)
    in_role = rows["role"] == role
    chosen = rows.filter(in_role)
    return CalibrationProblem(
        constraint_matrix.coefficients[in_role.to_numpy()],
        chosen["value"].to_numpy(),
        design_weights,
        target_names=chosen["target_id"].to_list(),
        scales=chosen["scale"].to_numpy(),
        loss_weights=fit.importance(chosen),
    )


def history_table(history: Iterable[EpochRecord]) -> pl.DataFrame:
    """The recorded epochs, one row each."""
    return pl.DataFrame([vars(record) for record in history], infer_schema_length=None)


def validation_table(validation: Iterable[Validation], *, chosen: float) -> pl.DataFrame:
    """The strengths tried, and the one chosen; that one alone where none was tried."""
    tried = [(found.penalty, found.loss, found.standard_error) for found in validation]
    table = pl.DataFrame(
        tried or [(chosen, None, None)],
        schema={"penalty": pl.Float64, "loss": pl.Float64, "standard_error": pl.Float64},
        orient="row",
    )
    return table.with_columns(chosen=pl.col("penalty") == chosen).sort("penalty")


def chosen_penalty(refit_validation: pl.DataFrame) -> float:
    """The strength that every refit of the year uses."""
    return float(refit_validation.filter("chosen")["penalty"].item())


def frontier_table(found: Frontier) -> pl.DataFrame:
    """The sizes, one row each, the largest first."""
    names = ("budget", "loss", "held_out_error", "effective_sample_size", "max_weight_ratio")
    rows = [{name: getattr(point, name) for name in names} for point in found.points]
    return pl.DataFrame(rows).with_columns(
        pl.col("held_out_error").fill_nan(None),
        suggested=pl.col("budget") == found.suggested.budget,
    )


def worst_table(worst: Iterable[TargetError]) -> pl.DataFrame:
    """The targets furthest off, one row each."""
    return pl.DataFrame([vars(target) for target in worst])


def known_locations(log_alpha: np.ndarray) -> pl.Series:
    """Locations of the gates; null for records that left the matrix early."""
    return pl.Series(np.where(np.isfinite(log_alpha), log_alpha, np.nan)).fill_nan(None)


def quality(
    target_fit: pl.DataFrame, *, name: str, weights: np.ndarray, design_weights: np.ndarray
) -> FitQuality:
    """The five numbers that sum up one set of weights."""
    fitted = fit.median_error(target_fit, weights=name, role="fitted")
    close = fit.share_close(target_fit, weights=name, role="fitted")
    if fitted is None or close is None:
        raise InputError("target_fit holds no fitted target: there is nothing to publish.")
    return FitQuality(
        fitted_median_error=fitted,
        held_out_median_error=fit.median_error(target_fit, weights=name, role="held_out"),
        share_within_10pct=close,
        effective_sample_size=effective_sample_size(weights),
        largest_weight_ratio=float(weight_ratios(weights, design_weights).max()),
    )
