"""What all gated layers share; the layers themselves are in ``layers``."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from l0.hard_concrete import HardConcrete


class GatedLayer(nn.Module):
    """What all layers share: their gates are the ``HardConcrete`` modules they hold directly."""

    def gate_groups(self) -> list[HardConcrete]:
        """The layer's gates; a weight is active when its gates of all groups are open."""
        return [module for module in self.children() if isinstance(module, HardConcrete)]

    def plain_weight(self) -> nn.Parameter:
        """The parameter that the gates multiply."""
        return self.get_parameter("weight")

    def gated_weight(self) -> Tensor:
        """The weight multiplied by the gates: sampled in training, deterministic in evaluation."""
        return self._times(lambda gates: gates())

    @torch.no_grad()
    def deterministic_weight(self) -> Tensor:
        """The weight multiplied by the gates of evaluation, whatever mode the layer is in."""
        return self._times(lambda gates: gates.get_deterministic_gates())

    def _times(self, values: Callable[[HardConcrete], Tensor]) -> Tensor:
        weight: Tensor = self.plain_weight()
        for name, gates in self.named_children():
            if isinstance(gates, HardConcrete):
                weight = weight * along_weight(name, values(gates), weight)
        return weight

    def folded(self) -> nn.Module:
        """The ordinary layer that gives the same outputs at evaluation, gates folded in."""
        raise NotImplementedError

    def total_weights(self) -> int:
        """How many weights the gates multiply, biases not counted."""
        return self.plain_weight().numel()

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return torch.stack([gates.get_penalty() for gates in self.gate_groups()]).sum()

    def get_sparsity(self) -> float:
        """The expected share of inactive weights, 0 to 1."""
        active = 1.0
        for gates in self.gate_groups():
            active *= 1 - gates.get_sparsity()
        return 1 - active


def along_weight(name: str, of_gates: Tensor, weight: Tensor) -> Tensor:
    """What is said of the gates of a group, in a shape that goes along the weight they gate.

    The weight has outputs in its first dimension and inputs in its second. The groups are those
    of ``layers``, and of l0-python's: ``weight_gates`` has a gate for each weight.
    """
    if name == "input_gates":
        return of_gates.view(1, -1, *(1,) * (weight.ndim - 2))
    if name in {"output_gates", "channel_gates"}:
        return of_gates.view(-1, *(1,) * (weight.ndim - 1))
    return of_gates.view(weight.shape)
