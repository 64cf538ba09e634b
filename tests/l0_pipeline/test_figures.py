"""Laws of published figures: rows that are accepted, rows and files that are refused."""

import csv
import os
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import COLUMNS, FIGURE, validate_figures
from l0_pipeline.resources.figures import FiguresSource

FIGURES = Path(__file__).parents[2] / "data" / "figures"
VARIABLES = ("wages_and_salaries", "returns", "snap_households")
GOOD = {
    "figure_id": "2022-t-1",
    "variable": "wages_and_salaries",
    "measure": "sum",
    "universe": "returns",
    "geography": "US",
    "filters": "agi >= 1 & agi < 5000",
    "value": "-12.5",
    "unit": "dollars",
    "year": "2022",
    "period": "tax year 2022",
    "publisher": "IRS",
    "table": "Table 1, first",
    "note": "",
}
OTHER = GOOD | {
    "figure_id": "2022-t-2",
    "variable": "returns",
    "measure": "count",
    "unit": "returns",
    "value": "3",
    "geography": "01",
    "filters": "",
}


def _frame(*rows: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))


def _validate(*rows: dict[str, str]) -> pl.DataFrame:
    return validate_figures(_frame(*rows), file="own.csv", variables=VARIABLES, year=2022)


def _write(path: Path, *rows: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _source(figures_dir: Path) -> FiguresSource:
    """Figures of this folder alone: no warehouse lies beside it."""
    return FiguresSource(figures_dir=str(figures_dir), database=str(figures_dir / "none.duckdb"))


def _read(figures_dir: Path) -> pl.DataFrame:
    return _source(figures_dir).read(2022, variables=VARIABLES)


def test_a_good_row_keeps_its_text_and_gets_types_and_a_family():
    figures = _validate(GOOD, OTHER)
    assert figures.columns == list(FIGURE)
    first, second = figures.to_dicts()
    assert first["published_table"] == "Table 1, first"
    assert (first["file"], first["line"], second["line"]) == ("own.csv", 2, 3)
    assert first["standard_error"] is first["aged_from"] is None
    assert first["value"] == -12.5
    assert first["year"] == 2022
    assert first["filters"] == "agi >= 1 & agi < 5000"
    assert first["family"] == "wages, nation"
    assert second["filters"] == ""
    assert second["family"] == "returns filed, states"


def test_a_variable_without_a_subject_is_a_family_of_its_own():
    figures = validate_figures(
        _frame(GOOD | {"variable": "rent_paid_by_elves", "geography": "72"}),
        file="own.csv",
        variables=["rent_paid_by_elves", "elf_hats"],
        year=2022,
    )
    assert figures["family"].to_list() == ["partnerships, rents and estates, states"]
    hats = _frame(GOOD | {"variable": "elf_hats"})
    figures = validate_figures(hats, file="own.csv", variables=["elf_hats"], year=2022)
    assert figures["family"].to_list() == ["elf hats, nation"]


@pytest.mark.parametrize(
    ("column", "read", "said"),
    [
        ("figure_id", "", "letters, digits"),
        ("figure_id", "../1", "letters, digits"),
        ("variable", "wages_and_salary", r"of 3 variables \(nearest: wages_and_salaries\)"),
        ("variable", "", "dictionary"),
        ("measure", "amount", "sum or count"),
        ("universe", "itemizing returns", "returns or itemizing_returns or residents"),
        ("geography", "1", "keep the zero"),
        ("geography", "03", "two-digit state code"),
        ("geography", "", "two-digit state code"),
        ("filters", "agi >= 5 & agi < 5", "empty range"),
        ("filters", "income >= 5", "unknown filter column"),
        ("value", "", "finite number"),
        ("value", "1,000", "finite number"),
        ("value", "$5", "finite number"),
        ("value", "nan", "finite number"),
        ("value", "inf", "finite number"),
        ("value", "1e999", "finite number"),
        ("unit", "thousands of dollars", "dollars or returns or persons or households"),
        ("unit", "returns", "dollars with sum; returns or persons or households with count"),
        ("year", "2021", "2022, the year of the folder"),
        ("year", "", "2022, the year of the folder"),
        ("period", " ", "not empty"),
        ("publisher", "", "not empty"),
        ("table", "", "not empty"),
        ("role", "held_out", "fitted or benchmark or rejected, or nothing"),
        ("standard_error", "-1", "zero or more"),
        ("standard_error", "nan", "zero or more"),
        ("standard_error", "about 5", "zero or more"),
        ("figure_id", "x'; drop table figures; --", "letters, digits"),
        ("variable", "wages\nreturns", "dictionary"),
        ("publisher", "IRS\n'; drop table figures; --", "one line of text"),
        ("note", "two\nlines", "one line of text"),
    ],
)
def test_a_bad_field_is_refused_with_file_line_column_and_what_was_read(
    column: str, read: str, said: str
):
    with pytest.raises(InputError, match=said) as refused:
        _validate(
            *(
                row | {"standard_error": "", "role": ""} | change
                for row, change in ((OTHER, {}), (GOOD, {column: read}))
            )
        )
    message = str(refused.value)
    assert message.startswith("own.csv: 1 of 2 figures cannot be read.")
    assert f"line 3, {column}: read {read!r}" in message


def test_a_role_that_a_row_asks_for_needs_its_reason():
    with pytest.raises(InputError, match="line 2, note: read ''; allowed: the reason for the role"):
        _validate(GOOD | {"role": "benchmark"})
    kept = _validate(GOOD | {"role": "benchmark", "note": "why"}, OTHER | {"role": ""})
    assert kept["role"].to_list() == ["benchmark", None]


def test_a_negative_count_is_refused():
    with pytest.raises(InputError, match="line 2, value: read '-3'; allowed: a count of zero"):
        _validate(OTHER | {"value": "-3"})


def test_dollars_are_refused_for_a_count():
    with pytest.raises(InputError, match="line 2, unit: read 'dollars'"):
        _validate(OTHER | {"unit": "dollars"})


def test_a_repeated_figure_id_is_refused_on_both_lines():
    with pytest.raises(InputError, match="each figure_id once") as refused:
        _validate(GOOD, OTHER | {"figure_id": GOOD["figure_id"]})
    assert "line 2, figure_id" in str(refused.value)
    assert "line 3, figure_id" in str(refused.value)


def test_equal_filters_are_equal_texts_whatever_the_order_of_their_clauses():
    figures = _validate(GOOD, OTHER | {"filters": "agi < 5000 & agi >= 1"})
    assert figures["filters"].n_unique() == 1


def test_two_values_for_one_figure_of_a_table_are_refused_whatever_the_order_of_clauses():
    other = {"figure_id": "2022-t-9", "value": "13", "filters": "agi < 5000 & agi >= 1"}
    with pytest.raises(InputError, match=r"line 2, value: read '-12.5'; allowed: one figure for"):
        _validate(GOOD, GOOD | other)


@pytest.mark.parametrize("difference", [{"table": "Table 2"}, {"period": "calendar year 2022"}])
def test_another_table_or_period_may_state_another_value(difference: dict[str, str]):
    other = GOOD | {"figure_id": "2022-t-9", "value": "13"} | difference
    assert len(_validate(GOOD, other)) == 2


def test_the_first_five_bad_rows_are_listed_and_the_rest_counted():
    rows = [OTHER | {"figure_id": f"t-{n}", "value": f"x{n}", "table": f"T{n}"} for n in range(7)]
    with pytest.raises(InputError) as refused:
        _validate(*rows)
    message = str(refused.value)
    assert message.startswith("own.csv: 7 of 7 figures")
    assert "line 6, value: read 'x4'" in message
    assert "x5" not in message
    assert "and 2 more rows" in message


def test_a_missing_and_an_unknown_column_are_named():
    row = {("universe_" if name == "universe" else name): text for name, text in GOOD.items()}
    with pytest.raises(InputError, match=r"missing columns \['universe'\].*\['universe_'\]"):
        _validate(row)


def test_a_header_without_figures_is_refused():
    with pytest.raises(InputError, match="a header and no figures"):
        validate_figures(_frame(GOOD).clear(), file="own.csv", variables=VARIABLES, year=2022)


def test_files_of_a_year_are_read_in_name_order(tmp_path: Path):
    _write(tmp_path / "2022" / "b.csv", GOOD)
    _write(tmp_path / "2022" / "a.csv", OTHER)
    _write(tmp_path / "2022" / ".hidden.csv", OTHER)
    (tmp_path / "2022" / "README.md").write_text("not a figure", encoding="utf-8")
    assert _read(tmp_path)["figure_id"].to_list() == ["2022-t-2", "2022-t-1"]


def test_a_file_saved_by_a_spreadsheet_is_read(tmp_path: Path):
    path = _write(tmp_path / "2022" / "a.csv", GOOD, OTHER)
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n") + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(_read(tmp_path)) == 2


def test_the_digest_changes_with_a_byte_and_with_a_name_and_not_otherwise(tmp_path: Path):
    source = _source(tmp_path)
    path = _write(tmp_path / "2022" / "a.csv", GOOD)
    before = source.digest(2022)
    assert source.digest(2022) == before
    renamed = path.rename(path.with_name("b.csv"))
    assert source.digest(2022) != before
    renamed.rename(path)
    assert source.digest(2022) == before
    _write(path, GOOD | {"value": "-12.6"})
    assert source.digest(2022) != before


def test_a_figure_id_used_by_two_files_is_refused_with_both_names(tmp_path: Path):
    _write(tmp_path / "2022" / "a.csv", GOOD)
    _write(tmp_path / "2022" / "b.csv", OTHER, GOOD)
    with pytest.raises(InputError, match=r"'2022-t-1' in .*a\.csv and .*b\.csv"):
        _read(tmp_path)


def test_a_bad_row_of_a_file_is_named_by_its_line_in_the_file(tmp_path: Path):
    _write(tmp_path / "2022" / "a.csv", GOOD, OTHER | {"value": "none"})
    with pytest.raises(InputError, match=r"(?s)a\.csv: 1 of 2.*line 3, value: read 'none'"):
        _read(tmp_path)


def test_a_year_without_a_folder_names_the_years_at_hand(tmp_path: Path):
    _write(tmp_path / "2021" / "a.csv", GOOD)
    with pytest.raises(InputError, match="no figures for 2022; years at hand: 2021"):
        _read(tmp_path)


def test_a_missing_figures_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        _read(tmp_path / "nowhere")


def test_a_year_without_a_file_is_refused(tmp_path: Path):
    (tmp_path / "2022").mkdir()
    with pytest.raises(InputError, match=r"holds no \.csv or \.parquet file"):
        _read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes):
    _write(tmp_path / "2022" / "a.csv", GOOD).write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv is empty"):
        _read(tmp_path)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path):
    path = _write(tmp_path / "2022" / "a.csv", GOOD, OTHER | {"note": "Cañon"})
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.csv, line 3: byte 0xf1 is not UTF-8"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,3", r"a\.csv, line 3: 3 fields, but the header has 13"),
        ("x" + "," * 13, r"a\.csv, line 3: 14 fields"),
        ("", r"a\.csv, line 3: 0 fields"),
        ("," * 12 + '"two\nlines"', r"a\.csv, line 3: one row runs over several lines"),
        ("," * 12 + '"never closed', r"a\.csv, line \d: not readable as CSV"),
    ],
)
def test_a_ragged_or_unclosed_row_is_refused_with_its_line(tmp_path: Path, line: str, said: str):
    path = _write(tmp_path / "2022" / "a.csv", GOOD, OTHER)
    header, first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, first, line, second]), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        _read(tmp_path)


