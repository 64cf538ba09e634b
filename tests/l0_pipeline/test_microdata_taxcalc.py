"""The CPS file of the taxcalc package, read for real: each of its traps, once."""

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema, taxcalc_cps
from l0_pipeline.resources.cps_source import CpsSource

BANDS = [column.name for column in schema.TAX_UNIT_COLUMNS if column.name.startswith("persons_")]


@pytest.fixture(scope="module")
def raw() -> pl.DataFrame:
    return CpsSource().read()


@pytest.fixture(scope="module")
def units(raw: pl.DataFrame) -> pl.DataFrame:
    return schema.tax_units(raw)


@pytest.fixture(scope="module")
def households(raw: pl.DataFrame) -> pl.DataFrame:
    return schema.households(raw)


def weighted_billions(frame: pl.DataFrame, column: str, weight: pl.Expr) -> float:
    return float(frame.select((pl.col(column) * weight).sum()).item()) / 1e9


def test_the_file_has_280_005_units_and_its_columns_verbatim_after_the_source(
    raw: pl.DataFrame,
) -> None:
    assert raw.shape == (280_005, 69)
    assert raw.columns[0] == "source"
    assert raw["source"].unique().to_list() == ["taxcalc"]


def test_the_household_key_needs_the_income_year_since_numbers_repeat_across_surveys(
    raw: pl.DataFrame, households: pl.DataFrame
) -> None:
    assert len(households) == 200_576
    assert raw["h_seq"].n_unique() < 200_576
    assert households["household_id"].is_unique().all()
    assert households["household_id"].is_sorted()
    counts = households["income_year"].value_counts().sort("income_year")
    assert counts["count"].to_list() == [74_821, 51_498, 74_257]


def test_no_household_spans_two_states(units: pl.DataFrame, households: pl.DataFrame) -> None:
    states = units.group_by("household_id").agg(pl.col("state_fips").n_unique())
    assert states["state_fips"].max() == 1
    assert households["state_fips"].n_unique() == 51


def test_the_household_weight_keeps_the_weighted_number_of_persons(
    raw: pl.DataFrame, units: pl.DataFrame, households: pl.DataFrame
) -> None:
    differing = units.group_by("household_id").agg(pl.col("s006").n_unique())
    assert (differing["s006"] > 1).sum() == 15_908
    by_unit = units.select((pl.col("s006") / 100 * pl.col("persons")).sum()).item()
    by_household = households.select((pl.col("design_weight") * pl.col("persons")).sum()).item()
    assert by_household == pytest.approx(by_unit, rel=1e-12)
    assert by_household == pytest.approx(308.386e6, rel=1e-5)
    assert households["design_weight"].is_finite().all()
    assert (households["design_weight"] > 0).all()


def test_food_stamps_count_once_a_household(
    raw: pl.DataFrame, units: pl.DataFrame, households: pl.DataFrame
) -> None:
    unit_weight, household_weight = pl.col("s006") / 100, pl.col("design_weight")
    assert weighted_billions(raw, "snap_ben", unit_weight) == pytest.approx(91.66, abs=0.01)
    once = weighted_billions(households, "snap_ben", household_weight)
    assert once == pytest.approx(70.01, abs=0.01)
    positive = units.filter(pl.col("snap_ben") > 0)
    assert positive["household_id"].is_unique().all()
    first = units.filter(pl.col("a_lineno") == pl.col("a_lineno").min().over("household_id"))
    assert first["snap_ben"].sum() == units["snap_ben"].sum()


def test_housing_assistance_counts_once_a_family(raw: pl.DataFrame, units: pl.DataFrame) -> None:
    family = ["household_id", "ffpos"]
    assert units.filter(pl.col("housing_ben") > 0).select(family).is_unique().all()
    weight = pl.col("s006") / 100
    assert weighted_billions(raw, "housing_ben", weight) == pytest.approx(33.70, abs=0.01)
    assert weighted_billions(units, "housing_ben", weight) == pytest.approx(30.1, abs=0.05)


def test_age_bands_are_never_negative_and_add_up_to_the_persons(units: pl.DataFrame) -> None:
    assert units.select(pl.min_horizontal(BANDS)).min().item() == 0
    difference = units.select(pl.sum_horizontal(BANDS) - pl.col("persons"))
    assert difference.to_series().is_in([0]).all()


