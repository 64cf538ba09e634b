"""Structured filters: which records a published figure speaks about.

The grammar is closed: clauses ``column operator value`` joined by `` & ``, read by splitting and
by looking up known words. Nothing is evaluated, and nothing becomes SQL. What a clause means on
the microdata is not here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from l0_pipeline.logic.errors import InputError

# lower bounds are included, upper bounds are not
NUMERIC_OPERATORS = ("==", ">=", "<")
NUMERIC_COLUMNS = ("agi", "age")
WORDS: dict[str, tuple[str, ...]] = {
    "filing_status": ("single", "married_joint", "married_separate", "head_of_household"),
    "eitc_children": ("0", "1", "2", "3+"),
}
COLUMNS = (*NUMERIC_COLUMNS, *WORDS)

# one spelling per number, so that equal filters are equal texts: no 007, 5.0, 1e3 or -0
_NUMBER = re.compile(r"0|-?[1-9]\d*|-?(?:0|[1-9]\d*)\.\d*[1-9]", re.ASCII)


@dataclass(frozen=True)
class Clause:
    """One condition on one column; all clauses of a figure hold together."""

    column: str
    operator: str
    value: str


def parse_filters(text: str, *, where: str) -> tuple[Clause, ...]:
    """The clauses of ``text`` in canonical order (by column, lower bound before upper).

    Args:
        text: for example ``agi >= 1 & agi < 5000 & filing_status == single``; empty for no filter.
        where: named in the message of the ``InputError`` that a text outside the grammar raises.
    """
    if text == "":
        return ()
    clauses = [_parse_clause(part, where=where) for part in text.split(" & ")]
    _refuse_duplicates(clauses, where=where)
    for column in NUMERIC_COLUMNS:
        _refuse_empty_range([clause for clause in clauses if clause.column == column], where=where)
    return tuple(sorted(clauses, key=_position))


def format_filters(clauses: Sequence[Clause]) -> str:
    """The text that ``parse_filters`` reads back as these clauses."""
    ordered = sorted(clauses, key=_position)
    return " & ".join(f"{clause.column} {clause.operator} {clause.value}" for clause in ordered)


def _position(clause: Clause) -> tuple[int, int]:
    return COLUMNS.index(clause.column), NUMERIC_OPERATORS.index(clause.operator)


def _parse_clause(part: str, *, where: str) -> Clause:
    words = part.split(" ")
    if len(words) != 3 or "" in words:
        raise InputError(
            f"{where}: read {part!r}, which is not one clause 'column operator value'. "
            f"Separate the three by single spaces and join clauses by ' & '."
        )
    clause = Clause(*words)
    if clause.column not in COLUMNS:
        raise InputError(
            f"{where}: unknown filter column {clause.column!r} in {part!r}; "
            f"allowed: {', '.join(COLUMNS)}."
        )
    _check_operator_and_value(clause, where=f"{where}: {part!r}")
    return clause


def _check_operator_and_value(clause: Clause, *, where: str) -> None:
    words = WORDS.get(clause.column)
    operators = NUMERIC_OPERATORS if words is None else ("==",)
    if clause.operator not in operators:
        raise InputError(
            f"{where}: unknown operator {clause.operator!r} for {clause.column}; "
            f"allowed: {', '.join(operators)}."
        )
    if words is not None:
        if clause.value not in words:
            raise InputError(
                f"{where}: unknown value {clause.value!r} for {clause.column}; "
                f"allowed: {', '.join(words)}."
            )
    elif not _NUMBER.fullmatch(clause.value):
        raise InputError(
            f"{where}: read {clause.value!r} where {clause.column} needs a plain number such as "
            f"5000 (no separators, no exponent, no trailing zeros)."
        )
    elif clause.column == "age" and clause.value.startswith("-"):
        raise InputError(f"{where}: an age cannot be negative.")


def _refuse_duplicates(clauses: Sequence[Clause], *, where: str) -> None:
    seen: set[tuple[str, str]] = set()
    for clause in clauses:
        if (clause.column, clause.operator) in seen:
            raise InputError(
                f"{where}: duplicate clause, {clause.column} {clause.operator} is stated twice. "
                f"Keep one of them."
            )
        seen.add((clause.column, clause.operator))


def _refuse_empty_range(clauses: Sequence[Clause], *, where: str) -> None:
    value = {clause.operator: float(clause.value) for clause in clauses}
    if "==" in value and len(value) > 1:
        raise InputError(
            f"{where}: {format_filters(clauses)!r} mixes == with a bound on the same column. "
            f"State either one value or a range."
        )
    ages_below_zero = clauses and clauses[0].column == "age" and value.get("<", 1) <= 0
    if ages_below_zero or (">=" in value and "<" in value and value[">="] >= value["<"]):
        raise InputError(
            f"{where}: {format_filters(clauses)!r} is an empty range; the lower bound is included "
            f"and the upper is not, so it must be greater."
        )
