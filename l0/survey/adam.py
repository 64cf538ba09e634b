"""Adam (Kingma and Ba, 2015) on one vector whose entries may leave while it runs."""

import math

import torch
from torch import Tensor

DECAY_MEAN, DECAY_SQUARE = 0.9, 0.999


class Adam:
    """The moments of the gradient of one parameter vector."""

    def __init__(self, like: Tensor) -> None:
        self.mean = torch.zeros_like(like)
        self.square = torch.zeros_like(like)
        self.steps = 0

    def step(self, gradient: Tensor, rate: float) -> Tensor:
        """What to subtract from the parameters."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - DECAY_MEAN)
        self.square.lerp_(gradient.square(), 1 - DECAY_SQUARE)
        # float32 squares of gradients near 1e-9 are subnormal but not zero
        spread = self.square.div(1 - DECAY_SQUARE**self.steps).sqrt_().add_(1e-12)
        return self.mean.mul(rate / (1 - DECAY_MEAN**self.steps)).div_(spread)

    def keep(self, entries: Tensor) -> None:
        """Forget all but these entries."""
        self.mean, self.square = self.mean[entries], self.square[entries]


def cosine_rate(rate: float, *, epoch: int, epochs: int) -> float:
    """The learning rate at an epoch: half a cosine from ``rate`` to zero."""
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
