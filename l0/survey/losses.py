"""How signed relative errors become a loss: capped, absolute, squared, Huber.

loss = sum_j omega_j phi(error_j), with the loss weights omega summing to one. Each phi is convex
up to its cap; ``box`` and ``ridge`` describe its conjugate, which ``dual`` works with.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.errors import InputError

Vector = NDArray[np.float64]

CAP = 1.0
# share of a target's pull that fits leave it beyond the cap: without, unseen targets are met worse
LEAK = 0.2
HUBER_DELTA = 0.1


@dataclass(frozen=True)
class Loss:
    """One way to judge errors; all are functions of one error."""

    name: str
    phi: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]  # its derivative
    # of the conjugate for a loss weight of one: |price| <= box, plus ridge price^2 / 2
    box: float
    ridge: float
    cap: float = float("inf")


def _capped(error: Tensor) -> Tensor:
    return error.abs().clamp(max=CAP)


def _capped_slope(error: Tensor) -> Tensor:
    return error.sign() * (error.abs() < CAP)


def _huber(error: Tensor) -> Tensor:
    size = error.abs()
    return torch.where(
        size <= HUBER_DELTA, error.square() / (2 * HUBER_DELTA), size - HUBER_DELTA / 2
    )


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("capped_relative", _capped, _capped_slope, box=1.0, ridge=0.0, cap=CAP),
        Loss("absolute", torch.abs, torch.sign, box=1.0, ridge=0.0),
        Loss("squared", torch.square, lambda error: 2 * error, box=float("inf"), ridge=0.5),
        Loss(
            "huber",
            _huber,
            lambda error: (error / HUBER_DELTA).clamp(-1, 1),
            box=1.0,
            ridge=HUBER_DELTA,
        ),
    )
}


def loss_named(name: str) -> Loss:
    """The loss of a name.

    Raises:
        InputError: no loss has it.
    """
    if not isinstance(name, str) or name not in LOSSES:
        raise InputError(f"loss is {name!r}, but must be one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def mean_loss(name: str, errors: Vector, loss_weights: Vector) -> float:
    """The loss of a name at relative errors (targets,), in float64."""
    phi = loss_named(name).phi(torch.from_numpy(errors)).numpy()
    # a sum of numpy's own: that of a product by BLAS depends on its threads
    return float((loss_weights * phi).sum())
