"""Laws of tax reforms, run by the real Tax-Calculator on units of the real CPS file."""

import numpy as np
import polars as pl
import pytest
import taxcalc
from pydantic import ValidationError

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.model_totals import EVERYTHING, with_responses
from l0_pipeline.logic.reforms import (
    BASELINE,
    NEARLY_LINEAR,
    REFORMS,
    Reform,
    ReformModel,
    tax_changes,
)
from l0_pipeline.logic.tables import REFORM_COST_COLUMNS
from l0_pipeline.logic.tax_model import age_tax_units, run_tax_model, tax_responses
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.model_cost import model_cost
from l0_pipeline.resources.reform_plan import OwnReform, ReformPlan

YEAR, INCOMES_OF = 2022, 2014
ALL = REFORMS | {"no_credit": Reform("No child tax credit", "CTC_c", "to", 0)}


@pytest.fixture(scope="module")
def units() -> pl.DataFrame:
    everyone = schema.tax_units(CpsSource().read())
    # enough of the rich for those reforms that move few others
    rich = [everyone.top_k(15, by=name) for name in ("e00200", "e00300", "e00900")]
    return pl.concat([everyone.sample(100, seed=4), *rich]).unique("unit_id").sort("unit_id")


@pytest.fixture(scope="module")
def aged(units: pl.DataFrame) -> pl.DataFrame:
    return age_tax_units(units, income_year=INCOMES_OF, target_year=YEAR)


@pytest.fixture(scope="module")
def changes(aged: pl.DataFrame) -> pl.DataFrame:
    return tax_changes(aged, ALL, year=YEAR)


def test_every_reform_moves_somebody_and_each_unit_has_its_row(aged, changes):
    assert changes["unit_id"].equals(aged["unit_id"])
    assert changes.columns == ["unit_id", *BASELINE, *ALL]
    moved = [name for name in ALL if (changes[name].abs() > 1).any()]
    assert moved == [*ALL]


def test_reforms_move_taxes_in_the_direction_that_they_say(changes):
    assert changes["top_rate"].max() < 1e-6
    for raises in ("bottom_rate", "payroll_cap", "no_credit"):
        assert changes[raises].min() > -1e-6


def test_a_point_on_the_bottom_rate_costs_at_most_a_hundredth_of_its_bracket(changes):
    # $20,550 for joint returns in 2022
    assert changes["bottom_rate"].max() == pytest.approx(205.5, abs=1e-6)


def test_the_payroll_cap_moves_only_earnings_above_the_old_one(aged, changes):
    earner = np.maximum(aged["e00200p"], aged["e00200s"]) + np.maximum(aged["e00900"], 0)
    assert (earner.filter(changes["payroll_cap"] > 1) > 147_000 * 0.9).all()


def test_a_credit_taken_away_raises_taxes_of_families_alone(aged, changes):
    assert (aged["n24"].filter(changes["no_credit"] > 1) > 0).all()


def test_a_reform_is_what_tax_calculator_makes_of_its_parameters(aged, changes):
    law = taxcalc.Policy()
    law.implement_reform({"II_rt1": {YEAR: 0.11}})
    law.set_year(YEAR)
    records = taxcalc.Records(
        data=aged.with_columns(RECID=pl.int_range(1, pl.len() + 1)).to_pandas(),
        start_year=YEAR, gfactors=None, weights=None,
    )  # fmt: skip
    calculator = taxcalc.Calculator(policy=law, records=records, verbose=False)
    calculator.calc_all()
    reformed = calculator.array("iitax") + calculator.array("payrolltax")
    before = ReformModel(aged, year=YEAR).taxes(None)
    assert changes["bottom_rate"].to_numpy() == pytest.approx(reformed - before, abs=1e-9)


