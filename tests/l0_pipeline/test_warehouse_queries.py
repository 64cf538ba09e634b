"""The page on the warehouse answers what it asks, on tables stored as a build stores them."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from l0_pipeline.resources.warehouse import TABLES, Warehouse
from l0_pipeline.settings import PROJECT_DIR

PAGE = (PROJECT_DIR / "data" / "README.md").read_text(encoding="utf-8")
QUESTIONS: list[tuple[str, str]] = re.findall(r"^### (.*?)\n\n```sql\n(.*?)```", PAGE, re.M | re.S)

# three figures of 2022: wages of the nation and of a class of Alabama, its returns as if aged
FIGURES = pl.DataFrame(
    {
        "year": 2022,
        "figure_id": ["2022-pub1304-1.4-1061", "2022-historic2-22852", "2022-historic2-12456"],
        "family": ["wages, nation", "wages, states", "returns filed, states"],
        "variable": ["wages_and_salaries", "wages_and_salaries", "returns"],
        "measure": ["sum", "sum", "count"],
        "universe": "returns",
        "geography": ["US", "01", "01"],
        "filters": ["", "agi >= 1 & agi < 10000", ""],
        "value": [9_738_950_972_000.0, 937_446_000.0, 2_149_560.0],
        "unit": ["dollars", "dollars", "returns"],
        "standard_error": [None, None, 1_000.0],
        "period": "tax year 2022",
        "publisher": "IRS Statistics of Income",
        "published_table": ["Publication 1304, Table 1.4", "Historic Table 2", "Historic Table 2"],
        "note": "",
        "role": [None, None, "fitted"],
        "aged_from": [None, None, 2021],
        "file": ["2022/irs_soi_pub1304_table_1_4.csv", *["2022/irs_soi_historic_table_2.csv"] * 2],
        "line": [1062, 22853, 12457],
    }
)
TARGETS = FIGURES.rename({"figure_id": "target_id"}).drop("file", "line").with_columns(
    filters=pl.Series(
        [[], [{"column": "agi", "operator": "<", "value": "10000"}], []],
        dtype=pl.List(pl.Struct(dict.fromkeys(("column", "operator", "value"), pl.String))),
    ),
    records=pl.lit("filers"),
    microdata_column=pl.Series(["wages", "wages", "one"]),
    closeness=pl.lit("close"),
    role=pl.Series(["fitted", "fitted", "held_out"]),
    fold=pl.Series([0, 1, 2]),
    reason=pl.lit("close definition: wages of filers"),
)  # fmt: skip
ROLES = TARGETS.select(
    "year", "target_id", "family", "variable", "measure", "geography",
    FIGURES["filters"].alias("condition"),
    "value", "unit", "period", "publisher", "published_table", "role", "fold", "reason",
    pl.col("value").alias("scale"),
    pl.Series("support", [150_000, 40, 1_900]),
    pl.Series("one_household_least", [0.0, 0.001, 0.0001]),
    pl.Series("one_household_most", [0.00001, 0.2, 0.01]),
)  # fmt: skip
FIT = ROLES.with_columns(
    pl.Series("kept_support", [15_000, 5, 200]),
    *(
        expression
        for name, error in {"design": 0.2, "gates": 0.01, "random": 0.1, "released": 0.02}.items()
        for expression in (
            (pl.col("value") * (1 + error)).alias(f"{name}_estimate"),
            pl.lit(error).alias(f"{name}_error"),
        )
    ),
)
FINDINGS = FIGURES.head(1).select(
    "year", "figure_id", "file", "line", "value",
    finding_id=pl.lit("1"), kind=pl.lit("total_against_parts"), severity=pl.lit("error"),
    related=pl.lit("2022-historic2-22852"),
    expected=pl.col("value") * 0.9, gap=pl.col("value") * 0.1,
    detail=pl.lit("the states add up to nine tenths of the nation"),
)  # fmt: skip
CONFLICTS = ROLES.head(2).select(
    "year", "target_id", "value", "unit",
    conflict_id=pl.lit(0), multiplier=pl.lit(-1.5), gap=pl.lit(2e6), least_error=pl.lit(0.3),
    max_weight_ratio=pl.lit(30.0), areas=pl.lit("US, 01"),
)  # fmt: skip


def _build(release_id: str, *, day: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "year": [2022], "release_id": [release_id], "built_at": [datetime(2026, 11, day)],
            "households": [20_000], "fitted": [2], "held_out": [1], "benchmark": [0],
            "rejected": [0], "fitted_median_error": [0.02], "held_out_median_error": [None],
            "share_within_10pct": [1.0], "effective_sample_size": [12_099.0],
            "largest_weight_ratio": [20.5], "code_version": ["0.1.0"],
        }
    )  # fmt: skip


def _history(release_id: str, *, error: float) -> pl.DataFrame:
    return FIT.select(
        "year", "target_id", "role", "value", "released_estimate",
        release_id=pl.lit(release_id), released_error=pl.lit(error),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a warehouse in which two releases were built."""
    folder = tmp_path_factory.mktemp("project")
    warehouse = Warehouse(database=str(folder / "data" / "warehouse.duckdb"))
    with warehouse.writing() as connection:
        for name, frame in {
            "published_figures": FIGURES,
            "targets": TARGETS,
            "target_accounting": ROLES,
            "target_fit": FIT,
            "target_findings": FINDINGS,
            "target_conflicts": CONFLICTS,
        }.items():
            warehouse.replace(connection, TABLES.get(name, name), frame, keys={"year": 2022})
        for day, error in ((1, 0.02), (2, -0.05)):
            release_id = f"2022-{day:012}"
            keys = {"year": 2022, "release_id": release_id}
            build = _build(release_id, day=day)
            warehouse.replace(connection, "builds", build, keys=keys)
            history = _history(release_id, error=error)
            warehouse.replace(connection, "target_fit_history", history, keys=keys)
    return folder


@pytest.fixture(scope="module")
def reader(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(folder / "data" / "warehouse.duckdb"), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize(("question", "query"), QUESTIONS, ids=[title for title, _ in QUESTIONS])
def test_every_question_of_the_page_has_an_answer(
    reader: duckdb.DuckDBPyConnection, question: str, query: str
):
    assert question.endswith("?")
    assert reader.execute(query).fetchall()


def test_every_query_of_the_page_stands_under_a_question_and_was_run():
    assert len(QUESTIONS) == PAGE.count("```sql") >= 12


def test_targets_that_became_worse_are_told_with_both_errors(reader: duckdb.DuckDBPyConnection):
    query = next(query for title, query in QUESTIONS if "worse" in title)
    worse = reader.execute(query).fetchall()
    assert len(worse) == len(FIT)
    assert all(row[3:] == (0.02, 0.05) for row in worse)


def test_every_table_of_the_warehouse_is_on_the_page(reader: duckdb.DuckDBPyConnection):
    tables = {
        name for (name,) in reader.execute("select table_name from duckdb_tables()").fetchall()
    }
    assert tables == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))


def test_the_python_example_of_the_page_shows_the_releases(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(example)  # noqa: S102
    assert "2022-000000000002" in capsys.readouterr().out
