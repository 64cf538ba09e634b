"""The warehouse: a DuckDB file that assets are stored in, and that people query while builds run.

``Warehouse`` opens it and ``WarehouseTableIOManager`` keeps an asset in it as a table partitioned
by year. How the file is replaced is in ``warehouse_file``, what it holds in ``warehouse_tables``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources import warehouse_file, warehouse_tables
from l0_pipeline.settings import WAREHOUSE, YEARS

# assets whose table has another name
TABLES = {"published_figures": "figures", "target_accounting": "target_roles"}
# a table that users may make for figures of their own
OWN_FIGURES = "own_figures"

_DATABASE_TEXT = "Path of the DuckDB file; made when it does not exist."
# long enough for another step to store a table, which takes well under a second
_LOCK_WAIT_SECONDS = 10.0
_LOCK_WAIT_TEXT = "How long to wait for whoever writes the file before giving up."


class Warehouse(dg.ConfigurableResource["Warehouse"]):
    """The DuckDB file: readers keep the version that they opened, writers take turns."""

    database: str = Field(default=str(WAREHOUSE), description=_DATABASE_TEXT)
    lock_wait_seconds: float = Field(default=_LOCK_WAIT_SECONDS, ge=0, description=_LOCK_WAIT_TEXT)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection to the tables as they are now.

        Raises:
            InputError: the file cannot be opened, or another version of the project made it.
        """
        path = Path(self.database)
        with warehouse_file.reading(path, wait_seconds=self.lock_wait_seconds) as connection:
            warehouse_tables.check(connection, file=self.database)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: at the end all changes are kept, or none.

        All tables are there, those never stored without rows.

        Raises:
            InputError: somebody else has the file open for writing, it cannot be opened, or
                another version of the project made it; or a change was refused.
        """
        path = Path(self.database)
        with warehouse_file.writing(path, wait_seconds=self.lock_wait_seconds) as connection:
            warehouse_tables.check(connection, file=self.database)
            warehouse_tables.make(connection)
            yield connection

    def replace(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        frame: pl.DataFrame,
        *,
        keys: Mapping[str, int | str],
    ) -> None:
        """The rows of a table with these key values are those of the frame from now on.

        Args:
            connection: of ``writing``.
            table: a table with a .sql file.
            frame: its columns in any order; every row has the values of ``keys``. Only
                ``target_findings`` and ``target_conflicts`` may have no rows.
            keys: value by column, all of the primary key; ``year`` is among them.

        Raises:
            InputError: the table is unknown, the keys or columns are not the table's, or a row
                has another key or breaks a rule of the table.
        """
        warehouse_tables.replace(connection, table, frame, keys=keys, file=self.database)

    def own_figures(self, year: int) -> pl.DataFrame | None:
        """The user's own figures of a year, every column as text, by ``figure_id``.

        A row whose year cannot be read or is none of ``settings.YEARS`` belongs to no build: it is
        given with every year, so that whoever checks the rows sees it.

        Returns:
            The rows of the table or view ``own_figures``, in upper or lower case, of the schema
            main; None where there are none, no table or no file.

        Raises:
            InputError: the file cannot be read, or the table has no column figure_id or year.
        """
        if not Path(self.database).exists():
            return None
        with self.reading() as connection:
            if not warehouse_tables.holds(connection, OWN_FIGURES):
                return None
            others = [int(other) for other in YEARS if int(other) != year]
            # the only name in this text is a constant
            of_year = (
                f"from {OWN_FIGURES} "
                'where list_contains($others, try_cast("year" as bigint)) is not true'
            )
            as_text = f"select cast(columns(*) as varchar) {of_year} order by figure_id"
            try:
                rows: pl.DataFrame = connection.sql(as_text, params={"others": others}).pl()
            except duckdb.Error as refused:
                raise InputError(
                    f"Table {OWN_FIGURES} of {self.database} cannot be read: {refused} It needs "
                    f"the columns of a figure, which data/figures/README.md lists."
                ) from refused
        return None if rows.is_empty() else rows


class WarehouseTableIOManager(dg.ConfigurableIOManager):
    """Stores a Polars asset partitioned by year as the warehouse table of its name.

    ``TABLES`` has the assets whose table has another name. Storing replaces the partition's rows;
    loading returns them in primary key order.
    """

    # fields of its own: Dagster 1.13 resolves a nested resource through a deprecated call
    database: str = Field(default=str(WAREHOUSE), description=_DATABASE_TEXT)
    lock_wait_seconds: float = Field(default=_LOCK_WAIT_SECONDS, ge=0, description=_LOCK_WAIT_TEXT)

    @property
    def warehouse(self) -> Warehouse:
        """The file, opened anew for each table stored or loaded."""
        return Warehouse(database=self.database, lock_wait_seconds=self.lock_wait_seconds)

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Replace the rows of the partition's year by ``obj``, or leave the table as it was."""
        table = _table(context)
        year = _one_year(context, table=table)
        with self.warehouse.writing() as connection:
            self.warehouse.replace(connection, table.name, obj, keys={"year": year})
            # the only name in this text is that of a .sql file
            count = f'select count(*) from "{table.name}"'  # noqa: S608
            rows = connection.execute(count).fetchall()[0][0]
        context.add_output_metadata(
            {
                "dagster/table_name": table.name,
                "dagster/row_count": rows,
                "dagster/partition_row_count": len(obj),
                "dagster/column_schema": _schema(table),
                "database": dg.MetadataValue.path(self.database),
                "database_bytes": Path(self.database).stat().st_size,
            }
        )

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The rows of the partition's year, or of several years, in primary key order."""
        table = _table(context)
        years = _years(context, table=table)
        asset = context.asset_key.to_user_string()
        where = f"table {table.name} for {', '.join(map(str, years))} in {self.database}"
        if not Path(self.database).exists():
            raise InputError(f"{where}: the file does not exist. Materialize {asset} first.")
        with self.warehouse.reading() as connection:
            missing = sorted(set(years) - _built(connection, table))
            if missing:
                raise InputError(
                    f"{where}: no rows for {', '.join(map(str, missing))}. "
                    f"Materialize {asset} for that year first."
                )
            order = ", ".join(f'"{name}"' for name in table.key)
            # the only names in this text are those of a .sql file
            chosen = f'from "{table.name}" where list_contains($years, "year") order by {order}'
            rows: pl.DataFrame = connection.sql(chosen, params={"years": years}).pl()
        return rows


