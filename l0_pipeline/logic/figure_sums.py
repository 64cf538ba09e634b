"""Sums that do not hold, each traced to the figures that explain it.

A change of one figure is ruled out where a sum that holds would break by it. What is left is
tried in this order: two areas exchanged, one figure changed, and else the total is named with
the parts that may be wrong. Which sums there are is ``figure_relations``.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations

import polars as pl

from l0_pipeline.logic.figure_relations import AXES, SERIES

THOUSAND = 1000.0

# a gap of a few roundings may be an accident of rounding, and what seems to explain it another
_FEW_SLACKS = 5
# suppressed cells leave gaps of up to this share of a total in tables by state
SUPPRESSED = 0.001
# share of a nation that may be in territories: up to 38.5 % in Historic Table 2
_ELSEWHERE = 0.5


@dataclass(frozen=True)
class Finding:
    """One fault: the row that it names, the rows beside it, and what the value should be."""

    kind: str
    severity: str
    row: int
    related: tuple[int, ...]
    expected: float | None
    detail: str


@dataclass
class Ledger:
    """The values as far as they are mended, and the sums that they must obey."""

    value: list[float]
    signed: list[bool]
    members: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    sums_of: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    slack: dict[int, float] = field(default_factory=dict)
    axis: dict[int, str] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def gap(self, number: int, change: dict[int, float] | None = None) -> float:
        """How far a sum misses zero once every value of ``change`` is put in."""
        new = change or {}
        return sum(c * new.get(row, self.value[row]) for row, c in self.members[number])

    def holds(self, number: int, change: dict[int, float] | None = None) -> bool:
        """Whether a sum is within its slack or, if it is open, short by no more than is usual."""
        gap = self.gap(number, change)
        total = self.members[number][0][0]
        value = (change or {}).get(total, self.value[total])
        beyond = _ELSEWHERE * abs(value) if number in self.open else 0.0
        return -self.slack[number] <= gap <= self.slack[number] + beyond

    def closes(self, number: int, change: dict[int, float] | None = None) -> bool:
        """Whether a sum is within its slack, open or not."""
        return abs(self.gap(number, change)) <= self.slack[number]

    def severity(self, numbers: list[int]) -> str:
        """An error where one of the sums misses by more than a few times its slack."""
        wide = any(abs(self.gap(n)) > _FEW_SLACKS * self.slack[n] for n in numbers)
        return "error" if wide else "warning"

    def touched(self, change: dict[int, float]) -> list[int]:
        """The sums that a change takes part in."""
        return sorted({number for row in change for number in self.sums_of[row]})

    def mends(self, change: dict[int, float]) -> int:
        """How many sums a change closes; 0 where it leaves or makes one broken."""
        touched = self.touched(change)
        if not all(self.holds(number, change) for number in touched):
            return 0
        return sum(self.closes(n, change) and not self.closes(n) for n in touched)


def open_ledger(cells: pl.DataFrame, sums: pl.DataFrame) -> Ledger:
    """The ledger of the figures and sums of ``figure_relations``."""
    ledger = Ledger(cells["value"].to_list(), (cells["measure"] == "sum").to_list())
    ledger.open.update(sums.filter("open")["sum"])
    for number, axis, row, coefficient, slack in sums.select(
        "sum", "axis", "row", "coefficient", "slack"
    ).iter_rows():
        ledger.members[number].append((row, coefficient))
        ledger.sums_of[row].append(number)
        ledger.slack[number] = slack
        ledger.axis[number] = axis
    return ledger


def broken_sums(cells: pl.DataFrame, ledger: Ledger) -> list[Finding]:
    """The findings that explain every sum that does not hold; the ledger is mended on the way.

    Args:
        cells: the figures of ``with_axes``.
        ledger: of the same figures; afterwards it holds the values that were expected instead.
    """
    broken = [number for number in ledger.members if not ledger.closes(number)]
    return [
        *_exchanged(cells, ledger, broken),
        *_changed(ledger, broken),
        *_unexplained(ledger, broken),
    ]


def _exchanged(cells: pl.DataFrame, ledger: Ledger, broken: list[int]) -> list[Finding]:
    """Two areas' values exchanged: their sums miss by opposite amounts, and the exchange mends."""
    concept = cells.select(*SERIES, *(axis for axis in AXES if axis != "geography"))
    area = cells["geography"].to_list()
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number in broken:
        for row, _ in ledger.members[number]:
            if ledger.axis[number] != "geography":
                alike[concept.row(row)].append(row)
    found = []
    for rows in alike.values():
        for one, other in combinations(dict.fromkeys(rows), 2):
            exchange = {one: ledger.value[other], other: ledger.value[one]}
            if ledger.mends(exchange) < 2:
                continue
            severity = ledger.severity(ledger.touched(exchange))
            found += [
                Finding(
                    "swapped_areas", severity, row, (beside,), exchange[row],
                    f"areas {area[row]} and {area[beside]} seem to have exchanged their values: "
                    "both miss their sums by opposite amounts, and the exchange mends both. "
                    "Compare the two rows with the publication.",
                )
                for row, beside in ((one, other), (other, one))
            ]  # fmt: skip
            _mend(ledger, exchange)
    return found


