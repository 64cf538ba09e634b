"""The user's own Parquet tables: what they become, and what is refused."""

from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.measures import unit_measures
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.tax_model import TAX_OUTPUT_COLUMNS
from l0_pipeline.resources.cps_source import CpsSource

HOUSEHOLDS = pl.DataFrame(
    {
        "household_id": [30, 10, 20],
        "design_weight": [100.5, 200.0, 0.0],
        "state_fips": [6, 36, 11],
    }
)
MEMBERS = pl.DataFrame(
    {
        "household_id": [10, 10, 20, 30],
        "MARS": [2, 1, 1, 4],
        "XTOT": [3, 1, 1, 2],
        "age_head": [40, 17, 70, 33],
        "age_spouse": [66, 0, 0, 0],
        "nu06": [1, 0, 0, 0],
        "nu13": [1, 0, 0, 1],
        "nu18": [1, 1, 0, 1],
        "n1820": [0, 0, 0, 0],
        "n21": [2, 0, 1, 1],
        "e00200": [90000.0, 1200.0, 0.0, 25000.0],
        "e00200p": [50000.0, 1200.0, 0.0, 25000.0],
        "e00200s": [40000.0, 0.0, 0.0, 0.0],
        "snap_ben": [0.0, 0.0, 900.0, 0.0],
    }
)
ADULTS = pl.DataFrame(
    {"household_id": [10, 20, 30], "MARS": [1, 1, 3], "XTOT": [1, 1, 1], "age_head": [19, 20, 81]}
)


def source(
    folder: Path,
    households: pl.DataFrame = HOUSEHOLDS,
    members: pl.DataFrame = MEMBERS,
) -> CpsSource:
    households.write_parquet(folder / "households.parquet")
    members.write_parquet(folder / "members.parquet")
    return CpsSource(
        source="tables",
        households_file=str(folder / "households.parquet"),
        members_file=str(folder / "members.parquet"),
        members_income_year=2021,
    )


