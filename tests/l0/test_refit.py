"""Laws of weights on a fixed support: known optima, the pull of the penalty, refusals."""

import numpy as np
import pytest
import torch
from toy import (
    QUICK_REFIT,
    capped_loss,
    one_out_of_reach,
    random_survey,
    two_households,
    two_states,
)

from l0.survey import CalibrationProblem, InputError, RefitSettings, refit
from l0.survey.operator import SparseOperator
from l0.survey.weights import scaled_design_weights

LONG = 1_500


def test_two_households_get_the_weights_that_hit_both_targets():
    weights = refit(two_households(), [0, 1], settings=RefitSettings(penalty=0.0))
    np.testing.assert_allclose(weights, [15.0, 40.0], rtol=1e-3)


def test_a_strong_penalty_leaves_each_weight_where_its_pull_equals_the_error():
    # omega / scale = penalty / total * log(weight / 20), towards each target from 20
    settings = RefitSettings(epochs=LONG, penalty=10.0)
    weights = refit(two_households(), [0, 1], settings=settings)
    optimum = [20 * np.exp(-0.5 / 15 * 40 / 10), 20 * np.exp(0.5 / 40 * 40 / 10)]
    np.testing.assert_allclose(weights, optimum, rtol=1e-4)


def test_a_stronger_penalty_keeps_weights_nearer_to_the_scaled_design():
    problem = random_survey(30, 4, seed=2)
    support = np.arange(0, 30, 3)
    design = scaled_design_weights(problem.design_weights, support)
    distances, losses = [], []
    for penalty in (0.0, 3.0, 300.0):
        weights = refit(problem, support, settings=RefitSettings(penalty=penalty))
        distances.append(np.abs(np.log(weights[support] / design)).mean())
        losses.append(capped_loss(problem, weights))
    assert distances[0] > 2 * distances[1] > 4 * distances[2]
    assert losses[0] < losses[1] < losses[2]


def test_a_design_that_already_fits_is_left_as_it_is():
    problem = CalibrationProblem([[1.0, 1.0, 1.0, 1.0]], [40.0], [10.0, 10.0, 5.0, 15.0])
    # thinned to the first and the last, raised by 40 / 25
    weights = refit(problem, [0, 3], settings=QUICK_REFIT)
    np.testing.assert_allclose(weights, [16.0, 0.0, 0.0, 24.0], rtol=1e-4)


def test_weights_are_above_zero_on_the_support_and_exactly_zero_elsewhere():
    problem = random_survey(40)
    support = [1, 4, 9, 16, 25, 36]
    weights = refit(problem, support, settings=QUICK_REFIT)
    assert np.flatnonzero(weights).tolist() == support
    assert (weights[support] > 0).all()
    assert weights.dtype == np.float64


def test_the_support_may_come_in_any_order_and_its_start_with_it():
    problem = random_survey(40)
    support, start = [25, 4, 16], np.array([100.0, 2_000.0, 30.0])
    one_epoch = RefitSettings(epochs=1, rate=1e-6)
    weights = refit(problem, support, start=start, settings=one_epoch)
    np.testing.assert_allclose(weights[support], start, rtol=1e-5)
    ascending = refit(problem, [4, 16, 25], start=start[[1, 2, 0]], settings=one_epoch)
    assert (weights == ascending).all()


def test_a_target_out_of_reach_costs_no_more_than_its_cap_and_the_other_is_hit():
    problem = one_out_of_reach()
    # 1000 is 88% away from the design's 120: within the cap, and as cheap to leave as to chase
    records = []
    weights = refit(problem, [0, 1], settings=RefitSettings(penalty=0), on_progress=records.append)
    assert weights.sum() == pytest.approx(100.0, rel=1e-3)
    assert records[-1].loss <= 0.5
    beyond = CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [100.0, -1e9], [60.0, 60.0])
    records.clear()
    weights = refit(beyond, [0, 1], settings=RefitSettings(penalty=0), on_progress=records.append)
    assert weights.sum() == pytest.approx(100.0, rel=1e-3)
    assert records[-1].loss == pytest.approx(0.5, abs=1e-3)


def test_a_target_further_than_its_cap_does_not_pull():
    # an estimate of 90 where 10 is due is nine scales away
    problem = CalibrationProblem([[1.0, 1.0]], [10.0], [45.0, 45.0])
    records = []
    weights = refit(problem, [0, 1], settings=QUICK_REFIT, on_progress=records.append)
    np.testing.assert_allclose(weights, [45.0, 45.0], rtol=1e-6)
    assert {record.loss for record in records} == {1.0}


def test_targets_of_loss_weight_zero_do_not_pull():
    arguments = ([[1.0, 0.0], [0.0, 1.0]], [15.0, 30.0], [20.0, 20.0])
    problem = CalibrationProblem(*arguments, loss_weights=[1.0, 0.0])
    weights = refit(problem, [0, 1], settings=RefitSettings(penalty=0.0))
    np.testing.assert_allclose(weights, [15.0, 20.0], rtol=1e-3)


