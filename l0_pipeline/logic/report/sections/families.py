"""Fitted beside held-out error, family by family."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import fit, plots
from l0_pipeline.logic.report.content import Plate, Section, Shown, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, percent


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Median errors of the largest families as a figure, of all as a table."""
    families = fit.by_family(tables["target_fit"], weights="released")
    worst = families.sort("held_out_median_error", descending=True, nulls_last=True).head(3)
    told = "; ".join(
        f"{row['family']}: held out {percent(row['held_out_median_error'])}, fitted "
        f"{percent(row['fitted_median_error'])}"
        for row in worst.iter_rows(named=True)
    )
    return Section(
        anchor="families",
        title="Fitted and held-out error by family",
        lead=(
            "Where a family's held-out error is much larger than its fitted error, the release "
            "reproduces the totals it was given and little beside them: use what it says of that "
            "subject with care."
        ),
        blocks=(
            Plate(
                pictures=(
                    picture(
                        plots.family_errors(families),
                        f"Dots of {min(25, len(families))} families. The largest held-out errors "
                        f"of all: {told}.",
                    ),
                ),
                caption="Median absolute error of the 25 families with the most fitted targets: "
                "fitted (dot) and held out (square).",
                tables=("target_fit",),
            ),
            table(
                families,
                [
                    Shown("family", "Family"),
                    Shown("fitted", "Fitted targets", count),
                    Shown("fitted_median_error", "Their median error", percent),
                    Shown("fitted_within_10pct", "Within 10 %", percent),
                    Shown("held_out", "Held-out targets", count),
                    Shown("held_out_median_error", "Their median error", percent),
                ],
                caption="Errors by family",
                tables=("target_fit",),
            ),
        ),
    )