def test_a_column_named_twice_is_refused(tmp_path: Path):
    path = _write(tmp_path / "2022" / "a.csv", GOOD)
    path.write_text("note,note\na,b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1: columns \['note'\] appear more than once"):
        _read(tmp_path)


def test_a_standard_error_is_kept_where_it_is_stated(tmp_path: Path):
    figures = _validate(GOOD | {"standard_error": "2.5"}, OTHER | {"standard_error": ""})
    assert figures["standard_error"].to_list() == [2.5, None]


def test_a_name_with_quotes_and_sql_is_kept_as_text():
    publisher = "O'Hara; drop table figures; --"
    assert _validate(GOOD | {"publisher": publisher})["publisher"].to_list() == [publisher]


def test_a_parquet_file_is_read_as_a_csv_file_of_the_same_rows(tmp_path: Path):
    _write(tmp_path / "csv" / "2022" / "a.csv", GOOD, OTHER)
    (tmp_path / "parquet" / "2022").mkdir(parents=True)
    typed = _frame(GOOD, OTHER).with_columns(pl.col("value").cast(float), pl.col("year").cast(int))
    typed.write_parquet(tmp_path / "parquet" / "2022" / "a.parquet")
    where = ("file", "line")
    text = _read(tmp_path / "csv").drop(where)
    assert _read(tmp_path / "parquet").drop(where).equals(text)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            _frame(GOOD, OTHER | {"value": ""}),
            r"a\.parquet: 1 of 2.*row 2 \(2022-t-2\), value: read ''",
        ),
        (_frame(GOOD).drop("unit"), r"missing columns \['unit'\]"),
        (_frame(GOOD).with_columns(more=1), r"unknown columns \['more'\]"),
        (_frame(GOOD).with_columns(filters=pl.lit([1])), r"columns \['filters'\] hold no plain"),
        (_frame(GOOD).with_columns(geography=pl.lit(6)), r"geography: read '6'.*keep the zero"),
    ],
)
def test_a_bad_parquet_file_is_refused_with_its_row(tmp_path: Path, frame: pl.DataFrame, said: str):
    (tmp_path / "2022").mkdir()
    frame.write_parquet(tmp_path / "2022" / "a.parquet")
    with pytest.raises(InputError, match=f"(?s){said}"):
        _read(tmp_path)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path):
    (tmp_path / "2022").mkdir()
    (tmp_path / "2022" / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match=r"a\.parquet: not readable as Parquet"):
        _read(tmp_path)


