"""Laws of aged figures: the stated growth, marked, and never in place of a printed figure."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.ageing import GROWTH, age_figures, check_growth, without_growth
from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.settings import PROJECT_DIR

VARIABLES = ("wages_and_salaries", "returns", "snap_benefit")
WAGES = {
    "year": 2022, "figure_id": "w", "family": "wages, states", "variable": "wages_and_salaries",
    "measure": "sum", "universe": "returns", "geography": "06", "filters": "", "value": 200.0,
    "unit": "dollars", "standard_error": 4.0, "period": "tax year 2022", "publisher": "IRS",
    "published_table": "T", "note": "", "role": None, "aged_from": None,
    "file": "2022/a.csv", "line": 2,
}  # fmt: skip
SNAP = WAGES | {"figure_id": "s", "variable": "snap_benefit"}
SCHEMA = {"standard_error": pl.Float64, "aged_from": pl.Int64, "role": pl.String}


def _figures(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides=SCHEMA)


def _growth(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    named = [(*row, "IRS", "Table 1") for row in rows]
    frame = pl.DataFrame(named, schema=dict.fromkeys(GROWTH, pl.String), orient="row")
    return check_growth(frame, file="growth.csv", variables=VARIABLES)


WAGE_GROWTH = _growth(
    ("wages_and_salaries", "sum", "2022", "1000"), ("wages_and_salaries", "sum", "2023", "1050")
)
PRINTED = _figures(WAGES | {"year": 2023, "figure_id": "p", "geography": "US"})


def test_a_figure_grows_as_its_series_and_says_so():
    aged = age_figures(PRINTED, {2022: _figures(WAGES)}, WAGE_GROWTH, year=2023)
    assert aged.head(1).equals(PRINTED)
    (figure,) = aged.tail(-1).to_dicts()
    assert figure["value"] == pytest.approx(210)
    assert figure["standard_error"] == pytest.approx(4.2)
    assert (figure["year"], figure["aged_from"]) == (2023, 2022)
    assert figure["figure_id"] == "w-of-2022-aged"
    assert figure["note"] == "aged from 2022 by 1.05: IRS, Table 1"
    assert figure["file"] == "2022/a.csv"


def test_what_is_printed_for_the_year_is_never_aged():
    printed = _figures(WAGES | {"year": 2023, "value": 1.0})
    assert age_figures(printed, {2022: _figures(WAGES)}, WAGE_GROWTH, year=2023).equals(printed)


def test_of_two_years_the_first_named_is_taken():
    growth = pl.concat([WAGE_GROWTH, _growth(("wages_and_salaries", "sum", "2021", "900"))])
    earlier = {2021: _figures(WAGES | {"year": 2021}), 2022: _figures(WAGES)}
    assert age_figures(PRINTED, earlier, growth, year=2023)["aged_from"].to_list() == [None, 2021]
    turned = {2022: earlier[2022], 2021: earlier[2021]}
    assert age_figures(PRINTED, turned, growth, year=2023)["aged_from"].to_list() == [None, 2022]


def test_a_figure_without_a_series_is_left_out_and_named():
    earlier = {2022: _figures(WAGES, SNAP)}
    assert len(age_figures(PRINTED, earlier, WAGE_GROWTH, year=2023)) == 2
    assert without_growth(earlier, WAGE_GROWTH, year=2023) == ["snap_benefit (sum)"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("wage", "sum", "2022", "1"), "line 2, variable: read 'wage'; allowed: a name of the"),
        (("returns", "mean", "2022", "1"), "line 2, measure: read 'mean'; allowed: sum or count"),
        (("returns", "sum", "lately", "1"), "line 2, year: read 'lately'"),
        (("returns", "sum", "2022", "0"), "line 2, index: read '0'; allowed: a finite number abo"),
        (("returns", "sum", "2022", "nan"), "line 2, index: read 'nan'"),
        (("returns", "sum", "2022", ""), "line 2, index: read ''"),
    ],
)
def test_a_bad_row_of_growth_is_refused_with_its_line(row: tuple[str, ...], said: str):
    with pytest.raises(InputError, match=said):
        _growth(row)


def test_a_year_stated_twice_and_other_columns_are_refused():
    with pytest.raises(InputError, match=r"line 3, year: .*each year of a series once"):
        _growth(("returns", "sum", "2022", "1"), ("returns", "sum", "2022", "2"))
    with pytest.raises(InputError, match="columns are variable; they must be variable,measure"):
        check_growth(pl.DataFrame({"variable": []}), file="growth.csv", variables=VARIABLES)


def _real(tmp_path: Path, **settings: list[int]) -> FiguresSource:
    folder = str(PROJECT_DIR / "data" / "figures")
    return FiguresSource(figures_dir=folder, database=str(tmp_path / "none.duckdb"), **settings)


def _variables() -> list[str]:
    table = pl.read_csv(PROJECT_DIR / "data" / "figures" / "variables.csv", infer_schema=False)
    return table["variable"].to_list()


def test_states_of_2022_stand_in_for_those_that_2023_does_not_print(tmp_path: Path):
    plain, ageing = _real(tmp_path), _real(tmp_path, age_from=[2022])
    figures = ageing.read(2023, variables=_variables())
    aged = figures.filter(pl.col("aged_from").is_not_null())
    assert figures["aged_from"].is_null().sum() == len(plain.read(2023, variables=_variables()))
    wages = aged.filter(variable="wages_and_salaries", measure="sum", geography="06", filters="")
    then = plain.read(2022, variables=_variables()).filter(
        variable="wages_and_salaries", measure="sum", geography="06", filters=""
    )
    assert wages["value"].item() / then["value"].item() == pytest.approx(1.0445, abs=0.05)
    assert figures["figure_id"].is_unique().all()
    assert "growth.csv" in ageing.file_digests(2023)
    assert ageing.digest(2023) != plain.digest(2023)


def test_a_figure_keeps_its_own_note_when_it_is_aged():
    noted = _figures(WAGES | {"note": "late filers are out"})
    aged = age_figures(PRINTED, {2022: noted}, WAGE_GROWTH, year=2023)
    assert aged["note"][-1] == "late filers are out; aged from 2022 by 1.05: IRS, Table 1"


def test_figures_with_faults_are_not_aged(tmp_path: Path):
    folder = tmp_path / "figures"
    shutil.copytree(PROJECT_DIR / "data" / "figures", folder)
    path = folder / "2022" / "irs_soi_pub1304_table_1_4.csv"
    text = path.read_text()
    assert ",9738950972000," in text
    path.write_text(text.replace(",9738950972000,", ",9738950972,"))
    none = str(tmp_path / "none.duckdb")
    source = FiguresSource(figures_dir=str(folder), database=none, age_from=[2022])
    with pytest.raises(InputError, match=r"2 figures of 2022.*table_1_4\.csv, line 1062: "):
        source.read(2023, variables=_variables())


def test_a_year_cannot_be_aged_to_itself(tmp_path: Path):
    source = _real(tmp_path, age_from=[2022])
    with pytest.raises(InputError, match="cannot be aged to 2022 itself"):
        source.read(2022, variables=_variables())
    with pytest.raises(InputError, match="cannot be aged to 2022 itself"):
        source.digest(2022)
