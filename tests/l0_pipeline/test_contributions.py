"""Laws of contributions: what the fitted targets would lose without each household."""

import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic import fit
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.columns_evidence import CONTRIBUTION_COLUMNS, REASON_COLUMNS
from l0_pipeline.logic.release.contributions import (
    household_contributions,
    household_reasons,
    why,
)
from l0_pipeline.logic.release.dictionary import TableDescription, data_dictionary
from l0_pipeline.logic.release.recomputation import released_matrix
from tests.l0_pipeline.release_of_three import KEPT, MATRIX, release, target_fit
from tests.l0_pipeline.twelve_units import HOUSEHOLD_IDS

TABLES = release()
SELECTED, FIT = TABLES["households"], TABLES["target_fit"]
GATES = pl.DataFrame(
    {"household_id": HOUSEHOLD_IDS, "open_probability": [0.9, 0.1, None, 0.4, 0.95]}
)
ALL = 100  # more rows than there are targets


def _without(household: int) -> pl.DataFrame:
    """The fitted targets with their errors as they are, and without one household."""
    fewer = target_fit({number: weight for number, weight in KEPT.items() if number != household})
    return FIT.with_columns(without=fewer["released_error"]).filter(role="fitted")


def _loss(fitted: pl.DataFrame, column: str) -> float:
    omega = fit.importance(fitted)
    return float(omega @ fitted[column].abs().clip(upper_bound=1.0).to_numpy()) / omega.sum()


@pytest.mark.parametrize("household", KEPT)
def test_errors_without_a_household_are_those_of_the_others_alone(household: int):
    found = household_contributions(MATRIX, SELECTED, FIT, rows=ALL).filter(household_id=household)
    expected = (
        _without(household)
        .with_columns(harm=pl.col("without").abs() - pl.col("released_error").abs())
        .filter(pl.col("harm") > 1e-12)
        .sort(-pl.col("harm"))
    )
    assert len(found) >= 3
    assert found["target_id"].to_list() == expected["target_id"].to_list()
    assert found["rank"].to_list() == list(range(1, len(found) + 1))
    np.testing.assert_allclose(found["error_with"], expected["released_error"])
    np.testing.assert_allclose(found["error_without"], expected["without"], rtol=1e-6)


def test_the_most_harmed_targets_come_first_and_no_more_than_asked_for():
    whole = household_contributions(MATRIX, SELECTED, FIT, rows=ALL)
    first = household_contributions(MATRIX, SELECTED, FIT, rows=2)
    assert first.equals(whole.filter(pl.col("rank") <= 2))
    harm = whole.select(
        "household_id",
        # equal ones differ in the seventh digit
        harm=(pl.col("error_without").abs() - pl.col("error_with").abs()).round(5),
    )
    assert harm["harm"].min() > 0
    for _, of_one in harm.group_by("household_id"):
        assert of_one["harm"].is_sorted(descending=True)


def test_shares_of_all_households_make_up_the_whole_estimate():
    shares = pl.concat([why(TABLES, household, rows=ALL)[1] for household in KEPT])
    summed = dict(shares.group_by("target_id").agg(pl.col("share").sum()).rows())
    assert set(summed) == {"wages", "people", "aged", "returns", "covered", "agi", "loss"}
    np.testing.assert_allclose(list(summed.values()), 1.0)


def test_the_release_alone_tells_what_the_whole_survey_does():
    matrix = released_matrix(TABLES)
    found = household_contributions(matrix, SELECTED, FIT)
    assert found.equals(household_contributions(MATRIX, SELECTED, FIT))
    reasons = household_reasons(matrix, SELECTED, FIT, calibrated_weights=GATES)
    assert reasons.equals(household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES))


@pytest.mark.parametrize("household", KEPT)
def test_the_loss_without_a_household_is_the_rise_of_the_capped_loss(household: int):
    reasons = household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES)
    found = reasons.filter(household_id=household).row(0, named=True)
    fitted = _without(household)
    moved = (fitted["without"] - fitted["released_error"]).abs() > 1e-12
    harm = fitted["without"].abs() - fitted["released_error"].abs()
    assert found["loss_without"] == pytest.approx(
        _loss(fitted, "without") - _loss(fitted, "released_error")
    )
    assert found["targets"] == moved.sum()
    assert found["suffering"] == (harm > 0.01).sum()


