"""Sums that printed figures obey: a total is its parts, with everything else equal.

Along one axis (income, age, filing status, children, area) one figure is a signed sum of others.
This file finds these sums from what the rows say of themselves, the slack that rounding gives
them, and the bands that fit into none. What a missed sum means is not here.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from l0_pipeline.logic.figures import NATION, STATES
from l0_pipeline.logic.filters import COLUMNS as FILTER_COLUMNS
from l0_pipeline.logic.filters import NUMERIC_COLUMNS, WORDS, format_filters, parse_filters

PUBLICATION = ("publisher", "published_table")
SERIES = (*PUBLICATION, "period", "variable", "measure", "universe", "unit")
AXES = (*FILTER_COLUMNS, "geography")

# positions in a list of labels with their coefficients; the total comes first
Sum = list[tuple[int, float]]
Arithmetic = Callable[[Sequence[str]], list[Sum]]


def with_axes(figures: pl.DataFrame) -> pl.DataFrame:
    """The figures with ``row``, their position, and one column a filter column: its clauses.

    Args:
        figures: validated figures; each distinct text of ``filters`` is parsed once.
    """
    texts = figures["filters"].unique(maintain_order=True).to_list()
    parsed = [parse_filters(text, where=f"filters {text!r}") for text in texts]
    clauses = {
        axis: [
            format_filters([clause for clause in one if clause.column == axis]) for one in parsed
        ]
        for axis in FILTER_COLUMNS
    }
    axes = pl.DataFrame(
        {"filters": texts, **clauses}, schema=dict.fromkeys(("filters", *FILTER_COLUMNS), pl.String)
    )
    return (
        figures.drop("row", strict=False)
        .with_row_index("row")
        .join(axes, on="filters", how="left", maintain_order="left", validate="m:1")
    )


def sums(cells: pl.DataFrame) -> pl.DataFrame:
    """Every sum that the figures must obey, one row a member.

    Args:
        cells: the figures of ``with_axes``; of two rows of one table with the same meaning the
            first counts.

    Returns:
        ``sum`` (its number), ``axis``, ``row`` and ``coefficient`` of the member (1.0 for the
        total, which comes first, -1.0 for a part, 1.0 for a part that is taken away),
        ``slack``: how far coefficients times values may miss zero by rounding alone, and ``open``:
        whether the total may exceed the parts, as a nation with territories that are not printed.
        Figures that may be negative make no open sums: their territories may also take away.
    """
    judged = cells.select("row", negative=may_be_negative(cells)).join(_rounding(cells), on="row")
    return _members(cells, _ARITHMETIC).join(
        judged, on="row", how="left", maintain_order="left", validate="m:1"
    ).with_columns(
        # half a unit a member by rounding alone; Historic Table 2 needs up to 0.8
        slack=pl.col("rounding").max().over("sum") * pl.len().over("sum"),
        open=(pl.col("axis") == "geography") & (pl.len().over("sum") == len(STATES) + 1),
    ).remove(pl.col("open") & pl.col("negative")).drop("rounding", "negative")  # fmt: skip


def stray_bands(cells: pl.DataFrame) -> pl.DataFrame:
    """Bands of income or age that cut others in two and take part in no sum.

    Returns:
        As ``sums``, without slack: the stray band first, then every band that it cuts.
    """
    return _members(cells, dict.fromkeys(NUMERIC_COLUMNS, _strays))


def may_be_negative(cells: pl.DataFrame) -> pl.Series:
    """Which of the figures of ``with_axes`` true tables print below zero: incomes net of losses.

    All that are named so, and in a class of income that starts at or below zero also adjusted
    gross income and business income.
    """
    labels = cells["agi"].unique().to_list()
    low = [label for label in labels if label and lower_bound(label) <= 0]
    net = pl.col("variable").str.ends_with("_less_loss")
    income = pl.col("variable").is_in(["adjusted_gross_income", "business_net_income"])
    return cells.select(net | income & pl.col("agi").is_in(low)).to_series()


def lower_bound(label: str) -> float:
    """The least value that the clauses of one numeric column allow."""
    return _bounds(label)[0]


def _members(cells: pl.DataFrame, arithmetic: Mapping[str, Arithmetic]) -> pl.DataFrame:
    once = cells.unique([*SERIES, *AXES], keep="first", maintain_order=True)
    along = [_along(once, axis, arithmetic[axis]) for axis in arithmetic]
    return pl.concat(along).with_columns(
        sum=pl.struct("axis", "group", "sum").rle_id().cast(pl.Int64)
    ).drop("group")  # fmt: skip


def _along(cells: pl.DataFrame, axis: str, arithmetic: Arithmetic) -> pl.DataFrame:
    """The sums along one axis; groups of figures with the same labels share their arithmetic."""
    others = [other for other in AXES if other != axis]
    groups = (
        cells.sort(axis, maintain_order=True)
        .group_by(*SERIES, *others, maintain_order=True)
        .agg("row", labels=pl.col(axis))
        .filter(pl.col("row").list.len() > 1)
        .with_row_index("group")
        .with_columns(layout=pl.col("labels").list.join("; "))
    )
    layouts = groups.select("layout", "labels").unique("layout", maintain_order=True)
    members = [
        (layout, number, position, coefficient)
        for layout, labels in layouts.rows()
        for number, one in enumerate(arithmetic(labels))
        for position, coefficient in one
    ]
    shared = pl.DataFrame(
        members,
        schema={
            "layout": pl.String,
            "sum": pl.Int64,
            "position": pl.Int64,
            "coefficient": pl.Float64,
        },
        orient="row",
    )
    return groups.join(shared, on="layout", maintain_order="left_right").select(
        "group",
        "sum",
        pl.lit(axis).alias("axis"),
        pl.col("row").list.get(pl.col("position")),
        "coefficient",
    )


def _rounding(cells: pl.DataFrame) -> pl.DataFrame:
    """``row`` and ``rounding``: the largest power of ten that divides nearly all of its table."""
    table = (*PUBLICATION, "unit")
    printed = pl.col("value").filter(pl.col("value") != 0)
    powers = [10.0**power for power in range(6, 0, -1)]
    return cells.select(
        "row",
        rounding=pl.coalesce(
            *(
                pl.when(((printed % power) == 0).mean().over(table) > 0.9).then(pl.lit(power))
                for power in powers
            ),
            pl.lit(1.0),
        ),
    )


def _interval_sums(labels: Sequence[str]) -> list[Sum]:
    """Bounds are nodes, a figure is an edge, and an edge that closes a cycle is a sum.

    Narrow edges come first and paths have the fewest edges, so that a sum reads "a band is its
    parts".
    """
    spans = _spans(labels)
    steps: dict[int, list[tuple[int, int, float]]] = {node: [] for span in spans for node in span}
    found: list[Sum] = []
    for position in sorted(range(len(spans)), key=lambda p: (spans[p][1] - spans[p][0], spans[p])):
        lower, upper = spans[position]
        path = _shortest_path(steps, lower, upper)
        if path:
            found.append([(position, 1.0), *path])
        steps[lower].append((upper, position, -1.0))
        steps[upper].append((lower, position, 1.0))
    return found


def _strays(labels: Sequence[str]) -> list[Sum]:
    spans = _spans(labels)
    summed = {position for one in _interval_sums(labels) for position, _ in one}
    found = []
    for stray in range(len(spans)):
        cut = [(other, 0.0) for other in range(len(spans)) if _cut(spans[stray], spans[other])]
        if cut and stray not in summed:
            found.append([(stray, 1.0), *cut])
    return found


def _cut(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """The two overlap and neither holds the other."""
    (first, first_end), (second, second_end) = sorted((one, other))
    return first < second < first_end < second_end


def _spans(labels: Sequence[str]) -> list[tuple[int, int]]:
    """Lower and upper bound of each label as places among all bounds of the list."""
    start = 0.0 if any(label.startswith("age") for label in labels) else -math.inf
    edges = [_bounds(label) if label else (start, math.inf) for label in labels]
    nodes = sorted({bound for edge in edges for bound in edge})
    return [(nodes.index(lower), nodes.index(upper)) for lower, upper in edges]


def _bounds(label: str) -> tuple[float, float]:
    clauses = parse_filters(label, where=f"filters {label!r}")
    value = {clause.operator: float(clause.value) for clause in clauses}
    if "==" in value:
        return value["=="], value["=="] + 1
    start = 0.0 if label.startswith("age") else -math.inf
    return value.get(">=", start), value.get("<", math.inf)


def _shortest_path(
    steps: Mapping[int, Sequence[tuple[int, int, float]]], start: int, end: int
) -> Sum:
    """The fewest signed edges from ``start`` to ``end``; empty where they are not connected."""
    paths: dict[int, Sum] = {start: []}
    queue = deque([start])
    while queue and end not in paths:
        here = queue.popleft()
        for there, position, coefficient in steps[here]:
            if there not in paths:
                paths[there] = [*paths[here], (position, coefficient)]
                queue.append(there)
    return paths.get(end, [])


def _word_sums(column: str) -> Arithmetic:
    parts = tuple(f"{column} == {word}" for word in WORDS[column])
    return lambda labels: _whole(labels, "", parts)


def _area_sums(labels: Sequence[str]) -> list[Sum]:
    """The nation is its 51 areas and every territory that the table lists beside them."""
    others = [label for label in labels if label not in (NATION, *STATES)]
    return _whole(labels, NATION, (*STATES, *others))


def _whole(labels: Sequence[str], whole: str, parts: Sequence[str]) -> list[Sum]:
    place = {label: position for position, label in enumerate(labels)}
    if not {whole, *parts} <= set(place):
        return []
    return [[(place[whole], 1.0), *((place[part], -1.0) for part in parts)]]


_ARITHMETIC: dict[str, Arithmetic] = {
    "agi": _interval_sums,
    "age": _interval_sums,
    "filing_status": _word_sums("filing_status"),
    "eitc_children": _word_sums("eitc_children"),
    "geography": _area_sums,
}
