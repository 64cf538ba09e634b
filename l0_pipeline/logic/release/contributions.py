"""Why each household was kept: what the fitted targets would lose without it.

A household is taken out while all other weights stay as they are. To target j it gives
``a_ji w_i``; without it the signed error ``e_j`` becomes ``e_j - a_ji w_i / scale_j``. New weights
for the others would mend part of that, so the harm is an upper bound. Only fitted targets count:
no other had a say in what was kept.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from l0_pipeline.logic import fit
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix, in_matrix_order
from l0_pipeline.logic.release.columns_evidence import CONTRIBUTION_COLUMNS, REASON_COLUMNS
from l0_pipeline.logic.release.recomputation import refuse_missing, released_matrix
from l0_pipeline.logic.tables import names

CAP = 1.0  # of an error in the loss that gates and weights are trained with
SUFFERING = 0.01  # one point of error


def household_contributions(
    matrix: ConstraintMatrix,
    selected_households: pl.DataFrame,
    target_fit: pl.DataFrame,
    *,
    rows: int = 5,
) -> pl.DataFrame:
    """The fitted targets that need each household most: the columns of ``CONTRIBUTION_COLUMNS``.

    Args:
        matrix: of the whole survey or of the release.
        selected_households: ``household_id`` and ``weight`` of those kept.
        target_fit: errors under these weights.
        rows: targets a household, at most. A target whose error does not grow without the
            household is left out, so that a household may have fewer.
    """
    fitted = _fitted(matrix, target_fit)
    parts = _by_harm(_parts(matrix, selected_households, fitted).filter(pl.col("harm") > 0))
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("household_id")
    first = parts.with_columns(rank=rank).filter(pl.col("rank") <= rows)
    # seven digits say enough of a share, in half of the space
    return _named(first, fitted).select(
        pl.col(column.name).cast(column.dtype) for column in CONTRIBUTION_COLUMNS
    )


def household_reasons(
    matrix: ConstraintMatrix,
    selected_households: pl.DataFrame,
    target_fit: pl.DataFrame,
    *,
    calibrated_weights: pl.DataFrame,
) -> pl.DataFrame:
    """One row a household, in the order given: the columns of ``REASON_COLUMNS``.

    ``loss_without`` is the sum over fitted targets of ``omega_j (min(|e_j'|, 1) - min(|e_j|, 1))``,
    where ``e_j'`` is the error without the household and ``omega_j`` the target's part of the loss
    (``fit.importance``, summing to one). It is negative where the fit would be nearer.

    Args:
        matrix: of the whole survey or of the release.
        selected_households: those kept, with how they came in.
        target_fit: errors under their weights.
        calibrated_weights: ``household_id`` and ``open_probability`` of the gates.
    """
    sums = _sums(_parts(matrix, selected_households, _fitted(matrix, target_fit)))
    opened = calibrated_weights.select("household_id", "open_probability")
    return (
        selected_households.join(opened, on="household_id", how="left", maintain_order="left")
        .join(sums, on="household_id", how="left", maintain_order="left")
        .with_columns(pl.col(*_ZERO_WITHOUT_TARGETS).fill_null(0))
        .select(names(REASON_COLUMNS))
    )


def why(
    tables: Mapping[str, pl.DataFrame], household_id: int, rows: int = 20
) -> tuple[dict[str, object], pl.DataFrame]:
    """What is known of one released household, and the fitted targets that it gives to.

    Args:
        tables: of a release; ``open_probability`` is None where it has no ``household_reasons``.
        household_id: one of its households.
        rows: targets, at most; the ones harmed most without the household come first.

    Returns:
        Facts by name, and one row a target: whom it counts, the household's ``share`` of its
        estimate, ``error_with`` and ``error_without`` it, and ``harm``, what the error grows by.

    Raises:
        InputError: the household is not in the release, or a table is missing.
    """
    refuse_missing(tables, "households", "tax_units", "tax_outputs", "targets", "target_fit")
    of_it = pl.col("household_id") == household_id
    own = {name: tables[name].filter(of_it) for name in ("households", "tax_units", "tax_outputs")}
    if own["households"].is_empty():
        raise InputError(
            f"Household {household_id} is not among the {len(tables['households']):,} households "
            "of the release. Take a household_id of its table households; what was not kept has no "
            "weight, and no reason here."
        )
    matrix = released_matrix({**tables, **own})
    fitted = _fitted(matrix, tables["target_fit"])
    parts = _parts(matrix, own["households"], fitted)
    facts = {
        **own["households"].row(0, named=True),
        "open_probability": _open_probability(tables, of_it),
        "adjusted_gross_income": float(own["tax_outputs"]["c00100"].sum()),
        **next(
            _sums(parts).iter_rows(named=True),
            dict.fromkeys(_ZERO_WITHOUT_TARGETS, 0) | {"largest_share": None},
        ),
    }
    return facts, _named(_by_harm(parts).head(rows), fitted).select(_SHOWN)


_ZERO_WITHOUT_TARGETS = ("targets", "suffering", "loss_without")
_SHOWN = (
    "target_id", "family", "variable", "measure", "geography", "condition", "value", "unit",
    "share", "error_with", "error_without", "harm",
)  # fmt: skip


def _fitted(matrix: ConstraintMatrix, target_fit: pl.DataFrame) -> pl.DataFrame:
    """The fitted targets with their row of the matrix and their part of the loss."""
    fitted = (
        in_matrix_order(target_fit, matrix)
        .with_row_index("matrix_row")
        .filter(pl.col("role") == "fitted")
    )
    omega = fit.importance(fitted)
    return fitted.with_columns(omega=omega / omega.sum())


def _parts(
    matrix: ConstraintMatrix, households: pl.DataFrame, fitted: pl.DataFrame
) -> pl.DataFrame:
    """One row a household and fitted target that it gives to; ``target`` is a row of ``fitted``."""
    strangers = households.join(matrix.households, on="household_id", how="anti")["household_id"]
    if len(strangers):
        raise InputError(
            f"{len(strangers)} of {len(households)} households have no column in the constraint "
            f"matrix, the first {strangers[0]}. Materialize `constraint_matrix` and "
            "`selected_households` together."
        )
    weights = fit.of_all(households, matrix.households["household_id"])
    kept = np.flatnonzero(weights > 0)
    entries = matrix.coefficients[fitted["matrix_row"].to_numpy()][:, kept].tocoo()
    target = pl.Series("target", entries.row)
    given = pl.Series("given", entries.data * weights[kept][entries.col])
    numbers = fitted.select("scale", "released_estimate", "omega", error_with="released_error")
    error, without = pl.col("error_with").abs(), pl.col("error_without").abs()
    return (
        numbers.select(pl.all().gather(target))
        .with_columns(
            target,
            household_id=matrix.households["household_id"].gather(kept[entries.col]),
            share=pl.when(pl.col("released_estimate") != 0).then(
                given / pl.col("released_estimate")
            ),
            error_without=pl.col("error_with") - given / pl.col("scale"),
        )
        .with_columns(
            harm=without - error,
            loss=pl.col("omega") * (without.clip(upper_bound=CAP) - error.clip(upper_bound=CAP)),
        )
        .drop("scale", "released_estimate", "omega")
    )


def _by_harm(parts: pl.DataFrame) -> pl.DataFrame:
    """The households' targets, the most harmed first; equals in the order of the targets."""
    return parts.sort("household_id", -pl.col("harm"), "target")


def _named(parts: pl.DataFrame, fitted: pl.DataFrame) -> pl.DataFrame:
    """The parts with all that is known of their targets."""
    return parts.hstack(fitted[parts["target"]])


def _sums(parts: pl.DataFrame) -> pl.DataFrame:
    """What the parts of each household come to."""
    # in order, so that the last digit of a sum does not depend on the number of threads
    return parts.group_by("household_id", maintain_order=True).agg(
        targets=pl.len().cast(pl.Int64),
        suffering=(pl.col("harm") > SUFFERING).sum().cast(pl.Int64),
        loss_without=pl.col("loss").sum(),
        largest_share=pl.col("share").abs().max(),
    )


def _open_probability(tables: Mapping[str, pl.DataFrame], of_it: pl.Expr) -> object:
    if "household_reasons" not in tables:
        return None
    return tables["household_reasons"].filter(of_it)["open_probability"].item()
