"""What a smaller file would cost."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section, Shown, build_first, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, percent, ratio, text


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Error, effective sample size and largest ratio at several sizes."""
    sizes = tables.get("size_frontier")
    lead = (
        "How many households are enough? The same calibration at several sizes, by gates alone. "
        "The suggested size is the smallest whose held-out error is nearly the best."
    )
    title = "Sizes: what a smaller file costs"
    if sizes is None:
        missing = build_first("size_frontier", year=heading.year, said="Only one size was made.")
        return Section("frontier", title, lead, (missing,))
    sizes = sizes.sort("budget").with_columns(
        choice=pl.when("suggested").then(pl.lit("suggested")).otherwise(pl.lit(""))
    )
    return Section(
        "frontier",
        title,
        lead,
        (
            Plate(
                pictures=tuple(
                    picture(plots.frontier(sizes, (panel,)), _alt(sizes, panel))
                    for panel in plots.FRONTIER
                ),
                caption="Mean error (each counted as 100 % at most), effective sample size and "
                "largest weight ratio by number of households kept.",
                tables=("size_frontier",),
            ),
            table(
                sizes,
                [
                    Shown("budget", "Households", count),
                    Shown("loss", "Fitted: mean capped error", percent),
                    Shown("held_out_error", "Held out: mean capped error", percent),
                    Shown("effective_sample_size", "Effective sample size", count),
                    Shown("max_weight_ratio", "Largest weight ratio", ratio),
                    Shown("choice", "Choice", text),
                ],
                caption="Sizes in numbers",
                tables=("size_frontier",),
            ),
        ),
    )


def _alt(sizes: pl.DataFrame, panel: str) -> str:
    column, name, words = {
        "error": ("held_out_error", "held-out error", percent),
        "effective_sample_size": ("effective_sample_size", "effective sample size", count),
        "max_weight_ratio": ("max_weight_ratio", "largest weight ratio", ratio),
    }[panel]
    least, most = sizes.row(0, named=True), sizes.row(-1, named=True)
    return (
        f"Line by households kept. At {count(least['budget'])} households the {name} is "
        f"{words(least[column])}, at {count(most['budget'])} it is {words(most[column])}."
    )
