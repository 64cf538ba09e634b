"""Layers whose weights, neurons or channels have gates.

A gate multiplies weights; a bias is never gated, so that a closed neuron or channel is a constant.
``pruning`` turns a trained model into an ordinary, smaller one.
"""

from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0.errors import InputError
from l0.gated_layer import GatedLayer
from l0.hard_concrete import HardConcrete
from l0.penalties import get_sparsity_stats
from l0.pruning import prune_model

Pair = int | tuple[int, int]
Structure = Literal["input", "output", "both"]
Dense = TypeVar("Dense", nn.Linear, nn.Conv2d)

__all__ = ["L0Conv2d", "L0DepthwiseConv2d", "L0Linear", "SparseMLP", "prune_model"]


class _OwnWeight(GatedLayer):
    """A layer with a weight and a bias of its own."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    use_l2: bool

    def reset_parameters(self) -> None:
        """Draw the weights anew and set the bias to zero; gates stay."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def get_l2_penalty(self) -> Tensor:
        """The sum of squared weights, or zero unless ``use_l2``."""
        return self.weight.square().sum() if self.use_l2 else self.weight.new_zeros(())


class L0Linear(_OwnWeight):
    """A linear layer with a gate for each weight, or for whole neurons.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        bias: whether to add a bias.
        temperature: of the gates.
        init_sparsity: the gates start at ``init_mean = 1 - init_sparsity``, between 0 and 1.
        use_l2: whether ``get_l2_penalty`` counts the weights.
        structured: "input" gates whole input neurons (section 2.3 of the paper), "output" whole
            output neurons, "both" gates both; without it each weight has its own gate.

    Raises:
        InputError: an argument out of its bounds.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        use_l2: bool = False,
        *,
        structured: Structure | None = None,
    ) -> None:
        super().__init__()
        if structured not in {None, "input", "output", "both"}:
            raise InputError(
                f"structured is {structured!r}, but must be 'input', 'output', 'both' or None."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.use_l2 = use_l2
        self.structured = structured
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        if structured is None:
            self.weight_gates = _gates(out_features, in_features, temperature, init_sparsity)
        if structured in {"input", "both"}:
            self.input_gates = _gates(in_features, None, temperature, init_sparsity)
        if structured in {"output", "both"}:
            self.output_gates = _gates(out_features, None, temperature, init_sparsity)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name torch has
        """(..., in_features) to (..., out_features)."""
        return functional.linear(input, self.gated_weight(), self.bias)

    def folded(self) -> nn.Linear:
        """The ``torch.nn.Linear`` of the same outputs at evaluation."""
        dense = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        return _fill(dense, self, self.bias)

    def extra_repr(self) -> str:
        """What ``print`` shows of the layer."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, structured={self.structured!r}"
        )


class L0Conv2d(_OwnWeight):
    """A 2D convolution with a gate for each weight, or for each output channel.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: of the kernel, one number or (height, width).
        stride: of the convolution.
        padding: zeros added on each side.
        bias: whether to add a bias.
        temperature: of the gates.
        init_sparsity: the gates start at ``init_mean = 1 - init_sparsity``, between 0 and 1.
        structured: gate whole output channels; without it each weight has its own gate.
        use_l2: whether ``get_l2_penalty`` counts the weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        structured: bool = False,
        use_l2: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        if not isinstance(structured, bool):
            raise InputError(
                f"structured is {structured!r}, but must be True (gates of output channels) or "
                "False; 'input', 'output' and 'both' are of L0Linear."
            )
        self.stride = stride
        self.padding = padding
        self.structured = structured
        self.use_l2 = use_l2
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        if structured:
            self.channel_gates = _gates(out_channels, None, temperature, init_sparsity)
        else:
            per_channel = in_channels * self.kernel_size[0] * self.kernel_size[1]
            self.weight_gates = _gates(out_channels, per_channel, temperature, init_sparsity)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name torch has
        """(batch, in_channels, height, width) to (batch, out_channels, height', width')."""
        return functional.conv2d(input, self.gated_weight(), self.bias, self.stride, self.padding)

    def folded(self) -> nn.Conv2d:
        """The ``torch.nn.Conv2d`` of the same outputs at evaluation."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            _pair(self.stride),
            _pair(self.padding),
            bias=self.bias is not None,
            device="meta",
        )
        return _fill(dense, self, self.bias)

    def extra_repr(self) -> str:
        """What ``print`` shows of the layer."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, structured={self.structured}"
        )


class L0DepthwiseConv2d(GatedLayer):
    """A 2D convolution of each channel by itself, with a gate for each channel.

    Args:
        in_channels: number of channels, in and out.
        kernel_size: of the kernel, one number or (height, width).
        stride: of the convolution.
        padding: zeros added on each side.
        bias: whether to add a bias.
        temperature: of the gates.
        init_sparsity: the gates start at ``init_mean = 1 - init_sparsity``, between 0 and 1.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = stride
        self.padding = padding
        self.depthwise_conv = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size=self.kernel_size,
            stride=_pair(stride),
            padding=_pair(padding),
            groups=in_channels,
            bias=bias,
        )
        self.channel_gates = _gates(in_channels, None, temperature, init_sparsity)

    def plain_weight(self) -> nn.Parameter:  # (in_channels, 1, height, width)
        """The parameter that the gates multiply."""
        return self.get_parameter("depthwise_conv.weight")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name torch has
        """(batch, in_channels, height, width) to (batch, in_channels, height', width')."""
        conv = self.depthwise_conv
        return functional.conv2d(
            input,
            self.gated_weight(),
            conv.bias,
            _pair(self.stride),
            _pair(self.padding),
            groups=self.in_channels,
        )

    def folded(self) -> nn.Conv2d:
        """The ``torch.nn.Conv2d`` of the same outputs at evaluation."""
        conv = self.depthwise_conv
        dense = nn.Conv2d(
            self.in_channels,
            self.in_channels,
            self.kernel_size,
            _pair(self.stride),
            _pair(self.padding),
            groups=self.in_channels,
            bias=conv.bias is not None,
            device="meta",
        )
        return _fill(dense, self, conv.bias)


