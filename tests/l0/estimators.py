"""What the tests of both sparse estimators look at a fit with."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from l0.gated_vector import GatedVector


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def recorded_gradients(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The gradients that every step of Adam is given from now on."""
    steps: list[list[Tensor]] = []

    class Recording(torch.optim.Adam):
        def step(self, closure: Callable[[], float] | None = None) -> None:
            steps.append([p.grad.clone() for p in self.param_groups[0]["params"]])
            super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Recording)
    return steps


def plain_gate(model: GatedVector, noise: Tensor) -> Tensor:
    concrete = torch.sigmoid((noise + model.log_alpha) / model.beta)
    return (concrete * (model.zeta - model.gamma) + model.gamma).clamp(0, 1)
