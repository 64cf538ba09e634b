"""Laws of the dictionary of variables: the project's own is sound, faults are named by line."""

from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.targets import CLOSENESS, RECORDS
from l0_pipeline.resources.variables import VariableDictionary

OWN = Path(__file__).parents[2] / "data" / "figures" / "variables.csv"
HEADER = "variable,records,column,closeness,definition"
GOOD = ("returns,filers,one,close,units that file", "rents,filers,,absent,none in the file")


def _read(folder: Path, *lines: str, header: str = HEADER) -> pl.DataFrame:
    file = folder / "variables.csv"
    file.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return VariableDictionary(file=str(file)).read()


def _refusal(folder: Path, *lines: str, header: str = HEADER) -> str:
    with pytest.raises(InputError) as refused:
        _read(folder, *lines, header=header)
    return str(refused.value)


def test_every_row_of_the_projects_dictionary_is_well_formed():
    table = VariableDictionary(file=str(OWN)).read()
    assert table["variable"].is_unique().all()
    assert table["variable"].is_sorted()
    assert set(table["records"]) == set(RECORDS)
    assert set(table["closeness"]) == set(CLOSENESS)
    assert table.filter((pl.col("closeness") == "absent") != (pl.col("column") == "")).is_empty()
    assert (table["definition"].str.len_chars() > 10).all()
    assert table.null_count().sum_horizontal().item() == 0


def test_itemized_deductions_are_of_itemizers_and_no_others():
    table = VariableDictionary(file=str(OWN)).read()
    itemized = table.filter(pl.col("variable").str.starts_with("itemiz"))
    assert set(itemized["records"]) == {"itemizers"}
    assert len(itemized) == table.filter(records="itemizers").height


def test_a_good_dictionary_is_read_as_it_is(tmp_path: Path):
    assert _read(tmp_path, *GOOD).rows() == [tuple(line.split(",")) for line in GOOD]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "wages,workers,wages,close,x",
            "line 4, records: 'workers' is not one of everyone, filers",
        ),
        ("wages,,wages,close,x", "line 4, records: ''"),
        ("wages,filers,salary,close,x", "line 4, column: 'salary' is not one of additional_medic"),
        ("wages,filers,wages,near,x", "line 4, closeness: 'near' is not one of same, close, diff"),
        ("wages,filers,,close,x", "line 4, column: 'wages' is close and needs the name of a meas"),
        ("wages,filers,wages,absent,x", "line 4, column: 'wages' is absent and needs no column"),
        ("returns,filers,one,close,x", "line 4, variable: 'returns' is described twice"),
        ("wages,filers,wages,close,", "line 4, definition: read '', but must not be empty"),
        ("wages,filers,wages,close,  ", "line 4, definition: read '  ', but must not be empty"),
        ("wages,filers,wages,close", "line 4, definition: read '', but must not be empty"),
        (",filers,wages,close,x", "line 4, variable: read '', but must not be empty"),
    ],
)
def test_a_faulty_row_is_refused_with_file_line_and_field(tmp_path: Path, line: str, said: str):
    message = _refusal(tmp_path, *GOOD, line)
    assert said in message
    assert message.startswith(str(tmp_path / "variables.csv"))


def test_of_many_faults_all_are_counted_and_five_are_told(tmp_path: Path):
    message = _refusal(tmp_path, *(f"v{i},workers,one,close,x" for i in range(9)))
    assert ": 9 faults" in message
    assert "line 6" in message
    assert "line 7" not in message


@pytest.mark.parametrize(
    "header",
    [
        "variable,records,column,closeness",
        "variable,records,column,closeness,definition,note",
        "records,variable,column,closeness,definition",
    ],
)
def test_other_columns_are_refused_with_those_that_are_needed(tmp_path: Path, header: str):
    cells = ",".join(["x"] * (header.count(",") + 1))
    assert "must be ['variable', 'records', 'column'" in _refusal(tmp_path, cells, header=header)


def test_a_definition_with_a_comma_needs_quotes(tmp_path: Path):
    assert "not readable as CSV" in _refusal(tmp_path, "wages,filers,wages,close,one, two")
    assert _read(tmp_path, 'wages,filers,wages,close,"one, two"')["definition"].item() == "one, two"


def test_a_file_that_is_missing_empty_or_not_utf_8_is_refused_by_path(tmp_path: Path):
    missing = tmp_path / "none.csv"
    with pytest.raises(InputError, match=f"{missing}: there is no such file"):
        VariableDictionary(file=str(missing)).read()
    for content in (b"", HEADER.encode() + b"\nwages,filers,wages,close,\xff\n"):
        bad = tmp_path / "bad.csv"
        bad.write_bytes(content)
        with pytest.raises(InputError, match=str(bad)):
            VariableDictionary(file=str(bad)).read()
