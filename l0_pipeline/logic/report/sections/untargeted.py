"""What no target mentions: the release against the whole survey under design weights."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.areas import NATION, area_name
from l0_pipeline.logic.report.content import Plate, Section, Shown, build_first, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import percent, plain

ROWS = 25


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Shares of the nation as a figure, the largest differences of any area as a table."""
    shares = tables.get("untargeted")
    lead = (
        "Published totals say nothing of some things, such as the size of households. Weights that "
        "reproduce the totals could distort them. Here are their shares in the released file "
        "beside those in the whole survey under design weights."
    )
    title = "What no target mentions"
    if shares is None:
        missing = build_first("untargeted", year=heading.year, said="Nothing was compared.")
        return Section("untargeted", title, lead, (missing,))
    named = named_shares(shares)
    largest = named.sort(
        pl.col("difference").abs(), "name", descending=[True, False], nulls_last=True
    ).head(ROWS)
    nation = named.filter(pl.col("area").cast(pl.String) == NATION)
    shown = (nation if len(nation) else largest).head(2 * ROWS)
    first = largest.row(0, named=True)
    where = "in the nation" if len(nation) else "with the largest differences"
    return Section(
        "untargeted",
        title,
        lead,
        (
            Plate(
                pictures=(
                    picture(
                        plots.untargeted(shown),
                        f"Dots of {len(shown)} shares. The largest difference of all is "
                        f"{first['name']}, {first['place']}: {percent(first['share_released'])} in "
                        f"the release, {percent(first['share_pool'])} in the whole survey.",
                    ),
                ),
                caption=f"Shares {where}: in the release (dot) and in the whole survey (square).",
                tables=("untargeted",),
            ),
            table(
                largest,
                [
                    Shown("name", "What"),
                    Shown("place", "Where"),
                    Shown("share_pool", "Whole survey", percent),
                    Shown("share_released", "Release", percent),
                    Shown("difference", "Difference", _points),
                ],
                caption=f"The {len(largest)} largest differences, in percentage points",
                tables=("untargeted",),
            ),
        ),
    )


def _points(value: object) -> str:
    return percent(value, signed=True).removesuffix(" %")


def named_shares(shares: pl.DataFrame) -> pl.DataFrame:
    """The shares with ``name`` and ``place`` in words."""
    rows = shares.select("variable", "category", "area").rows()
    return shares.with_columns(
        name=pl.Series([f"{plain(variable)}: {category}" for variable, category, _ in rows]),
        place=pl.Series([area_name(area) for *_, area in rows]),
    )
