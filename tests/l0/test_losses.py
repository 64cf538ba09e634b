"""Laws of the losses: by hand, by finite differences, and by the conjugates they claim."""

import numpy as np
import pytest
import torch
from toy import signed_totals

from l0.survey import InputError
from l0.survey.losses import CAP, HUBER_DELTA, LOSSES, loss_named, mean_loss
from l0.survey.target_loss import TargetLoss

CPU = torch.device("cpu")
ERRORS = torch.tensor([0.5, -0.25, 3.0, -1e3, 0.0, 0.01], dtype=torch.float64)
LOSS_WEIGHTS = [0.1, 0.4, 0.2, 0.1, 0.1, 0.1]
BY_HAND = {
    "capped_relative": ([0.5, 0.25, 1.0, 1.0, 0.0, 0.01], [1, -1, 0, 0, 0, 1]),
    "absolute": ([0.5, 0.25, 3.0, 1e3, 0.0, 0.01], [1, -1, 1, -1, 0, 1]),
    "squared": ([0.25, 0.0625, 9.0, 1e6, 0.0, 1e-4], [1.0, -0.5, 6.0, -2e3, 0.0, 0.02]),
    # beyond a tenth: |e| - 0.05; within: 5 e^2
    "huber": ([0.45, 0.2, 2.95, 999.95, 0.0, 5e-4], [1, -1, 1, -1, 0, 0.1]),
}
KINKED = ("capped_relative", "absolute")
SMOOTH = ("squared", "huber")

every_loss = pytest.mark.parametrize("name", LOSSES)


def targets_of(name, *, leak=0.0, smoothing=0.0, scales=None, values=None):
    size = len(LOSS_WEIGHTS)
    return TargetLoss(
        loss_named(name),
        values=np.zeros(size) if values is None else np.array(values),
        scales=np.ones(size) if scales is None else np.array(scales),
        loss_weights=np.array(LOSS_WEIGHTS),
        device=CPU,
        leak=leak,
        smoothing=smoothing,
    )


@every_loss
def test_each_error_costs_what_it_does_by_hand_and_so_does_its_slope(name):
    loss = loss_named(name)
    costs, slopes = BY_HAND[name]
    assert loss.phi(ERRORS).tolist() == pytest.approx(costs)
    assert loss.slope(ERRORS).tolist() == pytest.approx(slopes)


@every_loss
def test_the_slope_is_the_finite_difference_and_nothing_at_an_exact_hit(name):
    loss, move = loss_named(name), 1e-6
    errors = torch.linspace(-2.03, 2.03, 400, dtype=torch.float64)
    differences = (loss.phi(errors + move) - loss.phi(errors - move)) / (2 * move)
    torch.testing.assert_close(loss.slope(errors), differences, rtol=1e-6, atol=1e-6)
    assert loss.slope(torch.zeros(1)).item() == loss.phi(torch.zeros(1)).item() == 0.0


@every_loss
def test_an_error_costs_the_same_on_either_side(name):
    loss = loss_named(name)
    assert torch.equal(loss.phi(ERRORS), loss.phi(-ERRORS))
    assert torch.equal(loss.slope(ERRORS), -loss.slope(-ERRORS))


@every_loss
def test_box_and_ridge_are_those_of_the_conjugate_up_to_the_cap(name):
    # phi(e) is the largest p e - ridge p^2 / 2 of all prices within the box
    loss = loss_named(name)
    errors = torch.linspace(-0.99, 0.99, 100, dtype=torch.float64)
    box = min(loss.box, 10.0)
    prices = torch.linspace(-box, box, 4_001, dtype=torch.float64)[:, None]
    largest = (prices * errors - loss.ridge * prices.square() / 2).max(dim=0).values
    torch.testing.assert_close(loss.phi(errors), largest, rtol=0.0, atol=1e-4)


