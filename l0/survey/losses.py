"""The capped relative error: a target that cannot be reached costs one, and pulls no more.

loss = sum_j omega_j min(|error_j|, 1), with the loss weights omega summing to one.
"""

from torch import Tensor

CAP = 1.0


def capped_relative(error: Tensor, loss_weights: Tensor) -> Tensor:  # (targets,) x 2 -> ()
    """The loss of signed relative errors."""
    return (loss_weights * error.abs().clamp(max=CAP)).sum()


def capped_relative_gradient(error: Tensor, loss_weights: Tensor) -> Tensor:  # (targets,)
    """Its derivative by each error; zero beyond the cap and at an exact hit."""
    return loss_weights * error.sign() * (error.abs() < CAP)
