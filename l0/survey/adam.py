"""Adam (Kingma and Ba, 2015) on one vector whose entries may leave while it runs."""

import math

import torch
from torch import Tensor

DECAY_MEAN, DECAY_SQUARE = 0.9, 0.999


class Adam:
    """The moments of the gradient of one parameter vector."""

    def __init__(self, like: Tensor) -> None:
        self._mean = torch.zeros_like(like)
        self._square = torch.zeros_like(like)
        self._steps = 0

    def step(self, gradient: Tensor, rate: float) -> Tensor:
        """What to subtract from the parameters."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - DECAY_MEAN)
        self._square.lerp_(gradient.square(), 1 - DECAY_SQUARE)
        mean = self._mean / (1 - DECAY_MEAN**self._steps)
        square = self._square / (1 - DECAY_SQUARE**self._steps)
        # float32 squares of gradients near 1e-9 are subnormal but not zero
        return rate * mean / (square.sqrt() + 1e-12)

    def keep(self, entries: Tensor) -> None:
        """Forget all but these entries."""
        self._mean, self._square = self._mean[entries], self._square[entries]


def cosine_rate(rate: float, *, epoch: int, epochs: int) -> float:
    """The learning rate at an epoch: half a cosine from ``rate`` to zero."""
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
