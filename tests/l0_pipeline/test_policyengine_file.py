"""Laws of the file for PolicyEngine-US: nobody and no dollar is lost on the way to persons.

That PolicyEngine itself reads it is tested by ``tests/consumers``, with an interpreter of its own.
"""

import time
from io import BytesIO

import h5py
import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.release.policyengine_amounts import AMOUNTS
from l0_pipeline.logic.release.policyengine_file import policyengine_file, policyengine_files
from l0_pipeline.logic.release.policyengine_persons import BANDS, persons
from l0_pipeline.resources.cps_source import CpsSource

YEAR = 2022
GROUPS = ("household", "tax_unit", "family", "spm_unit", "marital_unit")


@pytest.fixture(scope="module")
def households() -> pl.DataFrame:
    everyone = schema.households(CpsSource().read()).sample(1_500, seed=5).sort("household_id")
    return everyone.with_columns(weight=pl.col("design_weight") * 1.7)


@pytest.fixture(scope="module")
def units(households: pl.DataFrame) -> pl.DataFrame:
    """Units of some real households; their incomes are those of the survey's year."""
    units = schema.tax_units(CpsSource().read())
    return units.join(
        households.select("household_id", "weight"), on="household_id", maintain_order="left"
    )


@pytest.fixture(scope="module")
def arrays(households: pl.DataFrame, units: pl.DataFrame) -> dict[str, np.ndarray]:
    return _arrays(policyengine_file(households, units, year=YEAR))


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with h5py.File(BytesIO(content), "r") as file:
        assert all(list(file[name]) == [str(YEAR)] for name in file)
        return {name: file[f"{name}/{YEAR}"][()] for name in file}


def _unit(**changes: object) -> pl.DataFrame:
    """One unit of a single person aged 40, or as changed."""
    alone = dict.fromkeys(BANDS, 0) | {"persons_21_64": 1}
    unit = {"unit_id": 9, "MARS": 1, "age_head": 40, "age_spouse": 0, "n24": 0, "EIC": 0}
    return pl.DataFrame([unit | alone | changes])


def test_the_persons_of_every_unit_are_those_counted_in_every_age_band(units: pl.DataFrame):
    people = persons(units)
    counted = people.group_by("unit").agg(
        pl.col("age").is_between(low, high).sum().cast(pl.Int64).alias(name)
        for name, (low, high, _) in BANDS.items()
    )
    assert counted.sort("unit").drop("unit").equals(units.select(list(BANDS)))
    assert len(people) == units["persons"].sum()


def test_every_unit_has_one_head_and_a_spouse_where_the_survey_has_one(units: pl.DataFrame):
    people = persons(units)
    for role, wanted in (("HEAD", len(units)), ("SPOUSE", (units["age_spouse"] > 0).sum())):
        found = people.filter(role=role)
        assert len(found) == found["unit"].n_unique() == wanted
    assert people.filter(role="HEAD")["age"].to_list() == units["age_head"].to_list()


def test_a_joint_return_without_its_spouse_among_the_records_has_one_adult():
    assert persons(_unit(MARS=2))["role"].to_list() == ["HEAD"]


def test_teenagers_of_the_child_credit_are_under_17_and_the_others_are_not():
    people = persons(_unit(persons_6_12=1, persons_13_17=3, n24=3))
    assert people["age"].to_list() == [40, 9, 15, 15, 17]


def test_grown_children_of_the_earned_income_credit_are_students():
    people = persons(_unit(persons_13_17=1, persons_18_20=1, persons_21_64=3, EIC=3))
    assert people["age"].to_list() == [40, 17, 19, 22, 40]
    assert people["student"].to_list() == [False, False, True, True, False]


def test_units_that_do_not_count_their_own_adults_are_refused():
    with pytest.raises(InputError, match=r"1 unit\(s\) do not count.*first unit 9 \(age_head 70"):
        persons(_unit(age_head=70))


def test_weighted_counts_are_those_of_the_release(
    arrays: dict[str, np.ndarray], households: pl.DataFrame, units: pl.DataFrame
):
    weight = arrays["household_weight"]
    of_person = weight[arrays["person_household_id"]]
    first = np.unique(arrays["person_tax_unit_id"], return_index=True)[1]
    assert weight.tolist() == households["weight"].to_list()
    assert of_person.sum() == pytest.approx(units["weight"] @ units["persons"], rel=1e-12)
    assert of_person[first].sum() == pytest.approx(units["weight"].sum(), rel=1e-12)
    assert arrays["state_fips"].tolist() == households["state_fips"].to_list()