def test_no_nearly_linear_reform_is_a_multiple_of_what_weights_are_held_near(units, aged, changes):
    """Of a multiple the study would tell the residual of the fit, and no reform's error."""
    at = {"income_year": INCOMES_OF, "target_year": YEAR}
    outputs = with_responses(run_tax_model(units, **at), tax_responses(units, **at))
    held = [outputs[name].to_numpy() for name in EVERYTHING if name in outputs.columns]
    multiple = {"niit": Reform("Net investment income tax of 5 %", "NIIT_rt", "to", 0.05)}
    assert _closest(tax_changes(aged, multiple, year=YEAR)["niit"].to_numpy(), held) > 1 - 1e-9
    for name in NEARLY_LINEAR:
        assert _closest(changes[name].to_numpy(), held) < 1 - 1e-6, name


def _closest(change: np.ndarray, held: list[np.ndarray]) -> float:
    """The cosine of the angle to the nearest of them: 1 where it is a multiple."""
    lengths = [np.linalg.norm(change) * np.linalg.norm(amounts) for amounts in held]
    return max(
        abs(amounts @ change) / length
        for amounts, length in zip(held, lengths, strict=True)
        if length > 0
    )


def test_current_law_is_as_before_after_a_reform(aged):
    model = ReformModel(aged, year=YEAR)
    before = model.taxes(None)
    assert (model.taxes(ALL["bottom_rate"]) != before).any()
    assert np.array_equal(model.taxes(None), before)


def test_a_number_that_tax_calculator_would_round_is_refused(aged):
    older = Reform("Credit from age 25 and a bit", "EITC_MinEligAge", "times", 1.01)
    with pytest.raises(InputError, match=r"EITC_MinEligAge would be 25\.25, .* such as 25 now"):
        ReformModel(aged.head(5), year=YEAR).taxes(older)


def test_no_text_is_compiled_twice_and_all_is_calculated_alike(aged, monkeypatch):
    from taxcalc import decorators

    first = ReformModel(aged.head(40), year=YEAR).taxes(None)
    memo = decorators.compile
    compiled = memo.cache_info().misses
    assert compiled > 0
    assert ReformModel(aged.head(40), year=YEAR).taxes(None).tolist() == first.tolist()
    assert decorators.compile is memo
    assert memo.cache_info().misses == compiled
    assert memo.cache_info().hits >= compiled
    monkeypatch.setattr(decorators, "compile", compile)
    assert ReformModel(aged.head(40), year=YEAR).taxes(None).tolist() == first.tolist()


def test_the_cost_of_each_file_is_told_and_more_units_hold_more_memory(aged):
    files = {"few": aged.head(4), "many": pl.concat([aged] * 4)}
    cost = model_cost(files, ALL["bottom_rate"], year=YEAR, runs=1)
    assert dict(cost.schema) == {column.name: column.dtype for column in REFORM_COST_COLUMNS}
    assert cost.select("file", "tax_units").rows() == [("few", 4), ("many", 4 * len(aged))]
    assert (cost["seconds"] > 0).all()
    few, many = cost["memory_mb"]
    # some hundred amounts of 8 bytes for each unit
    assert 0 < few < many - (4 * len(aged) - 4) * 8 * 100 / 1e6


def test_a_parameter_that_does_not_exist_is_named(aged):
    with pytest.raises(InputError, match=r"no parameter II_rt99 \(nothing\)"):
        tax_changes(aged.head(5), {"x": Reform("nothing", "II_rt99", "plus", 1)}, year=YEAR)


def test_a_plan_adds_reforms_of_ones_own_to_those_that_it_names():
    own = OwnReform(
        name="flat", description="A flat tax", parameter="II_rt1", change="to", number=0.2
    )
    chosen = ReformPlan(reforms=["top_rate"], own=[own]).chosen()
    assert chosen == {
        "top_rate": REFORMS["top_rate"],
        "flat": Reform("A flat tax", "II_rt1", "to", 0.2),
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_reform_of_ones_own_by_no_finite_number_is_refused(number):
    with pytest.raises(ValidationError, match="finite number"):
        OwnReform(name="x", description="x", parameter="II_rt1", change="to", number=number)


@pytest.mark.parametrize("names", [["no_such_reform"], [], ["top_rate", "top_rate"], ["eitc"]])
def test_a_plan_of_unknown_repeated_or_no_reforms_is_refused(names):
    with pytest.raises(InputError, match="known are standard_deduction"):
        ReformPlan(reforms=names).chosen()
