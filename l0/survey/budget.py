"""How many gates may be open: the schedule, and the one shift that holds the expected count.

Instead of a penalty on open gates whose strength would have to be searched for, all log-odds are
lowered by the same ``shift``, solved anew at every epoch, so that the expected number of open
gates is the budget of that epoch exactly.
"""

import torch
from torch import Tensor

from l0.hard_concrete import STRETCH, open_probability

# where every gate is to be open, no finite shift would do
ALL_OPEN = 40.0


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
    start: float,
    stretch: tuple[float, float] = STRETCH,
) -> float:
    """The shift under which the expected number of open gates is ``expected``.

    Newton's method on a monotone function, kept inside a bracket, in float64. Fewer than all
    gates must be asked for: all of them open only in the limit.
    """
    odds = log_odds.double()
    low, high = float(odds.min()) - 50.0, float(odds.max()) + 50.0
    shift = min(max(start, low), high)
    for _ in range(100):
        probability = open_probability(odds - shift, temperature, stretch=stretch)
        excess = float(probability.sum()) - expected
        if abs(excess) <= 1e-9 * expected:
            break
        low, high = (shift, high) if excess > 0 else (low, shift)
        slope = float((probability * (1 - probability)).sum())
        newton = shift + excess / slope if slope > 0 else high
        shift = newton if low < newton < high else (low + high) / 2
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            break
    return shift


def hold_to_budget(
    log_odds: Tensor,
    *,
    expected: float,
    temperature: float,
    start: float,
    stretch: tuple[float, float] = STRETCH,
) -> tuple[Tensor, float]:
    """The locations under which ``expected`` gates are open, and the shift that made them so."""
    if expected >= len(log_odds):
        return torch.full_like(log_odds, ALL_OPEN), start
    shift = solve_shift(
        log_odds, expected=expected, temperature=temperature, start=start, stretch=stretch
    )
    return log_odds - shift, shift


def hold_count(gradient: Tensor, probability: Tensor) -> Tensor:
    """The gradient by each location when the shift follows it, so that the count is held."""
    slope = probability * (1 - probability)
    total = slope.sum()
    return gradient - slope * (gradient.sum() / total) if total > 0 else gradient