@pytest.mark.parametrize(
    "amount", [each for each in AMOUNTS if each.spouse is None], ids=lambda each: each.variable
)
def test_weighted_amounts_are_those_of_the_units(
    amount, arrays: dict[str, np.ndarray], units: pl.DataFrame
):
    of_unit = units["weight"].to_numpy() @ amount.of_head(units)
    found = arrays.get(amount.variable, np.zeros(len(arrays["person_id"])))
    weighted = arrays["household_weight"][arrays["person_household_id"]] @ found
    assert weighted == pytest.approx(of_unit, rel=1e-12)


@pytest.mark.parametrize(
    ("variable", "column"),
    [
        ("employment_income", "e00200"),
        ("self_employment_income", "e00900"),
        ("farm_operations_income", "e02100"),
    ],
)
def test_amounts_that_are_split_between_the_spouses_add_up_to_the_units(
    variable: str, column: str, arrays: dict[str, np.ndarray], units: pl.DataFrame
):
    of_unit = np.bincount(arrays["person_tax_unit_id"], weights=arrays[variable])
    np.testing.assert_allclose(of_unit, units[column], atol=0.02)  # written to the cent
    spouses = arrays["tax_unit_role_input"] == b"SPOUSE"
    assert arrays[variable][spouses].any()
    assert not arrays[variable][arrays["tax_unit_role_input"] == b"DEPENDENT"].any()


def test_every_person_belongs_to_one_group_of_each_kind_that_exists(
    arrays: dict[str, np.ndarray], households: pl.DataFrame, units: pl.DataFrame
):
    for group in GROUPS:
        ids = arrays[f"{group}_id"]
        assert ids.tolist() == list(range(len(ids)))
        assert np.unique(arrays[f"person_{group}_id"]).tolist() == ids.tolist()
    assert len(arrays["household_id"]) == len(households)
    assert len(arrays["tax_unit_id"]) == len(units) == len(arrays["filing_status"])


def test_head_and_spouse_are_a_marital_unit_and_all_others_are_alone(arrays: dict[str, np.ndarray]):
    sizes = np.bincount(arrays["person_marital_unit_id"])[arrays["person_marital_unit_id"]]
    role = arrays["tax_unit_role_input"]
    assert (sizes[role == b"SPOUSE"] == 2).all()
    assert (sizes[role == b"DEPENDENT"] == 1).all()
    assert sizes.max() == 2


def test_filing_statuses_are_those_of_tax_calculator():
    units = pl.concat([_unit(MARS=status, household_id=1) for status in range(1, 6)])
    household = pl.DataFrame({"household_id": [1], "weight": [2.0], "state_fips": [6]})
    assert _arrays(policyengine_file(household, units, year=YEAR))["filing_status"].tolist() == [
        b"SINGLE", b"JOINT", b"SEPARATE", b"HEAD_OF_HOUSEHOLD", b"SURVIVING_SPOUSE",
    ]  # fmt: skip


def test_amounts_of_a_source_with_fewer_columns_are_left_out_or_taken_for_zero():
    household = pl.DataFrame({"household_id": [1], "weight": [2.0], "state_fips": [6]})
    unit = _unit(household_id=1, e00600=70.0)
    arrays = _arrays(policyengine_file(household, unit, year=YEAR))
    assert arrays["non_qualified_dividend_income"].tolist() == [70]
    assert "employment_income" not in arrays


def test_units_of_other_households_are_refused(households: pl.DataFrame, units: pl.DataFrame):
    with pytest.raises(InputError, match="are of no released household"):
        policyengine_file(households[1:], units, year=YEAR)


def test_equal_tables_give_equal_bytes_whenever_they_are_written(
    households: pl.DataFrame, units: pl.DataFrame
):
    first = policyengine_files(households, units, year=YEAR)
    time.sleep(1.1)  # HDF5's clock counts seconds
    assert policyengine_files(households.clone(), units.clone(), year=YEAR) == first


def test_the_rule_for_persons_and_the_table_of_amounts_are_in_the_release_twice(
    households: pl.DataFrame, units: pl.DataFrame
):
    files = policyengine_files(households, units, year=YEAR)
    readme = files["policyengine/readme.md"].decode()
    with h5py.File(BytesIO(files[f"policyengine/sparse_{YEAR}.h5"]), "r") as file:
        for text in (file.attrs["persons"], file.attrs["amounts"]):
            assert len(text) > 500
            assert text in readme
