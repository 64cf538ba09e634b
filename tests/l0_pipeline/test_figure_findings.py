"""Laws of findings: a fault planted in the real figures is named, and the real figures have none.

All faults are planted in one copy of the folder of 2022, so none may hide another.
"""

import csv
import time
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.figure_findings import KINDS, SCHEMA, SEVERITIES, find
from l0_pipeline.logic.figures import NATION, STATES
from l0_pipeline.resources.figures import FiguresSource

FIGURES = Path(__file__).parents[2] / "data" / "figures"
VARIABLES = pl.read_csv(FIGURES / "variables.csv")["variable"].to_list()
YEARS = (2021, 2022, 2023)
STATE_TABLE = "irs_soi_historic_table_2.csv"
D5 = "census_national_population_d5.csv"

Rows = dict[str, dict[str, str]]  # by figure_id, in the order of the file


def _read(folder: Path, year: int) -> pl.DataFrame:
    source = FiguresSource(figures_dir=str(folder), database=str(folder / "none.duckdb"))
    return source.read(year, variables=VARIABLES)


@cache
def _rows(file: str) -> Rows:
    with (FIGURES / "2022" / file).open(encoding="utf-8-sig", newline="") as text:
        return {row["figure_id"]: row for row in csv.DictReader(text)}


def _write(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as text:
        columns = next(iter(rows.values())).keys()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


@pytest.fixture(scope="module")
def clean() -> dict[int, pl.DataFrame]:
    return {year: _read(FIGURES, year) for year in YEARS}


@pytest.fixture(scope="module")
def planted() -> dict[str, list[str]]:
    """The figures changed, by fault; class cells of Historic Table 2 in one state each."""
    chance = np.random.default_rng(20)
    rows = _rows(STATE_TABLE)
    states = sorted({row["geography"] for row in rows.values()} - {"US", "OA", "72"})
    chance.shuffle(states)
    cells = [
        str(
            chance.choice(
                [
                    name
                    for name, row in rows.items()
                    if row["geography"] == state
                    and row["filters"].startswith("agi")
                    and row["measure"] == "sum"
                    and abs(float(row["value"])) > 1e8
                ]
            )
        )
        for state in states[:14]
    ]
    totals = [
        name
        for name, row in rows.items()
        if row["variable"] == "student_loan_interest_deduction" and row["geography"] in states[8:12]
    ]
    exchanged = [
        name
        for name, row in rows.items()
        if row["variable"] == "taxable_interest"
        and row["measure"] == "sum"
        and row["filters"] == "agi >= 50000 & agi < 75000"
        and row["geography"] in ("06", "56")
    ]
    return {
        "thousands": cells[:3],
        "thousandths": cells[3:5],
        "sign": cells[5:8],
        "total": totals,
        "part": cells[12:14],
        "swapped": exchanged,
        "missing": ["2022-cms-enrollment-0060"],
        "duplicate": ["2022-fns-snap-0010"],
    }


@pytest.fixture(scope="module")
def found(planted: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("figures")
    (folder / "2022").mkdir()
    files = {path.name: deepcopy(_rows(path.name)) for path in (FIGURES / "2022").glob("*.csv")}
    for fault, factor in (
        ("thousands", 0.001), ("thousandths", 1000), ("sign", -1), ("total", 1.05), ("part", 3)
    ):  # fmt: skip
        for name in planted[fault]:
            row = files[STATE_TABLE][name]
            row["value"] = f"{float(row['value']) * factor:.3f}"
    one, other = (files[STATE_TABLE][name] for name in planted["swapped"])
    one["value"], other["value"] = other["value"], one["value"]
    for rows in files.values():
        rows.pop(planted["missing"][0], None)
    again = next(
        rows[name] for rows in files.values() for name in planted["duplicate"] if name in rows
    )
    files["own.csv"] = {
        "own-1": again | {"figure_id": "own-1", "value": f"{float(again['value']) * 1.3:.0f}"}
    }
    band = next(iter(files[D5].values()))
    files[D5]["own-2"] = band | {
        "figure_id": "own-2", "filters": "age >= 15 & age < 26", "value": "46000000"
    }  # fmt: skip
    for name, rows in files.items():
        _write(folder / "2022" / name, rows)
    return find(_read(folder, 2022))


def _of(found: pl.DataFrame, kind: str) -> pl.DataFrame:
    return found.filter(kind=kind, severity="error")


@pytest.fixture(scope="module")
def known(clean: dict[int, pl.DataFrame]) -> dict[int, pl.DataFrame]:
    return {year: find(figures) for year, figures in clean.items()}


@pytest.mark.parametrize("year", YEARS)
def test_the_real_figures_have_no_error(year: int, known: dict[int, pl.DataFrame]):
    assert known[year].filter(severity="error")["detail"].to_list() == []


def test_what_is_known_of_the_real_figures_is_a_warning_or_a_note(known: dict[int, pl.DataFrame]):
    newest = known[2023]
    assert newest["severity"].to_list() == ["warning", "warning"]
    assert newest["kind"].unique().to_list() == ["missing_area"]
    assert "area 11 in all of its 18 concepts" in newest["detail"][0]  # no District of Columbia
    assert "zero in area 04" in newest["detail"][1]  # Arizona's missing report
    assert known[2022].filter(severity="note")["kind"].unique().to_list() == ["duplicate"]


def test_a_row_in_thousands_is_named_with_the_factor(
    found: pl.DataFrame, planted: dict[str, list[str]]
):
    errors = _of(found, "thousands")
    assert sorted(errors["figure_id"]) == sorted(planted["thousands"] + planted["thousandths"])
    assert ((errors["expected"] / errors["value"]).round(6).is_in([1000.0, 0.001])).all()


def test_a_flipped_sign_is_named_with_the_value_that_was_meant(
    found: pl.DataFrame, planted: dict[str, list[str]]
):
    errors = _of(found, "sign")
    assert sorted(errors["figure_id"]) == sorted(planted["sign"])
    assert (errors["expected"] == -errors["value"]).all()


def test_two_areas_exchanged_are_both_named(found: pl.DataFrame, planted: dict[str, list[str]]):
    errors = _of(found, "swapped_areas").sort("figure_id")
    assert errors["figure_id"].to_list() == sorted(planted["swapped"])
    assert errors["related"].to_list() == sorted(planted["swapped"], reverse=True)


def test_an_area_that_one_concept_of_a_table_lacks_is_named(found: pl.DataFrame):
    gone = _rows("cms_medicaid_chip_enrollment.csv")["2022-cms-enrollment-0060"]
    lacking = f"no figure for area {gone['geography']} in 1 of its 4 concepts"
    here = found.filter(pl.col("detail").str.contains(lacking))
    # the table prints no nation, so that nothing confirms the area is not suppressed
    assert here.select("kind", "severity").rows() == [("missing_area", "warning")]


def test_one_concept_with_two_values_in_one_table_is_named_with_both_rows(
    found: pl.DataFrame, planted: dict[str, list[str]]
):
    ((first, second),) = _of(found, "duplicate").select("figure_id", "related").rows()
    assert sorted((first, second)) == sorted(["own-1", *planted["duplicate"]])


def test_a_sum_with_one_wrong_part_names_its_total_and_that_part(
    found: pl.DataFrame, planted: dict[str, list[str]]
):
    errors = _of(found, "total_against_parts")
    for part in planted["part"]:
        row = _rows(STATE_TABLE)[part]
        ((total, detail),) = (
            errors.filter(pl.col("related").str.contains(part, literal=True))
            .select("figure_id", "detail")
            .rows()
        )
        named = _rows(STATE_TABLE)[total]
        assert (named["geography"], named["variable"]) == (row["geography"], row["variable"])
        assert "one of the parts is wrong" in detail


def test_a_band_that_cuts_others_is_named_with_them(found: pl.DataFrame):
    ((name, detail),) = _of(found, "overlapping_bands").select("figure_id", "detail").rows()
    assert name == "own-2"
    assert "age >= 25 & age < 30" in detail


def test_a_finding_names_file_and_line_of_its_row(
    found: pl.DataFrame, planted: dict[str, list[str]]
):
    lines = {name: line for line, name in enumerate(_rows(STATE_TABLE), start=2)}
    for name in planted["thousands"]:
        ((file, line),) = found.filter(figure_id=name).select("file", "line").rows()
        assert Path(file).name == STATE_TABLE
        assert line == lines[name]


def test_findings_are_in_order_and_their_identifiers_unique(found: pl.DataFrame):
    assert found.schema == pl.Schema(SCHEMA)
    assert found["finding_id"].is_unique().all()
    place = found["severity"].replace_strict(SEVERITIES, range(3), return_dtype=pl.Int64)
    assert place.is_sorted()
    assert set(found["kind"]) <= set(KINDS)


@pytest.mark.parametrize("file", [STATE_TABLE, "table_1_2.csv", "table_1_4.csv", "table_2_1.csv"])
def test_a_table_whose_amounts_are_in_thousands_is_an_error_that_names_the_file(
    file: str, clean: dict[int, pl.DataFrame]
):
    figures = clean[2022]
    amounts = pl.col("file").str.ends_with(file) & (pl.col("measure") == "sum")
    scaled = pl.when(amounts).then(pl.col("value") / 1000).otherwise("value")
    errors = find(figures.with_columns(value=scaled)).filter(severity="error", kind="thousands")
    ((named, detail),) = errors.select("file", "detail").rows()
    assert named.endswith(file)
    assert "Multiply them by 1000" in detail


def test_a_whole_file_in_thousands_is_one_finding(clean: dict[int, pl.DataFrame]):
    figures = clean[2023]
    for file in ("usda_fns_snap_monthly.csv", "census_state_population_estimates.csv"):
        here = pl.col("file").str.ends_with(file)
        scaled = pl.when(here & (pl.col("unit") != "households")).then(pl.col("value") / 1000)
        amounts = scaled if "census" in file else pl.when(pl.col("measure") == "sum").then(scaled)
        errors = find(figures.with_columns(pl.coalesce(amounts, "value").alias("value"))).filter(
            severity="error"
        )
        assert errors["kind"].to_list() == ["thousands"]
        assert errors["file"][0].endswith(file)


def test_figures_in_no_sum_are_judged_by_their_peers(clean: dict[int, pl.DataFrame]):
    ages = clean[2023].filter(pl.col("published_table").str.contains("S0101"))
    wrong, lone = ages["figure_id"][100], ages["figure_id"][400]
    is_wrong = pl.col("figure_id") == wrong
    changed = clean[2023].with_columns(
        value=pl.when(is_wrong).then(pl.col("value") / 1000)
        .when(pl.col("figure_id") == lone).then(pl.col("value") * 1000)
        .otherwise("value")
    )  # fmt: skip
    warnings = find(changed).filter(severity="warning", kind="thousands")
    assert warnings["figure_id"].to_list() == sorted([wrong, lone])


def _own(figures: pl.DataFrame) -> pl.DataFrame:
    """True figures as a file of the user prints them: other publisher, table and identifiers."""
    return figures.with_columns(
        pl.format("own-{}", "figure_id").alias("figure_id"),
        publisher=pl.lit("Agency"),
        published_table=pl.lit("Own table"),
        file=pl.lit("2022/own.csv"),
    )


_IN_CLASS = pl.col("filters").str.starts_with("agi")
_IN_COLORADO = pl.col("geography") == "08"
TRUE_FILES = {
    "the nation and 51 areas without territories": (pl.col("filters") == "")
    & pl.col("geography").is_in([NATION, *STATES]),
    "51 counts of payers of the alternative minimum tax": (pl.col("filters") == "")
    & pl.col("geography").is_in(STATES)
    & (pl.col("variable") == "alternative_minimum_tax")
    & (pl.col("measure") == "count"),
    "one national count": (pl.col("filters") == "")
    & (pl.col("geography") == NATION)
    & (pl.col("variable") == "alternative_minimum_tax")
    & (pl.col("measure") == "count"),
    "ten states": (pl.col("filters") == "") & pl.col("geography").is_in(STATES[:10]),
    "returns of Colorado with one credit": (pl.col("filters") == "")
    & _IN_COLORADO
    & (
        (pl.col("variable") == "returns")
        | (pl.col("variable") == "nonrefundable_education_credit") & (pl.col("measure") == "sum")
    ),
    "the top class": pl.col("filters") == "agi >= 1000000",
    "classes without totals": _IN_CLASS & _IN_COLORADO,
}


@pytest.mark.parametrize("rows", TRUE_FILES.values(), ids=TRUE_FILES.keys())
def test_a_true_file_of_a_part_of_a_table_gives_no_error(
    rows: pl.Expr, clean: dict[int, pl.DataFrame]
):
    nation = clean[2022].filter(pl.col("file").str.contains("pub1304|d5"))
    table = clean[2022].filter(pl.col("file").str.ends_with(STATE_TABLE))
    own = _own(table.filter(rows))
    assert len(own) > 0
    errors = find(pl.concat([nation, own])).filter(severity="error")
    assert errors["detail"].to_list() == []


def _wage_earners(figures: pl.DataFrame) -> pl.DataFrame:
    """The nation and its 51 areas, without the territories."""
    return figures.filter(
        pl.col("file").str.ends_with(STATE_TABLE),
        pl.col("geography").is_in([NATION, *STATES]),
        variable="wages_and_salaries", measure="count", filters="",
    )  # fmt: skip


def test_a_factor_that_closes_the_sum_of_the_51_areas_is_an_error_with_the_exact_row(
    clean: dict[int, pl.DataFrame],
):
    table = _wage_earners(clean[2022])
    states = table.filter(pl.col("geography") != NATION)["value"].sum()
    for area, factor in (("06", 0.001), ("56", 1000.0), (NATION, 1000.0)):
        wrong = pl.col("geography") == area
        exact = pl.when(pl.col("geography") == NATION).then(states).otherwise("value")
        figures = table.with_columns(value=exact * pl.when(wrong).then(factor).otherwise(1.0))
        found = find(figures).select("kind", "severity", "figure_id").rows()
        assert found == [("thousands", "error", table.filter(wrong)["figure_id"].item())]


def test_a_nation_below_its_areas_is_an_error_where_territories_are_not_printed(
    clean: dict[int, pl.DataFrame],
):
    table = _wage_earners(clean[2022])
    is_nation = pl.col("geography") == NATION
    low = table.with_columns(value=pl.col("value") * pl.when(is_nation).then(0.98).otherwise(1.0))
    ((kind, severity, name),) = find(low).select("kind", "severity", "figure_id").rows()
    assert (kind, severity) == ("total_against_parts", "error")
    assert name == table.filter(is_nation)["figure_id"].item()


def test_a_loss_is_no_wrong_sign_where_true_tables_have_losses(clean: dict[int, pl.DataFrame]):
    table = clean[2022].filter(
        pl.col("file").str.ends_with(STATE_TABLE),
        pl.col("geography").is_in(STATES),
        filters="agi >= 1000000", measure="sum",
    )  # fmt: skip
    loss = pl.when(pl.col("geography") == "56").then(-pl.col("value")).otherwise("value")
    for variable, kinds in (
        ("business_net_income_less_loss", []),
        ("taxable_interest", [("sign", "warning")]),
    ):
        own = _own(table.filter(variable=variable)).with_columns(value=loss)
        assert find(own).select("kind", "severity").rows() == kinds


def test_an_area_is_an_error_where_its_nation_and_territories_leave_room_for_it(
    clean: dict[int, pl.DataFrame],
):
    table = clean[2022].filter(
        pl.col("file").str.ends_with(STATE_TABLE),
        pl.col("variable").is_in(["returns", "wages_and_salaries"]),
        measure="count", filters="",
    )  # fmt: skip
    gone = (pl.col("variable") == "returns") & (pl.col("geography") == "06")
    ((kind, severity),) = find(table.remove(gone)).select("kind", "severity").rows()
    assert (kind, severity) == ("missing_area", "error")


def test_aged_figures_are_left_to_the_year_that_printed_them(clean: dict[int, pl.DataFrame]):
    figures = clean[2021].with_columns(value=pl.col("value") * 1.0123, aged_from=pl.lit(2020))
    assert find(figures).is_empty()


def test_the_largest_year_takes_less_than_three_seconds(clean: dict[int, pl.DataFrame]):
    started = time.perf_counter()
    find(clean[2022])
    assert time.perf_counter() - started < 3
