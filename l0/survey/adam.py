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

    def step(self, parameters: Tensor, gradient: Tensor, rate: float) -> None:
        """Move the parameters in place."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - DECAY_MEAN)
        self.square.mul_(DECAY_SQUARE).addcmul_(gradient, gradient, value=1 - DECAY_SQUARE)
        # the moments' corrections for their start at zero, in the numbers rather than the vectors
        of_mean, of_root = (
            1 - DECAY_MEAN**self.steps,
            math.sqrt(1 - DECAY_SQUARE**self.steps),
        )
        spread = self.square.sqrt().add_(1e-12 * of_root)
        parameters.addcdiv_(self.mean, spread, value=-rate * of_root / of_mean)

    def keep(self, entries: Tensor) -> None:
        """Forget all but these entries."""
        self.mean, self.square = self.mean[entries], self.square[entries]


def cosine_rate(rate: float, *, epoch: int, epochs: int) -> float:
    """The learning rate at an epoch: half a cosine from ``rate`` to zero."""
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
