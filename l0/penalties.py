"""Penalties of a model's gates and weights, and how sparse it is.

Every gate in the model is seen exactly once: those of layers, stand-alone ones, those of the
sparse estimators, and those of any other module that says its ``get_l0_penalty``. What a training
writes down is kept by ``penalty_tracker``; temperatures are in ``temperature``.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from l0.gated_layer import GatedLayer
from l0.gated_vector import GatedVector
from l0.hard_concrete import GateModule, HardConcrete
from l0.penalty_tracker import PenaltyTracker
from l0.temperature import TemperatureScheduler, update_temperatures

__all__ = [
    "PenaltyTracker",
    "TemperatureScheduler",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "update_temperatures",
]


def compute_l0_penalty(model: nn.Module) -> Tensor:
    """The expected number of open gates in the model: a scalar on the model's device."""
    total = _zero(model)
    for _, module in _walk(model, GateModule, says=("get_l0_penalty",)):
        count = module.get_penalty if isinstance(module, HardConcrete) else module.get_l0_penalty
        total = total + count()
    return total


def compute_l2_penalty(model: nn.Module) -> Tensor:
    """The sum of squares of all trained weights: a scalar on the model's device.

    A weight is a parameter whose own name contains "weight"; of ``SparseCalibrationWeights`` it
    is the calibration weights, not their logarithms. Gate parameters and biases are none.
    """
    total = _zero(model)
    logarithms = {
        id(module.log_weight)
        for module in model.modules()
        if isinstance(module, GatedVector) and "log_weight" in module._parameters
    }
    for name, parameter in model.named_parameters():
        if _is_weight(name) and parameter.requires_grad:
            weight = parameter.exp() if id(parameter) in logarithms else parameter
            total = total + weight.square().sum()
    return total


def _is_weight(name: str) -> bool:
    parts = name.split(".")
    if len(parts) > 2 and parts[-3] == "parametrizations":
        # what torch computes a parametrized weight from
        return "weight" in parts[-2] and parts[-1].startswith("original")
    if len(parts) > 1 and parts[-1].isdecimal():
        return "weight" in parts[-2]  # a ParameterList
    return "weight" in parts[-1]


def compute_l0l2_penalty(
    model: nn.Module, l0_lambda: float = 1e-3, l2_lambda: float = 1e-4
) -> Tensor:
    """``l0_lambda`` times the L0 penalty and ``l2_lambda`` times the L2 penalty, a scalar."""
    return l0_lambda * compute_l0_penalty(model) + l2_lambda * compute_l2_penalty(model)


@torch.no_grad()
def get_sparsity_stats(model: nn.Module) -> dict[str, dict[str, float]]:
    """Of each layer or stand-alone gate, by its name in the model.

    Returns:
        "sparsity", the expected share of inactive parameters; "active_params", their expected
        number; "total_params". The parameters of a layer are the weights that its gates
        multiply; of a stand-alone gate they are its items.
    """
    stats = {}
    for name, module in _walk(
        model, GatedLayer | GateModule, says=("get_l0_penalty", "get_sparsity")
    ):
        if isinstance(module, GatedLayer):
            sparsity, total = module.get_sparsity(), module.total_weights()
        elif isinstance(module, HardConcrete):
            sparsity, total = module.get_sparsity(), module.qz_logits.numel()
        elif isinstance(module, GatedVector):
            total = module.n_features
            sparsity = 1 - module.get_l0_penalty().item() / total
        else:
            # a foreign layer tells two of the three numbers
            active, sparsity = float(module.get_l0_penalty()), float(module.get_sparsity())
            total = round(active / (1 - sparsity)) if sparsity < 1 else 0
        stats[name] = {
            "sparsity": sparsity,
            "active_params": (1 - sparsity) * total,
            "total_params": total,
        }
    return stats


def get_active_parameter_count(model: nn.Module) -> int:
    """The expected number of active parameters in the model, rounded once."""
    return round(sum(layer["active_params"] for layer in get_sparsity_stats(model).values()))


def _zero(model: nn.Module) -> Tensor:
    like = next(chain(model.parameters(), model.buffers()), None)
    device = None if like is None else like.device
    return torch.zeros((), device=device)


def _walk(model: nn.Module, kinds: Any, *, says: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every module of these kinds, and foreign ones that count gates of their own, each once.

    A foreign one has to have all methods of ``says``. What lies below it is its own affair.
    """
    seen: set[nn.Module] = set()

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, Any]]:
        if module in seen:
            return
        seen.add(module)
        if _is_foreign(module, says) or isinstance(module, kinds):
            yield name, module
            return
        for part, child in module.named_children():
            yield from walk(f"{name}.{part}" if name else part, child)

    yield from walk("", model)


def _is_foreign(module: nn.Module, says: tuple[str, ...]) -> bool:
    """Whether a module counts gates that are not of this library."""
    if not all(hasattr(module, name) for name in says):
        return False
    if isinstance(module, GatedLayer):
        # a layer of ours that counts in a way of its own
        return type(module).get_l0_penalty is not GatedLayer.get_l0_penalty
    inside = [part for part in module.modules() if isinstance(part, GateModule)]
    # gates held directly make it a layer; a model that sums its layers is walked through
    return all(part in set(module.children()) for part in inside)
