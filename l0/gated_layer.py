"""What all gated layers share; the layers themselves are in ``layers``."""

import torch
from torch import Tensor, nn

from l0.hard_concrete import HardConcrete


class GatedLayer(nn.Module):
    """What all layers share: their gates are the ``HardConcrete`` modules they hold directly."""

    def gate_groups(self) -> list[HardConcrete]:
        """The layer's gates; a weight is active when its gates of all groups are open."""
        return [module for module in self.children() if isinstance(module, HardConcrete)]

    def gated_weight(self) -> Tensor:
        """The weight multiplied by the gates, of the weight's shape."""
        raise NotImplementedError

    @torch.no_grad()
    def deterministic_weight(self) -> Tensor:
        """The weight multiplied by the gates of evaluation, whatever mode the layer is in."""
        modes = [(gates, gates.training) for gates in self.gate_groups()]
        for gates, _ in modes:
            gates.eval()
        weight = self.gated_weight()
        for gates, mode in modes:
            gates.train(mode)
        return weight

    def folded(self) -> nn.Module:
        """The ordinary layer that gives the same outputs at evaluation, gates folded in."""
        raise NotImplementedError

    def total_weights(self) -> int:
        """How many weights the gates multiply, biases not counted."""
        raise NotImplementedError

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return torch.stack([gates.get_penalty() for gates in self.gate_groups()]).sum()

    def get_sparsity(self) -> float:
        """The expected share of inactive weights, 0 to 1."""
        active = 1.0
        for gates in self.gate_groups():
            active *= 1 - gates.get_sparsity()
        return 1 - active
