"""Laws of the budget: the schedule, the shift that holds the count, and the gradient under it."""

import math
from itertools import pairwise

import pytest
import torch

from l0.hard_concrete import open_probability
from l0.survey.budget import hold_count, scheduled_budget, solve_shift

# the count is solved to a billionth; twice that leaves room for rounding in the sum
EXACT = 2e-9


def log_odds(records: int, spread: float, *, seed: int = 0) -> torch.Tensor:
    return spread * torch.randn(records, generator=torch.Generator().manual_seed(seed))


def count(odds: torch.Tensor, shift: float, temperature: float) -> float:
    return float(open_probability(odds.double() - shift, temperature).sum())


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 100.0, 1e4], ids="spread {:g}".format)
@pytest.mark.parametrize("expected", [1.0, 2.5, 150.0, 299.0, 299.999], ids="{:g} of 300".format)
def test_the_shift_gives_the_expected_count_for_flat_and_very_sharp_odds(spread, expected):
    for temperature in (0.05, 0.25, 0.5, 2.0):
        odds = log_odds(300, spread)
        shift = solve_shift(odds, expected=expected, temperature=temperature, start=0.0)
        assert count(odds, shift, temperature) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("start", [0.0, 1e9, -1e9, math.inf, -math.inf])
def test_the_shift_is_found_from_any_start(start):
    odds = log_odds(300, 30.0)
    shift = solve_shift(odds, expected=20.0, temperature=0.25, start=start)
    assert count(odds, shift, 0.25) == pytest.approx(20.0, rel=EXACT)


def test_the_shift_follows_odds_that_are_all_moved_by_the_same():
    odds = log_odds(300, 5.0).double()
    near = solve_shift(odds, expected=40.0, temperature=0.25, start=0.0)
    far = solve_shift(odds + 1_000.0, expected=40.0, temperature=0.25, start=near)
    assert far - near == pytest.approx(1_000.0, abs=1e-6)


def test_one_gate_stands_out_of_many():
    odds = log_odds(50_000, 1.0)
    odds[123] = 40.0
    shift = solve_shift(odds, expected=1.0, temperature=0.25, start=0.0)
    assert count(odds, shift, 0.25) == pytest.approx(1.0, rel=EXACT)
    assert int(open_probability(odds - shift, 0.25).argmax()) == 123


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("budget", [1, 7, 999, 1_000])
def test_the_schedule_falls_from_all_records_to_the_budget_and_stays(budget, power):
    steps = [
        scheduled_budget(epoch, records=1_000, budget=budget, last_epoch=60, power=power)
        for epoch in range(100)
    ]
    assert steps[0] == 1_000
    assert steps[60:] == [budget] * 40
    assert all(later <= earlier for earlier, later in pairwise(steps))
    assert budget == 1_000 or steps[59] > budget


def test_half_way_of_an_even_schedule_is_the_geometric_mean():
    half = scheduled_budget(30, records=10_000, budget=100, last_epoch=60, power=1.0)
    assert half == pytest.approx(1_000.0)


def test_a_higher_power_lets_records_go_later():
    # after half of the time, a quarter of the way in logarithms
    half = scheduled_budget(30, records=10_000, budget=1, last_epoch=60, power=2.0)
    assert half == pytest.approx(1_000.0)


def test_the_gradient_under_a_held_count_is_the_finite_difference_with_the_shift_solved_anew():
    temperature, expected, step = 0.25, 8.0, 1e-5
    locations = log_odds(30, 2.0).double()
    worth = torch.linspace(-1.0, 2.0, 30, dtype=torch.float64)

    def log_alpha(moved: torch.Tensor) -> torch.Tensor:
        return moved - solve_shift(moved, expected=expected, temperature=temperature, start=0.0)

    def loss(moved: torch.Tensor) -> float:
        return float((worth * torch.tanh(log_alpha(moved))).sum())

    at = log_alpha(locations)
    free = worth * (1 - torch.tanh(at).square())
    held = hold_count(free, open_probability(at, temperature))
    unit = torch.eye(30, dtype=torch.float64) * step
    differences = [(loss(locations + move) - loss(locations - move)) / (2 * step) for move in unit]
    torch.testing.assert_close(held, torch.tensor(differences).double(), rtol=1e-4, atol=1e-5)


def test_a_held_gradient_does_not_notice_a_change_that_all_gates_share():
    probability = torch.tensor([0.1, 0.5, 0.9])
    slope = probability * (1 - probability)
    torch.testing.assert_close(hold_count(slope, probability), torch.zeros(3))
    assert hold_count(torch.ones(3), torch.ones(3)).tolist() == [1, 1, 1]
