"""Laws of the files for Tax-Calculator: its own programs find in them what the release says.

Some hundred real households, of which a quarter is kept.
"""

import gzip
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import taxcalc

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.release.claim_order import NOBODY, claim_order
from l0_pipeline.logic.release.taxcalc_files import taxcalc_files
from l0_pipeline.logic.tax_model import (
    RESULTS,
    age_tax_units,
    credit_draws,
    growth_of_weights,
    run_tax_model,
)
from l0_pipeline.resources.cps_source import CpsSource

YEAR, LATER = 2022, 2026
HOUSEHOLDS, KEPT_OF = 600, 4
CENTS = 0.1  # dollars: what a dozen amounts rounded to cents come to
TC = str(Path(sys.executable).with_name("tc"))


@pytest.fixture(scope="module")
def survey() -> pl.DataFrame:
    raw = CpsSource().read()
    drawn = schema.households(raw).sample(HOUSEHOLDS, seed=3).select("household_id")
    return schema.tax_units(raw).join(drawn, on="household_id", how="semi", maintain_order="left")


@pytest.fixture(scope="module")
def results(survey: pl.DataFrame) -> pl.DataFrame:
    return run_tax_model(survey, income_year=2014, target_year=YEAR)


@pytest.fixture(scope="module")
def draws(survey: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    return credit_draws(survey, results, income_year=2014, target_year=YEAR)


@pytest.fixture(scope="module")
def kept(survey: pl.DataFrame) -> pl.DataFrame:
    """The units of a quarter of the households, each with its household's weight."""
    chosen = survey.filter(pl.col("household_id") % KEPT_OF == 0)
    return chosen.with_columns(weight=1_000 + pl.col("household_id") % 9_973 / 7)


@pytest.fixture(scope="module")
def published(results: pl.DataFrame, kept: pl.DataFrame) -> pd.DataFrame:
    """Results and weights of the kept units, as a release states them."""
    return results.join(kept.select("unit_id", "weight"), on="unit_id").to_pandas()


@pytest.fixture(scope="module")
def files(kept: pl.DataFrame, draws: pl.DataFrame) -> dict[str, bytes]:
    return _files(kept, draws)


@pytest.fixture(scope="module")
def folder(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files as a release has them, and read-only like it."""
    release = tmp_path_factory.mktemp("release")
    for name, content in files.items():
        (release / name).parent.mkdir(exist_ok=True)
        (release / name).write_bytes(content)
        (release / name).chmod(0o444)
    return release / "taxcalc"


def _files(kept: pl.DataFrame, draws: pl.DataFrame, *, year: int = YEAR) -> dict[str, bytes]:
    aged = age_tax_units(kept, income_year=2014, target_year=year)
    return taxcalc_files(aged, kept["weight"], draws, year=year)


def _calculator(records: taxcalc.Records, *, year: int) -> taxcalc.Calculator:
    policy = taxcalc.Policy()
    policy.set_year(records.data_year)
    calculator = taxcalc.Calculator(policy=policy, records=records)
    calculator.advance_to_year(year)
    calculator.calc_all()
    return calculator


def _tc(*arguments: str, at: Path) -> sqlite3.Connection:
    """The database that ``tc`` writes into its working folder."""
    (at / "wanted.txt").write_text(" ".join(RESULTS))
    dump = ("--dumpdb", "--dumpvars", "wanted.txt", "--silent")
    subprocess.run([TC, *arguments, *dump], cwd=at, check=True, timeout=120)
    (database,) = at.glob("*.dumpdb")
    return sqlite3.connect(database)


@pytest.fixture(scope="module")
def computed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What ``tc`` finds under current law and under the example reform, with ``unit_id``."""
    units = pd.read_csv(folder / f"sparse_{YEAR}.csv")[["RECID", "unit_id"]]
    database = _tc(
        str(folder / f"sparse_{YEAR}.csv"),
        str(YEAR),
        "--reform",
        str(folder / "example_reform.json"),
        at=tmp_path_factory.mktemp("tc"),
    )
    base = pd.read_sql("select RECID, s006 from base", database).merge(units, on="RECID")
    found = {
        law: pd.read_sql(f"select * from {law}", database).merge(base, on="RECID")  # noqa: S608
        for law in ("baseline", "reform")
    }
    database.close()
    return {law: table[table["unit_id"] > 0] for law, table in found.items()}


def test_tc_finds_the_published_results_of_every_unit(
    computed: dict[str, pd.DataFrame], published: pd.DataFrame
):
    found = computed["baseline"].sort_values("unit_id")
    said = published.sort_values("unit_id")
    assert len(said) > 150
    assert found["unit_id"].tolist() == said["unit_id"].tolist()
    assert found["s006"].tolist() == said["weight"].tolist()
    for name in RESULTS:
        np.testing.assert_allclose(found[name], said[name], rtol=0, atol=CENTS, err_msg=name)


def test_tc_finds_the_published_totals_and_counts_of_claimants(
    computed: dict[str, pd.DataFrame], published: pd.DataFrame
):
    found, said = computed["baseline"], published
    for name in ("c00100", "iitax", "payrolltax", "eitc", "c11070"):
        total = said["weight"] @ said[name]
        assert total > 0
        assert found["s006"] @ found[name] == pytest.approx(total, rel=1e-6)
    claimants = said["weight"] @ (said["eitc"] > 0)
    assert found["s006"] @ (found["eitc"] > 0) == pytest.approx(claimants, rel=1e-6)


def test_the_example_reform_gives_more_child_tax_credit_and_leaves_incomes(
    computed: dict[str, pd.DataFrame],
):
    before, after = computed["baseline"], computed["reform"]
    assert after["s006"] @ after["c07220"] > before["s006"] @ before["c07220"]
    assert after["c00100"].equals(before["c00100"])


def test_the_python_of_the_readme_finds_the_published_income_tax(
    folder: Path, published: pd.DataFrame
):
    now, later = re.findall(r"```python\n(.*?)```", (folder / "readme.md").read_text(), re.DOTALL)
    then = (
        "calculator.calc_all()\nprint(calculator.current_year, calculator.weighted_total('iitax'))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", now + later + then],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert float(first) == pytest.approx(published["weight"] @ published["iitax"], rel=1e-6)
    year, tax = second.split()
    assert int(year) == LATER
    assert float(tax) > float(first)


def test_rows_in_another_order_would_claim_other_credits(folder: Path, published: pd.DataFrame):
    units = pd.read_csv(folder / f"sparse_{YEAR}.csv")
    said = published["weight"] @ published["eitc"]
    totals = [
        _calculator(
            taxcalc.Records(data=rows, start_year=YEAR, gfactors=None, weights=None), year=YEAR
        ).weighted_total("eitc")
        for rows in (units, units[::-1].reset_index(drop=True))
    ]
    assert totals[0] == pytest.approx(said, rel=1e-6)
    assert totals[1] != pytest.approx(said, rel=0.01)


def test_a_later_year_ages_incomes_as_the_pipeline_does_and_every_weight_by_one_factor(
    folder: Path, kept: pl.DataFrame
):
    units = pd.read_csv(folder / f"sparse_{YEAR}.csv")
    records = taxcalc.Records.tmd_constructor(
        data_path=folder / f"sparse_{YEAR}.csv",
        weights_path=folder / "weights_by_year.csv.gz",
        growfactors=folder / "growfactors.csv",
    )
    while records.current_year < LATER:
        records.increment_year()
    found = pl.DataFrame(
        {"unit_id": units["unit_id"], "s006": records.s006}
        | {name: getattr(records, name) for name in ("e00200", "e00900", "e01700", "e18500")}
    ).filter(pl.col("unit_id") > 0).sort("unit_id")  # fmt: skip
    expected = age_tax_units(kept, income_year=2014, target_year=LATER).sort("unit_id")
    for name in ("e00200", "e00900", "e01700", "e18500"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=0.01)  # a cent
    factor = growth_of_weights(first_year=YEAR)[LATER]
    assert 1.02 < factor < 1.1
    np.testing.assert_allclose(found["s006"], expected["weight"] * factor, atol=0.01)


def test_tc_reads_later_years_under_the_names_that_the_readme_gives(
    folder: Path, tmp_path: Path, published: pd.DataFrame
):
    text = (folder / "readme.md").read_text()
    (commands,) = re.findall(r"names that `tc` knows:\n\n(.*?tc [^\n]*)", text, re.DOTALL)
    *copies, command = [line.strip() for line in commands.splitlines()]
    for name in folder.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    subprocess.run("\n".join(copies), shell=True, cwd=tmp_path, check=True)  # noqa: S602
    program, data, year, *_ = command.split()
    assert (program, year) == ("tc", str(LATER))
    database = _tc(data, year, at=tmp_path)
    weighted = "select sum(s006 * c00100), sum(s006) from baseline join base using (RECID)"
    income, people = database.execute(weighted).fetchone()
    database.close()
    factor = growth_of_weights(first_year=YEAR)[LATER]
    assert people == pytest.approx(published["weight"].sum() * factor, rel=1e-6)
    assert income > 1.1 * (published["weight"] @ published["c00100"])


def test_a_release_of_another_year_offers_no_name_that_tc_would_take_for_2022(
    kept: pl.DataFrame, draws: pl.DataFrame
):
    files = _files(kept, draws, year=2023)
    text = files["taxcalc/readme.md"].decode()
    assert "tmd" not in text
    assert "start_year=2023" in text
    weights = pl.read_csv(gzip.decompress(files["taxcalc/weights_by_year.csv.gz"]))
    assert weights.columns == [f"WT{year}" for year in range(2023, 2037)]


def test_equal_tables_give_equal_bytes(
    kept: pl.DataFrame, draws: pl.DataFrame, files: dict[str, bytes]
):
    assert _files(kept.clone(), draws.clone()) == files


def test_names_are_those_a_release_admits(files: dict[str, bytes]):
    name = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*(\.csv|\.csv\.gz|\.json|\.md)")
    assert [path for path in files if name.fullmatch(path) is None] == []


def test_record_numbers_are_unique_whatever_the_size_of_ids(
    kept: pl.DataFrame, draws: pl.DataFrame, files: dict[str, bytes]
):
    large = {"unit_id": pl.col("unit_id") + 2**40}
    data = _files(kept.with_columns(**large), draws.with_columns(**large))[
        f"taxcalc/sparse_{YEAR}.csv"
    ]
    table = pl.read_csv(data)
    assert table["RECID"].to_list() == list(range(1, len(table) + 1))
    assert set(table["unit_id"]) - {0} == set(kept["unit_id"] + 2**40)
    small = pl.read_csv(files[f"taxcalc/sparse_{YEAR}.csv"])
    assert table.drop("unit_id").equals(small.drop("unit_id"))


@pytest.mark.parametrize("bad", [[1.0], [-1.0], [float("nan")], [float("inf")]])
def test_weights_that_are_none_are_refused(
    kept: pl.DataFrame, draws: pl.DataFrame, bad: list[float]
):
    weights = pl.Series(bad * (len(kept) if bad != [1.0] else 1))
    with pytest.raises(InputError, match="one weight a unit is needed"):
        taxcalc_files(kept, weights, draws, year=YEAR)


def test_units_without_a_draw_are_refused(kept: pl.DataFrame, draws: pl.DataFrame):
    with pytest.raises(InputError, match=f"1 of {len(kept)} tax units have no draw"):
        _files(kept, draws.filter(pl.col("unit_id") != kept["unit_id"][0]))


def _wishes(*wishes: tuple[float, float, float]) -> pl.DataFrame:
    return pl.DataFrame(wishes, schema=["draw", "least", "most"], orient="row")


def test_units_that_care_take_the_nearest_number_within_their_limits():
    stream = np.array([0.9, 0.5, 0.1, 0.45])
    wishes = _wishes((0.44, 0.0, 0.44), (0.46, 0.46, 1.0), (0.3, 0.0, 1.0), (0.8, 0.0, 1.0))
    assert claim_order(wishes, stream).tolist() == [3, 1, 0, 2]


def test_rows_of_nobody_are_added_only_when_a_number_is_missing():
    stream = np.array([0.9, 0.8, 0.7, 0.1, 0.2])
    assert claim_order(_wishes((0.15, 0.0, 0.15), (0.5, 0.0, 1.0)), stream).tolist() == [
        1, NOBODY, NOBODY, 0,
    ]  # fmt: skip
    assert claim_order(_wishes((0.85, 0.0, 0.85), (0.5, 0.0, 1.0)), stream).tolist() == [1, 0]


def test_a_number_that_nobody_draws_is_refused():
    with pytest.raises(InputError, match="another budget or seed"):
        claim_order(_wishes((0.5, 0.49, 0.51)), np.array([0.1, 0.9]))


def test_every_unit_is_written_once():
    rng = np.random.default_rng(0)
    draw = rng.random(500)
    claims = rng.random(500) < 0.2
    most = np.where(claims, np.minimum(1, draw + 0.1), 1.0)
    wishes = pl.DataFrame({"draw": draw, "least": 0.0, "most": most})
    stream = rng.random(2_000)
    order = claim_order(wishes, stream)
    assert sorted(order[order != NOBODY]) == list(range(500))
    rows = np.flatnonzero(order != NOBODY)
    assert (stream[rows] <= wishes["most"].to_numpy()[order[rows]]).all()
