"""Laws of the tax model: taxes of 2022 worked out by hand, for seven tax units.

Tax-Calculator itself computes them.
"""

import numpy as np
import polars as pl
import pytest
import taxcalc

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.tables import RESPONSE_COLUMNS, TAX_OUTPUT_COLUMNS
from l0_pipeline.logic.tax_model import (
    AGED_INPUTS,
    age_tax_units,
    claim_stream,
    credit_draws,
    growth_of_amounts,
    growth_of_weights,
    run_tax_model,
    tax_responses,
)

YEAR = 2022
_ZERO = {
    "MARS": 1, "XTOT": 1, "EIC": 0, "n24": 0, "nu18": 0, "age_head": 40, "age_spouse": 0,
    "e00200": 0.0, "e00200p": 0.0, "e00900": 0.0, "e00900p": 0.0, "e01500": 0.0, "e01700": 0.0,
    "e02400": 0.0, "household_id": 1, "persons_21_64": 1,
}  # fmt: skip
# not in ascending order, since results must follow the units
WORKER, COUPLE, PARENT, LOSS, RETIRED, NOTHING, SEPARATE = 61, 5, 33, 2, 90, 8, 44
UNITS = pl.DataFrame(
    [
        _ZERO | {"unit_id": WORKER, "e00200": 50_000.0, "e00200p": 50_000.0},
        _ZERO | {"unit_id": COUPLE, "MARS": 2, "XTOT": 2, "age_spouse": 45,
                 "e00200": 300_000.0, "e00200p": 300_000.0},
        _ZERO | {"unit_id": PARENT, "MARS": 4, "XTOT": 3, "EIC": 2, "n24": 2, "nu18": 2,
                 "age_head": 30, "e00200": 20_000.0, "e00200p": 20_000.0},
        _ZERO | {"unit_id": LOSS, "e00900": -10_000.0, "e00900p": -10_000.0},
        _ZERO | {"unit_id": RETIRED, "age_head": 70, "e02400": 20_000.0, "e01500": 30_000.0,
                 "e01700": 30_000.0},
        _ZERO | {"unit_id": NOTHING, "age_head": 20},
        _ZERO | {"unit_id": SEPARATE, "MARS": 3, "e00900": 10_000.0, "e00900p": 10_000.0},
    ]
)  # fmt: skip


def _refusal(units: pl.DataFrame, *, income_year: int = YEAR, target_year: int = YEAR) -> str:
    with pytest.raises(InputError) as refused:
        run_tax_model(units, income_year=income_year, target_year=target_year)
    return str(refused.value)


@pytest.fixture(scope="module")
def results() -> pl.DataFrame:
    return run_tax_model(UNITS, income_year=YEAR, target_year=YEAR)


@pytest.fixture(scope="module")
def unit(results: pl.DataFrame) -> dict[int, dict[str, float]]:
    return {row["unit_id"]: row for row in results.to_dicts()}


def test_results_follow_the_units_in_number_and_order(results: pl.DataFrame):
    assert results["unit_id"].equals(UNITS["unit_id"])


def test_results_have_the_described_columns_with_their_types(results: pl.DataFrame):
    assert dict(results.schema) == {column.name: column.dtype for column in TAX_OUTPUT_COLUMNS}
    assert results.select((pl.all().is_finite()).all()).row(0) == (True,) * results.width


def test_wages_alone_are_the_adjusted_gross_income(unit: dict[int, dict[str, float]]):
    assert unit[WORKER]["e00200"] == 50_000
    assert unit[WORKER]["c00100"] == 50_000


def test_a_single_worker_of_2022_pays_two_brackets_above_the_standard_deduction(
    unit: dict[int, dict[str, float]],
):
    worker = unit[WORKER]
    assert worker["standard"] == 12_950
    assert worker["c04800"] == 50_000 - 12_950
    assert worker["c05800"] == pytest.approx(0.10 * 10_275 + 0.12 * (37_050 - 10_275))
    assert worker["iitax"] == worker["c05800"]
    assert worker["payrolltax"] == pytest.approx(0.153 * 50_000)
    assert worker["eitc"] == 0


