"""What became of every published figure, and how certain the estimates are."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import fit, plots
from l0_pipeline.logic.report.content import (
    Missing,
    Plate,
    Section,
    Shown,
    Table,
    build_first,
    table,
)
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, percent, plain

LARGEST = 25  # families of a figure
ROLES = ("fitted", "held_out", "benchmark", "rejected")
# reasons that name a number or another figure are counted together
ALIKE = (
    (r"^\d+ households contribute", "few households contribute"),
    (r"^(the same coefficients as|printed twice:) \S+", "${1} another figure"),
)


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Figures by role, family and reason; standard errors by family."""
    accounting = tables["target_accounting"]
    counts = dict(accounting.group_by("role").len().rows())
    families = fit.accounting(accounting)
    largest = families.sort("declared", "family", descending=[True, False]).head(LARGEST)
    told = ", ".join(f"{plain(role)} {count(counts.get(role, 0))}" for role in ROLES)
    return Section(
        anchor="accounting",
        title="Accounting of the published figures",
        lead=(
            "Every figure has one of four roles, with a reason. Fitted: the weights reproduce it. "
            "Held out: kept apart by lot, to judge. Benchmark: compared only, since the "
            "definitions differ too much or another figure says the same. Rejected: the survey "
            "cannot show it."
        ),
        blocks=(
            Plate(
                pictures=(
                    picture(
                        plots.bars(
                            largest,
                            names="family",
                            values={role: plain(role) for role in ROLES},
                            title="Figures declared, by role",
                        ),
                        f"Stacked bars of {len(largest)} families. All families: {told}.",
                    ),
                ),
                caption=f"Published figures of the {len(largest)} largest families by role. All "
                f"families: {told}.",
                tables=("target_accounting",),
            ),
            table(
                reasons(accounting),
                [
                    Shown("role", "Role", plain),
                    Shown("reason", "Reason"),
                    Shown("figures", "Figures", count),
                ],
                caption="Figures by role and reason",
                tables=("target_accounting",),
            ),
            table(
                families,
                [
                    Shown("family", "Family"),
                    Shown("declared", "Figures", count),
                    *(Shown(role, plain(role).capitalize(), count) for role in ROLES),
                ],
                caption="Figures by family and role",
                tables=("target_accounting",),
            ),
            *_standard_errors(tables, heading),
        ),
    )


def reasons(accounting: pl.DataFrame) -> pl.DataFrame:
    """Figures of each role by reason, the most frequent first."""
    reason = pl.col("reason")
    for pattern, same in ALIKE:
        reason = reason.str.replace(pattern, same)
    place = pl.col("role").replace_strict(ROLES, list(range(len(ROLES))), default=len(ROLES))
    return (
        accounting.group_by("role", reason.alias("reason"))
        .agg(figures=pl.len())
        .sort(place, "figures", "reason", descending=[False, True, False])
    )


def _standard_errors(
    tables: Mapping[str, pl.DataFrame], heading: ReportHeading
) -> tuple[Plate | Table | Missing, ...]:
    errors = tables.get("target_standard_errors")
    if errors is None:
        return (
            build_first(
                "target_standard_errors", year=heading.year, said="There are no standard errors."
            ),
        )
    known = tables["target_fit"].select("target_id", "family", "role")
    families = fit.standard_errors_by_family(
        errors.drop("family", "role", strict=False).join(known, on="target_id", how="inner")
    ).filter(pl.any_horizontal(pl.col("fitted_median", "held_out_median").is_not_null()))
    if families.is_empty():
        return (Missing("No fitted or held-out target has a standard error."),)
    largest = families.sort("targets", "family", descending=[True, False]).head(LARGEST)
    widest = families.sort("held_out_median", descending=True, nulls_last=True).row(0, named=True)
    return (
        Plate(
            pictures=(
                picture(
                    plots.standard_errors(largest),
                    f"Dots of {len(largest)} families. Of all families, the largest median "
                    f"standard error of held-out targets is {percent(widest['held_out_median'])}: "
                    f"{widest['family']}.",
                ),
            ),
            caption=(
                f"Median standard error of the {len(largest)} largest families, as a share of "
                f"the published value"
                f"{_of_what(tables.get('replicate_design'))}."
            ),
            tables=("target_standard_errors", "target_fit"),
        ),
        table(
            families,
            [
                Shown("family", "Family"),
                Shown("fitted_median", "Fitted: median standard error", percent),
                Shown("held_out_median", "Held out: median standard error", percent),
            ],
            caption="Standard errors by family",
            tables=("target_standard_errors", "target_fit"),
        ),
    )


def _of_what(design: pl.DataFrame | None) -> str:
    if design is None:
        return ""
    row = design.row(0, named=True)
    meant = {
        "thinning": "of drawing the random part alone, the gates' choice held fixed",
        "survey": "of drawing the survey and of thinning it",
    }.get(row["variance_of"], f"of {row['variance_of']}")
    return f", from {row['replicates']} {row['method']} replicates: {meant}"
