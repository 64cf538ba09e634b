"""How two releases of one year differ: targets, households, and totals that no fit fixes exactly.

Only numbers; which of them are too large is judged elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from l0_pipeline.logic import fit
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata.columns import BENEFIT_COLUMNS, DOLLARS_THEN
from l0_pipeline.logic.release.columns_evidence import (
    COMPARISON_COLUMNS,
    DRIFT_COLUMNS,
    SUMMARY_COLUMNS,
)
from l0_pipeline.logic.tables import DOLLARS, names

Tables = Mapping[str, pl.DataFrame]

NEEDED = ("households", "tax_units", "tax_outputs", "target_fit")
NAMING = ("family", "variable", "geography", "condition", "unit")
JUDGED = ("fitted", "held_out")

# what is added up: a name, its table, its column (empty: the rows themselves), its unit
TOTALS: tuple[tuple[str, str, str, str], ...] = (
    ("households", "households", "", "households"),
    ("persons", "households", "persons", "persons"),
    ("tax units", "tax_units", "", "tax units"),
    ("adjusted gross income", "tax_outputs", "c00100", DOLLARS),
    ("wages", "tax_outputs", "e00200", DOLLARS),
    ("individual income tax", "tax_outputs", "iitax", DOLLARS),
    *((column.name, "households", column.name, DOLLARS_THEN) for column in BENEFIT_COLUMNS),
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """An earlier release beside a later one."""

    summary: pl.DataFrame  # one row, SUMMARY_COLUMNS
    targets: pl.DataFrame  # one row a target that either estimates, COMPARISON_COLUMNS
    drift: pl.DataFrame  # one row a total, DRIFT_COLUMNS


def compare(before: Tables, now: Tables, *, points: float) -> Comparison:
    """The tables of an earlier and of a later release, compared.

    Args:
        before: the earlier release's.
        now: the later one's.
        points: a target whose absolute error moves by no more, in percentage points, is alike.

    Raises:
        InputError: a table or column is missing, the years differ, or points are negative.
    """
    if not points >= 0:
        raise InputError(
            f"points is {points}, but must be zero or more: 1 is one percentage point."
        )
    years = [
        _checked_year(tables, which) for tables, which in ((before, "earlier"), (now, "later"))
    ]
    if years[0] != years[1]:
        raise InputError(
            f"The earlier release is of {years[0]}, the later of {years[1]}. Only releases of one "
            "year can be compared: choose two of the same."
        )
    targets = _targets(before["target_fit"], now["target_fit"], points=points)
    return Comparison(
        summary=_summary(before, now, targets, year=years[0], points=points),
        targets=targets,
        drift=_drift(before, now),
    )


def _checked_year(tables: Tables, which: str) -> int:
    """The year of a release that has all that is compared."""
    missing = [name for name in NEEDED if name not in tables]
    if missing:
        raise InputError(
            f"The {which} release has no table {', '.join(missing)}, but {', '.join(NEEDED)} are "
            "compared. Choose a release that has them."
        )
    wanted: dict[str, Sequence[str]] = {
        "households": ("household_id", "weight"),
        "tax_units": ("weight",),
        "tax_outputs": ("weight",),
        "target_fit": (
            "year", "target_id", *NAMING, "role", "value", "released_estimate", "released_error",
        ),
    }  # fmt: skip
    for name, columns in wanted.items():
        absent = [column for column in columns if column not in tables[name].columns]
        if absent:
            raise InputError(
                f"Table {name} of the {which} release has no column {', '.join(absent)}. It was "
                "made by an earlier version: publish the year again, or choose another release."
            )
    years = tables["target_fit"]["year"].unique().sort().to_list()
    if len(years) != 1:
        raise InputError(
            f"target_fit of the {which} release is of the years {years}, but a release is of one."
        )
    return int(years[0])


def _targets(before: pl.DataFrame, now: pl.DataFrame, *, points: float) -> pl.DataFrame:
    """One row a target of either, by ``target_id``; its names as the later release has them."""

    def side(target_fit: pl.DataFrame, when: str) -> pl.DataFrame:
        numbers = {
            "role": "role",
            "value": "value",
            "estimate": "released_estimate",
            "error": "released_error",
        }
        own = {f"{name}_{when}": column for name, column in numbers.items()}
        return target_fit.select("target_id", *NAMING, **own)

    joined = side(now, "now").join(
        side(before, "before"), on="target_id", how="full", coalesce=True, suffix="_earlier"
    )
    change = 100 * (pl.col("error_now").abs() - pl.col("error_before").abs())
    status = (
        pl.when(pl.col("role_before").is_null())
        .then(pl.lit("added"))
        .when(pl.col("role_now").is_null())
        .then(pl.lit("removed"))
        .when(change > points)
        .then(pl.lit("worse"))
        .when(change < -points)
        .then(pl.lit("better"))
        .otherwise(pl.lit("alike"))
    )
    in_both = pl.col("role_before").is_not_null() & pl.col("role_now").is_not_null()
    return (
        joined.with_columns(
            *(pl.coalesce(name, f"{name}_earlier").alias(name) for name in NAMING),
            change=change,
            status=status,
            value_revised=in_both & pl.col("value_before").ne_missing(pl.col("value_now")),
        )
        .select(names(COMPARISON_COLUMNS))
        .sort("target_id")
    )


def _summary(
    before: Tables, now: Tables, targets: pl.DataFrame, *, year: int, points: float
) -> pl.DataFrame:
    judged = targets.filter(pl.col("role_before").is_in(JUDGED) & pl.col("role_now").is_in(JUDGED))
    held_out = judged.filter(role_before="held_out", role_now="held_out")
    of_judged = dict(judged.group_by("status").len().rows())
    of_all = dict(targets.group_by("status").len().rows())
    moved = (pl.col("role_before") != pl.col("role_now")).sum()
    numbers: dict[str, object] = {
        "year": year,
        "points": float(points),
        **{f"targets_{name}": of_judged.get(name, 0) for name in ("better", "worse", "alike")},
        "held_out_worse": int((held_out["status"] == "worse").sum()),
        **{f"targets_{name}": of_all.get(name, 0) for name in ("added", "removed")},
        "values_revised": int(targets["value_revised"].sum()),
        "roles_changed": targets.select(moved).item(),
        **_households(before["households"], now["households"]),
        **{
            f"{role}_median_{when}": fit.median_error(
                tables["target_fit"], weights="released", role=role
            )
            for role in JUDGED
            for when, tables in (("before", before), ("now", now))
        },
    }
    schema = {column.name: column.dtype for column in SUMMARY_COLUMNS}
    return pl.DataFrame([numbers], schema=schema)


def _households(before: pl.DataFrame, now: pl.DataFrame) -> dict[str, float]:
    """How many both have kept, and how much of each weight these carry."""
    stayed = before.join(now, on="household_id", how="semi")

    def carried(households: pl.DataFrame) -> float:
        common = households.join(stayed, on="household_id", how="semi")
        return float(common["weight"].to_numpy().sum() / households["weight"].to_numpy().sum())

    return {
        "households_before": len(before),
        "households_now": len(now),
        "households_in_both": len(stayed),
        "support_overlap": len(stayed) / (len(before) + len(now) - len(stayed)),
        "common_weight_before": carried(before),
        "common_weight_now": carried(now),
    }


def _drift(before: Tables, now: Tables) -> pl.DataFrame:
    """Weighted totals of both; null where a release lacks the column."""
    rows = []
    for name, table, column, unit in TOTALS:
        totals = [_total(tables[table], column) for tables in (before, now)]
        if totals != [None, None]:
            rows.append((name, table, column, unit, *totals, _relative_change(*totals)))
    schema = {column.name: column.dtype for column in DRIFT_COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _total(rows: pl.DataFrame, column: str) -> float | None:
    if column and column not in rows.columns:
        return None
    return float((rows["weight"] * rows[column]).sum() if column else rows["weight"].sum())


def _relative_change(before: float | None, now: float | None) -> float | None:
    if before is None or now is None:
        return None
    if before == now:
        return 0.0
    return (now - before) / abs(before) if before else None
