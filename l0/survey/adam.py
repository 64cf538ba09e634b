"""Adam (Kingma and Ba, 2015) on one vector whose entries may leave while it runs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

DECAY_MEAN, DECAY_SQUARE = 0.9, 0.999
_WHOLE = (slice(None),)


class Adam:
    """The moments of the gradient of one parameter vector; torch takes the steps.

    It is what ``torch.optim.Adam(fused=True)`` calls: one pass over a vector where the operations
    one by one would make six, and without that class's overhead, longer than the work on a short
    vector. The last digit it gives a number hangs on the number's place in the vector.
    """

    def __init__(self, like: Tensor, cuts: Sequence[slice] = _WHOLE) -> None:
        """Have seen nothing yet.

        Args:
            like: the parameters, for their number and device.
            cuts: runs of entries that are stepped on their own, so that the digits do not hang on
                what else the vector holds: shards, of which another process may hold others.
        """
        self.mean = torch.zeros_like(like)
        self.square = torch.zeros_like(like)
        self.steps = 0
        self._cuts = cuts

    def step(self, parameters: Tensor, gradient: Tensor, rate: float) -> None:
        """Move the parameters in place."""

        def cut(vector: Tensor) -> list[Tensor]:
            return [vector[run] for run in self._cuts]

        self.steps += 1
        count = torch.full((), float(self.steps), device=parameters.device)
        torch._fused_adam_(
            cut(parameters),
            cut(gradient),
            cut(self.mean),
            cut(self.square),
            [],
            [count] * len(self._cuts),
            lr=rate,
            beta1=DECAY_MEAN,
            beta2=DECAY_SQUARE,
            weight_decay=0.0,
            eps=1e-12,
            amsgrad=False,
            maximize=False,
        )

    def keep(self, entries: Tensor) -> None:
        """Forget all but these entries of a vector that was not cut."""
        if self._cuts is not _WHOLE:
            raise RuntimeError("entries of a vector that was cut cannot leave: its cuts would move")
        self.mean, self.square = self.mean[entries], self.square[entries]


def cosine_rate(rate: float, *, epoch: int, epochs: int) -> float:
    """The learning rate at an epoch: half a cosine from ``rate`` to zero."""
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