def test_the_refit_lowers_the_loss_and_tells_its_course():
    problem = random_survey(60, 6, seed=3)
    support = np.arange(0, 60, 2)
    start = np.zeros(60)
    start[support] = scaled_design_weights(problem.design_weights, support)
    records = []
    weights = refit(problem, support, on_progress=records.append)
    assert [record.epoch for record in records] == [*range(0, 300, 10), 299]
    assert {record.stage for record in records} == {"refit"}
    assert {record.records for record in records} == {30}
    assert records[0].loss == pytest.approx(capped_loss(problem, start), rel=1e-5)
    assert records[0].penalty == pytest.approx(0.0, abs=1e-6)
    assert records[-1].loss == pytest.approx(capped_loss(problem, weights), abs=2e-5)
    assert records[-1].loss < 0.01 * records[0].loss


def test_the_penalty_told_is_the_divergence_from_the_scaled_design():
    problem = two_households()
    start, records = np.array([15.0, 40.0]), []
    refit(problem, [0, 1], start=start, settings=QUICK_REFIT, on_progress=records.append)
    divergence = (start * np.log(start / 20) - start + 20).sum()
    assert records[0].penalty == pytest.approx(QUICK_REFIT.penalty / 40 * divergence, rel=1e-5)


def test_an_operator_at_hand_gives_the_same_bytes():
    problem = random_survey(40)
    operator = SparseOperator.of(problem, torch.device("cpu"))
    own = refit(problem, [1, 2, 3], settings=QUICK_REFIT)
    given = refit(problem, [1, 2, 3], settings=QUICK_REFIT, operator=operator)
    assert own.tobytes() == given.tobytes()


@pytest.mark.parametrize(
    ("support", "message"),
    [
        ([], "the support is empty"),
        ([0, 1, 0], "names a record twice"),
        ([0, 4], "names records from 0 to 4, but there are 4"),
        ([-1, 2], "names records from -1 to 2, but there are 4"),
        ([0.5, 1.5], "must be a list of positions, but got float64"),
        ([True, False, True, False], "must be a list of positions, but got bool"),
        (np.array([[0, 1]]), r"must be a list of positions, but got int64 of shape \(1, 2\)"),
    ],
    ids=str,
)
def test_a_support_that_is_none_is_refused(support, message):
    with pytest.raises(InputError, match=message):
        refit(two_states(), support)


def test_a_support_of_records_without_design_weight_is_refused():
    problem = random_survey(20, without_weight=5)
    with pytest.raises(InputError, match="2 records of the support have a design weig"):
        refit(problem, [0, 15, 19])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ([1.0, 0.0], "1 of 2 weights of start are not above zero"),
        ([-1.0, 1.0], "1 of 2 weights of start are not above zero"),
        ([np.nan, np.inf], "2 of 2 weights of start are not above zero or not finite"),
        ([1.0, 1e-60], "1 of 2 weights of start are not above zero"),
        ([1.0, 1.0, 1.0], r"start has shape \(3,\), but a support of 2 records needs \(2,\)"),
    ],
    ids=str,
)
def test_a_start_that_cannot_be_followed_is_refused(start, message):
    with pytest.raises(InputError, match=message):
        refit(two_states(), [0, 1], start=np.array(start))


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"epochs": 2.5},
        {"epochs": np.inf},
        {"rate": 0.0},
        {"rate": -0.1},
        {"rate": np.nan},
        {"rate": np.inf},
        {"penalty": -0.1},
        {"penalty": np.nan},
        {"penalty": np.inf},
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused(setting):
    with pytest.raises(InputError, match="refit needs at least one epoch"):
        RefitSettings(**setting)


def test_weights_that_ran_away_are_refused_rather_than_returned():
    with pytest.raises(InputError, match="weights became zero or infinite in the refit"):
        refit(two_households(), [0, 1], settings=RefitSettings(epochs=20, rate=1e3))


def test_a_bound_on_the_ratio_holds_exactly_and_costs_fit_only_where_it_binds():
    problem = CalibrationProblem([[1.0, 0], [0, 1.0]], [50.0, 5.0], [10.0, 10.0])
    free = refit(problem, [0, 1], settings=RefitSettings(penalty=0.0))
    bound = refit(problem, [0, 1], settings=RefitSettings(penalty=0.0, max_weight_ratio=2.0))
    assert free[0] == pytest.approx(50, rel=1e-3)
    assert bound[0] == 20.0
    assert bound[1] == pytest.approx(free[1], rel=1e-3)


@pytest.mark.parametrize("ratio", [0.5, -1.0, float("nan"), float("inf")])
def test_a_bound_that_no_weights_could_hold_is_refused(ratio: float):
    with pytest.raises(InputError, match="max_weight_ratio"):
        RefitSettings(max_weight_ratio=ratio)
