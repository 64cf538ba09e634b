"""Faults that a table shows as a whole, or beside other tables.

All of a file in thousands, an area left out, one concept printed twice, a band that cuts others.
Sums and peers of single figures are ``figure_sums`` and ``figure_peers``.
"""

from collections.abc import Iterator

import polars as pl

from l0_pipeline.logic.figure_peers import CONCEPT, MOST_STATES
from l0_pipeline.logic.figure_relations import AXES, PUBLICATION, may_be_negative, stray_bands
from l0_pipeline.logic.figure_sums import SUPPRESSED, THOUSAND, Finding, Ledger
from l0_pipeline.logic.figures import NATION, STATES

_NAMED = 12
# two sources of one concept in dollars and in thousands are a factor of 1000 times or by this apart
_NEAR = 5
# dollars per head of one variable in all classes: 64 to 255,000 in the tables at hand, where the
# middle of a table is at most 24,000
_LEAST_AMOUNT = 40
_LARGEST_AMOUNT = 2_000_000
# two tables of one agency differ by up to 2.9 %: one is final, one is of returns processed
_SMALL_DIFFERENCE = 0.05
_LARGE_DIFFERENCE = 0.10


def faulty_tables(cells: pl.DataFrame, ledger: Ledger) -> Iterator[Finding]:
    """Files in thousands, missing areas, duplicates and overlapping bands.

    Args:
        cells: the figures of ``with_axes``.
        ledger: of the same figures; a zero that is part of a sum is no missing report.
    """
    low = list(_in_thousands(cells))
    yield from low
    named = cells["file"].gather([one.row for one in low])
    yield from _per_head(cells.filter(~pl.col("file").is_in(named.implode())))
    yield from _missing_areas(cells)
    yield from _unreported_areas(cells.filter(~pl.col("row").is_in(list(ledger.sums_of))))
    yield from _duplicates(cells)
    yield from _overlapping_bands(cells)


def _in_thousands(cells: pl.DataFrame) -> Iterator[Finding]:
    """Files whose amounts, or whose counts, are usually a thousandth of the same in other files."""
    concept = ("variable", "measure", "universe", "unit", "filters")
    by_state = cells.filter(pl.col("geography").is_in(STATES)).group_by("file", *concept)
    nations = (
        by_state.agg(pl.col("value").sum(), areas=pl.len(), geography=pl.lit(NATION))
        .filter(areas=len(STATES))
        .drop("areas")
    )
    printed = pl.concat([cells.select(nations.columns), nations])
    usual = pl.col("value_right").is_between(
        pl.col("value") * THOUSAND / _NEAR, pl.col("value") * THOUSAND * _NEAR
    )
    low = (
        printed.filter(pl.col("value") > 0)
        .join(printed, on=[*concept, "geography"], maintain_order="left_right")
        .filter(pl.col("file") != pl.col("file_right"))
        .group_by("file", "measure", maintain_order=True)
        .agg(pl.col("file_right").first(), compared=pl.len(), low=usual.sum())
        .filter(pl.col("low") * 2 > pl.col("compared"))
    )
    for file, measure, beside, compared, number in low.iter_rows():
        rows = cells.filter(file=file, measure=measure)["row"].to_list()
        what = "amounts" if measure == "sum" else "counts"
        yield Finding(
            "thousands", "error", rows[0], tuple(rows[1:]), cells["value"][rows[0]] * THOUSAND,
            f"{number} of the {compared} {what} of {file} that other files, such as {beside}, "
            f"print too are about a thousandth of what stands there: all its {what} seem to be in "
            "thousands. Multiply them by 1000.",
        )  # fmt: skip


def _per_head(cells: pl.DataFrame) -> Iterator[Finding]:
    """Files whose middle amount a head, of all classes of income and age, no true table has."""
    place = ("file", "universe", "geography")
    whole = cells.filter(pl.col("filters") == "")
    counts = whole.filter(pl.col("measure") == "count", pl.col("value") > 0)
    own = counts.group_by(*place, "variable").agg(own=pl.col("value").max())
    # benefits of a program have no count of their own name: its largest count stands in
    program = counts.filter(pl.col("universe") == "residents")
    heads = program.group_by(*place, "family").agg(program=pl.col("value").max())
    for file, rows, first, amount in (
        whole.filter(pl.col("measure") == "sum", ~may_be_negative(whole))
        .join(own, on=[*place, "variable"], how="left", maintain_order="left")
        .join(heads, on=[*place, "family"], how="left", maintain_order="left")
        .with_columns(amount=pl.col("value").abs() / pl.coalesce("own", "program"))
        .filter(pl.col("amount") > 0)
        .group_by("file", maintain_order=True)
        .agg("row", pl.col("value").first(), pl.col("amount").median())
        .filter(~pl.col("amount").is_between(_LEAST_AMOUNT, _LARGEST_AMOUNT))
        .iter_rows()
    ):
        low = amount < _LEAST_AMOUNT
        what = "all its amounts" if low else "all its counts"
        yield Finding(
            "thousands", "error", rows[0], tuple(rows[1:]),
            first * THOUSAND if low else None,
            f"the middle amount per person, household or return of {file} is {amount:,.4g} "
            f"dollars: {what} seem to be in thousands. Multiply them by 1000.",
        )  # fmt: skip


def _missing_areas(cells: pl.DataFrame) -> Iterator[Finding]:
    """An area that a table lacks, once an area: in every concept or in some of them.

    An error where a concept prints the nation and territories, and what they leave over is more
    than the least area has for each that is absent: then it is no suppressed cell.
    """
    by_state = pl.col("geography").is_in(STATES)
    territory = ~by_state & (pl.col("geography") != NATION)
    nation = pl.col("value").filter(pl.col("geography") == NATION).first()
    left_over = nation - pl.col("value").filter(pl.col("geography") != NATION).sum()
    absent = len(STATES) - by_state.sum()
    suppressed = pl.max_horizontal(
        absent * pl.col("value").filter(by_state).min(), SUPPRESSED * nation.abs()
    )
    lacking = (
        cells.group_by(CONCEPT, maintain_order=True)
        .agg(
            pl.col("row").first(),
            present="geography",
            gap=(territory.any() & (left_over > suppressed)).fill_null(value=False),
        )
        .with_columns(area=pl.lit(list(STATES)))
        .with_columns(pl.col("area").list.set_difference("present"))
        .filter(pl.col("area").list.len() <= len(STATES) - MOST_STATES)
        .with_columns(concepts=pl.len().over(PUBLICATION))
        .explode("area", empty_as_null=False)
        .group_by(*PUBLICATION, "area", "concepts", maintain_order=True)
        .agg("row", pl.col("gap").any())
    )
    for publisher, table, area, concepts, rows, gap in lacking.iter_rows():
        everywhere = len(rows) == concepts
        move = (
            "Use the table knowing that the area is not in it."
            if everywhere
            else "The nation's total leaves room for it: add the rows from the publication."
            if gap
            else "Add the rows unless the publication suppresses them."
        )
        yield Finding(
            "missing_area", "error" if gap and not everywhere else "warning",
            rows[0], tuple(rows[1:]), None,
            f"{publisher}, {table} has no figure for area {area} in "
            f"{'all' if everywhere else len(rows)} of its {concepts} concepts by state; the rows "
            f"named are the first of each. {move}",
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
            f"{one['value']:,.15g} in {one['published_table']} and {one['first_value']:,.15g} in "
            f"{one['first_published_table']}, {difference:.1%} apart. "
            + (
                "Keep one of the two rows."
                if severity == "error"
                else "At most one of them is fitted: target_accounting says which."
            ),
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
