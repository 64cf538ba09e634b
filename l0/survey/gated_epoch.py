"""One epoch of the gated fit, as one shard sees it.

The methods are called in their order. What each returns must be summed over all shards before the
next can go on: the shift needs the count of open gates, the prices need the estimates, and the
gradient of a gate needs the pull on all of them, since the shift follows every gate.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from l0.hard_concrete import deterministic_gate, gate_slope, noisy_gate, open_probability
from l0.survey.budget import ALL_OPEN
from l0.survey.pool import Part
from l0.survey.shards import shard_sums


class GatedEpoch:
    """Gates, weights and gradients of the records of one shard."""

    log_alpha: Tensor  # (records of the part,), where the gates are held

    def __init__(self, part: Part, *, temperature: float, focus: float, start: float) -> None:
        """Let the shift be looked for near ``start``."""
        self._part = part
        self._temperature = temperature
        self._focus = focus
        self._start = start

    @cached_property
    def _log_odds(self) -> Tensor:
        # what is near zero keeps the digits that the search adds
        return log_odds(self._part, self._focus).sub_(self._start)

    def opened(self, shift: float) -> Tensor:  # (2,)
        """Log-odds lowered by ``start`` and ``shift``: the expected count, and its slope."""
        chance = open_probability(self._log_odds - shift, self._temperature)
        self._chance = chance
        # p - p^2 in one pass
        self._count_slope = torch.addcmul(chance, chance, chance, value=-1)
        return shard_sums(chance, self._count_slope)

    def hold(self, shift: float) -> None:
        """Stay at a shift, so near the last one looked at that gradients need not look again."""
        self.log_alpha = self._log_odds - shift

    def open_all(self) -> None:
        """Stay where every gate is open, which no finite shift would give."""
        self.log_alpha = torch.full_like(self._log_odds, ALL_OPEN)
        self._chance = torch.ones_like(self._log_odds)
        self._count_slope = torch.zeros_like(self._log_odds)

    def open_probability(self) -> Tensor:
        """P(open) where the gates are held."""
        return open_probability(self.log_alpha, self._temperature)

    def gate(self, noise: Tensor | None = None) -> Tensor:
        """The gates, random ones if there is noise."""
        if noise is None:
            return deterministic_gate(self.log_alpha, self._temperature)
        return noisy_gate(self.log_alpha, noise, self._temperature)

    def estimates(self, noise: Tensor | None) -> Tensor:  # (targets,)
        """The shard's part of the estimates, with its gates where they are held."""
        self._gate = self.gate(noise)
        self._weights = self._part.weights()
        self._kept = self._weights * self._gate
        return self._part.matrix.estimates(self._kept)

    def pull(self, prices: Tensor) -> Tensor:  # (targets,) -> (3,)
        """The loss's pull on all locations, the count's slope, the design expected to stay."""
        self._worth = self._part.matrix.adjoint(prices)
        slope = gate_slope(self._gate, self._temperature)
        self._gate_gradient = slope.mul_(self._weights).mul_(self._worth)
        staying = self._chance * self._part.design
        return shard_sums(self._gate_gradient, self._count_slope, staying)

    def told(self, raised: float) -> Tensor:  # (2,)
        """The count, and the divergence of the open weights from the raised design weights."""
        distance = self._part.log_ratios - math.log(raised)
        free = self._weights * (distance - 1) + raised * self._part.design
        # counted where the gates are held, not where they were last looked at
        return shard_sums(self.open_probability(), self._gate * free)

    def learn(
        self,
        *,
        raised: float,
        strength: float,
        pull: float,
        weight_rate: float,
        gate_rate: float,
    ) -> None:
        """One step of weights and locations.

        Args:
            raised: the factor that raises the design to its total.
            strength: of the penalty.
            pull: on all locations, over the slope of the count: what the shift gives way.
            weight_rate: of the step of log-weights.
            gate_rate: of the step of locations.
        """
        part = self._part
        price = self._worth.add_(part.log_ratios, alpha=strength).sub_(strength * math.log(raised))
        part.weight_adam.step(part.log_ratios, price.mul_(self._kept), weight_rate)
        gate_gradient = self._gate_gradient.sub_(self._count_slope, alpha=pull)
        part.gate_adam.step(part.locations, gate_gradient, gate_rate)


def log_odds(part: Part, focus: float) -> Tensor:  # (records of the part,)
    """Log-odds of every gate before the common shift."""
    return torch.add(part.locations, part.contribution, alpha=focus)
