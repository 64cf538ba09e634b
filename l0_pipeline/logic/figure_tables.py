"""Faults that a table shows as a whole, or beside other tables.

All of a file in thousands, an area left out, one concept printed twice, a band that cuts others.
Sums and peers of single figures are ``figure_sums`` and ``figure_peers``.
"""

from collections.abc import Iterator

import polars as pl

from l0_pipeline.logic.figure_peers import CONCEPT, MOST_STATES
from l0_pipeline.logic.figure_relations import AXES, PUBLICATION, stray_bands
from l0_pipeline.logic.figure_sums import THOUSAND, Finding, Ledger
from l0_pipeline.logic.figures import STATES

_NAMED = 12
_FILE = ("file", "published_table")
# dollars per person or return at the middle of a table: 650 to 76,000 in the tables at hand
_USUAL_AMOUNT = 6_000
_FAR = 40
# the smallest program, SSI, has a fortieth of the people; a table in thousands has a thousandth
_LEAST_SHARE = 0.005
# two tables of one agency differ by up to 2.9 %: one is final, one is of returns processed
_SMALL_DIFFERENCE = 0.05
_LARGE_DIFFERENCE = 0.10


def faulty_tables(cells: pl.DataFrame, ledger: Ledger) -> Iterator[Finding]:
    """Files in thousands, missing areas, duplicates and overlapping bands.

    Args:
        cells: the figures of ``with_axes``.
        ledger: of the same figures; a zero that is part of a sum is no missing report.
    """
    yield from _amounts_in_thousands(cells)
    yield from _counts_in_thousands(cells)
    yield from _missing_areas(cells)
    yield from _unreported_areas(cells.filter(~pl.col("row").is_in(list(ledger.sums_of))))
    yield from _duplicates(cells)
    yield from _overlapping_bands(cells)


def _amounts_in_thousands(cells: pl.DataFrame) -> Iterator[Finding]:
    """Files whose amounts a head are far from any other's: all amounts, or all counts."""
    place = (*_FILE, "geography", "filters")
    people = (
        cells.filter(pl.col("measure") == "count").group_by(place).agg(count=pl.col("value").max())
    )
    amounts = cells.filter(pl.col("measure") == "sum").join(people, on=place, maintain_order="left")
    per_head = (pl.col("value").abs() / pl.col("count")).filter(pl.col("count") > 0).median()
    for file, table, rows, amount in (
        amounts.group_by(_FILE, maintain_order=True)
        .agg("row", amount=per_head)
        .filter(~pl.col("amount").is_between(_USUAL_AMOUNT / _FAR, _USUAL_AMOUNT * _FAR))
        .iter_rows()
    ):
        low = amount < _USUAL_AMOUNT
        what = "all its amounts" if low else "all its counts"
        yield Finding(
            "thousands", "error", rows[0], tuple(rows[1:]),
            cells["value"][rows[0]] * THOUSAND if low else None,
            f"the middle amount per person, household or return of {table} in {file} is "
            f"{amount:,.4g} dollars: {what} seem to be in thousands. Multiply them by 1000.",
        )  # fmt: skip


def _counts_in_thousands(cells: pl.DataFrame) -> Iterator[Finding]:
    """Files of counts alone whose largest count of an area is a trifle beside other tables'."""
    alone = (pl.col("measure") == "count").all().over(_FILE)
    share = pl.col("value").max().over(*_FILE, "geography") / pl.col("value").max().over(
        "geography"
    )
    for file, table, rows, part in (
        cells.with_columns(alone=alone)
        .filter(pl.col("measure") == "count", pl.col("filters") == "")
        .with_columns(share=share)
        .filter("alone")
        .group_by(_FILE, maintain_order=True)
        .agg("row", pl.col("share").median())
        .filter(pl.col("share") < _LEAST_SHARE)
        .iter_rows()
    ):
        yield Finding(
            "thousands", "error", rows[0], tuple(rows[1:]), cells["value"][rows[0]] * THOUSAND,
            f"the largest count of an area in {table}, {file}, is usually {part:.2%} of the "
            "largest in any table: all its counts seem to be in thousands. Multiply them by 1000.",
        )  # fmt: skip


