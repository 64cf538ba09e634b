"""What a release states that does not follow from its rows and weights: one sentence a fault.

Whether the files are the ones that were published is another matter: ``SHA256SUMS`` tells that.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.recomputation import (
    refuse_missing,
    released_matrix,
    released_quality,
)

NEEDED = (
    "households", "tax_units", "tax_outputs", "targets", "target_fit", "target_accounting",
    "replicate_weights", "replicate_design", "target_standard_errors",
)  # fmt: skip
WEIGHED = ("tax_units", "tax_outputs", "persons")  # a row carries its household's weight
WEIGHTS = ("design", "gates", "random", "released")  # each has an estimate and an error in the fit

# sums of thousands of terms in another order differ in the last digits only
TOLERANCE = 1e-6  # of a target's scale, of a number otherwise
STANDARD_ERROR_TOLERANCE = 1e-3  # replicate weights are published with seven digits


def estimate_faults(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """Where the tables disagree with what their own rows and weights give; empty where nowhere.

    Recomputed are every estimate of the released weights with its error and its support, every
    standard error, and what the tables of units and persons repeat of their households.
    """
    try:
        refuse_missing(tables, *NEEDED)
        faults = list(_structure(tables))
        return faults or [*_repetitions(tables), *_estimates(tables)]
    except InputError as error:
        return [str(error)]


def quality_faults(tables: Mapping[str, pl.DataFrame], stated: Mapping[str, float]) -> list[str]:
    """Where the manifest's ``quality`` is not what the tables give; empty where nowhere."""
    try:
        found = released_quality(tables).numbers()
    except InputError as error:
        return [str(error)]
    names = dict.fromkeys([*stated, *found])
    return [
        f"manifest.json, quality.{name}: {_number(stated.get(name))} is stated, but the tables "
        f"give {_number(found.get(name))}."
        for name in names
        if not _alike(stated.get(name), found.get(name))
    ]


