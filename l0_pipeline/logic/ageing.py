"""Figures of another year brought to the target year by a stated growth series.

A figure is multiplied by the growth of its variable between the two years, as ``growth.csv``
states it with its source, and says so. Classes keep their boundaries in dollars, and every state
and class grows as the nation does: an aged figure is a stand-in until the figure is printed, and
need not add up with what is printed.
"""

from collections.abc import Collection, Mapping

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import UNITS_OF_MEASURE

GROWTH = ("variable", "measure", "year", "index", "publisher", "table")
# what makes two figures of different tables the same thing
_CONCEPT = ("variable", "measure", "universe", "geography", "filters", "unit")
_SERIES = ("variable", "measure")
_SHOWN = 5


def check_growth(frame: pl.DataFrame, *, file: str, variables: Collection[str]) -> pl.DataFrame:
    """Growth series from rows of text: ``GROWTH`` with ``year`` and ``index`` as numbers.

    Raises:
        InputError: with file, line, column, what was read and what is allowed.
    """
    if frame.columns != list(GROWTH):
        raise InputError(
            f"{file}, line 1: columns are {','.join(frame.columns)}; they must be "
            f"{','.join(GROWTH)}, in this order."
        )
    rows = frame.with_row_index("line", offset=2).with_columns(
        pl.col("year").cast(pl.Int64, strict=False).alias("whole"),
        pl.col("index").cast(pl.Float64, strict=False).alias("number"),
    )
    repeated = pl.struct("variable", "measure", "year").is_duplicated()
    faults = [
        f"line {line}, {column}: read {read!r}; allowed: {allowed}"
        for column, wrong, allowed in (
            ("variable", ~pl.col("variable").is_in(list(variables)), "a name of the dictionary"),
            ("measure", ~pl.col("measure").is_in(list(UNITS_OF_MEASURE)), "sum or count"),
            ("year", pl.col("whole").is_null(), "a year"),
            (
                "index",
                ~(pl.col("number").is_finite() & (pl.col("number") > 0)).fill_null(False),
                "a finite number above zero",
            ),
            ("publisher", pl.col("publisher").str.strip_chars() == "", "some text, not empty"),
            ("table", pl.col("table").str.strip_chars() == "", "some text, not empty"),
            ("year", repeated, "each year of a series once"),
        )
        for line, read in rows.filter(wrong).select("line", column).rows()
    ]
    if faults:
        shown = "; ".join(faults[:_SHOWN])
        raise InputError(f"{file}: {len(faults)} faults, the first: {shown}. Mend these rows.")
    return rows.select(
        "variable",
        "measure",
        pl.col("whole").alias("year"),
        pl.col("number").alias("index"),
        "publisher",
        "table",
    )


def age_figures(
    figures: pl.DataFrame, earlier: Mapping[int, pl.DataFrame], growth: pl.DataFrame, *, year: int
) -> pl.DataFrame:
    """The year's figures, and after them those of other years that it does not print.

    Args:
        figures: what was printed for ``year``.
        earlier: figures by the year that they were printed for; where two of these years have the
            same figure, the first in order is taken.
        growth: as ``check_growth`` returns it.
        year: the target year.

    Returns:
        ``figures`` with the aged ones appended: value and standard error multiplied by the growth,
        ``aged_from`` the year they were printed for, the series added to ``note``, ``figure_id``
        ending in ``-of-<that year>-aged``. A figure without a series for both years is not taken.
    """
    whole = figures
    for other, printed in earlier.items():
        missing = printed.join(whole, on=_CONCEPT, how="anti", maintain_order="left")
        factor = pl.col("index_now") / pl.col("index_then")
        aged = (
            missing.join(_factors(growth, other, year), on=_SERIES, maintain_order="left")
            .with_columns(
                pl.col("value", "standard_error") * factor,
                aged_from=pl.lit(other, pl.Int64),
                year=pl.lit(year, pl.Int64),
                figure_id=pl.format("{}-of-{}-aged", "figure_id", pl.lit(other)),
                note=pl.concat_str(
                    pl.col("note").replace("", None),
                    pl.format(
                        "aged from {} by {}: {}, {}",
                        pl.lit(other),
                        factor.round(6),
                        "growth_publisher",
                        "growth_table",
                    ),
                    separator="; ",
                    ignore_nulls=True,
                ),
            )
            .select(figures.columns)
        )
        whole = pl.concat([whole, aged])
    return whole


def without_growth(
    earlier: Mapping[int, pl.DataFrame], growth: pl.DataFrame, *, year: int
) -> list[str]:
    """The variables, with their measure, of other years' figures that no series can age."""
    lacking = [
        printed.join(_factors(growth, other, year), on=_SERIES, how="anti").select(
            pl.format("{} ({})", *_SERIES)
        )
        for other, printed in earlier.items()
    ]
    return sorted(set(pl.concat(lacking).to_series())) if lacking else []


def _factors(growth: pl.DataFrame, then: int, now: int) -> pl.DataFrame:
    """The series that have both years."""
    return (
        growth.filter(year=then)
        .select(*_SERIES, index_then="index")
        .join(
            growth.filter(year=now).select(
                *_SERIES, index_now="index", growth_publisher="publisher", growth_table="table"
            ),
            on=_SERIES,
        )
    )