def test_a_couple_of_2022_pays_four_brackets_and_additional_medicare_tax(
    unit: dict[int, dict[str, float]],
):
    couple = unit[COUPLE]
    assert couple["c04800"] == 300_000 - 25_900
    assert couple["c05800"] == pytest.approx(
        0.10 * 20_550
        + 0.12 * (83_550 - 20_550)
        + 0.22 * (178_150 - 83_550)
        + 0.24 * (274_100 - 178_150)
    )
    assert couple["ptax_amc"] == pytest.approx(0.009 * (300_000 - 250_000))


def test_a_parent_with_low_wages_receives_both_refundable_credits(
    unit: dict[int, dict[str, float]],
):
    parent = unit[PARENT]
    assert parent["standard"] == 19_400
    assert parent["c05800"] == pytest.approx(60)
    assert parent["eitc"] == pytest.approx(6_164)
    assert parent["c07220"] == pytest.approx(60)
    assert parent["c11070"] == pytest.approx(0.15 * (20_000 - 2_500))
    assert parent["iitax"] == pytest.approx(-6_164 - 2_625)


def test_a_loss_makes_a_negative_income_and_no_tax(unit: dict[int, dict[str, float]]):
    assert unit[LOSS]["c00100"] == -10_000
    assert unit[LOSS]["iitax"] == 0


def test_social_security_is_taxed_in_part_beside_a_pension(unit: dict[int, dict[str, float]]):
    retired = unit[RETIRED]
    # half of the benefit above 25,000, then 85 % of what lies above 34,000
    assert retired["c02500"] == pytest.approx(0.5 * 9_000 + 0.85 * (40_000 - 34_000))
    assert retired["c00100"] == pytest.approx(30_000 + 9_600)
    assert retired["standard"] == 12_950 + 1_750


def test_self_employment_tax_is_on_its_share_of_net_earnings(unit: dict[int, dict[str, float]]):
    assert unit[SEPARATE]["setax"] == pytest.approx(0.153 * 0.9235 * 10_000)


def test_the_filing_threshold_is_the_standard_deduction_of_the_status_whatever_the_age(
    unit: dict[int, dict[str, float]],
):
    thresholds = {number: row["filing_threshold"] for number, row in unit.items()}
    assert thresholds == {
        WORKER: 12_950, COUPLE: 25_900, PARENT: 19_400, LOSS: 12_950, RETIRED: 12_950,
        NOTHING: 12_950, SEPARATE: 12_950,
    }  # fmt: skip


def test_incomes_of_an_earlier_year_are_aged_and_meet_the_law_of_the_target_year():
    aged = run_tax_model(UNITS.head(1), income_year=2021, target_year=YEAR).row(0, named=True)
    growth = taxcalc.GrowFactors().factor_value("AWAGE", YEAR)
    assert 1 < growth < 1.2
    assert aged["e00200"] == pytest.approx(50_000 * growth)
    assert aged["c00100"] == aged["e00200"]
    assert aged["standard"] == 12_950


def test_a_units_taxes_do_not_depend_on_the_others_where_it_claims_whatever_it_draws(
    results: pl.DataFrame,
):
    some = UNITS.filter(pl.col("unit_id").is_in([RETIRED, PARENT])).reverse()
    alone = run_tax_model(some, income_year=YEAR, target_year=YEAR)
    together = results.filter(pl.col("unit_id").is_in([RETIRED, PARENT])).reverse()
    assert alone.equals(together)


