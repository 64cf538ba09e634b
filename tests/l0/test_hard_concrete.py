"""Laws of the Hard Concrete distribution: closed forms against draws and finite differences."""

import math

import pytest
import torch

from l0.hard_concrete import (
    STRETCH,
    deterministic_gate,
    gate_slope,
    open_probability,
    sample_gate,
)

GATES = [(-2.0, 0.5), (0.0, 0.25), (1.5, 2 / 3), (0.3, 1.0)]  # log_alpha, temperature
DRAWS = 1_000_000
STANDARD_ERRORS = 4.0


def draw(log_alpha: float, temperature: float, *, seed: int = 0) -> torch.Tensor:
    locations = torch.full((DRAWS,), log_alpha, dtype=torch.float64)
    return sample_gate(locations, temperature, generator=torch.Generator().manual_seed(seed))


def probability_below(z: torch.Tensor, log_alpha: float, temperature: float) -> torch.Tensor:
    """P(gate <= z) for z in [0, 1), from the logistic noise."""
    gamma, zeta = STRETCH
    concrete = (z - gamma) / (zeta - gamma)
    return torch.sigmoid(temperature * torch.logit(concrete) - log_alpha)


def assert_share(share: float, probability: float) -> None:
    error = math.sqrt(probability * (1 - probability) / DRAWS)
    assert abs(share - probability) < STANDARD_ERRORS * error


@pytest.mark.parametrize(("log_alpha", "temperature"), GATES)
def test_the_share_of_closed_gates_is_the_mass_at_zero(log_alpha, temperature):
    share = float((draw(log_alpha, temperature) == 0).double().mean())
    opening = open_probability(torch.tensor(log_alpha, dtype=torch.float64), temperature)
    assert_share(share, 1 - float(opening))
    at_zero = probability_below(torch.zeros((), dtype=torch.float64), log_alpha, temperature)
    assert float(opening) == pytest.approx(1 - float(at_zero), rel=1e-12)


@pytest.mark.parametrize(("log_alpha", "temperature"), GATES)
def test_the_share_of_full_gates_is_the_mass_at_one(log_alpha, temperature):
    share = float((draw(log_alpha, temperature) == 1).double().mean())
    below = probability_below(torch.ones((), dtype=torch.float64), log_alpha, temperature)
    assert_share(share, 1 - float(below))


@pytest.mark.parametrize(("log_alpha", "temperature"), GATES)
def test_gates_between_the_ends_follow_the_stretched_concrete_density(log_alpha, temperature):
    gates = draw(log_alpha, temperature)
    between = gates[(gates > 0) & (gates < 1)].sort().values
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    low, high = probability_below(ends, log_alpha, temperature)
    expected = (probability_below(between, log_alpha, temperature) - low) / (high - low)
    count = len(between)
    rank = torch.arange(count, dtype=torch.float64)
    distance = torch.maximum((rank + 1) / count - expected, expected - rank / count).max()
    # the Kolmogorov-Smirnov bound that one sample in a thousand exceeds
    assert float(distance) < 1.95 / math.sqrt(count)


def test_the_mean_count_of_open_gates_is_the_sum_of_their_probabilities():
    log_alpha = torch.linspace(-4, 4, 50)
    rounds = 4_000
    generator = torch.Generator().manual_seed(3)
    counts = (sample_gate(log_alpha.expand(rounds, 50), 0.4, generator=generator) > 0).sum(1)
    probability = open_probability(log_alpha, 0.4).double()
    error = math.sqrt(float((probability * (1 - probability)).sum()) / rounds)
    assert abs(float(counts.double().mean()) - float(probability.sum())) < STANDARD_ERRORS * error


@pytest.mark.parametrize("temperature", [0.1, 0.25, 0.5, 1.0])
def test_the_deterministic_gate_is_open_exactly_where_opening_is_likelier_than_not(temperature):
    log_alpha = torch.linspace(-5, 5, 20_000, dtype=torch.float64)
    likely = open_probability(log_alpha, temperature) > 0.5
    assert 0 < int(likely.sum()) < len(likely)
    assert torch.equal(deterministic_gate(log_alpha, temperature) > 0, likely)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0])
def test_the_deterministic_gate_is_the_median_of_the_sampled_one(temperature):
    for log_alpha in (-0.2, 0.0, 0.15):
        median = draw(log_alpha, temperature).median()
        gate = deterministic_gate(torch.tensor(log_alpha, dtype=torch.float64), temperature)
        # four standard errors of a uniform's median, at the steepest slope of a gate
        assert abs(float(median - gate)) < 4 * 0.5 / math.sqrt(DRAWS) * 4 * 0.3 / temperature


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0])
def test_the_slope_of_a_gate_is_its_finite_difference(temperature):
    # far ends are clipped; the corners themselves have no derivative and are not on this grid
    log_alpha = torch.linspace(-4, 4, 1_000, dtype=torch.float64)
    step = 1e-6
    difference = (
        deterministic_gate(log_alpha + step, temperature)
        - deterministic_gate(log_alpha - step, temperature)
    ) / (2 * step)
    slope = gate_slope(deterministic_gate(log_alpha, temperature), temperature)
    assert int((slope == 0).sum()) > 0
    assert int((slope > 0).sum()) > 100
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


def test_the_slope_knows_limits_that_reach_further_on_one_side():
    limits, log_alpha = (-0.1, 1.4), torch.linspace(-2, 0, 50, dtype=torch.float64)
    concrete = torch.sigmoid(log_alpha.requires_grad_() / 0.5)
    gate = (concrete * 1.5 - 0.1).clamp(0, 1)
    gate.sum().backward()
    torch.testing.assert_close(gate_slope(gate.detach(), 0.5, stretch=limits), log_alpha.grad)


def test_the_slope_is_zero_where_a_gate_is_clipped_and_only_there():
    gate = torch.tensor([0.0, 1e-38, 1e-6, 0.5, 1 - 1e-6, 1.0])
    assert (gate_slope(gate, 0.5) > 0).tolist() == [False, True, True, True, True, False]


def test_gates_of_any_location_are_numbers_from_zero_to_one():
    log_alpha = torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])
    generator = torch.Generator().manual_seed(0)
    for gate in (
        sample_gate(log_alpha, 0.25, generator=generator),
        deterministic_gate(log_alpha, 0.25),
    ):
        assert gate[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]
        assert 0 <= float(gate[2]) <= 1


def test_the_sampler_neither_reads_nor_moves_the_global_generator():
    log_alpha = torch.zeros(1_000)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sample_gate(log_alpha, 0.5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = sample_gate(log_alpha, 0.5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(first, second)
    other = sample_gate(log_alpha, 0.5, generator=torch.Generator().manual_seed(8))
    assert not torch.equal(first, other)
