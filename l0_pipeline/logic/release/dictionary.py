"""The data dictionary of a release: what every published column means.

The descriptions come from the caller; the types come from the tables themselves, so that the
dictionary cannot say another type than the file has.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from l0_pipeline.logic.errors import InputError

DICTIONARY_SCHEMA = pl.Schema(
    dict.fromkeys(("table", "column", "dtype", "unit", "description", "source"), pl.String)
)
SHOWN = 10  # names listed in a message before "and n more"


class DescribedColumn(Protocol):
    """What a column's description must have; any object with these attributes will do."""

    @property
    def name(self) -> str:
        """The column."""
        ...

    @property
    def dtype(self) -> object:
        """Its Polars type."""
        ...

    @property
    def unit(self) -> str | None:
        """What one of it is."""
        ...

    @property
    def description(self) -> str:
        """What it means."""
        ...


@dataclass(frozen=True)
class TableDescription:
    """The columns of one table, and where they come from."""

    columns: Sequence[DescribedColumn]
    source: str  # of every column that column_sources does not name
    column_sources: Mapping[str, str] = field(default_factory=dict)


def data_dictionary(
    tables: Mapping[str, pl.DataFrame], *, descriptions: Mapping[str, TableDescription]
) -> pl.DataFrame:
    """One row a published column, in the order of the tables and of their columns.

    A description of a column that is not published is left out; a published column without a
    description, or of another type than described, is refused.
    """
    without = [name for name in tables if name not in descriptions]
    if without:
        raise InputError(
            f"{len(without)} of {len(tables)} tables have no description: {_listed(without)}. "
            f"Describe every table that is published; described: {_listed(list(descriptions))}."
        )
    rows = [row for name, table in tables.items() for row in _rows(name, table, descriptions[name])]
    return pl.DataFrame(rows, schema=DICTIONARY_SCHEMA, orient="row")


def refuse_incomplete_dictionary(
    dictionary: pl.DataFrame, *, tables: Mapping[str, pl.DataFrame]
) -> None:
    """Every column of every table is a row of ``dictionary``, and no row is without its column."""
    if dictionary.schema != DICTIONARY_SCHEMA:
        raise InputError(
            f"The data dictionary has columns {dict(dictionary.schema)}, but needs "
            f"{list(DICTIONARY_SCHEMA)}, all text: make it with data_dictionary."
        )
    described = Counter(dictionary.select("table", "column").iter_rows())
    published = {(name, column) for name, table in tables.items() for column in table.columns}
    _refuse(
        [f"{name}.{column}" for name, column in published if (name, column) not in described],
        "published columns are not in the data dictionary",
        "describe them, or do not publish them",
    )
    _refuse(
        [f"{name}.{column}" for name, column in described if (name, column) not in published],
        "rows of the data dictionary are of no published column",
        "make the dictionary from the tables that are published",
    )
    _refuse(
        [f"{name}.{column}" for (name, column), count in described.items() if count > 1],
        "columns are in the data dictionary more than once",
        "keep one row of each",
    )


def _rows(
    name: str, table: pl.DataFrame, description: TableDescription
) -> list[tuple[str, str, str, str | None, str, str]]:
    """The rows of the dictionary for one table."""
    columns = {column.name: column for column in description.columns}
    _refuse_unclear(name, table, description)
    return [
        (
            name,
            column,
            str(dtype),
            columns[column].unit,
            columns[column].description,
            description.column_sources.get(column, description.source),
        )
        for column, dtype in table.schema.items()
    ]


def _refuse_unclear(name: str, table: pl.DataFrame, description: TableDescription) -> None:
    columns = {column.name: column for column in description.columns}
    sources = description.column_sources
    counts = Counter(column.name for column in description.columns)
    _refuse(
        [column for column, count in counts.items() if count > 1],
        f"columns of table {name!r} are described more than once",
        "keep one description of each",
    )
    _refuse(
        [c for c in table.columns if c not in columns or not columns[c].description.strip()],
        f"of {table.width} published columns of table {name!r} have no description",
        "describe them, or do not publish them",
    )
    _refuse(
        [
            f"{column} ({dtype}, described as {columns[column].dtype})"
            for column, dtype in table.schema.items()
            if not _same_dtype(dtype, columns[column].dtype)
        ],
        f"columns of table {name!r} are of another type than described",
        "cast the column, or correct its description",
    )
    _refuse(
        [column for column in sources if column not in columns],
        f"sources are given for columns that table {name!r} does not describe",
        f"correct the names; described: {_listed(list(columns))}",
    )
    _refuse(
        [c for c in table.columns if not sources.get(c, description.source).strip()],
        f"of {table.width} published columns of table {name!r} have no source",
        "say where they come from",
    )


def _same_dtype(actual: pl.DataType, described: object) -> bool:
    """Polars types compare by themselves; a type given as text compares by its name."""
    return actual == described or str(actual) == described


def _refuse(names: Sequence[str], what: str, next_move: str) -> None:
    if names:
        raise InputError(f"{len(names)} {what}: {_listed(sorted(names))}. Next: {next_move}.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
