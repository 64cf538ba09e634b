"""The warehouse: one DuckDB file whose tables are described by ``l0_pipeline/sql``.

Opens the file, and stores and loads assets as tables partitioned by year. What is in a table, and
what its rows must satisfy, is in its .sql file.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
from dagster_duckdb import DuckDBResource
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.settings import DATA_DIR

_SQL_FOLDER = Path(__file__).parents[1] / "sql"
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RETRY_SECONDS = 0.1
# long enough for another step to store or load a table, which takes well under a second
_LOCK_WAIT_SECONDS = 10.0


class Warehouse(DuckDBResource):
    """The DuckDB file, opened for as short as possible: one process at a time may write.

    A connection always closes, also when the work inside fails, and a file locked by another
    process is waited for, which `DuckDBResource` does for longer and for every other failure too.
    """

    lock_wait_seconds: float = Field(
        default=_LOCK_WAIT_SECONDS,
        ge=0,
        description="How long to wait for another process to release the file before giving up.",
    )

    @classmethod
    def _is_dagster_maintained(cls) -> bool:
        return False

    @contextmanager
    def get_connection(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that is closed at the end, whatever happens inside."""
        connection = self._open(read_only=read_only)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose changes are all kept or, when the work inside fails, all undone."""
        with self.get_connection() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.lock_wait_seconds
        if not read_only:
            _make_folder(Path(self.database).parent)
        while True:
            try:
                return duckdb.connect(
                    self.database, read_only=read_only, config=self.connection_config
                )
            except duckdb.Error as refused:
                locked = "Could not set lock" in str(refused)
                if not locked or time.monotonic() >= deadline:
                    raise _cannot_open(self.database, refused, locked=locked) from refused
            time.sleep(_RETRY_SECONDS)


class WarehouseTableIOManager(dg.ConfigurableIOManager):
    """Stores a Polars asset partitioned by year as the warehouse table of its name.

    The table is created from its .sql file. Storing replaces the partition's rows in one
    transaction; loading returns them in primary key order.
    """

    # fields of its own: Dagster 1.13 resolves a nested resource through a deprecated call
    database: str = Field(
        default=str(DATA_DIR / "warehouse.duckdb"),
        description="Path of the DuckDB file; made when it does not exist.",
    )
    lock_wait_seconds: float = Field(
        default=_LOCK_WAIT_SECONDS,
        ge=0,
        description="How long to wait for another process to release the file before giving up.",
    )

    @property
    def warehouse(self) -> Warehouse:
        """The file, opened anew for each table stored or loaded."""
        return Warehouse(database=self.database, lock_wait_seconds=self.lock_wait_seconds)

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Replace the rows of the partition's year by ``obj``, or leave the table as it was."""
        table = _table(context)
        year = _one_year(context, table=table)
        where = f"table {table} for {year} in {self.database}"
        _check_frame(obj, year=year, where=where)
        try:
            with self.warehouse.transaction() as connection:
                connection.execute((_SQL_FOLDER / f"{table}.sql").read_text(encoding="utf-8"))
                schema = _table_schema(connection, table=table)
                _check_columns(obj, schema=schema, where=where)
                # the only name in these texts is the table's, which _table has checked
                drop = f'delete from "{table}" where "year" = $year'  # noqa: S608
                insert = f'insert into "{table}" by name select * from stored_frame'  # noqa: S608
                count = f'select count(*) from "{table}"'  # noqa: S608
                connection.execute(drop, {"year": year})
                connection.register("stored_frame", obj)
                connection.execute(insert)
                rows = connection.execute(count).fetchall()[0][0]
        except duckdb.Error as refused:
            raise InputError(
                f"{where}: not stored, the earlier rows are unchanged. {refused} "
                f"Correct the rows that break this rule and store again."
            ) from refused
        context.add_output_metadata(
            {
                "dagster/table_name": table,
                "dagster/row_count": rows,
                "dagster/partition_row_count": len(obj),
                "dagster/column_schema": schema,
                "database": dg.MetadataValue.path(self.database),
                "database_bytes": Path(self.database).stat().st_size,
            }
        )

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The rows of the partition's year, or of several years, in primary key order."""
        table = _table(context)
        years = _years(context, table=table)
        where = f"table {table} for {', '.join(map(str, years))} in {self.database}"
        if not Path(self.database).exists():
            raise InputError(f"{where}: the file does not exist. Materialize {table} first.")
        try:
            with self.warehouse.get_connection(read_only=True) as connection:
                order = ", ".join(f'"{name}"' for name in _primary_key(connection, table=table))
                years_of_table = f'select * from "{table}" where list_contains($years, "year")'  # noqa: S608
                rows: pl.DataFrame = connection.sql(
                    f"{years_of_table} order by {order}", params={"years": years}
                ).pl()
        except duckdb.CatalogException as refused:
            raise InputError(
                f"{where}: there is no such table. Materialize {table} first."
            ) from refused
        missing = sorted(set(years) - set(rows["year"].to_list()))
        if missing:
            raise InputError(
                f"{where}: no rows for {', '.join(map(str, missing))}. "
                f"Materialize {table} for that year first."
            )
        return rows


