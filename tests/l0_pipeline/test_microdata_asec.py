"""The ASEC layout: persons become tax units by stated rules, and bad archives are refused."""

import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema
from l0_pipeline.resources.cps_source import CpsSource
from tests.l0_pipeline.asec_archive import (
    FAMILIES,
    HOUSEHOLDS,
    PERSONS,
    with_value,
    write_archive,
)

BANDS = [column.name for column in schema.TAX_UNIT_COLUMNS if column.name.startswith("persons_")]


def read(path: Path) -> pl.DataFrame:
    return CpsSource(source="asec", asec_archive=str(path)).read()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return read(write_archive(tmp_path_factory.mktemp("asec")))


@pytest.fixture(scope="module")
def units(raw: pl.DataFrame) -> pl.DataFrame:
    return schema.tax_units(raw)


def unit(units: pl.DataFrame, household: int, position: int = 0) -> dict[str, object]:
    return units.filter(pl.col("household_id") == 2022_000_000 + household).row(
        position, named=True
    )


def test_every_person_is_one_row_with_the_columns_of_its_household_and_family(
    raw: pl.DataFrame,
) -> None:
    assert raw.columns[0] == "source"
    assert raw["source"].unique().to_list() == ["asec"]
    assert len(raw) == len(PERSONS)
    last = raw.row(-1, named=True)
    assert (last["GESTFIPS"], last["HSUP_WGT"], last["FSUP_WGT"]) == (36, 310000, 305000)


def test_columns_that_are_not_used_are_not_read(raw: pl.DataFrame) -> None:
    assert not {"PRDTRACE", "PERIDNUM", "H_IDNUM", "FPERSONS"} & set(raw.columns)


def test_households_carry_the_household_weight_with_two_implied_decimals(raw: pl.DataFrame) -> None:
    households = schema.households(raw)
    assert households["household_id"].to_list() == [2022_000_000 + n for n in (1, 2, 3, 5, 6, 8)]
    assert households["design_weight"].to_list() == [1703.18, 900.0, 1200.5, 2000.0, 550.0, 3100.0]
    assert households["persons"].to_list() == [4, 2, 1, 2, 2, 4]
    assert households["tax_units"].to_list() == [1, 1, 1, 2, 1, 2]
    assert households["income_year"].unique().to_list() == [2022]


def test_a_household_without_an_interview_is_no_household(raw: pl.DataFrame) -> None:
    assert 2022_000_009 not in schema.households(raw)["household_id"]


def test_a_married_couple_with_children_is_one_joint_unit(units: pl.DataFrame) -> None:
    family = unit(units, 1)
    assert (family["MARS"], family["XTOT"], family["age_head"], family["age_spouse"]) == (
        2, 4, 41, 39,
    )  # fmt: skip
    assert (family["nu06"], family["nu13"], family["nu18"], family["n24"], family["EIC"]) == (
        1, 2, 2, 2, 2,
    )  # fmt: skip
    assert (family["e00200"], family["e00200p"], family["e00200s"]) == (108000, 60000, 48000)
    assert (family["e00900p"], family["e00900s"], family["e00300"]) == (5000, 0, 200)


def test_a_single_parent_is_head_of_household_with_a_baby(units: pl.DataFrame) -> None:
    parent = unit(units, 2)
    assert (parent["MARS"], parent["XTOT"], parent["nu06"], parent["persons_0_5"]) == (4, 2, 1, 1)


def test_one_person_who_does_not_file_is_single_and_a_couple_is_joint(units: pl.DataFrame) -> None:
    alone, couple = unit(units, 3), unit(units, 6)
    assert (alone["MARS"], alone["age_head"], alone["e02400"]) == (1, 85, 14400)
    assert (alone["e01500"], alone["e01700"], alone["ssi_ben"]) == (3000, 3000, 600)
    assert (couple["MARS"], couple["age_spouse"], couple["persons_65_plus"]) == (2, 73, 2)