@pytest.mark.parametrize(
    ("income_year", "target_year"), [(2022, 2021), (2022, 2099), (2012, 2012), (2005, 2022)]
)
def test_years_that_cannot_be_reached_are_refused_with_the_range(
    income_year: int, target_year: int
):
    message = _refusal(UNITS, income_year=income_year, target_year=target_year)
    assert f"target year {target_year} cannot be reached from incomes of {income_year}" in message
    assert "to the law of 2013 to 20" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MARS": 6}, "MARS"),
        ({"MARS": 0}, "MARS"),
        ({"EIC": 4}, "EIC"),
        ({"e00200p": 1.0}, "e00200 == e00200p"),
    ],
)
def test_records_against_the_models_rules_are_refused_with_the_rule(
    changes: dict[str, float], said: str
):
    bad = UNITS.with_columns(**{name: pl.lit(value) for name, value in changes.items()})
    message = _refusal(bad)
    assert "Tax-Calculator refuses the tax units of income year 2022" in message
    assert said in message


def test_records_without_a_filing_status_are_refused():
    assert "MUST_READ_VARS" in _refusal(UNITS.drop("MARS"))


def test_ageing_gives_the_inputs_that_the_results_were_computed_from():
    units = UNITS.with_columns(FLPDYR=pl.lit(2012, pl.Int64), s006=7.0)
    aged = age_tax_units(units, income_year=2021, target_year=YEAR)
    results = run_tax_model(units, income_year=2021, target_year=YEAR)
    assert aged.schema == units.schema
    assert aged["unit_id"].equals(units["unit_id"])
    assert aged["FLPDYR"].unique().to_list() == [YEAR]
    inputs = [name for name in AGED_INPUTS if name in units.columns]
    assert inputs
    assert aged.select(inputs).equals(results.select(inputs))
    assert not aged.select(inputs).equals(units.select(inputs))


def test_ageing_leaves_counts_codes_and_weights():
    units = UNITS.with_columns(s006=7.0)
    aged = age_tax_units(units, income_year=2015, target_year=YEAR)
    same = ["s006", "MARS", "XTOT", "EIC", "n24", "age_head", "household_id", "persons_21_64"]
    assert aged.select(same).equals(units.select(same))
    assert age_tax_units(units, income_year=YEAR, target_year=YEAR).equals(units)


def test_results_of_aged_inputs_are_the_results():
    aged = age_tax_units(UNITS, income_year=2018, target_year=YEAR)
    assert run_tax_model(aged, income_year=YEAR, target_year=YEAR).equals(
        run_tax_model(UNITS, income_year=2018, target_year=YEAR)
    )


def _claimants(*wages: float) -> pl.DataFrame:
    """Parents of two whose credit is far below its most, so that only some claim it."""
    parent = _ZERO | {"MARS": 4, "XTOT": 3, "EIC": 2, "n24": 2, "nu18": 2, "age_head": 30}
    return pl.DataFrame(
        [
            parent | {"unit_id": place, "e00200": wage, "e00200p": wage}
            for place, wage in enumerate(wages)
        ]
    )


def test_draws_within_their_limits_give_the_same_credits_and_beyond_them_others():
    units = _claimants(*np.linspace(3_000, 48_000, 8).tolist())
    years = {"income_year": YEAR, "target_year": YEAR}
    results = run_tax_model(units, **years)
    draws = credit_draws(units, results, **years)
    assert draws["draw"].to_list() == claim_stream(len(units)).tolist()
    assert draws.select((pl.col("least") <= pl.col("draw")).all()).item()
    assert draws.select((pl.col("draw") <= pl.col("most")).all()).item()
    claims = results["eitc"] > 0
    assert 0 < claims.sum() < len(units)

    data = units.rename({"unit_id": "RECID"}).to_pandas()
    policy = taxcalc.Policy()
    policy.set_year(YEAR)
    calculator = taxcalc.Calculator(
        policy=policy, records=taxcalc.Records(data=data, start_year=YEAR)
    )

    def drawn(urn: np.ndarray) -> np.ndarray:
        calculator.array("credit_claim_urn", urn)
        calculator.calc_all()
        return np.column_stack([calculator.array("eitc"), calculator.array("c11070")])

    found = results.select("eitc", "c11070").to_numpy()
    limits = draws.select("least", "most").to_numpy()
    assert (drawn(limits[:, 0]) == found).all()
    assert (drawn(limits[:, 1]) == found).all()
    step = 1 / 1_000  # beyond the precision of the limits
    below, above = limits[:, 0] - step, limits[:, 1] + step
    assert (drawn(np.where(below > 0, below, 0.5)) != found).any(axis=1)[below > 0].all()
    assert (drawn(np.where(above < 1, above, 0.5)) != found).any(axis=1)[above < 1].all()


