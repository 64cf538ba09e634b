"""How many gates may be open: the schedule, and the one shift that holds the expected count.

Instead of a penalty on open gates whose strength would have to be searched for, all log-odds are
lowered by the same ``shift``, solved anew at every epoch, so that the expected number of open
gates is the budget of that epoch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from l0.hard_concrete import STRETCH, open_probability

# where every gate is to be open, no finite shift would do
ALL_OPEN = 40.0
# of the count: a fiftieth of a gate in twenty thousand
_TOLERANCE = 1e-6
_FIRST_STRIDE = 4.0

# the sums of vectors over all gates, wherever they are held
Totals = Callable[..., list[float]]


def local_totals(*values: Tensor) -> list[float]:
    """The sums of vectors that one process holds as a whole, in float64."""
    return [float(vector.sum(dtype=torch.float64)) for vector in values]


def scheduled_budget(
    epoch: int, *, records: int, budget: int, last_epoch: int, power: float
) -> float:
    """From all records to the budget, log-linear in the ``power`` of elapsed time."""
    if epoch >= last_epoch:
        return float(budget)
    elapsed = (epoch / last_epoch) ** power
    return float(records * (budget / records) ** elapsed)


def solve_shift(
    log_odds: Tensor,
    *,
    expected: float,
    temperature: float,
    stretch: tuple[float, float] = STRETCH,
    totals: Totals = local_totals,
) -> float:
    """The shift under which the expected number of open gates is ``expected``.

    Newton's method on a monotone function, kept inside a bracket that grows until it holds the
    answer. Fewer than all gates must be asked for: all of them open only in the limit.
    """
    low, high, stride = -math.inf, math.inf, _FIRST_STRIDE
    shift = 0.0
    for _ in range(200):
        probability = open_probability(log_odds - shift, temperature, stretch=stretch)
        count, slope = totals(probability, probability * (1 - probability))
        excess = count - expected
        if abs(excess) <= _TOLERANCE * expected:
            break
        low, high = (shift, high) if excess > 0 else (low, shift)
        # where all gates are shut or all open the slope is lost: the strides alone lead on
        newton = shift + excess / slope if slope > 0 else math.inf
        if abs(newton - shift) > stride:
            newton = shift + stride if excess > 0 else shift - stride
            stride *= 2
        shift = newton if low < newton < high else (low + high) / 2
        if high - low <= 1e-7 * max(1.0, abs(shift)):
            break
    return shift


def hold_to_budget(
    log_odds: Tensor,
    *,
    gates: int,
    expected: float,
    temperature: float,
    start: float,
    stretch: tuple[float, float] = STRETCH,
    totals: Totals = local_totals,
) -> tuple[Tensor, float]:
    """The locations under which ``expected`` gates are open, and the shift that made them so.

    Args:
        log_odds: of the gates held here.
        gates: how many there are in all.
        expected: how many are to be open.
        temperature: of the gates.
        start: a shift near the answer: that of the last epoch.
        stretch: limits of the gates.
        totals: sums over all gates.
    """
    if expected >= gates:
        return torch.full_like(log_odds, ALL_OPEN), start
    # small numbers keep the digits that the count needs
    near = log_odds - start
    shift = solve_shift(
        near, expected=expected, temperature=temperature, stretch=stretch, totals=totals
    )
    return near - shift, start + shift


def hold_count(gradient: Tensor, probability: Tensor, *, totals: Totals = local_totals) -> Tensor:
    """The gradient by each location when the shift follows it, so that the count is held."""
    slope = probability * (1 - probability)
    pull, total = totals(gradient, slope)
    return gradient.sub(slope, alpha=pull / total) if total > 0 else gradient
