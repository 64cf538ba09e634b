"""Noise of a fit: a stream of its own for each epoch and shard.

There is nothing to save when a fit is laid down, and processes that hold different shards draw
what one process that holds all would draw.
"""

import numpy as np
import torch
from torch import Tensor

from l0.hard_concrete import sample_gate
from l0.survey.operator import SparseOperator


def sampled_gates(
    log_alpha: Tensor, temperature: float, *, operator: SparseOperator, seed: int, epoch: int
) -> Tensor:  # (records held,)
    """Random gates of one epoch."""
    gates = [
        sample_gate(log_alpha[cut], temperature, generator=generator)
        for cut, generator in zip(operator.cuts, _streams(operator, seed, epoch), strict=True)
    ]
    return torch.cat(gates)


def normal(operator: SparseOperator, *, seed: int, draw: int) -> Tensor:  # (records held,)
    """Standard normal noise that does not belong to an epoch; each ``draw`` is another."""
    noise = [
        torch.randn(cut.stop - cut.start, generator=generator, device=operator.device)
        for cut, generator in zip(operator.cuts, _streams(operator, seed, -draw), strict=True)
    ]
    return torch.cat(noise)


def _streams(operator: SparseOperator, seed: int, place: int) -> list[torch.Generator]:
    held = range(operator.shards.first, operator.shards.last)
    # draws outside epochs count downwards from zero
    words = [seed, int(place < 0), abs(place)]
    return [
        torch.Generator(operator.device).manual_seed(
            int(np.random.SeedSequence([*words, shard]).generate_state(1, np.uint64)[0] >> 1)
        )
        for shard in held
    ]