def _structure(tables: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """Rows that are twice, missing or in another order, so that nothing can be recomputed."""
    households = tables["households"]
    for name, key in (("households", "household_id"), ("tax_units", "unit_id")):
        twice = tables[name].filter(pl.col(key).is_duplicated())[key]
        if len(twice):
            yield f"{name}: {len(twice):,} rows share their {key}, the first {twice[0]}."
    for name in WEIGHED:
        if name in tables:
            lost = tables[name].join(households, on="household_id", how="anti")["household_id"]
            if len(lost):
                yield (
                    f"{name}: {len(lost):,} rows are of no household of the release, the first of "
                    f"household {lost[0]}."
                )
    for name, key, reference in (
        ("tax_outputs", "unit_id", "tax_units"),
        ("replicate_weights", "household_id", "households"),
        ("targets", "target_id", "target_fit"),
        ("target_standard_errors", "target_id", "target_fit"),
    ):
        if not tables[name][key].equals(tables[reference][key]):
            yield (
                f"{name}: the {len(tables[name]):,} rows do not have the {key} of the "
                f"{len(tables[reference]):,} rows of {reference}, in the same order."
            )
    if len(tables["replicate_design"]) != 1:
        yield f"replicate_design: {len(tables['replicate_design']):,} rows, but one is needed."


def _repetitions(tables: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """What one table repeats of another: weights, persons, units, values and roles."""
    households = tables["households"]
    weights = households["weight"]
    sound = (weights.is_finite() & (weights > 0)).fill_null(False)
    unsound = households.filter(~sound)["household_id"]
    if len(unsound):
        yield (
            f"households.weight: {len(unsound):,} weights are not positive numbers, the first of "
            f"household {unsound[0]}."
        )
    for name in WEIGHED:
        if name in tables:
            rows = tables[name].select("household_id", "weight")
            yield from _unequal(rows, households, key="household_id", column="weight", table=name)
    counted = tables["tax_units"].group_by("household_id").agg(pl.col("persons").sum(), pl.len())
    for column in ("persons", "tax_units"):
        yield from _unequal(
            households.select("household_id", column),
            counted.rename({"len": "tax_units"}),
            key="household_id",
            column=column,
            table="households",
        )
    for column in ("value", "scale", "role"):
        yield from _unequal(
            tables["target_fit"].select("target_id", column),
            tables["target_accounting"],
            key="target_id",
            column=column,
            table="target_fit",
        )


def _unequal(
    rows: pl.DataFrame, reference: pl.DataFrame, *, key: str, column: str, table: str
) -> Iterator[str]:
    found = rows.join(
        reference.select(key, wanted=column), on=key, how="left", maintain_order="left"
    ).filter(pl.col(column).ne_missing(pl.col("wanted")))
    if len(found):
        first = found.row(0, named=True)
        yield _sentence(
            f"{table}.{column}",
            f"{len(found):,} of {len(rows):,} rows",
            f"{key} {first[key]}",
            first[column],
            first["wanted"],
        )


def _estimates(tables: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """Estimates, errors, supports and standard errors against the matrix compiled again."""
    fit = tables["target_fit"]
    matrix = released_matrix(tables)
    rows = matrix.coefficients
    order = matrix.households.select("household_id")
    scale = fit["scale"].to_numpy()
    estimate = rows @ matrix.households["weight"].to_numpy()

    def differing(
        table: str, column: str, recomputed: np.ndarray, tolerance: np.ndarray | float
    ) -> Iterator[str]:
        published = tables[table][column].to_numpy()
        far = np.flatnonzero(~(np.abs(published - recomputed) <= tolerance))
        if len(far):
            first = far[0]
            yield _sentence(
                f"{table}.{column}",
                f"{len(far):,} of {len(published):,} rows",
                f"target {fit['target_id'][int(first)]}",
                published[first],
                recomputed[first],
            )

    yield from differing("target_fit", "released_estimate", estimate, TOLERANCE * scale)
    for name in WEIGHTS:
        error = (fit[f"{name}_estimate"] - fit["value"]).to_numpy() / scale
        yield from differing("target_fit", f"{name}_error", error, TOLERANCE)
    yield from differing("target_fit", "kept_support", np.diff(rows.indptr), 0)
    standard = _standard_errors(tables, rows, estimate, order)
    near = STANDARD_ERROR_TOLERANCE * standard + TOLERANCE * scale
    yield from differing("target_standard_errors", "released_estimate", estimate, TOLERANCE * scale)
    yield from differing("target_standard_errors", "standard_error", standard, near)
    yield from differing(
        "target_standard_errors", "relative_standard_error", standard / scale, near / scale
    )


def _standard_errors(
    tables: Mapping[str, pl.DataFrame],
    rows: sp.csr_array,  # (targets, households)
    estimate: np.ndarray,  # (targets,)
    order: pl.DataFrame,
) -> np.ndarray:  # (targets,)
    """The root of ``scale`` times the squared differences of the replicates, one by one."""
    replicates = order.join(
        tables["replicate_weights"], on="household_id", how="left", maintain_order="left"
    ).drop("household_id")
    squares = np.zeros_like(estimate)
    for replicate in replicates.iter_columns():
        squares += np.square(rows @ replicate.to_numpy().astype(np.float64) - estimate)
    return np.asarray(np.sqrt(tables["replicate_design"]["scale"].item() * squares))


def _sentence(where: str, how_many: str, first: str, stated: object, recomputed: object) -> str:
    return (
        f"{where}: {how_many} do not follow from the release itself, the first of {first}: "
        f"{_number(stated)} is stated, {_number(recomputed)} recomputed."
    )


def _alike(stated: float | None, found: float | None) -> bool:
    if stated is None or found is None:
        return stated is found
    return abs(stated - found) <= TOLERANCE * max(abs(found), 1.0)


def _number(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, (int, float)) else str(value)