def changed(table: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    cells = table[column].to_list()
    cells[row] = value
    return table.with_columns(pl.Series(column, cells))


def test_the_extract_is_the_members_with_their_household_and_the_income_year(
    tmp_path: Path,
) -> None:
    raw = source(tmp_path).read()
    assert raw.columns == [
        "source", *MEMBERS.columns, "design_weight", "state_fips", "income_year",
    ]  # fmt: skip
    assert raw["design_weight"].to_list() == [200.0, 200.0, 0.0, 100.5]
    assert schema.income_year(raw) == 2021
    assert schema.persons(raw) is None


def test_households_keep_their_weights_and_are_in_ascending_order(tmp_path: Path) -> None:
    households = schema.households(source(tmp_path).read())
    assert households["household_id"].to_list() == [10, 20, 30]
    assert households["design_weight"].to_list() == [200.0, 0.0, 100.5]
    assert households["persons"].to_list() == [4, 1, 2]
    assert households["tax_units"].to_list() == [2, 1, 1]
    assert households["snap_ben"].to_list() == [0.0, 900.0, 0.0]
    assert households["income_year"].unique().to_list() == [2021]


def test_age_bands_come_from_the_age_counts(tmp_path: Path) -> None:
    units = schema.tax_units(source(tmp_path).read())
    assert units["unit_id"].to_list() == [1, 2, 3, 4]
    first = units.row(0, named=True)
    assert (first["persons_0_5"], first["persons_21_64"], first["persons_65_plus"]) == (1, 1, 1)
    assert units["persons_13_17"].to_list() == [0, 1, 0, 0]
    assert units["persons_6_12"].to_list() == [0, 0, 0, 1]


def test_without_age_counts_a_unit_is_taxpayer_and_spouse(tmp_path: Path) -> None:
    units = schema.tax_units(source(tmp_path, members=ADULTS).read())
    assert units["persons_18_20"].to_list() == [1, 1, 0]
    assert units["persons_65_plus"].to_list() == [0, 0, 1]
    assert units["persons"].to_list() == [1, 1, 1]


def test_units_are_numbered_by_the_user_s_own_numbers_where_given(tmp_path: Path) -> None:
    numbered = MEMBERS.with_columns(RECID=pl.Series([7, 5, 6, 9]))
    units = schema.tax_units(source(tmp_path, members=numbered).read())
    assert units["unit_id"].to_list() == [5, 6, 7, 9]
    assert units["household_id"].to_list() == [10, 20, 10, 30]


def test_narrow_integer_columns_are_as_good_as_wide_ones(tmp_path: Path) -> None:
    narrow = MEMBERS.with_columns(pl.col("household_id", "MARS", "XTOT").cast(pl.Int32))
    wide = schema.tax_units(source(tmp_path).read())
    assert schema.tax_units(source(tmp_path, members=narrow).read()).equals(wide)


@pytest.mark.parametrize(
    ("households", "message"),
    [
        (HOUSEHOLDS.drop("design_weight"), r"1 required column\(s\) missing: design_weight"),
        (
            HOUSEHOLDS.with_columns(state_fip=pl.lit(1)),
            r"unknown column\(s\): 'state_fip' \(nearest: state_fips",
        ),
        (HOUSEHOLDS.clear(), "the table has no rows"),
        (
            HOUSEHOLDS.with_columns(pl.col("household_id").cast(pl.Float64)),
            "column household_id has dtype Float64, but a whole number",
        ),
        (
            HOUSEHOLDS.with_columns(pl.col("design_weight").cast(pl.String)),
            "column design_weight has dtype String, but a number is needed",
        ),
        (
            pl.concat([HOUSEHOLDS, HOUSEHOLDS.head(1)]),
            r"household_id repeats in 2 of 4 rows \(first rows 1, 4: 30, 30\)",
        ),
        (
            changed(HOUSEHOLDS, "design_weight", 1, -1.0),
            r"design_weight is negative in 1 of 3 rows \(first rows 2: -1\.0\)",
        ),
        (
            changed(HOUSEHOLDS, "design_weight", 1, float("nan")),
            "design_weight is missing, not a number or infinite in 1 of 3 rows",
        ),
        (
            changed(HOUSEHOLDS, "design_weight", 1, float("inf")),
            "design_weight is missing, not a number or infinite in 1 of 3 rows",
        ),
        (
            changed(HOUSEHOLDS, "design_weight", 1, None),
            "design_weight is missing, not a number or infinite in 1 of 3 rows",
        ),
        (
            HOUSEHOLDS.with_columns(design_weight=pl.lit(0.0)),
            "column design_weight is 0 in all 3 rows",
        ),
        (changed(HOUSEHOLDS, "state_fips", 0, 72), "state_fips is not a state's FIPS code in 1"),
        (
            pl.concat(
                [
                    HOUSEHOLDS,
                    HOUSEHOLDS.head(1).with_columns(household_id=pl.lit(99, dtype=pl.Int64)),
                ]
            ),
            r"household_id has no tax unit in .*members\.parquet in 1 of 4 rows",
        ),
    ],
)
def test_a_bad_household_table_is_refused_naming_file_column_and_row(
    tmp_path: Path, households: pl.DataFrame, message: str
) -> None:
    with pytest.raises(InputError, match=r"households\.parquet.*" + message):
        source(tmp_path, households=households).read()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (MEMBERS.drop("MARS", "XTOT"), r"2 required column\(s\) missing: MARS, XTOT"),
        (MEMBERS.rename({"snap_ben": "snap_benefit"}), r"'snap_benefit' \(nearest: .*snap_ben"),
        (
            MEMBERS.with_columns(pl.col("MARS").cast(pl.String)),
            "column MARS has dtype String, but a whole number",
        ),
        (
            pl.concat([MEMBERS, changed(MEMBERS.head(1), "household_id", 0, 31)]),
            r"household_id names a household that .* does not have in 1 of 5 rows \(first rows 5",
        ),
        (
            MEMBERS.with_columns(RECID=pl.Series([1, 1, 2, 3])),
            "RECID repeats a unit in 2 of 4 rows",
        ),
        (changed(MEMBERS, "MARS", 2, 6), "MARS is outside 1 to 5 in 1 of 4 rows"),
        (MEMBERS.with_columns(EIC=pl.lit(4)), "EIC is outside 0 to 3 in 4 of 4 rows"),
        (changed(MEMBERS, "snap_ben", 2, -1.0), "snap_ben is negative in 1 of 4 rows"),
        (changed(MEMBERS, "e00200", 0, 1.0), r"e00200 breaks e00200 = e00200p \+ e00200s in 1"),
        (MEMBERS.drop("e00200p", "e00200s"), r"e00200 breaks e00200 = e00200p \+ e00200s in 3"),
        (
            MEMBERS.drop("e00200").with_columns(pl.col("e00200p") * 0, e00200s=pl.lit(1.0)),
            r"e00200p breaks e00200 = e00200p \+ e00200s in 4",
        ),
        (
            MEMBERS.with_columns(e00900=pl.lit(5), e00900p=pl.lit(0), e00900s=pl.lit(5)),
            "e00900s is a spouse's amount without a joint return in 3 of 4 rows",
        ),
        (MEMBERS.with_columns(e00650=pl.lit(1.0)), "e00650 is larger than e00600"),
        (MEMBERS.drop("nu13"), "nu06, nu18, n1820, n21 given without nu13"),
        (
            MEMBERS.drop("nu06", "nu13", "nu18", "n1820", "n21"),
            "XTOT differs from the persons whose age age_head and age_spouse tell in 2 of 4 rows",
        ),
        (changed(MEMBERS, "nu06", 2, 1), "nu13 leaves a negative number of persons_6_12 in 1"),
        (changed(MEMBERS, "n21", 0, 0), "n21 leaves a negative number of persons_21_64 in 1"),
    ],
)
def test_a_bad_member_table_is_refused_naming_file_column_and_row(
    tmp_path: Path, members: pl.DataFrame, message: str
) -> None:
    with pytest.raises(InputError, match=r"members\.parquet.*" + message):
        source(tmp_path, members=members).read()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tables = source(tmp_path)
    (tmp_path / "members.parquet").unlink()
    with pytest.raises(InputError, match=r"members\.parquet: the file of members_file does not"):
        tables.read()


@pytest.mark.parametrize("keep", [0, 3, 400])
def test_a_file_that_is_not_parquet_or_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    tables = source(tmp_path)
    path = tmp_path / "households.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{keep} bytes that cannot be read as a Parquet file"):
        tables.read()


def test_the_four_required_columns_and_wages_go_all_the_way_to_the_measures(tmp_path: Path):
    wages = pl.Series([30_000.0, 0.0, 80_000.0])
    members = ADULTS.with_columns(e00200=wages, e00200p=wages)
    units = schema.tax_units(source(tmp_path, members=members).read())
    outputs = pl.DataFrame({"unit_id": units["unit_id"]}).with_columns(
        pl.lit(1.0).alias(name) for name in TAX_OUTPUT_COLUMNS
    )
    measured = unit_measures(units, outputs)
    assert measured["eitc_children"].to_list() == [0, 0, 0]
    assert measured["persons"].to_list() == [1.0, 1.0, 1.0]
