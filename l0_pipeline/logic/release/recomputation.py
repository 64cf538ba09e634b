"""The constraint matrix and the quality of a release, computed again from its own tables.

A release publishes what its targets are made of, so that every estimate follows from its rows and
weights alone. What does not agree with them is told by ``recomputation_faults``.
"""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import fit
from l0_pipeline.logic.constraints import compile_constraints
from l0_pipeline.logic.design import population, relative_difference
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import Clause, format_filters, parse_filters
from l0_pipeline.logic.matrix import ConstraintMatrix, digest_of
from l0_pipeline.logic.measures import unit_measures
from l0_pipeline.logic.release.columns_evidence import PUBLISHED_TARGET_COLUMNS
from l0_pipeline.logic.release.quality import FitQuality, ReleaseQuality
from l0_pipeline.logic.tables import names
from l0_pipeline.logic.targets import FILTERS


def published_targets(
    declared: pl.DataFrame, target_fit: pl.DataFrame, *, amounts: Mapping[str, float]
) -> pl.DataFrame:
    """What is needed to compile the targets of ``target_fit`` again, in its order.

    Args:
        declared: the pipeline's ``targets``, filters as lists of clauses.
        target_fit: the targets that have an estimate.
        amounts: ``measures.amounts_a_person`` of the whole survey's ``tax_outputs``.

    Raises:
        InputError: a target of ``target_fit`` was not declared.
    """
    rows = target_fit.select("target_id").join(
        declared, on="target_id", how="left", maintain_order="left"
    )
    unknown = rows.filter(pl.col("records").is_null())["target_id"]
    if len(unknown):
        raise InputError(
            f"{len(unknown)} rows of target_fit are no declared target, the first {unknown[0]}. "
            "Materialize `targets` and `target_fit` together."
        )
    texts = [format_filters([Clause(**clause) for clause in found]) for found in rows["filters"]]
    return rows.with_columns(
        pl.Series("filters", texts, dtype=pl.String),
        amount_a_person=pl.col("microdata_column").replace_strict(
            dict(amounts), default=None, return_dtype=pl.Float64
        ),
    ).select(names(PUBLISHED_TARGET_COLUMNS))


def released_matrix(tables: Mapping[str, pl.DataFrame]) -> ConstraintMatrix:
    """What one unit of each released household's weight adds to each row of ``targets``.

    Args:
        tables: a release's, or fewer households and all their tax units.

    Raises:
        InputError: a table is missing, filters cannot be read, or units have no household.
    """
    needed = ("households", "tax_units", "tax_outputs", "targets")
    households, units, outputs, targets = refuse_missing(tables, *needed)
    households = households.sort("household_id")
    amounts = targets.drop_nulls("amount_a_person").select("microdata_column", "amount_a_person")
    return ConstraintMatrix(
        coefficients=compile_constraints(
            targets.with_columns(_clauses(targets)),
            unit_measures(units, outputs, amounts=dict(amounts.rows())),
            household_ids=households["household_id"],
        ),
        targets=targets,
        households=households,
        digest=digest_of(targets, households, units, outputs, code=""),
    )


def released_quality(tables: Mapping[str, pl.DataFrame]) -> ReleaseQuality:
    """The numbers of the manifest's ``quality``, from the tables alone.

    Raises:
        InputError: a table is missing, or no target is fitted.
    """
    needed = ("households", "selection_design", "target_fit", "target_accounting")
    households, design, target_fit, accounting = refuse_missing(tables, *needed)
    weights = households["weight"].to_numpy()
    roles = dict(accounting.group_by("role").len().rows())
    error = fit.median_error(target_fit, weights="released", role="fitted")
    close = fit.share_close(target_fit, weights="released", role="fitted")
    if error is None or close is None:
        raise InputError("target_fit holds no fitted target: this is no whole release.")
    return ReleaseQuality(
        households_kept=len(households),
        households_pool=int(design["pool"].sum()),
        figures_declared=len(accounting),
        targets_fitted=roles.get("fitted", 0),
        targets_held_out=roles.get("held_out", 0),
        targets_benchmark=roles.get("benchmark", 0),
        targets_rejected=roles.get("rejected", 0),
        population_error=relative_difference(households, weights, population(accounting)),
        released=FitQuality(
            fitted_median_error=error,
            held_out_median_error=fit.median_error(target_fit, weights="released", role="held_out"),
            share_within_10pct=close,
            effective_sample_size=float(weights.sum() ** 2 / (weights**2).sum()),
            largest_weight_ratio=float(households["weight_ratio"].to_numpy().max()),
        ),
    )


def refuse_missing(tables: Mapping[str, pl.DataFrame], *needed: str) -> list[pl.DataFrame]:
    """The tables of these names, in this order.

    Raises:
        InputError: the release has not all of them.
    """
    missing = [name for name in needed if name not in tables]
    if missing:
        raise InputError(
            f"The release has no table {', '.join(missing)}, but {', '.join(needed)} are needed. "
            "It was made by an earlier version: publish the year again."
        )
    return [tables[name] for name in needed]


def _clauses(targets: pl.DataFrame) -> pl.Series:
    """The filters as lists of clauses; the same text is read once."""
    rows = zip(targets["filters"], targets["target_id"], strict=True)
    where = {text: f"targets.parquet, filters of {name}" for text, name in rows}
    read = {
        text: [vars(clause) for clause in parse_filters(text, where=place)]
        for text, place in where.items()
    }
    return pl.Series("filters", [read[text] for text in targets["filters"]], dtype=FILTERS)
