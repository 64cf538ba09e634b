"""The Hard Concrete distribution: a gate in [0, 1] with mass at both ends.

Notation follows Louizos, Welling and Kingma, *Learning Sparse Neural Networks through L0
Regularization* (2018): ``log_alpha`` is the location, ``temperature`` is beta and
``(gamma, zeta)`` are the stretch limits. What a gate multiplies, and how its location is
learned, lives elsewhere; this file is the only copy of the mathematics.
"""

import math

import torch
from torch import Tensor

STRETCH = (-0.1, 1.1)


def sample_gate(log_alpha: Tensor, temperature: float, *, generator: torch.Generator) -> Tensor:
    """One random gate for each location (equation 10), in [0, 1], of the same shape."""
    uniform = torch.rand(
        log_alpha.shape, generator=generator, dtype=log_alpha.dtype, device=log_alpha.device
    )
    # the ends of the unit interval have no finite logit
    return _stretch(torch.sigmoid((torch.logit(uniform, eps=1e-6) + log_alpha) / temperature))


def deterministic_gate(log_alpha: Tensor, temperature: float) -> Tensor:
    """The gate without noise, open exactly where ``open_probability`` is above one half.

    It is the sampled gate at the median of the noise, so it keeps the temperature; the paper's
    equation 13 leaves it out and thereby opens other gates than its own probability does.
    """
    return _stretch(torch.sigmoid(log_alpha / temperature))


def gate_slope(gate: Tensor, temperature: float) -> Tensor:
    """The derivative of a gate by its location, from the gate itself; zero where it is clipped."""
    gamma, zeta = STRETCH
    concrete = (gate - gamma) / (zeta - gamma)
    inside = (gate > 0) & (gate < 1)
    return torch.where(
        inside, (zeta - gamma) * concrete * (1 - concrete) / temperature, torch.zeros_like(gate)
    )


def open_probability(log_alpha: Tensor, temperature: float) -> Tensor:
    """P(gate > 0) for each gate (equation 12); its sum is the expected number of open gates."""
    gamma, zeta = STRETCH
    return torch.sigmoid(log_alpha - temperature * math.log(-gamma / zeta))


def _stretch(concrete: Tensor) -> Tensor:
    gamma, zeta = STRETCH
    return (concrete * (zeta - gamma) + gamma).clamp(0, 1)