def test_two_tax_units_and_two_families_share_one_household(units: pl.DataFrame) -> None:
    first, second = unit(units, 5), unit(units, 5, 1)
    assert (first["ffpos"], second["ffpos"]) == (1, 2)
    assert (first["MARS"], second["MARS"], second["e00900"]) == (1, 1, -4000)


def test_a_dependent_parent_counts_as_elderly_and_his_income_stays_his_own(
    units: pl.DataFrame,
) -> None:
    couple = unit(units, 8)
    assert (couple["MARS"], couple["XTOT"], couple["elderly_dependents"]) == (2, 3, 1)
    assert (couple["persons_21_64"], couple["persons_65_plus"], couple["EIC"]) == (1, 2, 0)
    assert (couple["e00200"], couple["e02400"]) == (30000, 18000)


def test_food_stamps_are_the_household_s_and_count_once(
    units: pl.DataFrame, raw: pl.DataFrame
) -> None:
    assert units["snap_ben"].sum() == HOUSEHOLDS["HFDVAL"].sum()
    assert schema.households(raw)["snap_ben"].to_list() == [0, 2400, 0, 0, 1200, 0]


def test_age_bands_add_up_to_the_persons(units: pl.DataFrame, raw: pl.DataFrame) -> None:
    assert (
        units.select(pl.sum_horizontal(BANDS))
        .to_series()
        .equals(units["persons"], check_names=False)
    )
    assert units["persons"].sum() == len(PERSONS)
    assert units.select(pl.min_horizontal(BANDS)).min().item() >= 0


def test_tax_calculator_s_own_rules_hold(units: pl.DataFrame) -> None:
    for total in ("e00200", "e00900", "e02100"):
        assert (units[total] == units[f"{total}p"] + units[f"{total}s"]).all()
        assert (units.filter(pl.col("MARS") != 2)[f"{total}s"] == 0).all()
    assert (units["e01700"] <= units["e01500"]).all()
    assert units["EIC"].is_between(0, 3).all()


def test_persons_keep_their_unit_role_and_weight(raw: pl.DataFrame, units: pl.DataFrame) -> None:
    persons = schema.persons(raw)
    assert persons is not None
    assert len(persons) == len(PERSONS)
    assert set(persons["unit_id"]) == set(units["unit_id"])
    roles = persons.filter(pl.col("household_id") == 2022_000_008)["role"].to_list()
    assert roles == ["head", "spouse", "dependent", "head"]
    assert persons["person_weight"].unique().to_list() == [1500.25]


def test_units_are_numbered_without_gaps_and_described_by_the_schema(
    raw: pl.DataFrame, units: pl.DataFrame
) -> None:
    assert units["unit_id"].to_list() == list(range(1, len(units) + 1))
    declared = {column.name: column.dtype for column in schema.TAX_UNIT_COLUMNS}
    assert all(declared[name] == dtype for name, dtype in units.schema.items())
    assert schema.income_year(raw) == 2022


def test_a_joint_return_without_its_spouse_in_the_unit_stays_joint(tmp_path: Path) -> None:
    alone = PERSONS.filter(~((pl.col("PH_SEQ") == 1) & (pl.col("A_LINENO") == 2)))
    units = schema.tax_units(read(write_archive(tmp_path, persons=alone)))
    family = unit(units, 1)
    assert (family["MARS"], family["age_spouse"], family["e00200s"]) == (2, 0, 0)