def test_figures_of_the_warehouse_are_read_and_change_the_digest(tmp_path: Path):
    _write(tmp_path / "2022" / "a.csv", GOOD)
    source = _source(tmp_path)
    before = source.digest(2022)
    with duckdb.connect(source.database) as own:
        own.register("rows", _frame(OTHER))
        own.execute("create table own_figures as select * from rows")
    assert _read(tmp_path)["figure_id"].to_list() == ["2022-t-1", "2022-t-2"]
    assert source.digest(2022) != before
    assert set(source.file_digests(2022)) == {"a.csv", "own_figures"}


def test_a_bad_row_of_the_warehouse_is_named(tmp_path: Path):
    _write(tmp_path / "2022" / "a.csv", GOOD)
    with duckdb.connect(_source(tmp_path).database) as own:
        own.register("rows", _frame(OTHER | {"unit": "dollars"}))
        own.execute("create table own_figures as select * from rows")
    with pytest.raises(
        InputError, match=r"(?s)table own_figures of .*row 1 \(2022-t-2\), unit: read 'dollars'"
    ):
        _read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path):
    _write(tmp_path / "2022" / "a.csv", GOOD).chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        _read(tmp_path)


def _stated_variables(year: int) -> set[str]:
    frames = [pl.read_csv(path, infer_schema=False) for path in (FIGURES / str(year)).glob("*.csv")]
    return set(pl.concat(frames, how="diagonal")["variable"])