def test_only_the_capped_loss_gives_targets_up_and_does_so_at_its_cap():
    assert [name for name, loss in LOSSES.items() if loss.cap < np.inf] == ["capped_relative"]
    assert loss_named("capped_relative").cap == CAP == 1.0
    at_cap = torch.tensor([1.0, -1.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert loss_named("capped_relative").slope(at_cap).tolist() == [0.0, 0.0, 1.0]


def test_hubers_two_pieces_meet_in_value_and_slope():
    huber, delta = loss_named("huber"), HUBER_DELTA
    around = torch.tensor([delta - 1e-9, delta + 1e-9], dtype=torch.float64)
    assert huber.phi(around).tolist() == pytest.approx([delta / 2] * 2, abs=2e-9)
    assert huber.slope(around).tolist() == pytest.approx([1.0, 1.0], abs=2e-8)


@pytest.mark.parametrize("name", ["relative", "", "Huber"])
def test_an_unknown_loss_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=f"loss is '{name}', .* capped_relative, absolute, sq"):
        loss_named(name)


@every_loss
def test_every_loss_is_found_by_its_own_name(name):
    assert loss_named(name).name == name


@every_loss
def test_the_loss_is_the_weighted_sum_of_what_each_error_costs(name):
    expected = np.dot(LOSS_WEIGHTS, BY_HAND[name][0])
    assert targets_of(name).value(ERRORS) == pytest.approx(expected)
    assert mean_loss(name, ERRORS.numpy(), np.array(LOSS_WEIGHTS)) == pytest.approx(expected)


def test_errors_are_those_of_the_problem():
    problem, weights = signed_totals(), [1.0, 2.0]
    targets = TargetLoss.of(problem, loss_named("absolute"), CPU)
    errors = targets.errors(torch.tensor(problem.estimates(weights)))
    assert errors.dtype == torch.float64
    assert errors.tolist() == problem.relative_errors(weights).tolist() == [0.4, -0.5, 0.5]
    assert targets.value(errors) == pytest.approx(1.4 / 3)


@every_loss
def test_prices_are_what_one_unit_of_each_estimate_costs(name):
    targets = targets_of(name, scales=[1, 2, 4, 8, 16, 32], values=[1, -1, 2, -2, 3, 0])
    estimates = torch.tensor([1.5, -1.5, 14.0, 30.0, 3.5, 0.64], dtype=torch.float64)
    unit = torch.eye(6, dtype=torch.float64) * 1e-6
    differences = [
        targets.value(targets.errors(estimates + move))
        - targets.value(targets.errors(estimates - move))
        for move in unit
    ]
    expected = torch.tensor(differences, dtype=torch.float64) / 2e-6
    prices = targets.prices(targets.errors(estimates))
    torch.testing.assert_close(prices, expected, rtol=1e-6, atol=1e-8)


@every_loss
def test_errors_and_estimates_are_left_as_they_were(name):
    targets = targets_of(name, leak=0.5, smoothing=0.1)
    given = ERRORS.clone()
    targets.prices(targets.errors(given))
    targets.prices(given)
    targets.value(given)
    assert torch.equal(given, ERRORS)


@pytest.mark.parametrize("name", KINKED)
def test_errors_below_the_smoothing_pull_in_proportion_to_their_size(name):
    errors = torch.tensor([0.05, -0.025, 0.1, -0.3, 0.0, 0.9], dtype=torch.float64)
    prices = targets_of(name, smoothing=0.1, scales=[2.0] * 6).prices(errors)
    shares = [0.5, -0.25, 1.0, -1.0, 0.0, 1.0]
    assert prices.tolist() == pytest.approx(np.multiply(LOSS_WEIGHTS, shares) / 2)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_loss_without_a_kink_is_not_smoothed(name):
    errors = ERRORS / 1e3
    assert torch.equal(
        targets_of(name, smoothing=0.5).prices(errors), targets_of(name).prices(errors)
    )


@every_loss
def test_smoothing_does_not_change_the_loss(name):
    assert targets_of(name, smoothing=0.5).value(ERRORS) == targets_of(name).value(ERRORS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_beyond_the_cap_a_share_of_the_pull_is_left(smoothing):
    errors = torch.tensor([0.5, -0.999, 1.0, -1.0, 50.0, -1e6], dtype=torch.float64)
    prices = targets_of("capped_relative", leak=0.2, smoothing=smoothing).prices(errors)
    assert prices.tolist() == pytest.approx(
        np.multiply(LOSS_WEIGHTS, [1.0, -1.0, 0.2, -0.2, 0.2, -0.2])
    )


@pytest.mark.parametrize("name", ["absolute", *SMOOTH])
def test_a_loss_without_a_cap_has_nothing_to_leak(name):
    assert torch.equal(targets_of(name, leak=0.9).prices(ERRORS), targets_of(name).prices(ERRORS))
