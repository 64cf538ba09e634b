"""Laws of the warehouse: tables are replaced whole or not at all; readers are never in the way."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import dagster as dg
import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources import warehouse_tables
from l0_pipeline.resources.warehouse import TABLES, Warehouse, WarehouseTableIOManager

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
        "standard_error": [None, 12.5],
        "period": ["tax year 2022", "tax year 2022"],
        "publisher": ["IRS", "IRS"],
        "published_table": ["Table 1", "Table 1"],
        "aged_from": [None, 2021],
        "records": ["filers", "filers"],
        "microdata_column": ["wages", "one"],
        "closeness": ["close", "close"],
        "role": ["fitted", "rejected"],
        "fold": [3, None],
        "reason": ["has support", "no record is reached"],
        "note": ["", "rounded; isn't it?"],
    },
    schema_overrides={"filters": CLAUSES},
)
FINDINGS = pl.DataFrame(
    {
        "year": [2022],
        "finding_id": ["f1"],
        "kind": ["total_against_parts"],
        "severity": ["error"],
        "figure_id": ["a"],
        "file": ["wages.csv"],
        "line": [2],
        "related": ["b, c"],
        "value": [10.0],
        "expected": [7.0],
        "gap": [3.0],
        "detail": ["the parts add up to 7"],
    }
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(database=str(tmp_path / "new" / "warehouse.duckdb"), lock_wait_seconds=0.2)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("earlier") / "warehouse.duckdb"
    _store(Warehouse(database=str(database)), TARGETS)
    return database


@pytest.fixture
def stored(warehouse: Warehouse, earlier: Path) -> Warehouse:
    """A warehouse in which TARGETS are stored."""
    Path(warehouse.database).parent.mkdir()
    shutil.copy(earlier, warehouse.database)
    return warehouse


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


def _put(warehouse: Warehouse, frame: pl.DataFrame, *, table: str = "targets") -> None:
    with warehouse.writing() as connection:
        warehouse.replace(connection, table, frame, keys={"year": 2022})


def _rows(warehouse: Warehouse, table: str = "targets") -> pl.DataFrame:
    with warehouse.reading() as connection:
        return connection.sql(f"from {table} order by all").pl()


def _of_2021() -> pl.DataFrame:
    return TARGETS.with_columns(pl.lit(2021, pl.Int64).alias("year"), aged_from=None).cast(
        {"aged_from": pl.Int64}
    )


def test_a_table_is_read_back_as_it_was_stored_with_its_clauses(stored: Warehouse):
    assert_frame_equal(_load(stored, "2022"), TARGETS)


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
        (pl.lit(-1.0).alias("standard_error"), "CHECK constraint failed"),
        (pl.lit(2022).alias("aged_from"), "CHECK constraint failed"),
        (pl.lit(1).alias("fold"), "CHECK constraint failed"),
    ],
)
def test_rows_that_break_a_rule_of_the_table_leave_the_earlier_rows(
    stored: Warehouse, change: pl.Expr, said: str
):
    with pytest.raises(InputError, match=f"(?s)targets for 2022 .*unchanged.*{said}"):
        _put(stored, TARGETS.with_columns(change))
    assert_frame_equal(_rows(stored), TARGETS)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (TARGETS.drop("reason"), r"missing columns \['reason'\]"),
        (TARGETS.with_columns(extra=1), r"unknown columns \['extra'\]"),
        (TARGETS.drop("year"), r"missing columns \['year'\]"),
        (_of_2021(), r"2 of 2 rows are of another year, \[2021\]"),
        (TARGETS.with_columns(year=pl.lit("now")), "2 of 2 rows are of another year"),
        (TARGETS.with_columns(year=pl.lit(None, pl.Int64)), "2 of 2 rows are of another year"),
        (TARGETS.clear(), "the frame has no rows"),
        ([1, 2], "needs a polars DataFrame, but got list"),
    ],
)
def test_a_frame_that_is_not_the_years_table_is_refused_before_anything_changes(
    stored: Warehouse, frame: object, said: str
):
    with pytest.raises(InputError, match=said):
        _put(stored, frame)
    assert_frame_equal(_rows(stored), TARGETS)


def test_an_asset_without_a_sql_file_is_refused_with_the_known_tables(warehouse: Warehouse):
    for name in ('targets" union select', "../targets", "weights", "built_years"):
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
    with pytest.raises(InputError, match=r"file does not exist. Materialize target_accounting"):
        _load(warehouse, "2022", table="target_accounting")
    Path(warehouse.database).parent.mkdir()
    duckdb.connect(warehouse.database).close()
    with pytest.raises(InputError, match=r"no rows for 2022. Materialize targets for that year"):
        _load(warehouse, "2022")
    _store(warehouse, TARGETS)
    with pytest.raises(InputError, match=r"no rows for 2021. Materialize targets for that year"):
        _load(warehouse, "2021", "2022")


def test_a_year_without_findings_is_told_from_a_year_never_built(warehouse: Warehouse):
    _store(warehouse, FINDINGS, table="target_findings")
    _store(warehouse, FINDINGS.clear(), table="target_findings")
    assert _load(warehouse, "2022", table="target_findings").is_empty()
    with pytest.raises(InputError, match="no rows for 2021"):
        _load(warehouse, "2021", table="target_findings")


def test_an_asset_of_another_name_is_stored_in_its_table(warehouse: Warehouse):
    assert {warehouse_tables.named(table).name for table in TABLES.values()} == set(TABLES.values())
    with pytest.raises(InputError, match=r"table target_roles for 2022 .*missing columns"):
        _store(warehouse, FINDINGS, table="target_accounting")


def test_rows_are_replaced_by_any_part_of_the_primary_key_with_the_year(warehouse: Warehouse):
    _put(warehouse, FINDINGS, table="target_findings")
    other = FINDINGS.with_columns(finding_id=pl.lit("f2"))
    with warehouse.writing() as connection:
        for frame in (other, other, FINDINGS):
            key = {"year": 2022, "finding_id": frame["finding_id"][0]}
            warehouse.replace(connection, "target_findings", frame, keys=key)
    assert_frame_equal(_rows(warehouse, "target_findings"), pl.concat([FINDINGS, other]))
    with warehouse.writing() as connection:
        for keys in ({"finding_id": "f1"}, {"year": 2022, "kind": "total_against_parts"}):
            with pytest.raises(InputError, match=r"primary key year, finding_id"):
                warehouse.replace(connection, "target_findings", FINDINGS, keys=keys)


def test_a_failure_inside_a_write_undoes_all_of_it_and_leaves_no_copy(stored: Warehouse):
    before = Path(stored.database).read_bytes()

    def fail_after_deleting(failure: Exception) -> None:
        with stored.writing() as connection:
            connection.execute("delete from targets")
            connection.sql("from targets")
            raise failure

    with pytest.raises(KeyError):
        fail_after_deleting(KeyError())
    with pytest.raises(InputError, match=r"cannot be written and is unchanged: .*No space left"):
        fail_after_deleting(OSError(28, "No space left on device"))
    with pytest.raises(InputError, match=r"is unchanged: .*Catalog Error"):
        fail_after_deleting(duckdb.CatalogException("Catalog Error"))
    assert Path(stored.database).read_bytes() == before
    assert _files(stored) == ["warehouse.duckdb", "warehouse.duckdb.lock"]


def test_a_reader_of_another_process_neither_waits_nor_holds_a_write_up(stored: Warehouse):
    with _another_process(stored, "reads") as reader:
        _put(stored, TARGETS.head(1))
        with stored.writing(), _another_process(stored, "reads") as later:
            assert _line(_go_on(later)) == "1"
        assert _line(_go_on(reader)) == "2"
    assert_frame_equal(_rows(stored), TARGETS.head(1))


def test_a_reader_of_the_same_process_sees_what_was_stored_before_it_opened(stored: Warehouse):
    with (
        duckdb.connect(stored.database, read_only=True) as notebook,
        stored.reading() as reader,
    ):
        _put(stored, TARGETS.head(1))
        assert notebook.execute("select count(*) from targets").fetchall() == [(2,)]
        assert reader.execute("select count(*) from targets").fetchall() == [(2,)]
        assert_frame_equal(_rows(stored), TARGETS.head(1))
        _put(stored, TARGETS)
        assert len(_rows(stored)) == 2
        with pytest.raises(duckdb.Error, match="read-only"):
            reader.execute("delete from targets")


def test_a_process_that_has_the_file_open_for_writing_keeps_its_changes(stored: Warehouse):
    refused = r"(?s)warehouse.duckdb cannot be opened.*Another process has .*open for writing"
    with _another_process(stored, "own") as owner:
        with pytest.raises(InputError, match=refused):
            _put(stored, TARGETS.head(1))
        with pytest.raises(InputError, match=refused):
            _rows(stored)
        assert _line(owner) == "own table made"
    _put(stored, TARGETS.head(1))
    with stored.reading() as connection:
        assert connection.execute("from own_table").fetchall() == [(7,)]


def test_this_process_with_the_file_open_for_writing_keeps_its_lock(stored: Warehouse):
    with duckdb.connect(stored.database):
        with pytest.raises(InputError, match="This process has the file open for writing"):
            _put(stored, TARGETS.head(1))
        assert _refused(stored, "own")


def test_nobody_else_can_open_the_file_for_writing_during_a_write(stored: Warehouse):
    with stored.writing():
        assert _refused(stored, "own")


def test_a_file_that_is_released_in_time_is_waited_for(stored: Warehouse):
    patient = Warehouse(database=stored.database, lock_wait_seconds=30)
    with _another_process(stored, "own") as owner:
        Timer(0.2, _go_on, [owner]).start()
        assert_frame_equal(_rows(patient), TARGETS)


def test_two_writers_at_once_take_turns_and_both_land(stored: Warehouse):
    patient = Warehouse(database=stored.database, lock_wait_seconds=30)
    with _another_process(stored, "writes") as other:
        holder = rf"process {other.pid}, writing since 20.*, has not ended after 0.2 s"
        with pytest.raises(InputError, match=holder):
            _put(stored, TARGETS.head(1))
        Timer(0.2, _go_on, [other]).start()
        _put(patient, TARGETS.head(1))
    with stored.reading() as connection:
        assert connection.execute("from own_table").fetchall() == [(7,)]
        assert len(connection.execute("from targets").fetchall()) == 1


def test_a_writer_killed_in_the_middle_leaves_the_earlier_file_and_its_copy_is_removed(
    stored: Warehouse,
):
    before = Path(stored.database).read_bytes()
    with _another_process(stored, "writes") as writer:
        writer.kill()
        writer.wait()
    assert "warehouse.duckdb.new" in _files(stored)
    assert Path(stored.database).read_bytes() == before
    assert_frame_equal(_rows(stored), TARGETS)
    _put(stored, TARGETS.head(1))
    assert _files(stored) == ["warehouse.duckdb", "warehouse.duckdb.lock"]


def test_what_a_killed_process_had_committed_is_kept(stored: Warehouse):
    assert _log_of_a_killed_process(stored).exists()
    with _another_process(stored, "reads"):
        _put(stored, TARGETS.head(1))
    assert _files(stored) == ["warehouse.duckdb", "warehouse.duckdb.lock"]
    with stored.reading() as connection:
        assert connection.execute("from own_table").fetchall() == [(7,)]


def test_a_log_that_a_killed_writer_had_taken_in_is_removed_by_whoever_opens_the_file_next(
    stored: Warehouse,
):
    log = _log_of_a_killed_writer(stored)
    old = log.read_bytes()
    assert_frame_equal(_rows(stored), TARGETS.head(1))
    assert not log.exists()
    log.write_bytes(old)
    with stored.writing() as connection:
        assert connection.execute("from own_table").fetchall() == [(7,)]
    assert _files(stored) == ["warehouse.duckdb", "warehouse.duckdb.lock"]


def test_a_log_that_a_writer_is_about_to_remove_is_waited_for_and_named(stored: Warehouse):
    log = _log_of_a_killed_writer(stored)
    patient = Warehouse(database=stored.database, lock_wait_seconds=30)
    with Path(f"{stored.database}.lock").open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"(?s)cannot be opened.*in the log .*\.wal.*move the"):
            _rows(stored)
        assert log.exists()
        Timer(0.1, log.unlink).start()
        assert_frame_equal(_rows(patient), TARGETS.head(1))


def test_a_log_that_is_newer_than_the_file_is_refused_and_kept(stored: Warehouse):
    earlier_file = Path(stored.database).read_bytes()
    _put(stored, TARGETS.head(1))
    log = _log_of_a_killed_process(stored)
    Path(stored.database).write_bytes(earlier_file)
    with pytest.raises(InputError, match="newer version of this database"):
        _put(stored, TARGETS)
    assert log.exists()


def test_a_link_to_the_file_stays_a_link_and_its_mode_stays(stored: Warehouse, tmp_path: Path):
    Path(stored.database).chmod(0o600)
    link = tmp_path / "link.duckdb"
    link.symlink_to(stored.database)
    _put(Warehouse(database=str(link)), TARGETS.head(1))
    assert link.is_symlink()
    assert Path(stored.database).stat().st_mode & 0o777 == 0o600
    assert_frame_equal(_rows(stored), TARGETS.head(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("alter table targets drop column note", r"table targets has missing columns \['note"),
        ("alter table targets add column x int", r"targets has .* unknown columns \['x INTEGER'\]"),
        (
            "alter table builds rename fitted to x",
            r"table builds .*\['fitted BIGINT'\].*\['x BIGINT'\]",
        ),
        ("drop table warehouse_version", "holds tables of version 1"),
        ("update warehouse_version set number = 9", r"of version 9, .*version 2: rules .* changed"),
    ],
)
def test_tables_of_another_version_are_refused_with_the_difference_and_the_move(
    stored: Warehouse, change: str, said: str
):
    with duckdb.connect(stored.database) as owner:
        owner.execute("drop table built_years")
        owner.execute(change)
    before = Path(stored.database).read_bytes()
    moved = rf"(?s){said}.*Nothing was changed. Type `mv .*warehouse.duckdb .*build again"
    with pytest.raises(InputError, match=moved):
        _put(stored, TARGETS)
    with pytest.raises(InputError, match=moved):
        _rows(stored)
    assert Path(stored.database).read_bytes() == before


def test_own_figures_are_given_as_text_by_year(warehouse: Warehouse):
    assert warehouse.own_figures(2022) is None
    _put(warehouse, TARGETS)
    assert warehouse.own_figures(2022) is None
    with duckdb.connect(warehouse.database) as owner:
        owner.execute(
            "create table own_figures as select * from (values "
            "('c', 2022, 5.25, null), ('a', 2022, -1.0, 'seen'), ('b', 2021, 3.0, ''), "
            "('d', null, 4.0, '')) as rows (figure_id, \"year\", \"value\", note)"
        )
    rows = warehouse.own_figures(2022)
    assert rows is not None
    assert rows.rows() == [
        ("a", "2022", "-1.00", "seen"),
        ("c", "2022", "5.25", None),
        ("d", None, "4.00", ""),  # whoever checks the rows refuses it, in every year
    ]
    with duckdb.connect(warehouse.database) as owner:
        owner.execute('delete from own_figures where "year" is null')
        assert owner.execute("select count(*) from own_figures").fetchall() == [(3,)]
    assert warehouse.own_figures(2023) is None
    with duckdb.connect(warehouse.database) as owner:
        owner.execute('alter table own_figures drop column "year"')
    with pytest.raises(InputError, match=r"(?s)own_figures of .*year.*data/figures/README.md"):
        warehouse.own_figures(2022)


def test_own_figures_of_a_year_that_no_build_has_are_given_with_every_year(warehouse: Warehouse):
    _put(warehouse, TARGETS)
    with duckdb.connect(warehouse.database) as owner:
        owner.execute(
            "create table Own_Figures as select * from (values "
            "('a', '2032'), ('b', '202'), ('c', '2O22'), ('d', '2022'), ('e', '2021')) "
            'as rows (figure_id, "year")'
        )
    for year, own in ((2021, "e"), (2022, "d"), (2023, None)):
        rows = warehouse.own_figures(year)
        assert rows is not None
        assert rows["figure_id"].to_list() == sorted(filter(None, ["a", "b", "c", own]))


@pytest.mark.parametrize("name", ["Own_Figures", "OWN_FIGURES"])
def test_own_figures_are_found_in_upper_and_lower_case_in_the_main_schema_only(
    warehouse: Warehouse, name: str
):
    _put(warehouse, TARGETS)
    with duckdb.connect(warehouse.database) as owner:
        owner.execute("create schema other")
        owner.execute(f"create table other.{name} as select 'a' as figure_id, 2022 as \"year\"")
    assert warehouse.own_figures(2022) is None
    with duckdb.connect(warehouse.database) as owner:
        owner.execute(f"create view {name} as select 'b' as figure_id, 2022 as \"year\"")
    rows = warehouse.own_figures(2022)
    assert rows is not None
    assert rows.rows() == [("b", "2022")]


@pytest.mark.parametrize("content", [b"", b"year,value\n" * 500])
def test_a_file_that_is_not_duckdb_is_refused_at_once_and_not_touched(
    warehouse: Warehouse, content: bytes
):
    path = Path(warehouse.database)
    path.parent.mkdir()
    path.write_bytes(content)
    patient = Warehouse(database=warehouse.database, lock_wait_seconds=600)
    with pytest.raises(InputError, match=r"(?s)cannot be opened.*not a valid DuckDB.*another path"):
        _put(patient, TARGETS)
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused(stored: Warehouse):
    path = Path(stored.database)
    content = bytearray(path.read_bytes())
    content[12] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)warehouse\.duckdb cannot be opened.*rebuilt from"):
        _rows(stored)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    warehouse = Warehouse(database=str(tmp_path / "file" / "warehouse.duckdb"))
    with pytest.raises(InputError, match=r"cannot be written .*file: File exists"):
        _put(warehouse, TARGETS)


def test_every_sql_file_makes_a_table_of_its_name_keyed_by_year_with_every_column_explained():
    folder = Path(warehouse_tables.__file__).parents[1] / "sql"
    for path in folder.glob("*.sql"):
        if path.stem in {"built_years", "warehouse_version"}:  # about the warehouse itself
            continue
        table = warehouse_tables.named(path.stem)
        assert next(iter(table.columns)) == table.key[0] == "year"
        assert table.comments.keys() == table.columns.keys()
        assert all(table.comments.values())


def _files(warehouse: Warehouse) -> list[str]:
    return sorted(path.name for path in Path(warehouse.database).parent.iterdir())


def _log_of_a_killed_writer(stored: Warehouse) -> Path:
    """Left by one that was killed between the new file and the removal of the log it took in."""
    log = _log_of_a_killed_process(stored)
    content = log.read_bytes()
    _put(stored, TARGETS.head(1))
    log.write_bytes(content)
    return log


def _log_of_a_killed_process(stored: Warehouse) -> Path:
    """What it had committed, but not yet moved into the file."""
    with _another_process(stored, "own") as owner:
        assert _line(owner) == "own table made"
        owner.kill()
        owner.wait()
    return Path(f"{stored.database}.wal")


# what another process does with the file: it says when it has it open, and goes on when told to
_DOES = {
    "reads": """
