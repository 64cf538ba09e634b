"""Laws of the penalised fit: a price on each open gate decides how many stay."""

import numpy as np
import pytest
import torch
from toy import capped_loss, random_survey

from l0.survey import CalibrationProblem, InputError, PenalisedFitSettings, RefitSettings, calibrate

REFIT = RefitSettings(epochs=40, penalty=0.01)
PRICES = (1e-6, 1e-2, 5e-2)  # on a problem of 200 records they keep 200, 101 and 31


def run(problem, *, budget=None, **options):
    settings = {"epochs": 100} | {
        name: options.pop(name) for name in list(options) if name in FIELDS
    }
    return calibrate(
        problem,
        budget=budget,
        method="penalised",
        settings=PenalisedFitSettings(**settings),
        **({"refit_settings": REFIT, "device": "cpu"} | options),
    )


FIELDS = set(PenalisedFitSettings.__dataclass_fields__)
AS_LEFT = {"refit": False, "refit_settings": None}


def selecting(result):
    return [record for record in result.history if record.stage == "selection"]


def test_a_higher_price_keeps_fewer_records():
    problem = random_survey(200, 10)
    sizes = [len(run(problem, lambda_l0=price, epochs=300).support) for price in PRICES]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[1] > 1.5**2 * sizes[2] > 0


def test_without_a_budget_the_records_kept_are_those_whose_gates_are_open():
    result = run(random_survey(200, 10), lambda_l0=PRICES[1], epochs=300)
    is_open = result.open_probability > 0.5
    assert 0 < is_open.sum() < 200
    assert np.flatnonzero(is_open).tolist() == result.support.tolist()
    assert np.flatnonzero(result.weights).tolist() == result.support.tolist()


@pytest.mark.parametrize("budget", [1, 10, 150, 200])
def test_with_a_budget_exactly_so_many_of_the_highest_gates_are_kept(budget):
    result = run(random_survey(200, 10), lambda_l0=PRICES[1], budget=budget)
    assert len(result.support) == budget
    order = np.argsort(-result.log_alpha, kind="stable")
    assert sorted(order[:budget]) == result.support.tolist()


def test_a_price_that_closes_all_gates_is_refused_without_a_budget():
    problem = random_survey(40)
    with pytest.raises(InputError, match="no gate is open: lambda_l0 is too high for this loss"):
        run(problem, lambda_l0=10.0, epochs=300)
    assert len(run(problem, lambda_l0=10.0, budget=8).support) == 8