def test_a_child_who_is_a_unit_of_its_own_is_in_the_band_of_its_age(units: pl.DataFrame) -> None:
    infants = units.filter(pl.col("age_head") < 6)
    assert len(infants) == 382
    assert infants["nu06"].sum() == 0
    assert (infants["persons_0_5"] == 1).all()
    schoolchildren = units.filter(pl.col("age_head").is_between(6, 12))
    assert len(schoolchildren) == 366
    assert (schoolchildren["persons_6_12"] == 1).all()


def test_one_exemption_too_many_is_corrected_unless_the_return_is_joint(
    raw: pl.DataFrame, units: pl.DataFrame
) -> None:
    persons = pl.sum_horizontal("nu18", "n1820", "n21")
    assert raw.filter(pl.col("XTOT") == persons + 1).height == 1_095
    assert raw.filter(~(pl.col("XTOT") - persons).is_in([0, 1])).is_empty()
    still_higher = units.filter(pl.col("XTOT") != pl.col("persons"))
    assert len(still_higher) == 103
    assert still_higher["MARS"].unique().to_list() == [2]
    assert still_higher["age_spouse"].unique().to_list() == [0]


def test_ages_80_and_85_are_codes(units: pl.DataFrame) -> None:
    old = units.filter(pl.col("age_head") > 79)["age_head"]
    assert sorted(old.unique()) == [80, 85]


def test_tax_calculator_s_columns_are_otherwise_as_in_the_file(
    raw: pl.DataFrame, units: pl.DataFrame
) -> None:
    changed = {"XTOT", "snap_ben", "housing_ben", "source"}
    names = [name for name in raw.columns if name not in changed]
    ordered = raw.sort("RECID")
    assert all(
        ordered[name].cast(pl.Float64).equals(units[name].cast(pl.Float64)) for name in names
    )


def test_units_and_households_have_the_declared_columns_and_dtypes(
    units: pl.DataFrame, households: pl.DataFrame
) -> None:
    for table, columns in (
        (units, schema.TAX_UNIT_COLUMNS),
        (households, schema.HOUSEHOLD_COLUMNS),
    ):
        declared = {column.name: column.dtype for column in columns}
        assert all(declared[name] == dtype for name, dtype in table.schema.items())
        assert sum(table.null_count().row(0)) == 0
    assert units["unit_id"].is_sorted()
    assert units["unit_id"].is_unique().all()
    assert households["tax_units"].sum() == len(units)


def test_the_schema_describes_every_input_of_tax_calculator_once() -> None:
    names = [column.name for column in schema.TAX_UNIT_COLUMNS]
    assert len(names) == len(set(names))
    assert all(column.description and column.unit for column in schema.TAX_UNIT_COLUMNS)


def test_the_source_has_no_persons_and_one_income_year(raw: pl.DataFrame) -> None:
    assert schema.persons(raw.head(3)) is None
    assert schema.income_year(raw.head(3)) == 2014


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pl.col("s006") * -1, r"cps\.csv: column s006 is not a count in 4 of 4 rows"),
        (pl.lit(1).alias("RECID"), r"column RECID repeats in 4 of 4 rows"),
        (pl.lit("x").alias("MARS"), r"column MARS is not a count in 4 of 4 rows"),
    ],
)
def test_a_damaged_file_is_refused_naming_its_column_and_rows(
    raw: pl.DataFrame, damage: pl.Expr, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        taxcalc_cps.check(raw.head(4).with_columns(damage), file="cps.csv")


def test_a_unit_that_appears_twice_in_its_household_is_refused(raw: pl.DataFrame) -> None:
    twice = pl.concat(
        [raw.head(1), raw.head(1).with_columns(RECID=pl.lit(2, dtype=pl.Int64))], how="vertical"
    )
    with pytest.raises(InputError, match="a_lineno repeats within a household in 2 of 2 rows"):
        taxcalc_cps.check(twice, file="cps.csv")


def test_a_file_with_other_columns_is_refused(raw: pl.DataFrame) -> None:
    with pytest.raises(InputError, match=r"1 required column\(s\) missing: h_seq"):
        taxcalc_cps.check(raw.head(4).drop("h_seq"), file="cps.csv")


@pytest.mark.parametrize("column", [[], ["taxcalc", "asec"], ["mars", "mars"]])
def test_an_extract_of_no_one_known_source_is_refused(column: list[str]) -> None:
    frame = pl.DataFrame({"source": pl.Series(column, dtype=pl.String)})
    with pytest.raises(InputError, match="one of taxcalc, asec, tables"):
        schema.households(frame)