con = duckdb.connect(database, read_only=True)
print("open", flush=True)
sys.stdin.readline()
print(con.execute("select count(*) from targets").fetchone()[0], flush=True)
""",
    "own": """
con = duckdb.connect(database)
print("open", flush=True)
con.execute("create table own_table as select 7")
print("own table made", flush=True)
sys.stdin.readline()
con.close()
""",
    "writes": """
from l0_pipeline.resources.warehouse_file import writing
with writing(pathlib.Path(database), wait_seconds=0) as con:
    con.execute("delete from targets")
    con.execute("create table own_table as select 7")
    print("open", flush=True)
    sys.stdin.readline()
""",
}


@contextmanager
def _another_process(warehouse: Warehouse, does: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open, killed at the end."""
    process = _started(warehouse, does)
    try:
        assert _line(process) == "open"
        yield process
    finally:
        process.kill()
        process.communicate()


def _refused(warehouse: Warehouse, does: str) -> bool:
    _, said = _started(warehouse, does).communicate()
    return "Could not set lock" in said


def _started(warehouse: Warehouse, does: str) -> subprocess.Popen[str]:
    script = f"import pathlib, sys, duckdb\ndatabase = sys.argv[1]\n{_DOES[does]}"
    return subprocess.Popen(
        [sys.executable, "-c", script, warehouse.database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go_on(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process
