"""What tables the warehouse holds, as ``l0_pipeline/sql`` describes them: one .sql file a table.

Makes them in a file, refuses a file in which they are others, and replaces rows. How the file is
opened is in ``warehouse_file``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from l0_pipeline.logic.errors import InputError

# Raise it by one whenever a .sql file changes so that rows stored before do not fit: a column, a
# type, a key, a narrower constraint. A new table or a comment needs no new number.
VERSION = 2

_SQL_FOLDER = Path(__file__).parents[1] / "sql"
# tables of the warehouse about itself
_OWN = ("built_years", "warehouse_version")
# a year in which nothing is found has no rows
_MAY_BE_EMPTY = ("target_conflicts", "target_findings")


@dataclass(frozen=True)
class Table:
    """A table as its .sql file makes it."""

    name: str
    columns: Mapping[str, str]  # DuckDB's type by name, in order
    comments: Mapping[str, str]
    key: tuple[str, ...]  # the primary key, in order


def named(name: str) -> Table:
    """The table of that name.

    Raises:
        InputError: no .sql file describes it.
    """
    known = [table for table in _tables() if table not in _OWN]
    if name not in known:
        raise InputError(
            f"{name!r} is no warehouse table; tables with a .sql file: {', '.join(known)}. "
            f"Add l0_pipeline/sql/<name>.sql, or keep it elsewhere."
        )
    return _tables()[name]


def check(connection: duckdb.DuckDBPyConnection, *, file: str) -> None:
    """Refuse a file whose tables another version of the project made; others are not looked at.

    Raises:
        InputError: names the tables that differ, their columns, and the next move.
    """
    found = _columns(connection)
    version = _version(connection) if "warehouse_version" in found else 1
    ours = [table for table in _tables().values() if table.name in found]
    differing = [
        f"table {table.name} has missing columns {missing}, unknown columns {unknown}"
        for table in ours
        for missing, unknown in [_difference(found[table.name], table.columns)]
        if missing or unknown
    ]
    if ours and (version != VERSION or differing):
        raise InputError(
            f"The warehouse {file} holds tables of version {version}, this project's are "
            f"version {VERSION}: {'; '.join(differing) or 'rules of its tables changed'}. Nothing "
            f"was changed. Type `mv {file} {file}.version{version}` and build again; tables of "
            f"your own stay in the file that you moved."
        )


def make(connection: duckdb.DuckDBPyConnection) -> None:
    """Every table that the file does not hold yet, and the version."""
    missing = _tables().keys() - _columns(connection).keys()
    for name in sorted(missing):
        connection.execute(_sql(name))
    if "warehouse_version" in missing:
        connection.execute("insert into warehouse_version values ($version)", {"version": VERSION})


def holds(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the main schema has a table or view of that name, which is in lower case."""
    return name in _columns(connection)


def replace(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    frame: pl.DataFrame,
    *,
    keys: Mapping[str, int | str],
    file: str,
) -> None:
    """What ``Warehouse.replace`` does, in a transaction of ``connection``; errors name ``file``."""
    wanted = named(table)
    where = f"table {table} for {', '.join(map(str, keys.values()))} in {file}"
    _check_frame(frame, table=wanted, keys=keys, where=where)
    # the names in these texts are those of .sql files
    having = " and ".join(f'"{name}" = ${name}' for name in keys)
    try:
        connection.execute(f'delete from "{table}" where {having}', dict(keys))  # noqa: S608
        connection.register("stored_frame", frame)
        connection.execute(f'insert into "{table}" by name select * from stored_frame')  # noqa: S608
        connection.unregister("stored_frame")
        connection.execute(
            "insert or ignore into built_years by name select $year as year, $table as table_name",
            {"year": keys["year"], "table": table},
        )
    except duckdb.Error as refused:
        raise InputError(
            f"{where}: not stored, the earlier rows are unchanged. {refused} "
            f"Correct the rows that break this rule and store again."
        ) from refused


@cache
def _tables() -> dict[str, Table]:
    with duckdb.connect() as connection:
        for path in sorted(_SQL_FOLDER.glob("*.sql")):
            connection.execute(_sql(path.stem))
        columns = _columns(connection)
        comments = connection.execute(
            "select table_name, map_from_entries(list((column_name, comment))) "
            "from duckdb_columns() where not internal group by table_name"
        ).fetchall()
        keys = connection.execute(
            "select table_name, constraint_column_names from duckdb_constraints() "
            "where constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    comment_of, key_of = dict(comments), dict(keys)
    return {
        name: Table(name, columns[name], comment_of[name], tuple(key_of[name]))
        for name in sorted(columns)
    }


def _sql(name: str) -> str:
    return (_SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Type by column by table, of the main schema, views among them; table names in lower case."""
    rows = connection.execute(
        # as DuckDB compares them
        "select lower(table_name), column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and schema_name = 'main' and not internal "
        "order by table_name, column_index"
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    numbers = connection.execute("select number from warehouse_version").fetchall()
    return int(numbers[0][0]) if numbers else 1


def _difference(
    found: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[list[str], list[str]]:  # (missing, unknown), each with its type
    missing = [f"{name} {kind}" for name, kind in wanted.items() if found.get(name) != kind]
    unknown = [f"{name} {kind}" for name, kind in found.items() if wanted.get(name) != kind]
    return missing, unknown


def _check_frame(
    frame: pl.DataFrame, *, table: Table, keys: Mapping[str, int | str], where: str
) -> None:
    if not isinstance(frame, pl.DataFrame):
        raise InputError(
            f"{where}: needs a polars DataFrame, but got {type(frame).__name__}. "
            f"Return the table from the asset."
        )
    if "year" not in keys or not set(keys) <= set(table.key):
        raise InputError(
            f"{where}: rows are replaced by {list(keys)}, but must be by year and other columns "
            f"of the primary key {', '.join(table.key)}. Nothing was replaced."
        )
    missing = [name for name in table.columns if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in table.columns]
    if missing or unknown:
        raise InputError(
            f"{where}: missing columns {missing}, unknown columns {unknown}; the table has "
            f"{', '.join(table.columns)}. Nothing was replaced."
        )
    if frame.is_empty() and table.name not in _MAY_BE_EMPTY:
        raise InputError(f"{where}: the frame has no rows. Nothing was replaced.")
    for name, value in keys.items():
        other = frame.filter(pl.col(name).cast(pl.String).ne_missing(str(value)))
        if not other.is_empty():
            raise InputError(
                f"{where}: {len(other):,} of {len(frame):,} rows are of another {name}, "
                f"{other[name].unique().to_list()[:5]}. Store each {name} by itself."
            )
