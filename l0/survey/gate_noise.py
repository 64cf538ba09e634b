"""Noise of a fit: for each epoch a draw of its own, in which every record has its own place.

There is nothing to save when a fit is laid down, and processes that hold different shards get
what one process that holds all would get.
"""

import numpy as np
import torch
from torch import Tensor

from l0.hard_concrete import logistic_noise, sample_gate
from l0.survey.operator import SparseOperator
from l0.survey.shards import Shards

_LEAST_TABLE = 1 << 20


class NoiseTable:
    """Logistic noise drawn once, and read from a random place at every epoch.

    Reading is many times faster than drawing, and what a record gets at one epoch tells nothing
    of what it gets at another (Salimans et al., 2017, *Evolution Strategies as a Scalable
    Alternative to Reinforcement Learning*, share noise in the same way). Within an epoch no two
    records get the same draw.
    """

    def __init__(self, shards: Shards, *, seed: int) -> None:
        """Draw at least twice as much as all records need, the same for every device."""
        self._bounds = shards.bounds
        size = max(_LEAST_TABLE, 2 * self._bounds[-1])
        generator = _stream(seed, 0, shard=0, device=torch.device("cpu"))
        self._noise = logistic_noise((size,), generator=generator).to(shards.device)
        self._seed = seed

    def read(self, size: int, *, epoch: int, shard: int) -> Tensor:  # (size,)
        """The noise of the first records of a shard at one epoch."""
        words = np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)
        place = int(words[0] % np.uint64(len(self._noise) - self._bounds[-1] + 1))
        place += self._bounds[shard]
        return self._noise[place : place + size]


def sampled_gates(
    log_alpha: Tensor, temperature: float, *, operator: SparseOperator, seed: int, epoch: int
) -> Tensor:  # (records held,)
    """Random gates of one epoch."""

    def gates(place: int) -> Tensor:
        shard = operator.shards.first + place
        stream = _stream(seed, epoch, shard=shard, device=operator.device)
        return sample_gate(log_alpha[operator.cuts[place]], temperature, generator=stream)

    return torch.cat(operator.each(gates, multiplies=False))


def normal(operator: SparseOperator, *, seed: int, draw: int) -> Tensor:  # (records held,)
    """Standard normal noise that does not belong to an epoch; each ``draw`` is another."""

    def noise(place: int) -> Tensor:
        shard = operator.shards.first + place
        stream = _stream(seed, -draw, shard=shard, device=operator.device)
        cut = operator.cuts[place]
        return torch.randn(cut.stop - cut.start, generator=stream, device=operator.device)

    return torch.cat(operator.each(noise, multiplies=False))


def _stream(seed: int, epoch: int, *, shard: int, device: torch.device) -> torch.Generator:
    """The stream of one epoch and shard; epochs below zero are draws outside any epoch."""
    words = [seed, int(epoch < 0), abs(epoch), shard]
    state = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(state)