def test_a_unit_without_these_credits_may_draw_anything(results: pl.DataFrame):
    draws = credit_draws(UNITS, results, income_year=YEAR, target_year=YEAR)
    anything = draws.filter(least=0.0, most=1.0)["unit_id"]
    assert set(anything) == {WORKER, COUPLE, RETIRED, LOSS, NOTHING}


def test_rows_draw_the_same_numbers_whatever_the_length_of_the_file():
    assert claim_stream(5).tolist() == claim_stream(50)[:5].tolist()


def test_weights_grow_from_one_in_the_first_year_to_the_last_year_of_the_law():
    growth = growth_of_weights(first_year=YEAR)
    assert growth[YEAR] == 1
    assert list(growth) == list(range(YEAR, taxcalc.GrowFactors().last_year + 1))
    assert all(1 < growth[year + 1] / growth[year] < 1.02 for year in list(growth)[:-1])


def test_weights_of_a_year_before_the_first_are_refused():
    with pytest.raises(InputError, match="no CPS weights for 2009, but for 2014 to 2036"):
        growth_of_weights(first_year=2009)


def test_growth_of_amounts_is_tax_calculators_own_table():
    table = growth_of_amounts()
    assert set(table.columns) == taxcalc.GrowFactors.VALID_NAMES | {"YEAR"}
    wages = table.filter(YEAR=YEAR)["AWAGE"].item()
    assert wages == taxcalc.GrowFactors().factor_value("AWAGE", YEAR)


def test_answers_at_other_incomes_are_those_of_units_that_have_them():
    responses = tax_responses(UNITS, income_year=YEAR, target_year=YEAR)
    expected = {column.name: column.dtype for column in RESPONSE_COLUMNS}
    assert dict(responses.schema) == expected
    for incomes, factor in (("lower", 0.9), ("higher", 1.1)):
        scaled = UNITS.with_columns(pl.col("^e[0-9]{5}[ps]?$") * factor)
        answers = run_tax_model(scaled, income_year=YEAR, target_year=YEAR)
        for name in ("iitax", "payrolltax", "eitc", "c07220", "c11070"):
            found = responses[f"{name}_{incomes}"].to_list()
            assert found == pytest.approx(answers[name].to_list(), abs=0.01), name


def test_the_bracket_that_a_worker_comes_close_to_shows_at_higher_incomes():
    # of $50,000 less the standard deduction of $12,950 the next is taxed at 12 %, and what is above
    # $41,775 at 22 %; payroll tax is 15.3 %
    at_work = pl.col("unit_id") == WORKER
    own = run_tax_model(UNITS, income_year=YEAR, target_year=YEAR).filter(at_work)
    others = tax_responses(UNITS, income_year=YEAR, target_year=YEAR).filter(at_work)
    above = 55_000 - 12_950 - 41_775
    for incomes, more, taxed in (("lower", -5_000, -600), ("higher", 5_000, 600 + 0.1 * above)):
        assert others[f"iitax_{incomes}"][0] - own["iitax"][0] == pytest.approx(taxed)
        paid = others[f"payrolltax_{incomes}"][0] - own["payrolltax"][0]
        assert paid == pytest.approx(0.153 * more)
