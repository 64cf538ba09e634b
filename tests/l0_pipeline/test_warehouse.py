"""Laws of the warehouse: a partition is replaced whole or not at all, and read back as stored."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources.warehouse import Warehouse, WarehouseTableIOManager, table_names

YEARS = dg.StaticPartitionsDefinition(["2021", "2022"])
CLAUSES = pl.List(pl.Struct({"column": pl.String, "operator": pl.String, "value": pl.String}))
TARGETS = pl.DataFrame(
    {
        "year": [2022, 2022],
        "target_id": ["a", "b"],
        "family": ["wages, nation", "returns filed, states"],
        "variable": ["wages_and_salaries", "returns"],
        "measure": ["sum", "count"],
        "universe": ["returns", "returns"],
        "geography": ["US", "01"],
        "filters": [
            [
                {"column": "agi", "operator": ">=", "value": "1"},
                {"column": "agi", "operator": "<", "value": "5000"},
            ],
            [],
        ],
        "value": [-14_833_956_956_000.25, 0.0],
        "unit": ["dollars", "returns"],
        "period": ["tax year 2022", "tax year 2022"],
        "publisher": ["IRS", "IRS"],
        "published_table": ["Table 1", "Table 1"],
        "records": ["filers", "filers"],
        "microdata_column": ["wages", "one"],
        "closeness": ["close", "close"],
        "role": ["fitted", "rejected"],
        "reason": ["has support", "no record is reached"],
        "note": ["", "rounded; isn't it?"],
    },
    schema_overrides={"filters": CLAUSES},
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(database=str(tmp_path / "new" / "warehouse.duckdb"), lock_wait_seconds=0.2)


def _manager(warehouse: Warehouse) -> WarehouseTableIOManager:
    return WarehouseTableIOManager(
        database=warehouse.database, lock_wait_seconds=warehouse.lock_wait_seconds
    )


def _store(
    warehouse: Warehouse, frame: object, *, year: str = "2022", table: str = "targets"
) -> dg.OutputContext:
    context = dg.build_output_context(
        asset_key=dg.AssetKey([table]), partition_key=year, asset_partitions_def=YEARS
    )
    _manager(warehouse).handle_output(context, frame)  # type: ignore[arg-type]
    return context


def _load(warehouse: Warehouse, *years: str, table: str = "targets") -> pl.DataFrame:
    context = dg.build_input_context(
        asset_key=dg.AssetKey([table]),
        partition_key=years[0],
        asset_partitions_def=YEARS,
        asset_partition_key_range=dg.PartitionKeyRange(years[0], years[-1]),
    )
    return _manager(warehouse).load_input(context)


def _of_2021() -> pl.DataFrame:
    return TARGETS.with_columns(pl.lit(2021, pl.Int64).alias("year"))


def test_a_table_is_read_back_as_it_was_stored_with_its_clauses(warehouse: Warehouse):
    _store(warehouse, TARGETS)
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


def test_rows_come_back_in_primary_key_order_whatever_the_order_stored(warehouse: Warehouse):
    _store(warehouse, TARGETS.reverse().select(reversed(TARGETS.columns)))
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


def test_storing_again_replaces_the_rows_of_that_year_only(warehouse: Warehouse):
    _store(warehouse, _of_2021(), year="2021")
    _store(warehouse, TARGETS)
    _store(warehouse, TARGETS.head(1))
    assert_frame_equal(_load(warehouse, "2022"), TARGETS.head(1))
    assert_frame_equal(_load(warehouse, "2021"), _of_2021())


def test_several_years_are_loaded_together(warehouse: Warehouse):
    _store(warehouse, _of_2021(), year="2021")
    _store(warehouse, TARGETS)
    assert_frame_equal(_load(warehouse, "2021", "2022"), pl.concat([_of_2021(), TARGETS]))


def test_storing_shows_rows_table_schema_and_file_size(warehouse: Warehouse):
    _store(warehouse, _of_2021(), year="2021")
    metadata = _store(warehouse, TARGETS).get_logged_metadata()
    assert metadata["dagster/row_count"].value == 4
    assert metadata["dagster/partition_row_count"].value == 2
    assert metadata["dagster/table_name"].value == "targets"
    assert metadata["database_bytes"].value == Path(warehouse.database).stat().st_size
    columns = metadata["dagster/column_schema"].schema.columns
    assert [column.name for column in columns] == TARGETS.columns
    assert all(column.description for column in columns)


def test_an_asset_stores_and_its_downstream_loads_through_dagster(warehouse: Warehouse):
    @dg.asset(partitions_def=YEARS, io_manager_key="warehouse_tables")
    def targets() -> pl.DataFrame:
        return TARGETS

    @dg.asset(partitions_def=YEARS)
    def loaded_rows(targets: pl.DataFrame) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": len(targets)})

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [targets, loaded_rows],
            resources={"warehouse_tables": _manager(warehouse)},
            partition_key="2022",
            instance=instance,
        )
    evidence = result.asset_materializations_for_node("loaded_rows")[0].metadata
    assert evidence["rows"].value == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.lit("kept").alias("role"), "CHECK constraint failed"),
        (pl.lit("a").alias("target_id"), "duplicate key"),
        (pl.lit(None, pl.String).alias("reason"), "NOT NULL constraint failed"),
        (pl.lit(float("nan")).alias("value"), "CHECK constraint failed"),
        (pl.lit("persons").alias("unit"), "CHECK constraint failed"),
        (pl.lit(None, CLAUSES).alias("filters"), "NOT NULL constraint failed"),
        (pl.lit("text").alias("value"), "Could not convert"),
    ],
)
def test_rows_that_break_a_rule_of_the_table_leave_the_earlier_rows(
    warehouse: Warehouse, change: pl.Expr, said: str
):
    _store(warehouse, TARGETS)
    with pytest.raises(InputError, match=f"(?s)targets for 2022 .*unchanged.*{said}"):
        _store(warehouse, TARGETS.with_columns(change))
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (TARGETS.drop("reason"), r"missing columns \['reason'\]"),
        (TARGETS.with_columns(extra=1), r"unknown columns \['extra'\]"),
        (TARGETS.drop("year"), "no column year"),
        (_of_2021(), r"2 of 2 rows are of another year, \[2021\]"),
        (TARGETS.with_columns(year=pl.lit(None, pl.Int64)), "2 of 2 rows are of another year"),
        (TARGETS.clear(), "the frame has no rows"),
        ([1, 2], "needs a polars DataFrame, but got list"),
    ],
)
def test_a_frame_that_is_not_the_years_table_is_refused_before_anything_changes(
    warehouse: Warehouse, frame: object, said: str
):
    _store(warehouse, TARGETS)
    with pytest.raises(InputError, match=said):
        _store(warehouse, frame)
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


def test_a_process_killed_in_the_middle_leaves_the_earlier_rows(warehouse: Warehouse):
    _store(warehouse, TARGETS)
    script = (
        "import os, signal, sys, duckdb\n"
        "con = duckdb.connect(sys.argv[1])\n"
        "con.begin()\n"
        "con.execute('delete from targets')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, warehouse.database], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


def test_an_exception_inside_a_transaction_undoes_it_and_closes_the_file(warehouse: Warehouse):
    _store(warehouse, TARGETS)

    def fail_after_deleting() -> None:
        with warehouse.transaction() as connection:
            connection.execute("delete from targets")
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_deleting()
    assert_frame_equal(_load(warehouse, "2022"), TARGETS)


def test_an_asset_without_a_sql_file_is_refused_with_the_known_tables(warehouse: Warehouse):
    assert "targets" in table_names()
    for name in ('targets" union select', "../targets", "weights"):
        with pytest.raises(InputError, match=r"tables with a .sql file: .*targets"):
            _store(warehouse, TARGETS, table=name)
        with pytest.raises(InputError, match="is no warehouse table"):
            _load(warehouse, "2022", table=name)


def test_an_asset_without_year_partitions_is_refused(warehouse: Warehouse):
    with pytest.raises(InputError, match="partitioned by year"):
        _manager(warehouse).handle_output(
            dg.build_output_context(asset_key=dg.AssetKey(["targets"])), TARGETS
        )
    areas = dg.StaticPartitionsDefinition(["north"])
    context = dg.build_output_context(
        asset_key=dg.AssetKey(["targets"]), partition_key="north", asset_partitions_def=areas
    )
    with pytest.raises(InputError, match=r"the asset's partitions are \['north'\]"):
        _manager(warehouse).handle_output(context, TARGETS)


def test_loading_before_anything_is_stored_says_what_to_materialize(warehouse: Warehouse):
    with pytest.raises(InputError, match=r"the file does not exist. Materialize targets first"):
        _load(warehouse, "2022")
    with warehouse.get_connection():
        pass
    with pytest.raises(InputError, match=r"no such table. Materialize targets first"):
        _load(warehouse, "2022")
    _store(warehouse, TARGETS)
    with pytest.raises(InputError, match=r"no rows for 2021. Materialize targets for that year"):
        _load(warehouse, "2021", "2022")


def test_a_file_locked_by_another_process_is_refused_with_the_next_move(warehouse: Warehouse):
    _store(warehouse, TARGETS)
    with _AnotherProcess(warehouse.database):
        with pytest.raises(InputError, match=r"(?s)warehouse.duckdb cannot be opened.*close it"):
            _store(warehouse, TARGETS)
        with pytest.raises(InputError, match=r"(?s)cannot be opened.*Another process"):
            _load(warehouse, "2022")


def test_a_lock_that_is_released_in_time_is_waited_for(warehouse: Warehouse):
    _store(warehouse, TARGETS)
    patient = Warehouse(database=warehouse.database, lock_wait_seconds=30)
    with _AnotherProcess(warehouse.database, seconds=0.5):
        assert_frame_equal(_load(patient, "2022"), TARGETS)


@pytest.mark.parametrize("content", [b"", b"year,value\n" * 500])
def test_a_file_that_is_not_duckdb_is_refused_at_once_and_not_touched(
    warehouse: Warehouse, content: bytes
):
    path = Path(warehouse.database)
    path.parent.mkdir()
    path.write_bytes(content)
    patient = Warehouse(database=warehouse.database, lock_wait_seconds=600)
    with pytest.raises(InputError, match=r"(?s)cannot be opened.*not a valid DuckDB.*another path"):
        _store(patient, TARGETS)
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused(warehouse: Warehouse):
    _store(warehouse, TARGETS)
    path = Path(warehouse.database)
    content = bytearray(path.read_bytes())
    content[12] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)warehouse\.duckdb cannot be opened.*rebuilt from"):
        _load(warehouse, "2022")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    warehouse = Warehouse(database=str(tmp_path / "file" / "warehouse.duckdb"))
    with pytest.raises(InputError, match=r"folder .*file cannot be made"):
        _store(warehouse, TARGETS)


def test_every_sql_file_makes_a_table_of_its_name_keyed_by_year():
    for name in table_names():
        with duckdb.connect() as connection:
            folder = Path(sys.modules[Warehouse.__module__].__file__ or "").parents[1] / "sql"
            connection.execute((folder / f"{name}.sql").read_text(encoding="utf-8"))
            key = connection.execute(
                "select constraint_column_names from duckdb_constraints() "
                "where table_name = $table and constraint_type = 'PRIMARY KEY'",
                {"table": name},
            ).fetchall()
        assert key[0][0][0] == "year"


class _AnotherProcess:
    """Another process that holds the database open, for ever or for some seconds."""

    def __init__(self, database: str, *, seconds: float = 600) -> None:
        script = (
            "import sys, time, duckdb\n"
            "con = duckdb.connect(sys.argv[1])\n"
            "print('open', flush=True)\n"
            "time.sleep(float(sys.argv[2]))\n"
            "con.close()\n"
        )
        self.holder = subprocess.Popen(
            [sys.executable, "-c", script, database, str(seconds)],
            stdout=subprocess.PIPE,
            env=os.environ,
        )

    def __enter__(self) -> None:
        assert self.holder.stdout is not None
        self.holder.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self.holder.kill()
        self.holder.communicate()
