"""Numbers and codes as a reader says them: percentages, dollars, places, classes of income.

What is missing is a dash. A number keeps about four digits.
"""

import math
import re
from collections.abc import Callable

import polars as pl

from l0_pipeline.logic.report.areas import area_name

DASH = "–"  # noqa: RUF001
Words = Callable[[object], str]

_SCALES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_BOUND = re.compile(r"(?P<name>\w+) (?P<side><|>=) (?P<bound>-?[0-9]+(\.[0-9]+)?)")
_NAMES = {"agi": "AGI", "age": "age"}


def number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: object, *, digits: int = 2, signed: bool = False) -> str:
    """A share in percent; above 1,000 % without decimals."""
    share = number(value)
    if share is None:
        return DASH
    digits = 0 if abs(share) >= 10 else digits
    shown = round(100 * share, digits) or 0.0  # never a minus before a zero
    return f"{shown:{'+' if signed and shown else ''},.{digits}f} %"


def limit_percent(value: object) -> str:
    """A limit in percent, with the digits that it has."""
    share = number(value)
    return DASH if share is None else f"{100 * share:g} %"


def signed_percent(value: object) -> str:
    """A signed error in percent, one decimal."""
    return percent(value, digits=1, signed=True)


def fine_percent(value: object) -> str:
    """A small share in percent, three decimals."""
    return percent(value, digits=3)


def count(value: object) -> str:
    """A whole number with separators."""
    whole = number(value)
    return DASH if whole is None else f"{whole:,.0f}"


def ratio(value: object) -> str:
    """Three digits, or whole above a thousand."""
    found = number(value)
    if found is None:
        return DASH
    return f"{found:,.0f}" if abs(found) >= 1000 else f"{found:.3g}"


def dollars(value: object, *, signed: bool = False) -> str:
    """Dollars in millions, billions or trillions."""
    found = number(value)
    if found is None:
        return DASH
    sign = "-" if found < 0 else "+" if signed else ""
    return f"{sign}${_scaled(abs(found))}"


def large(value: object) -> str:
    """A number of any unit in millions, billions or trillions."""
    found = number(value)
    if found is None:
        return DASH
    return f"{'-' if found < 0 else ''}{_scaled(abs(found))}"


def signed_dollars(value: object) -> str:
    """A change in dollars, its sign always shown."""
    return dollars(value, signed=True)


def quantity(value: object, unit: str) -> str:
    """A target's value with its unit."""
    return dollars(value) if unit == "dollars" else f"{count(value)} {unit}"


def text(value: object) -> str:
    """Text as it is; a dash for nothing."""
    return DASH if value is None or value == "" else str(value)


def plain(name: object) -> str:
    """A name of code as words."""
    return text(name).replace("_", " ")


def target(variable: object, geography: object, condition: object, unit: object = None) -> str:
    """What a target measures, where, and of whom; returns that have an amount are counted."""
    counted = "number with " if unit == "returns" and variable != "returns" else ""
    parts = [counted + plain(variable), area_name(geography)]
    if condition:
        parts.append(conditions(str(condition)))
    return ", ".join(parts)


def targets(table: pl.DataFrame) -> pl.Series:
    """What each row's target is: of ``variable``, ``geography``, ``condition`` and ``unit``."""
    rows = table["variable", "geography", "condition", "unit"].rows()
    return pl.Series([target(*row) for row in rows], dtype=pl.String)


def conditions(clauses: str) -> str:
    """``agi >= 1 & agi < 10000`` as ``AGI 1 to under 10,000``; other clauses nearly as they are."""
    bounds: dict[str, dict[str, str]] = {}
    said: list[str] = []
    for clause in clauses.split(" & "):
        match = _BOUND.fullmatch(clause)
        if match is None:
            said.append(clause.replace(" == ", " ").replace("_", " "))
        else:
            bounds.setdefault(match["name"], {})[match["side"]] = f"{float(match['bound']):,.0f}"
    return ", ".join([*(_interval(name, sides) for name, sides in bounds.items()), *said])


def _scaled(size: float) -> str:
    for scale, name in _SCALES:
        if size >= scale:
            return f"{size / scale:,.2f} {name}"
    return f"{size:,.0f}"


def _interval(name: str, sides: dict[str, str]) -> str:
    called = _NAMES.get(name, plain(name))
    if len(sides) == 2:
        return f"{called} {sides['>=']} to under {sides['<']}"
    return f"{called} {sides['>=']} or more" if ">=" in sides else f"{called} under {sides['<']}"
