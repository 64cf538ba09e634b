"""The targets that are furthest off, and those that gained or lost most against design weights."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report import words
from l0_pipeline.logic.report.areas import NATION
from l0_pipeline.logic.report.content import Section, Shown, Table, table
from l0_pipeline.logic.report.heading import ReportHeading

ROWS = 12
SHOWN = (
    Shown("target", "Target"),
    Shown("role", "Role", words.plain),
    Shown("source", "Source"),
    Shown("said", "Published value"),
    Shown("design_error", "Error before", words.signed_percent),
    Shown("released_error", "Error in the release", words.signed_percent),
    Shown("support", "Households, survey", words.count),
    Shown("kept_support", "Households, release", words.count),
)


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Four tables of targets with their source and the households behind them."""
    judged = tables["target_fit"].filter(pl.col("role").is_in(list(plots.ROLES)))
    final, first = pl.col("released_error").abs(), pl.col("design_error").abs()
    gain = first - final
    return Section(
        anchor="targets",
        title="Worst, most improved and most worsened targets",
        lead=(
            "Fitted and held-out targets with their source. Before are the design weights of the "
            "whole survey. Few households behind a target make it hard to reach: the last columns "
            "count those that contribute."
        ),
        blocks=(
            _nation(judged),
            _listed(judged, final, caption=f"The {ROWS} targets with the largest error"),
            _listed(
                judged.filter(gain > 0),
                gain,
                caption=f"The {ROWS} targets whose error fell most against design weights",
            ),
            _listed(
                judged.filter(gain < 0),
                -gain,
                caption=f"The {ROWS} targets whose error rose most against design weights",
            ),
        ),
    )


def _nation(judged: pl.DataFrame) -> Table:
    """The totals of the nation that a reader knows, the furthest off first."""
    totals = judged.filter(
        pl.col("role") == "fitted", pl.col("geography") == NATION, pl.col("condition") == "",
        pl.col("unit") == "dollars",
    )  # fmt: skip
    return _listed(
        totals,
        pl.col("released_error").abs(),
        caption=(
            f"Of {len(totals)} fitted amounts of the nation without a condition, the {2 * ROWS} "
            "furthest off. In the fit an error above 100 % pulls little or no more, and a nation's "
            "total counts little beside its many parts"
        ),
        rows=2 * ROWS,
    )


def _listed(judged: pl.DataFrame, order: pl.Expr, *, caption: str, rows: int = ROWS) -> Table:
    chosen = judged.sort(order, "target_id", descending=[True, False]).head(rows)
    listed = list(chosen.iter_rows(named=True))
    told = chosen.with_columns(
        words.targets(chosen).alias("target"),
        pl.Series("said", [words.quantity(r["value"], r["unit"]) for r in listed], dtype=pl.String),
        source=pl.format("{}, {}", "publisher", "published_table"),
    )
    return table(told, SHOWN, caption=caption, tables=("target_fit",))
