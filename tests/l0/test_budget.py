"""Laws of the budget: the schedule, the shift that holds the count, and the gradient under it."""

from itertools import pairwise

import pytest
import torch

from l0.hard_concrete import open_probability
from l0.survey.budget import (
    hold_count,
    hold_to_budget,
    scheduled_budget,
    solve_shift,
)

# the count is solved to a millionth
EXACT = 1.01e-6
# and counted in float32 by whoever uses it
EXACT_IN_FLOAT32 = 2e-6


def log_odds(records: int, spread: float, *, seed: int = 0) -> torch.Tensor:
    return spread * torch.randn(records, generator=torch.Generator().manual_seed(seed))


def count(odds: torch.Tensor, shift: float, temperature: float) -> float:
    return float(open_probability(odds.double() - shift, temperature).sum())


def shift_of(odds: torch.Tensor, *, expected: float, temperature: float) -> float:
    def opened(shift: float) -> tuple[float, float]:
        probability = open_probability(odds - shift, temperature)
        slope = probability * (1 - probability)
        return float(probability.double().sum()), float(slope.double().sum())

    return solve_shift(opened, expected=expected)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 100.0, 1e4], ids="spread {:g}".format)
@pytest.mark.parametrize("expected", [1.0, 2.5, 150.0, 299.0, 299.999], ids="{:g} of 300".format)
def test_the_shift_gives_the_expected_count_for_flat_and_very_sharp_odds(spread, expected):
    for temperature in (0.05, 0.25, 0.5, 2.0):
        odds = log_odds(300, spread).double()
        shift = shift_of(odds, expected=expected, temperature=temperature)
        assert count(odds, shift, temperature) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("place", [0.0, 1e3, -1e3, 1e6, -1e6])
def test_the_shift_is_found_wherever_the_odds_lie(place):
    odds = log_odds(300, 30.0).double() + place
    shift = shift_of(odds, expected=20.0, temperature=0.25)
    assert count(odds, shift, 0.25) == pytest.approx(20.0, rel=EXACT)


def test_the_shift_follows_odds_that_are_all_moved_by_the_same():
    odds = log_odds(300, 5.0).double()
    near = shift_of(odds, expected=40.0, temperature=0.25)
    far = shift_of(odds + 1_000.0, expected=40.0, temperature=0.25)
    assert far - near == pytest.approx(1_000.0, abs=1e-4)


def test_one_gate_stands_out_of_many():
    odds = log_odds(50_000, 1.0)
    odds[123] = 40.0
    shift = shift_of(odds, expected=1.0, temperature=0.25)
    assert count(odds, shift, 0.25) == pytest.approx(1.0, rel=EXACT_IN_FLOAT32)
    assert int(open_probability(odds - shift, 0.25).argmax()) == 123


@pytest.mark.parametrize(("off", "looks"), [(1e-5, 1), (1e-3, 1), (1e-2, 2), (0.1, 3), (3.0, 6)])
def test_looks_are_few_where_the_search_starts_near_by_and_the_count_is_as_exact(off, looks):
    odds, asked = log_odds(300, 2.0).double(), []
    near = odds - shift_of(odds, expected=40.0, temperature=0.25) - off

    def opened(shift: float) -> tuple[float, float]:
        asked.append(shift)
        probability = open_probability(near - shift, 0.25)
        return float(probability.sum()), float((probability * (1 - probability)).sum())

    shift = solve_shift(opened, expected=40.0)
    assert count(near, shift, 0.25) == pytest.approx(40.0, rel=EXACT)
    assert len(asked) <= looks


def test_gates_are_held_under_their_own_limits():
    odds, wide = log_odds(300, 2.0).double(), (-0.5, 1.5)
    options = {"expected": 40.0, "temperature": 0.5, "start": 0.0}
    held, shift = hold_to_budget(odds, stretch=wide, **options)
    opened = float(open_probability(held, 0.5, stretch=wide).sum())
    assert opened == pytest.approx(40.0, rel=EXACT)
    assert shift != pytest.approx(hold_to_budget(odds, **options)[1], abs=0.1)


@pytest.mark.parametrize("spread", [0.0, 1.0, 100.0, 1e4], ids="spread {:g}".format)
@pytest.mark.parametrize("expected", [1.0, 2.5, 150.0, 299.5], ids="{:g} of 300".format)
def test_gates_held_from_a_shift_near_by_have_the_count_in_float32_too(spread, expected):
    odds, options = log_odds(300, spread), {"temperature": 0.25}
    _, near = hold_to_budget(odds, expected=expected, start=0.0, **options)
    held, shift = hold_to_budget(odds, expected=expected, start=near, **options)
    assert held.dtype == torch.float32
    assert count(held, 0.0, 0.25) == pytest.approx(expected, rel=EXACT_IN_FLOAT32)
    torch.testing.assert_close(held, odds - shift, rtol=1e-5, atol=1e-6 * max(1.0, spread))


@pytest.mark.parametrize("start", [0.0, 5.0, -80.0, 1e4])
def test_the_shift_held_is_the_same_from_any_start(start):
    odds = log_odds(300, 30.0).double()
    options = {"expected": 20.0, "temperature": 0.25}
    held, shift = hold_to_budget(odds, start=start, **options)
    assert shift == pytest.approx(shift_of(odds, expected=20.0, temperature=0.25), abs=1e-3)
    assert count(held, 0.0, 0.25) == pytest.approx(20.0, rel=EXACT)


@pytest.mark.parametrize("expected", [300, 300.0, 1_000])
def test_where_every_gate_is_asked_for_all_are_open_and_the_shift_stays(expected):
    odds = log_odds(300, 5.0)
    held, shift = hold_to_budget(odds, expected=expected, temperature=0.5, start=7.0)
    assert shift == 7.0
    assert count(held, 0.0, 0.5) == pytest.approx(300, rel=1e-6)
    assert held.unique().numel() == 1


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
        return moved - shift_of(moved, expected=expected, temperature=temperature)

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
