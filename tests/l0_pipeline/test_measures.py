"""Laws of the measures: what each published variable is on the microdata, and who files."""

from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.measures import AGE_BANDS, FILING_STATUS, MEASURES, unit_measures
from l0_pipeline.logic.tax_model import TAX_OUTPUT_COLUMNS
from l0_pipeline.resources.variables import VariableDictionary
from tests.l0_pipeline.twelve_units import TAX_OUTPUTS, TAX_UNITS

VARIABLES = Path(__file__).parents[2] / "data" / "figures" / "variables.csv"


def _one_unit(*, status: int = 1, **money: float) -> dict[str, object]:
    """All measures of one tax unit, 40 years old and alone, with these amounts."""
    units = TAX_UNITS.head(1).with_columns(MARS=pl.lit(status, pl.Int64))
    outputs = TAX_OUTPUTS.head(1).with_columns(
        pl.lit(float(money.get(name, 12_950.0 if name == "filing_threshold" else 0.0))).alias(name)
        for name in TAX_OUTPUT_COLUMNS
    )
    return unit_measures(units, outputs).row(0, named=True)


def test_every_variable_of_the_dictionary_has_its_measure():
    named = VariableDictionary(file=str(VARIABLES)).read().filter(pl.col("column") != "")
    assert set(named["column"]) <= set(MEASURES)
    assert len(named) > 50


def test_no_measure_is_without_a_variable():
    named = set(VariableDictionary(file=str(VARIABLES)).read()["column"])
    assert set(MEASURES) - named == set()


def test_every_measure_is_a_number_for_every_unit():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS).select(*MEASURES)
    assert all(dtype.is_numeric() for dtype in measures.dtypes)
    assert measures.null_count().sum_horizontal().item() == 0
    assert measures.select(pl.all().is_finite().all()).row(0) == (True,) * measures.width


def test_the_age_bands_tile_all_ages():
    edges = list(AGE_BANDS)
    assert edges[0][0] == 0
    assert edges[-1][1] is None
    assert [high for _, high in edges[:-1]] == [low for low, _ in edges[1:]]


def test_units_stay_in_their_order_whatever_the_order_of_the_results():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS.reverse())
    assert measures["unit_id"].equals(TAX_UNITS["unit_id"])
    assert measures["agi"].to_list() == TAX_OUTPUTS["c00100"].to_list()


def test_units_without_results_are_refused_by_number():
    with pytest.raises(InputError, match=r"2 of 12 tax units have no tax results.*unit 103"):
        unit_measures(TAX_UNITS, TAX_OUTPUTS.filter(~pl.col("unit_id").is_in([103, 107])))


def test_filters_find_their_columns_beside_the_measures():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS)
    unit = measures.filter(unit_id=105).row(0, named=True)
    assert unit["age"] == 35
    assert unit["filing_status"] == FILING_STATUS["head_of_household"]
    assert unit["eitc_children"] == 3
    assert (unit["household_id"], unit["state_fips"]) == (30, 6)


def test_those_with_itemized_deductions_itemize():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS)
    assert measures.filter("itemizes")["unit_id"].to_list() == [103, 107]


@pytest.mark.parametrize(
    ("money", "files"),
    [
        ({}, False),
        ({"e00300": 12_949}, False),
        ({"e00300": 12_950}, True),
        ({"e00300": 6_000, "e00600": 6_950}, True),
        ({"e01700": 12_950}, True),
        ({"e01500": 50_000}, False),  # pensions that are not taxable
        ({"e02400": 30_000}, False),  # social security that is not taxable
        ({"c02500": 12_950}, True),
        ({"e02300": 12_950}, True),
        ({"e00400": 50_000}, False),  # tax-exempt interest
        ({"e00300": 12_950, "e00900": -50_000}, True),  # a loss does not lower gross income
        ({"e00300": 12_950, "e01100": -3_000, "e02100": -3_000}, True),
        ({"e00200": 1}, True),
        ({"e00900": 434}, False),
        ({"e00900": 435}, True),
        ({"e02100": 435}, True),
        ({"e00900": -1_000, "e02100": 1_400}, False),
        ({"eitc": 1}, True),
        ({"c11070": 1}, True),
        ({"filing_threshold": 25_900, "e00300": 25_899}, False),
        ({"filing_threshold": 25_900, "e00300": 25_900}, True),
    ],
)
def test_a_unit_files_for_gross_income_self_employment_a_refundable_credit_or_wages(
    money: dict[str, float], files: bool
):
    assert _one_unit(**money)["files_a_return"] is files


def test_those_who_file_among_the_twelve_units():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS)
    assert measures.filter(~pl.col("files_a_return"))["unit_id"].to_list() == [104, 108, 111]


def test_medicaid_persons_are_the_benefit_over_its_constant():
    persons = unit_measures(TAX_UNITS, TAX_OUTPUTS).select("unit_id", "medicaid_persons")
    enrolled = persons.filter(pl.col("medicaid_persons") > 0)
    assert enrolled.rows() == [(104, 1.0), (105, 2.0), (109, 3.0)]


def test_the_constant_may_be_off_by_rounding():
    outputs = TAX_OUTPUTS.with_columns(
        mcaid_ben=pl.col("mcaid_ben") * 1.37 + (pl.col("mcaid_ben") > 0) * pl.col("unit_id") * 0.01
    )
    assert unit_measures(TAX_UNITS, outputs)["medicaid_persons"].sum() == 6


def test_nobody_is_enrolled_where_there_is_no_benefit():
    without = TAX_OUTPUTS.with_columns(mcaid_ben=pl.lit(0.0))
    assert unit_measures(TAX_UNITS, without)["medicaid_persons"].to_list() == [0.0] * 12


def test_profits_and_losses_of_a_business_are_two_positive_amounts():
    loss, profit = _one_unit(e00900=-5_000), _one_unit(e00900=3_000)
    amounts = ("business_income", "business_profit", "business_loss")
    assert [loss[name] for name in amounts] == [-5_000, 0, 5_000]
    assert [profit[name] for name in amounts] == [3_000, 3_000, 0]


def test_taxes_add_up_from_their_parts():
    taxes = _one_unit(
        c05800=1_000, c07100=300, niit=40, setax=500, ptax_amc=6, c07220=2_000, odc=500,
        e18400=70, e18500=8,
    )  # fmt: skip
    assert taxes["income_tax_before_credits"] == 1_000
    assert taxes["income_tax_after_credits"] == 700
    assert taxes["total_income_tax"] == 740
    assert taxes["total_tax_liability"] == 1_246
    assert taxes["child_and_other_dependent_credit"] == 2_500
    assert taxes["itemized_state_local_total"] == 78


def test_persons_of_a_unit_are_all_its_age_bands():
    measures = unit_measures(TAX_UNITS, TAX_OUTPUTS)
    assert measures["persons"].to_list() == [1, 1, 4, 1, 2, 1, 2, 1, 3, 1, 1, 2]
    assert measures["one"].sum() == 12