class SparseMLP(nn.Module):
    """Three gated linear layers with rectifiers between them.

    Args:
        input_dim: number of inputs once flattened.
        hidden_dim: width of both hidden layers.
        output_dim: number of outputs.
        init_sparsity: of every layer's gates.
        temperature: of every layer's gates.
        use_l2: whether ``get_l2_loss`` counts the weights.
        structured: see ``L0Linear``.
    """

    def __init__(
        self,
        input_dim: int = 784,
        hidden_dim: int = 256,
        output_dim: int = 10,
        init_sparsity: float = 0.5,
        temperature: float = 0.5,
        use_l2: bool = False,
        *,
        structured: Structure | None = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {
            "init_sparsity": init_sparsity,
            "temperature": temperature,
            "use_l2": use_l2,
            "structured": structured,
        }
        self.fc1 = L0Linear(input_dim, hidden_dim, **options)
        self.fc2 = L0Linear(hidden_dim, hidden_dim, **options)
        self.fc3 = L0Linear(hidden_dim, output_dim, **options)
        self.use_l2 = use_l2

    def forward(self, x: Tensor) -> Tensor:
        """(batch, ...) to (batch, output_dim)."""
        x = x.flatten(1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        scores: Tensor = self.fc3(x)
        return scores

    def get_l0_loss(self) -> Tensor:
        """The expected number of open gates in all layers, a scalar."""
        return torch.stack([layer.get_l0_penalty() for layer in self._layers()]).sum()

    def get_l2_loss(self) -> Tensor:
        """The sum of squared weights of all layers, or zero unless ``use_l2``."""
        return torch.stack([layer.get_l2_penalty() for layer in self._layers()]).sum()

    def get_sparsity_stats(self) -> dict[str, dict[str, float]]:
        """Sparsity and expected active weights of each layer."""
        return get_sparsity_stats(self)

    def _layers(self) -> tuple[L0Linear, L0Linear, L0Linear]:
        return self.fc1, self.fc2, self.fc3


def _gates(
    rows: int, columns: int | None, temperature: float, init_sparsity: float
) -> HardConcrete:
    if not 0 < init_sparsity < 1:
        raise InputError(
            f"init_sparsity is {init_sparsity}, but must lie strictly between 0 and 1: a gate "
            "that is certain has no gradient. Start nearly open at 0.001 for instance."
        )
    return HardConcrete(rows, columns, temperature=temperature, init_mean=1 - init_sparsity)


def _pair(size: Pair) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


@torch.no_grad()
def _fill(dense: Dense, layer: GatedLayer, bias: Tensor | None) -> Dense:
    # made on the meta device: no weights are drawn only to be overwritten
    weight = layer.deterministic_weight()
    dense = dense.to_empty(device=weight.device).to(weight.dtype)
    dense.weight.copy_(weight)
    if bias is not None and dense.bias is not None:
        dense.bias.copy_(bias)
    return dense.eval()