def _table(context: dg.OutputContext | dg.InputContext) -> warehouse_tables.Table:
    asset = context.asset_key.path[-1]
    return warehouse_tables.named(TABLES.get(asset, asset))


def _years(
    context: dg.OutputContext | dg.InputContext, *, table: warehouse_tables.Table
) -> list[int]:
    keys = list(context.asset_partition_keys) if context.has_asset_partitions else []
    if not keys or not all(key.isascii() and key.isdecimal() for key in keys):
        raise InputError(
            f"Table {table.name} is partitioned by year, but the asset's partitions are {keys}. "
            f"Give the asset year partitions and choose one."
        )
    return [int(key) for key in keys]


def _one_year(context: dg.OutputContext, *, table: warehouse_tables.Table) -> int:
    years = _years(context, table=table)
    if len(years) != 1:
        raise InputError(
            f"Table {table.name} is stored one year at a time, but the run covers {years}. "
            f"Launch one run per partition."
        )
    return years[0]


def _schema(table: warehouse_tables.Table) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(name, kind, table.comments[name]) for name, kind in table.columns.items()]
    )


def _built(connection: duckdb.DuckDBPyConnection, table: warehouse_tables.Table) -> set[int]:
    """The years that were stored, also those without a row."""
    if not warehouse_tables.holds(connection, "built_years"):
        return set()
    rows = connection.execute(
        'select "year" from built_years where table_name = $table', {"table": table.name}
    ).fetchall()
    return {year for (year,) in rows}