def test_names_in_a_subfolder_and_lower_case_headers_are_read_alike(
    tmp_path: Path, raw: pl.DataFrame
) -> None:
    lower = [table.rename(str.lower) for table in (HOUSEHOLDS, FAMILIES, PERSONS)]
    path = write_archive(
        tmp_path,
        households=lower[0],
        families=lower[1],
        persons=lower[2],
        member="cpspb/asec/{kind}23.CSV",
    )
    assert read(path).equals(raw)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"households": with_value(HOUSEHOLDS, "H_SEQ", 1, 1)},
            r"hhpub23\.csv: column H_SEQ repeats a household in 2 of 7 rows \(first rows 2, 3",
        ),
        (
            {"households": HOUSEHOLDS.with_columns(H_YEAR=pl.lit(2021))},
            r"H_YEAR is not the survey year 2023 of the file names in 7 of 7 rows",
        ),
        (
            {"households": with_value(HOUSEHOLDS, "HSUP_WGT", 2, -5)},
            r"HSUP_WGT is a negative weight in 1 of 7 rows \(first rows 4: -5\)",
        ),
        (
            {"households": with_value(HOUSEHOLDS, "HSUP_WGT", 2, "NaN")},
            r"HSUP_WGT is not a whole number in 1 of 7 rows \(first rows 4: 'NaN'\)",
        ),
        (
            {"households": HOUSEHOLDS.with_columns(HSUP_WGT=pl.lit(0))},
            r"every HSUP_WGT of 7 rows is 0",
        ),
        (
            {"households": with_value(HOUSEHOLDS, "GESTFIPS", 0, 3)},
            r"GESTFIPS is not a state in 1 of 7 rows",
        ),
        (
            {"households": HOUSEHOLDS.filter(pl.col("H_SEQ") != 3)},
            r"PH_SEQ names a household that .*hhpub23\.csv does not have in 1 of 15 rows",
        ),
        (
            {"families": FAMILIES.filter(pl.col("FH_SEQ") != 3)},
            r"PF_SEQ names a family that .*ffpub23\.csv does not have in 1 of 15 rows",
        ),
        (
            {"families": pl.concat([FAMILIES, FAMILIES.head(1)])},
            r"FFPOS repeats a family of its household in 2 of 9 rows",
        ),
        (
            {"persons": PERSONS.filter(pl.col("PH_SEQ") != 8)},
            r"H_SEQ was interviewed \(H_HHTYPE 1\) but has no person in .*pppub23\.csv",
        ),
        (
            {"persons": pl.concat([PERSONS, PERSONS.head(1)])},
            r"A_LINENO repeats a person of its household in 2 of 16 rows",
        ),
        (
            {"persons": with_value(PERSONS, "MARSUPWT", 0, -1)},
            r"MARSUPWT is a negative weight in 1 of 15 rows",
        ),
        (
            {"persons": with_value(PERSONS, "FILESTAT", 0, 7)},
            r"FILESTAT is outside 1 to 6 in 1 of 15 rows",
        ),
        (
            {"persons": with_value(PERSONS, "WSAL_VAL", 3, -9)},
            r"WSAL_VAL is a negative amount in 1 of 15 rows",
        ),
        (
            {"persons": PERSONS.drop("TAX_ID", "DEP_STAT")},
            r"pppub23\.csv: 2 required column\(s\) missing: TAX_ID, DEP_STAT",
        ),
        (
            {"persons": PERSONS.drop("PNSN_VAL", "ANN_VAL")},
            r"none of PNSN_VAL, ANN_VAL, RTM_VAL is a column",
        ),
        ({"persons": PERSONS.clear()}, r"pppub23\.csv: no rows under the header"),
        ({"persons": pl.DataFrame({"X": [1]})}, r"20 required column\(s\) missing"),
        ({"leave_out": "ffpub"}, r"no ffpubYY\.csv in the archive, which holds hhpub23\.csv"),
        ({"name": "asecpub22csv.zip"}, r"survey years 22, 23 in the names"),
    ],
)
def test_a_bad_archive_is_refused_naming_file_column_and_row(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = write_archive(tmp_path, **changed)
    with pytest.raises(InputError, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such archive"):
        read(tmp_path / "asecpub23csv.zip")


@pytest.mark.parametrize("content", [b"", b"not a zip at all"])
def test_what_is_not_a_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "asecpub23csv.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{len(content)} bytes that are not a complete zip"):
        read(path)


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "asecpub23csv.zip"
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(InputError, match=r"no hhpubYY\.csv, ffpubYY\.csv, pppubYY\.csv"):
        read(path)


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a complete zip archive"):
        read(path)


def test_a_zip_with_flipped_bytes_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    content = bytearray(path.read_bytes())
    content[80:90] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read(path)