def test_a_target_suffers_where_its_error_grows_by_more_than_a_point():
    coarse = FIT.with_columns(
        scale=pl.when(pl.col("target_id") == "people").then(1e6).otherwise("scale")
    )
    found = household_reasons(MATRIX, SELECTED, coarse, calibrated_weights=GATES)
    usual = household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES)
    assert found["targets"].equals(usual["targets"])
    assert found["suffering"].to_list() == [number - 1 for number in usual["suffering"]]


def test_the_largest_share_is_the_largest_in_size():
    turned = FIT.with_columns(-pl.col("released_estimate"))
    found = household_reasons(MATRIX, SELECTED, turned, calibrated_weights=GATES)
    usual = household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES)
    assert found["largest_share"].equals(usual["largest_share"])
    assert found["largest_share"].min() > 0


def test_an_error_beyond_the_cap_is_among_those_tried():
    assert FIT.filter(role="fitted")["released_error"].abs().max() > 1


def test_reasons_are_one_row_a_household_with_how_it_came_in():
    reasons = household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES)
    shown = reasons.select("household_id", "kind", "open_probability", "inclusion_probability")
    assert shown.rows() == [(10, "l0", 0.9, 1.0), (40, "random", 0.4, 0.5), (50, "l0", 0.95, 1.0)]


def test_a_household_that_no_fitted_target_counts_has_no_reason_but_a_row():
    none_fitted = FIT.with_columns(role=pl.lit("held_out"))
    reasons = household_reasons(MATRIX, SELECTED, none_fitted, calibrated_weights=GATES)
    numbers = reasons.select("targets", "suffering", "loss_without", "largest_share")
    assert numbers.rows() == [(0, 0, 0.0, None)] * 3
    assert household_contributions(MATRIX, SELECTED, none_fitted).is_empty()
    facts, targets = why(TABLES | {"target_fit": none_fitted}, 10)
    assert (facts["targets"], facts["largest_share"], len(targets)) == (0, None, 0)


def test_a_share_of_an_estimate_of_zero_is_unknown():
    at_zero = FIT.with_columns(released_estimate=pl.lit(0.0))
    found = household_contributions(MATRIX, SELECTED, at_zero)
    assert len(found) > 3
    assert found["share"].null_count() == len(found)


def test_households_beyond_the_matrix_are_refused():
    strangers = SELECTED.with_columns(household_id=pl.col("household_id") + 1)
    with pytest.raises(InputError, match=r"3 of 3 households have no column.*the first 11"):
        household_contributions(MATRIX, strangers, FIT)


def test_the_tables_are_described():
    tables = {
        "household_contributions": household_contributions(MATRIX, SELECTED, FIT),
        "household_reasons": household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES),
    }
    described = {
        "household_contributions": TableDescription(CONTRIBUTION_COLUMNS, "calibration"),
        "household_reasons": TableDescription(REASON_COLUMNS, "calibration"),
    }
    assert len(data_dictionary(tables, descriptions=described)) == 15


@pytest.mark.parametrize("household", KEPT)
def test_why_tells_what_the_published_tables_do(household: int):
    reasons = household_reasons(MATRIX, SELECTED, FIT, calibrated_weights=GATES)
    facts, targets = why(TABLES | {"household_reasons": reasons}, household, rows=ALL)
    for name, value in reasons.filter(household_id=household).row(0, named=True).items():
        assert facts[name] == (pytest.approx(value) if isinstance(value, float) else value)
    published = household_contributions(MATRIX, SELECTED, FIT, rows=ALL).filter(
        household_id=household
    )
    harmed = targets.filter(pl.col("harm") > 0)
    assert harmed["target_id"].to_list() == published["target_id"].to_list()
    np.testing.assert_allclose(harmed["error_without"], published["error_without"])
    assert targets["harm"].is_sorted(descending=True)
    assert len(targets) == facts["targets"]


def test_why_tells_who_the_household_is():
    facts, targets = why(TABLES, 40, rows=2)
    told = {
        "household_id": 40, "state_fips": 6, "persons": 4, "tax_units": 2, "income_year": 2014,
        "kind": "random", "inclusion_probability": 0.5, "weight": 2.0, "weight_ratio": 0.5,
        "adjusted_gross_income": 50_000.0, "open_probability": None,
    }  # fmt: skip
    assert {name: facts[name] for name in told} == told
    assert len(targets) == 2


def test_why_of_a_household_that_is_not_in_the_release_is_refused():
    with pytest.raises(InputError, match=r"Household 30 is not among the 3 households"):
        why(TABLES, 30)


def test_why_without_published_targets_says_what_is_missing():
    with pytest.raises(InputError, match=r"has no table targets"):
        why({name: table for name, table in TABLES.items() if name != "targets"}, 10)
