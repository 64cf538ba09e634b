"""The loss of estimates against the values of their targets, and its derivative by each."""

import math

import torch
from torch import Tensor

from l0.survey.losses import Loss
from l0.survey.problem import CalibrationProblem, Vector


class TargetLoss:
    """Values, scales and loss weights of all targets on one device, in float64."""

    def __init__(
        self,
        loss: Loss,
        *,
        values: Vector,  # (targets,)
        scales: Vector,
        loss_weights: Vector,
        device: torch.device,
        leak: float = 0.0,
        smoothing: float = 0.0,
    ) -> None:
        """Copy the targets to the device.

        Beyond a cap a share ``leak`` of the pull is left, so that a target is not given up for
        being far off. Errors below ``smoothing`` pull in proportion to their size, where the
        loss has a kink.
        """
        self._leak = leak if loss.cap < math.inf else 0.0
        # a loss whose conjugate has no ridge has a kink at zero
        self._smoothing = smoothing if loss.ridge == 0 else 0.0
        self._loss = loss
        self._values = torch.tensor(values, dtype=torch.float64, device=device)
        self.scales = torch.tensor(scales, dtype=torch.float64, device=device)
        self._loss_weights = torch.tensor(loss_weights, dtype=torch.float64, device=device)

    @classmethod
    def of(
        cls,
        problem: CalibrationProblem,
        loss: Loss,
        device: torch.device,
        *,
        leak: float = 0.0,
        smoothing: float = 0.0,
    ) -> "TargetLoss":
        """The targets of a problem."""
        return cls(
            loss,
            values=problem.values,
            scales=problem.scales,
            loss_weights=problem.loss_weights,
            device=device,
            leak=leak,
            smoothing=smoothing,
        )

    def errors(self, estimates: Tensor) -> Tensor:  # (targets,) float64
        """(estimate - value) / scale, signed."""
        return (estimates - self._values).div_(self.scales)

    def value(self, errors: Tensor) -> float:
        """The loss."""
        return float((self._loss_weights * self._loss.phi(errors)).sum())

    def prices(self, errors: Tensor) -> Tensor:  # (targets,) float64
        """What one unit of each estimate costs: the slope that descent follows, over the scale."""
        slope = self._loss.slope(errors)
        if self._leak > 0:
            slope.add_(errors.sign().mul_(errors.abs() >= self._loss.cap), alpha=self._leak)
        if self._smoothing > 0:
            slope.mul_((errors.abs() / self._smoothing).clamp_(max=1))
        return slope.mul_(self._loss_weights).div_(self.scales)