def test_a_price_on_squares_shrinks_the_weights():
    problem = random_survey(60)
    norms = [
        np.linalg.norm(run(problem, lambda_l2=price, **AS_LEFT).weights)
        for price in (0.0, 1e-9, 1e-8, 1e-7)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[3] < 0.7 * norms[0]


def test_the_penalty_told_is_the_price_of_the_gates_and_of_the_squares():
    problem = random_survey(60)
    first = selecting(run(problem, lambda_l0=0.01, lambda_l2=1e-9, log_alpha_jitter_sd=0.0))[0]
    # P(open) of a gate that is kept with 0.999: its location less the closing one
    location = np.log(0.999 / 0.001) - 0.35 * np.log(0.1 / 1.1)
    expected = 60 / (1 + np.exp(-location))
    squares = np.square(problem.design_weights).sum()
    assert first.expected_count == pytest.approx(expected, rel=1e-5)
    assert first.penalty == pytest.approx(0.01 * expected + 1e-9 * squares, rel=1e-5)
    assert first.temperature == 0.35
    assert first.records == 60


def test_the_course_is_that_of_the_seed_and_no_global_generator_is_moved():
    problem = random_survey(60)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = run(problem, lambda_l0=PRICES[1], seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two, other = (run(problem, lambda_l0=PRICES[1], seed=seed) for seed in (5, 6))
    assert one.log_alpha.tobytes() == two.log_alpha.tobytes()
    assert one.history == two.history
    assert one.log_alpha.tobytes() != other.log_alpha.tobytes()


def test_jitter_spreads_gates_and_weights_by_its_size_and_seed():
    problem = random_survey(2_000, 5)
    # one epoch of almost no rate leaves everything where it began
    still = {"epochs": 1, "lr": 1e-9, **AS_LEFT}
    base = np.log(0.999 / 0.001)
    result = run(problem, log_alpha_jitter_sd=0.5, **still)
    assert result.log_alpha.std() == pytest.approx(0.5, rel=0.05)
    assert result.log_alpha.mean() == pytest.approx(base, abs=0.05)
    np.testing.assert_allclose(result.weights, problem.design_weights, rtol=1e-5)
    jittered = run(problem, log_weight_jitter_sd=0.2, log_alpha_jitter_sd=0.0, **still)
    moved = np.log(jittered.weights / problem.design_weights)
    assert moved.std() == pytest.approx(0.2, rel=0.05)
    np.testing.assert_allclose(jittered.log_alpha, base, rtol=1e-6)
    again, other = (
        run(problem, log_weight_jitter_sd=0.2, seed=seed, **still).weights for seed in (0, 1)
    )
    assert again.tobytes() == jittered.weights.tobytes()
    assert other.tobytes() != again.tobytes()
    # weights and gates have noise of their own
    both = run(problem, log_weight_jitter_sd=0.5, log_alpha_jitter_sd=0.5, **still)
    noise = np.log(both.weights / problem.design_weights)
    assert abs(np.corrcoef(noise, both.log_alpha)[0, 1]) < 0.1


def test_a_warm_start_goes_on_from_the_weights_of_an_earlier_calibration():
    problem = random_survey(60, 10)
    cold = run(problem, **AS_LEFT)
    assert len(cold.support) == 60
    warm = run(problem, start=cold.weights, epochs=20, **AS_LEFT)
    # gates that are nearly all open leave the weights as they are
    assert selecting(warm)[0].loss == pytest.approx(capped_loss(problem, cold.weights), abs=5e-3)
    assert selecting(warm)[0].loss < 0.2 * selecting(cold)[0].loss
    chilled = run(problem, epochs=20, **AS_LEFT)
    assert warm.loss < chilled.loss


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros(60), "60 entries of start are not above zero .*, at positions 0, 1, 2, 3, 4"),
        (np.full(60, -1.0), "60 entries of start are not above zero"),
        (np.full(60, 1e-60), "60 entries of start are not above zero"),
        (np.full(60, np.nan), "60 entries of start are not finite"),
        (np.ones(59), r"start has shape \(59,\), but 60 records need \(60,\)"),
    ],
    ids=["zero", "negative", "too small", "nan", "short"],
)
def test_a_start_that_cannot_be_followed_is_refused(start, message):
    with pytest.raises(InputError, match=message):
        run(random_survey(60), start=start)


def test_a_start_may_be_zero_where_the_design_is():
    problem = random_survey(60, without_weight=10)
    result = run(problem, start=problem.design_weights * 2)
    assert result.support.max() < 50


def test_gates_that_must_stay_open_leave_plain_calibration():
    problem = CalibrationProblem([[1.0, 0.0], [0.0, 1.0]], [15.0, 40.0], [20.0, 20.0])
    result = run(problem, lambda_l0=0.0, epochs=600, init_keep_prob=1 - 1e-6, **AS_LEFT)
    assert result.support.tolist() == [0, 1]
    np.testing.assert_allclose(result.weights, [15.0, 40.0], rtol=1e-2)


@pytest.mark.parametrize(
    "setting",
    [
        {"lambda_l0": -1e-9},
        {"lambda_l0": np.nan},
        {"lambda_l2": -1.0},
        {"lr": 0.0},
        {"lr": np.inf},
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": "10"},
        {"beta": 0.0},
        {"init_keep_prob": 0.0},
        {"init_keep_prob": 1.0},
        {"log_weight_jitter_sd": -0.1},
        {"log_alpha_jitter_sd": np.inf},
        {"lr": None},
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} is .*but must be"):
        PenalisedFitSettings(**setting)
