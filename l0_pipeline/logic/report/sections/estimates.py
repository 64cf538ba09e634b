"""Every target's estimate against its published value, before and after."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, percent

TITLES = {"design": "before, whole survey", "released": "after, the release"}


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Two scatters on logarithmic axes: design weights, released weights."""
    target_fit = tables["target_fit"]
    return Section(
        anchor="estimates",
        title="Estimates against published values",
        lead=(
            "Each point is a target: its published value from left to right, its estimate from "
            "bottom to top. On the line they are equal."
        ),
        blocks=(
            Plate(
                pictures=tuple(
                    picture(
                        plots.estimates(target_fit, weights=weights, role=role, title=title),
                        _alt(target_fit.filter(pl.col("role") == role), weights, title),
                    )
                    for role in plots.ROLES
                    if (target_fit["role"] == role).any()
                    for weights, before_or_after in TITLES.items()
                    for title in [f"{plots.ROLES[role]}: {before_or_after}"]
                ),
                caption=(
                    "Estimate and value of every target, before (the whole survey under design "
                    "weights) and after (the release), without their signs. Triangles are values "
                    "below zero. A black cross on the edge is a target with a value or an "
                    "estimate of zero, or with an estimate of the other sign."
                ),
                tables=("target_fit",),
            ),
        ),
    )


def _alt(shown: pl.DataFrame, weights: str, title: str) -> str:
    astray = (shown["value"].sign() * shown[f"{weights}_estimate"].sign() <= 0).sum()
    median = shown[f"{weights}_error"].abs().median()
    return (
        f"{title}: {count(len(shown))} points about a diagonal line. The median error is "
        f"{percent(median)}; {count((shown['value'] < 0).sum())} values are below zero, "
        f"{count(astray)} targets lie on an edge."
    )