@pytest.mark.parametrize(("year", "rows"), [(2021, 2_431), (2022, 26_110), (2023, 2_512)])
def test_every_figure_that_the_project_states_is_valid(year: int, rows: int):
    source = _source(FIGURES)
    start = time.perf_counter()
    figures = source.read(year, variables=_stated_variables(year))
    assert time.perf_counter() - start < 5  # about 0.4 s on two cores; the rest is a busy machine
    assert len(figures) == rows
    assert figures["figure_id"].is_unique().all()


def test_known_figures_of_2022_are_stated_to_the_dollar():
    source = _source(FIGURES)
    figures = source.read(2022, variables=_stated_variables(2022))
    nation = figures.filter(
        geography="US",
        published_table="Publication 1304, Table 1.2",
        variable="adjusted_gross_income",
    )
    no_filter = nation.filter(filters="")
    assert no_filter["value"].to_list() == [14_833_956_956_000]
    assert nation["value"].min() == -164_160_281_000
    returns = figures.filter(filters="", geography="US", variable="returns")
    assert sorted(returns["value"].to_list()) == [159_651_330, 161_336_659]
    assert 15 <= figures["family"].n_unique() <= 60


def test_files_are_sorted_and_whole_numbers_have_no_decimals():
    for path in sorted(FIGURES.glob("20*/*.csv")):
        rows = pl.read_csv(path, infer_schema=False)
        assert rows.columns in ([*COLUMNS], [*COLUMNS, "role"])
        assert rows["figure_id"].is_sorted(), path
        assert not rows["value"].str.contains(r"\.\d*0$").any(), path
        assert b"\r" not in path.read_bytes(), path
