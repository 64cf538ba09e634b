"""Which share of the targets is within which error: by level and by family."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import Picture, picture
from l0_pipeline.logic.report.words import count, percent


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Lines for nation and states; shaded numbers for the families."""
    target_fit = tables["target_fit"]
    return Section(
        anchor="cumulative",
        title="Errors by geography and by family",
        lead=(
            "A family is a subject on one level: wages by state, say. The numbers tell which share "
            "of a family's targets is within 1 %, 5 % and so on of the published value under the "
            "released weights."
        ),
        blocks=(
            Plate(
                pictures=(picture(plots.errors_by_level(target_fit), _levels(target_fit)),),
                caption=(
                    "Share of national and of state targets whose error is at most the one on the "
                    "horizontal axis, under the released weights."
                ),
                tables=("target_fit",),
            ),
            Plate(
                pictures=_families(target_fit),
                caption=(
                    "Share of each family's targets within an error, in percent; darker is more. "
                    "In brackets: the family's targets of that role."
                ),
                tables=("target_fit",),
            ),
        ),
    )


def _families(target_fit: pl.DataFrame) -> tuple[Picture, ...]:
    chosen = [
        (level, role)
        for level in plots.LEVELS
        for role in plots.ROLES
        if len(target_fit.filter(plots.of_level(level) & (pl.col("role") == role)))
    ]
    return tuple(
        picture(
            plots.cumulative_by_family(target_fit, level=level, role=role),
            _family_alt(target_fit, level, role),
        )
        for level, role in chosen
    )


def _levels(target_fit: pl.DataFrame) -> str:
    said = [
        f"{name}, {role.replace('_', ' ')}: {percent((errors <= 0.1).mean(), digits=0)} of "
        f"{count(len(errors))} within 10 %"
        for level, name in plots.LEVELS.items()
        for role in plots.ROLES
        if len(
            errors := target_fit.filter(plots.of_level(level) & (pl.col("role") == role))[
                "released_error"
            ].abs()
        )
    ]
    return f"Rising lines. {'; '.join(said)}."


def _family_alt(target_fit: pl.DataFrame, level: str, role: str) -> str:
    shares = plots.shares_within(target_fit.filter(plots.of_level(level)), role=role).sort("0.1")
    worst, best = shares.row(0, named=True), shares.row(-1, named=True)
    return (
        f"{plots.LEVELS[level]}, {plots.ROLES[role].lower()}: a table of {len(shares)} families. "
        f"Within 10 %: most, {percent(best['0.1'], digits=0)}, of {best['family']}; fewest, "
        f"{percent(worst['0.1'], digits=0)}, of {worst['family']}."
    )
