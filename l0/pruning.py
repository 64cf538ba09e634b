"""What closed gates save: weights set to zero, or a smaller ordinary model, and its cost.

How channels are removed from a model is in ``compaction``; this file decides which weights go.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from l0.compaction import compact
from l0.errors import InputError
from l0.gated_layer import GatedLayer, along_weight
from l0.hard_concrete import HardConcrete


@dataclass(frozen=True)
class ModelCost:
    """What a model takes to store and to run on one batch."""

    parameters: int
    flops: int


def prune_model(
    model: nn.Module, threshold: float = 0.05, *, example_input: Tensor | None = None
) -> nn.Module:
    """Remove every weight that has a gate whose P(open) is at most ``threshold``.

    Up to a threshold of 0.5 the outputs at evaluation stay as they are: such gates are closed
    there. Biases have no gates and stay.

    Args:
        model: holds gated layers anywhere.
        threshold: 0 to 1.
        example_input: a batch of the model's input. Without it the weights are set to zero in
            the model given, which is put in evaluation mode. With it that model is left alone
            and a new one is returned, see ``compaction.compact``: ordinary layers, physically
            smaller, the same outputs.

    Returns:
        The model given, or the new one; in evaluation mode.

    Raises:
        InputError: the threshold is out of its bounds, or ``compact`` refuses the model.
    """
    if isinstance(threshold, Tensor):
        raise InputError(
            "threshold is a tensor. Give a batch by its name: "
            "prune_model(model, example_input=batch)."
        )
    if example_input is not None:
        _check_batch(example_input)
    if not 0 <= threshold <= 1:
        raise InputError(
            f"threshold is {threshold}, but must be a probability from 0 to 1: weights that are "
            "open with at most this probability are pruned."
        )
    if example_input is not None:
        return compact(prune_model(copy.deepcopy(model), threshold), example_input)
    for layer in model.modules():
        weight = _gated_parameter(layer)
        if weight is not None:
            _zero_closed(layer, weight, threshold)
    return model.eval()


def model_cost(model: nn.Module, example_input: Tensor) -> ModelCost:
    """Parameters of a model, those of gates not counted, and its flops on a batch at evaluation.

    Flops are those that ``torch.utils.flop_counter`` knows: matrix products, convolutions and
    attention. The model is left as it was.

    Args:
        model: gated or ordinary.
        example_input: a batch of the model's input.
    """
    of_gates = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, HardConcrete)
        for parameter in module.parameters()
    }
    parameters = sum(p.numel() for p in model.parameters() if id(p) not in of_gates)
    _check_batch(example_input)
    evaluated = copy.deepcopy(model).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        evaluated(example_input)
    return ModelCost(parameters, counter.get_total_flops())


def _gated_parameter(layer: nn.Module) -> nn.Parameter | None:
    """The weight that a layer's gates multiply; layers of the user's own as l0-python has them."""
    if isinstance(layer, GatedLayer):
        return layer.plain_weight()
    gates = getattr(layer, "weight_gates", None) or getattr(layer, "channel_gates", None)
    weight = getattr(layer, "weight", None)
    return weight if isinstance(gates, HardConcrete) and isinstance(weight, nn.Parameter) else None


@torch.no_grad()
def _zero_closed(layer: nn.Module, weight: nn.Parameter, threshold: float) -> None:
    for name, gates in layer.named_children():
        if isinstance(gates, HardConcrete):
            closed = gates.get_active_prob() <= threshold
            # not a product: zero times an infinite weight is no zero
            weight.masked_fill_(along_weight(name, closed, weight), 0)


def _check_batch(example_input: object) -> None:
    if not isinstance(example_input, Tensor):
        raise InputError(
            f"example_input is a {type(example_input).__name__}, but must be a tensor: "
            "torch.as_tensor(array), or torch.zeros(shape)."
        )