def _missing_areas(cells: pl.DataFrame) -> Iterator[Finding]:
    """An area that a table lacks, once an area: in every concept or in some of them."""
    lacking = (
        cells.group_by(CONCEPT, maintain_order=True)
        .agg(pl.col("row").first(), present="geography")
        .with_columns(area=pl.lit(list(STATES)))
        .with_columns(pl.col("area").list.set_difference("present"))
        .filter(pl.col("area").list.len() <= len(STATES) - MOST_STATES)
        .with_columns(concepts=pl.len().over(PUBLICATION))
        .explode("area", empty_as_null=False)
        .group_by(*PUBLICATION, "area", "concepts", maintain_order=True)
        .agg("row")
    )
    for publisher, table, area, concepts, rows in lacking.iter_rows():
        everywhere = len(rows) == concepts
        yield Finding(
            "missing_area", "warning" if everywhere else "error", rows[0], tuple(rows[1:]), None,
            f"{publisher}, {table} has no figure for area {area} in "
            f"{'all' if everywhere else len(rows)} of its {concepts} concepts by state; the rows "
            f"named are the first of each. {'Use the table knowing that' if everywhere else 'Add'}"
            f"{' the area is not in it.' if everywhere else ' the rows from the publication.'}",
        )  # fmt: skip


def _unreported_areas(unsummed: pl.DataFrame) -> Iterator[Finding]:
    """A zero where every other area of the concept has people: a missing report."""
    by_area = unsummed.filter(pl.col("geography").is_in(STATES))
    above_zero = (pl.col("value") > 0).sum().over(CONCEPT)
    lone = by_area.filter(
        pl.col("value") == 0, above_zero >= MOST_STATES, above_zero == pl.len().over(CONCEPT) - 1
    )
    for row, variable, area in lone.select("row", "variable", "geography").iter_rows():
        yield Finding(
            "missing_area", "warning", row, (), None,
            f"{variable} is zero in area {area} and above zero in all others: probably a missing "
            "report. Remove the row unless the publication says that the zero is meant.",
        )  # fmt: skip


def _duplicates(cells: pl.DataFrame) -> Iterator[Finding]:
    """One concept printed more than once with different values; all rows after the first."""
    concept = ("variable", "measure", "universe", *AXES, "period", "unit")
    again = cells.filter(pl.struct(concept).is_duplicated()).with_columns(
        pl.exclude(concept).first().over(concept).name.prefix("first_")
    )
    for one in again.filter(pl.col("value") != pl.col("first_value")).iter_rows(named=True):
        largest = max(abs(one["value"]), abs(one["first_value"]))
        difference = abs(one["value"] - one["first_value"]) / largest
        same_table = all(one[name] == one[f"first_{name}"] for name in PUBLICATION)
        same_publisher = one["publisher"] == one["first_publisher"]
        if same_table or (same_publisher and difference > _LARGE_DIFFERENCE):
            severity = "error"
        else:
            severity = "warning" if difference > _SMALL_DIFFERENCE else "note"
        yield Finding(
            "duplicate", severity, one["row"], (one["first_row"],), one["first_value"],
            f"{one['variable']}, {one['geography']}, {one['filters'] or 'all'} is "
            f"{one['value']:,.10g} in {one['published_table']} and {one['first_value']:,.10g} in "
            f"{one['first_published_table']}, {difference:.1%} apart. "
            + ("Keep one of the two rows." if severity == "error" else "One of them is fitted."),
        )  # fmt: skip


def _overlapping_bands(cells: pl.DataFrame) -> Iterator[Finding]:
    """Bands of income or age that cut others in two and add up with none."""
    for axis, rows in (
        stray_bands(cells).group_by("sum", "axis", maintain_order=True).agg("row")
        .select("axis", "row").iter_rows()
    ):  # fmt: skip
        stray, *cut = (cells[axis][row] or "all" for row in rows)
        yield Finding(
            "overlapping_bands", "error", rows[0], tuple(rows[1:]), None,
            f"the band {stray} cuts {', '.join(cut[:_NAMED])} in two and adds up with no other "
            "bands of its table. Correct its bounds or remove the row.",
        )  # fmt: skip
