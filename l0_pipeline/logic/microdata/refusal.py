"""Refusing rows of an input table: one message with the file, rows, column, values and remedy."""

import difflib
from collections.abc import Iterable, Sequence

import polars as pl

from l0_pipeline.logic.errors import InputError

SHOWN = 3  # rows and values quoted in a message


def refuse_rows(
    table: pl.DataFrame,
    bad: pl.Expr,
    *,
    file: str,
    column: str,
    problem: str,
    remedy: str,
    first_row: int,
) -> None:
    """Raise when any row of ``table`` is ``bad``; a null counts as bad.

    Args:
        table: the rows as read.
        bad: true for the rows to refuse.
        file: what the message calls the file.
        column: the column at fault, whose values are quoted.
        problem: what is wrong with it, as the rest of the sentence "column x ...".
        remedy: the reader's next move.
        first_row: what a reader of the file calls the first row (2 under a csv header).
    """
    numbered = table.with_row_index("row number", offset=first_row)
    found = numbered.filter(bad.fill_null(True))
    if found.is_empty():
        return
    first = found.head(SHOWN)
    rows = ", ".join(str(row) for row in first["row number"])
    values = ", ".join(repr(value) for value in first[column])
    raise InputError(
        f"{file}: column {column} {problem} in {len(found)} of {len(table)} rows "
        f"(first rows {rows}: {values}). {remedy}"
    )


def refuse_missing_columns(
    present: Iterable[str], required: Sequence[str], *, file: str, remedy: str
) -> None:
    """Raise when a required column is absent, naming all that are."""
    names = list(present)
    missing = [name for name in required if name not in names]
    if missing:
        raise InputError(
            f"{file}: {len(missing)} required column(s) missing: {', '.join(missing)}. "
            f"It has {_listed(names)}. {remedy}"
        )


def refuse_unknown_columns(present: Iterable[str], known: Sequence[str], *, file: str) -> None:
    """Raise on column names that nothing reads, with the nearest names that something does."""
    unknown = [name for name in present if name not in known]
    if not unknown:
        return
    nearest = {name: difflib.get_close_matches(name, known, n=3) for name in unknown[:SHOWN]}
    hints = "; ".join(
        f"{name!r} (nearest: {', '.join(close)})" if close else f"{name!r}"
        for name, close in nearest.items()
    )
    raise InputError(
        f"{file}: {len(unknown)} unknown column(s): {hints}. "
        f"Rename or drop them; known are {', '.join(known)}."
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "no columns"
