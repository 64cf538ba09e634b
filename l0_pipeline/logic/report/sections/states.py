"""Maps of the 51 areas: the error of a state's targets, and the households kept there."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.areas import AREAS, area_name
from l0_pipeline.logic.report.content import Plate, Section
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import Picture, picture
from l0_pipeline.logic.report.words import Words, count, percent


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """One tile a state: median errors, and households kept."""
    errors = state_errors(tables["target_fit"])
    kept = {
        row["state_fips"]: row["by_gates"] + row["at_random"]
        for row in tables["selection_design"].iter_rows(named=True)
    }
    maps = [
        _map(
            {
                fips: number
                for fips, number in errors.select("fips", role).rows()
                if number is not None
            },
            title=f"{plots.ROLES[role]}: median error",
            words=percent,
        )
        for role in plots.ROLES
        if errors[role].is_not_null().any()
    ]
    maps.append(_map(kept, title="Households kept", words=count))
    return Section(
        anchor="states",
        title="Maps by state",
        lead=(
            "One tile a state, where it lies roughly; postal codes, and the number below. Darker "
            "is more."
        ),
        blocks=(
            Plate(
                pictures=tuple(maps),
                caption=(
                    "Median absolute error of each state's targets under the released weights, "
                    "and households kept."
                ),
                tables=("target_fit", "selection_design"),
            ),
        ),
    )


def state_errors(target_fit: pl.DataFrame) -> pl.DataFrame:
    """Median absolute error by FIPS code, one column a role; null where a state has none."""
    error = pl.col("released_error").abs()
    return (
        target_fit.with_columns(fips=pl.col("geography").cast(pl.Int64, strict=False))
        .filter(pl.col("fips").is_in([area.fips for area in AREAS]))
        .group_by("fips")
        .agg(**{role: error.filter(pl.col("role") == role).median() for role in plots.ROLES})
        .sort("fips")
    )


def _map(values: Mapping[int, float], *, title: str, words: Words) -> Picture:
    most, least = max(values, key=lambda f: values[f]), min(values, key=lambda f: values[f])
    alt = (
        f"{title}, on a map of {len(values)} tiles. Largest: {area_name(most)}, "
        f"{words(values[most])}; smallest: {area_name(least)}, {words(values[least])}."
    )
    return picture(plots.tile_map(values, title=title, percent=words is percent), alt)
