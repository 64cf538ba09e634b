"""What changed since the previous release of the year."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report import words
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

ROWS = 10


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Targets, households and totals, then and now."""
    summary = tables.get("comparison_summary")
    lead = (
        "The same targets in the release before this one of the same year: which came nearer, "
        "which moved away, and by how much the totals of the file drifted."
    )
    title = "Changes since the previous release"
    if heading.compared_with is None and summary is None:
        first = Missing(
            f"There is no earlier release of {heading.year} to compare this one with. The next "
            "one will be compared with it."
        )
        return Section("comparison", title, lead, (first,))
    if summary is None:
        missing = build_first(
            "comparison_summary",
            year=heading.year,
            said=f"It was to be compared with {heading.compared_with}.",
        )
        return Section("comparison", title, lead, (missing,))
    blocks: tuple[Plate | Table | Missing, ...] = (_summary(summary, heading),)
    targets, drift = tables.get("comparison_targets"), tables.get("comparison_drift")
    if targets is not None:
        blocks += _targets(targets)
    if drift is not None:
        blocks += (
            table(
                drift.with_columns(
                    change=(pl.col("now") - pl.col("before")) / pl.col("before").abs()
                ),
                [
                    Shown("total", "Total"),
                    Shown("before", "Before", words.large),
                    Shown("now", "Now", words.large),
                    Shown("change", "Change", words.signed_percent),
                ],
                caption="Totals of the file, then and now",
                tables=("comparison_drift",),
            ),
        )
    return Section("comparison", title, lead, blocks)


def _summary(summary: pl.DataFrame, heading: ReportHeading) -> Table:
    row = summary.row(0, named=True)
    told = [
        ("Compared with", words.text(heading.compared_with or row.get("previous"))),
        ("Targets nearer to their value", words.count(row["targets_better"])),
        ("Targets further away", words.count(row["targets_worse"])),
        ("Targets alike", words.count(row["targets_alike"])),
        ("Targets added", words.count(row["targets_added"])),
        ("Targets removed", words.count(row["targets_removed"])),
        ("Households in both releases", words.count(row["households_in_both"])),
        ("Share of the households that both have", words.percent(row["support_overlap"])),
        *(
            (
                f"Median {role.replace('_', '-')} error, before and now",
                f"{words.percent(row[f'{role}_median_before'])}, "
                f"{words.percent(row[f'{role}_median_now'])}",
            )
            for role in plots.ROLES
        ),
    ]
    frame = pl.DataFrame(told, schema=["what", "number"], orient="row")
    return table(
        frame,
        [Shown("what", "What"), Shown("number", "Number")],
        caption="This release and the previous one",
        tables=("comparison_summary",),
    )


def _targets(targets: pl.DataFrame) -> tuple[Plate | Table | Missing, ...]:
    both = targets.filter(pl.col("error_before").is_not_null() & pl.col("error_now").is_not_null())
    if both.is_empty():
        return (Missing("No target is in both releases: nothing can be compared."),)
    size = pl.col("error_now").abs() - pl.col("error_before").abs()
    better, worse = (int(both.select((sign * size > 0).sum()).item()) for sign in (-1, 1))
    named = both.with_columns(target=words.targets(both))
    figure = Plate(
        pictures=(
            picture(
                plots.comparison(both),
                f"Scatter of {words.count(len(both))} targets. The error of {words.count(better)} "
                f"fell, that of {words.count(worse)} rose.",
            ),
        ),
        caption=f"Absolute error, in the previous release and in this one, of the "
        f"{words.count(len(both))} targets that moved by more than the points allowed: below the "
        "line it fell. Errors below .001 % and above 3,000 % lie on the edges.",
        tables=("comparison_targets",),
    )
    lists = (
        _listed(named.filter(sign * size > 0), sign * size, caption=caption)
        for sign, caption in (
            (-1, "Targets whose error fell most"),
            (1, "Targets whose error rose most"),
        )
    )
    return (figure, *lists)


def _listed(named: pl.DataFrame, order: pl.Expr, *, caption: str) -> Table:
    return table(
        named.sort(order, "target_id", descending=[True, False]).head(ROWS),
        [
            Shown("target", "Target"),
            Shown("role_now", "Role", words.plain),
            Shown("error_before", "Error before", words.signed_percent),
            Shown("error_now", "Error now", words.signed_percent),
        ],
        caption=caption,
        tables=("comparison_targets",),
    )
