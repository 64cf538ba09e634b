"""What the tests of both sparse estimators look at a fit with."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from l0.gated_vector import GatedVector
from l0.survey.adam import Adam


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def recorded_gradients(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The gradients of all parameters at every step that torch's Adam takes from now on."""
    steps: list[list[Tensor]] = []

    class Recording(torch.optim.Adam):
        def step(self, closure: Callable[[], float] | None = None) -> None:
            steps.append([p.grad.clone() for p in self.param_groups[0]["params"]])
            super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Recording)
    return steps


def gradients_of_every_step(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The gradient of every step that l0's own Adam takes from now on, one vector a step."""
    gradients: list[Tensor] = []
    step = Adam.step

    def recording(self: Adam, parameters: Tensor, gradient: Tensor, rate: float) -> None:
        gradients.append(gradient.clone())
        step(self, parameters, gradient, rate)

    monkeypatch.setattr(Adam, "step", recording)
    return gradients


def plain_gate(model: GatedVector, noise: Tensor) -> Tensor:
    concrete = torch.sigmoid((noise + model.log_alpha) / model.beta)
    return (concrete * (model.zeta - model.gamma) + model.gamma).clamp(0, 1)