def table_names() -> list[str]:
    """The tables that the warehouse can hold: those with a .sql file."""
    return sorted(path.stem for path in _SQL_FOLDER.glob("*.sql"))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise InputError(
            f"The warehouse's folder {folder} cannot be made: {refused.strerror}. "
            f"Choose another path for the database."
        ) from refused


def _cannot_open(database: str, refused: duckdb.Error, *, locked: bool) -> InputError:
    if locked:
        move = "Another process has the file open: close it, or wait for its run to end."
    else:
        move = (
            "If it is not a DuckDB file, or a newer version wrote it, move it away or choose "
            "another path: the warehouse is rebuilt from data/figures."
        )
    return InputError(f"The warehouse {database} cannot be opened: {refused} {move}")


def _table(context: dg.OutputContext | dg.InputContext) -> str:
    name = context.asset_key.path[-1]
    known = table_names()
    if name not in known or not _TABLE_NAME.fullmatch(name):
        raise InputError(
            f"Asset {name!r} is no warehouse table; tables with a .sql file: {', '.join(known)}. "
            f"Add l0_pipeline/sql/<name>.sql or give the asset another IO manager."
        )
    return name


def _years(context: dg.OutputContext | dg.InputContext, *, table: str) -> list[int]:
    keys = list(context.asset_partition_keys) if context.has_asset_partitions else []
    if not keys or not all(key.isascii() and key.isdecimal() for key in keys):
        raise InputError(
            f"Table {table} is partitioned by year, but the asset's partitions are {keys}. "
            f"Give the asset year partitions and choose one."
        )
    return [int(key) for key in keys]


def _one_year(context: dg.OutputContext, *, table: str) -> int:
    years = _years(context, table=table)
    if len(years) != 1:
        raise InputError(
            f"Table {table} is stored one year at a time, but the run covers {years}. "
            f"Launch one run per partition."
        )
    return years[0]


def _check_frame(frame: pl.DataFrame, *, year: int, where: str) -> None:
    if not isinstance(frame, pl.DataFrame):
        raise InputError(
            f"{where}: needs a polars DataFrame, but got {type(frame).__name__}. "
            f"Return the table from the asset."
        )
    if frame.is_empty():
        raise InputError(f"{where}: the frame has no rows. Nothing was replaced.")
    if "year" not in frame.columns:
        raise InputError(f"{where}: the frame has no column year. Add it to every row.")
    other = frame.filter(pl.col("year").ne_missing(year))
    if not other.is_empty():
        raise InputError(
            f"{where}: {len(other):,} of {len(frame):,} rows are of another year, "
            f"{other['year'].unique().to_list()[:5]}. Store each year in its own partition."
        )


def _check_columns(frame: pl.DataFrame, *, schema: dg.TableSchema, where: str) -> None:
    expected = [column.name for column in schema.columns]
    missing = [name for name in expected if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in expected]
    if missing or unknown:
        raise InputError(
            f"{where}: missing columns {missing}, unknown columns {unknown}; the table has "
            f"{', '.join(expected)}. If its .sql file changed since the table was made, delete "
            f"the database file and materialize again."
        )


def _table_schema(connection: duckdb.DuckDBPyConnection, *, table: str) -> dg.TableSchema:
    rows = connection.execute(
        "select column_name, data_type, comment from duckdb_columns() "
        "where table_name = $table order by column_index",
        {"table": table},
    ).fetchall()
    return dg.TableSchema([dg.TableColumn(name, kind, text) for name, kind, text in rows])


def _primary_key(connection: duckdb.DuckDBPyConnection, *, table: str) -> Sequence[str]:
    rows: list[Any] = connection.execute(
        "select constraint_column_names from duckdb_constraints() "
        "where table_name = $table and constraint_type = 'PRIMARY KEY'",
        {"table": table},
    ).fetchall()
    if not rows:
        raise duckdb.CatalogException(f"table {table} has no primary key")
    names: list[str] = rows[0][0]
    return names
