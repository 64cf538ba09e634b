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
_MOST_STEPS = 200


def scheduled_budget(
    epoch: int, *, records: int, budget: int, last_epoch: int, power: float
) -> float:
    """From all records to the budget, log-linear in the ``power`` of elapsed time."""
    if epoch >= last_epoch:
        return float(budget)
    elapsed = (epoch / last_epoch) ** power
    return float(records * (budget / records) ** elapsed)


def solve_shift(opened: Callable[[float], tuple[float, float]], *, expected: float) -> float:
    """The shift under which the expected number of open gates is ``expected``.

    Newton's method on a monotone function, kept inside a bracket that grows until it holds the
    answer. Fewer than all gates must be asked for: all of them open only in the limit.

    The last step is taken without another look. The second derivative of a logistic is nowhere
    above its first, so that a step that mends an excess x at a slope s leaves no more than about
    x^2 / 2s.

    Args:
        opened: the expected count at a shift, and by how much it falls for one unit of shift.
        expected: the count wanted.
    """
    low, high, stride = -math.inf, math.inf, _FIRST_STRIDE
    shift = 0.0
    for _ in range(_MOST_STEPS):
        count, slope = opened(shift)
        excess = count - expected
        if slope > 0 and excess**2 / (2 * slope) <= _TOLERANCE * expected:
            return shift + excess / slope
        # a fit that is lost has no count; its loss will tell
        if math.isnan(count) or high - low <= 1e-7 * max(1.0, abs(shift)):
            break
        low, high = (shift, high) if excess > 0 else (low, shift)
        # where all gates are shut or all open the slope is lost: the strides alone lead on
        newton = shift + excess / slope if slope > 0 else math.inf
        if abs(newton - shift) > stride:
            newton = shift + stride if excess > 0 else shift - stride
            stride *= 2
        shift = newton if low < newton < high else (low + high) / 2
    return shift


def hold_to_budget(
    log_odds: Tensor,
    *,
    expected: float,
    temperature: float,
    start: float,
    stretch: tuple[float, float] = STRETCH,
) -> tuple[Tensor, float]:
    """The locations under which ``expected`` gates are open, and the shift that made them so.

    Args:
        log_odds: of all gates.
        expected: how many are to be open.
        temperature: of the gates.
        start: a shift near the answer: that of the last epoch.
        stretch: limits of the gates.
    """
    if expected >= len(log_odds):
        return torch.full_like(log_odds, ALL_OPEN), start
    # small numbers keep the digits that the count needs
    near = log_odds - start

    def opened(shift: float) -> tuple[float, float]:
        probability = open_probability(near - shift, temperature, stretch=stretch)
        slope = probability * (1 - probability)
        return float(probability.sum(dtype=torch.float64)), float(slope.sum(dtype=torch.float64))

    shift = solve_shift(opened, expected=expected)
    return near - shift, start + shift


def hold_count(gradient: Tensor, probability: Tensor) -> Tensor:
    """The gradient by each location when the shift follows it, so that the count is held."""
    slope = probability * (1 - probability)
    total = float(slope.sum(dtype=torch.float64))
    pull = float(gradient.sum(dtype=torch.float64))
    return gradient.sub(slope, alpha=pull / total) if total > 0 else gradient