def _changed(ledger: Ledger, broken: list[int]) -> list[Finding]:
    """One figure whose change makes all its broken sums hold, by a known factor or by two sums."""
    candidates = []
    for number in broken:
        for row, coefficient in ledger.members[number]:
            value = ledger.value[row]
            needed = value - ledger.gap(number) / coefficient
            for kind, expected in (
                ("thousands", value * THOUSAND),
                ("thousands", value / THOUSAND),
                ("sign", -value),
                ("total_against_parts", needed),
            ):
                if kind == "sign" and not ledger.signed[row]:
                    continue
                sums = ledger.mends({row: expected})
                unnamed = kind == "total_against_parts"
                if sums > unnamed:
                    candidates.append((-sums, unnamed, abs(needed - expected), row, kind, expected))
    found = []
    for *_, row, kind, expected in sorted(candidates):
        sums = ledger.mends({row: expected})
        if not sums:
            continue
        found.append(_one_figure(ledger, row, kind, expected, sums=sums))
        _mend(ledger, {row: expected})
    return found


def _one_figure(ledger: Ledger, row: int, kind: str, expected: float, *, sums: int) -> Finding:
    value = ledger.value[row]
    what = {
        "thousands": f"{abs(expected / value):g} times the value makes" if value else "",
        "sign": "the opposite sign makes",
    }.get(kind, f"{expected:,.0f} makes")
    related = dict.fromkeys(
        other
        for number in ledger.touched({row: expected})
        if not ledger.closes(number)
        for other, _ in ledger.members[number]
        if other != row
    )
    return Finding(
        kind, ledger.severity(ledger.touched({row: expected})), row, tuple(related), expected,
        f"read {value:,.15g}; {what} {_sums(sums)} hold. Compare the row with the publication.",
    )  # fmt: skip


def _unexplained(ledger: Ledger, broken: list[int]) -> list[Finding]:
    """Sums that no single change explains: the total, beside the parts that are not ruled out."""
    found = []
    for number in broken:
        if ledger.holds(number):
            continue
        (total, _), *parts = ledger.members[number]
        gap = ledger.gap(number)
        suspects = [
            row
            for row, coefficient in ledger.members[number]
            if ledger.mends({row: ledger.value[row] - gap / coefficient})
        ]
        others = [row for row, _ in parts if row not in suspects]
        largest = max(abs(ledger.value[row]) for row, _ in ledger.members[number])
        unsure = abs(gap) <= SUPPRESSED * largest or (number in ledger.open and gap > 0)
        found.append(
            Finding(
                "total_against_parts",
                "warning" if unsure else ledger.severity([number]),
                total,
                (*(row for row in suspects if row != total), *others),
                ledger.value[total] - gap,
                f"the total is {ledger.value[total]:,.15g} and its {len(parts)} parts along "
                f"{ledger.axis[number]} make {ledger.value[total] - gap:,.15g}; rounding explains "
                f"{ledger.slack[number]:,.0f}. "
                + (
                    "Other sums confirm the total, so one of the parts is wrong."
                    if suspects and total not in suspects
                    else "Compare the total and its parts with the publication."
                ),
            )
        )
    return found


def _mend(ledger: Ledger, change: dict[int, float]) -> None:
    for row, value in change.items():
        ledger.value[row] = value


def _sums(count: int) -> str:
    return "its sum" if count == 1 else f"all {count} of its sums"
