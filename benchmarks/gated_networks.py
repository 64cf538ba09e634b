"""Training a network with gated units, and the dense one of its size beside it.

Shared by ``digits.py`` and ``mnist.py``, which bring the data and print the tables; nothing here
reads a file or prints. The network is that of Louizos, Welling and Kingma (2018): rectifiers
between linear layers, and a gate for each input of each layer.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0.layers import L0Linear
from l0.pruning import model_cost, prune_model
from l0.temperature import TemperatureScheduler, update_temperatures

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Inputs with their classes."""

    inputs: Tensor  # (examples, features)
    classes: Tensor  # (examples,)


@dataclass(frozen=True)
class TrainingPlan:
    """How both networks are trained; the dense one has no use for what is said of gates."""

    epochs: int
    settled_epochs: int  # the last of them: weights alone, under the gates of evaluation
    batch_size: int
    learning_rate: float  # of the weights; it falls to zero along half a cosine
    gate_learning_rate: float
    gate_costs: tuple[float, ...]  # of each layer: what an expected open gate adds to the loss
    init_sparsity: float
    temperatures: tuple[float, float]  # of the first and of the last epoch with random gates


@dataclass(frozen=True)
class Trained:
    """What a training came to, at evaluation."""

    accuracy: float
    kept: Sizes  # input units, then the hidden units of each layer
    parameters: int
    flops: int


def train_dense(
    sizes: Sizes, train: Examples, test: Examples, *, plan: TrainingPlan, seed: int
) -> Trained:
    """Train ``torch.nn.Linear`` layers of these sizes, inputs first and classes last."""
    torch.manual_seed(seed)
    model = _network(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(plan.epochs):
        _set_learning_rate(optimizer, plan, epoch=epoch)
        for inputs, classes in _batches(train, size=plan.batch_size):
            _step(optimizer, functional.cross_entropy(model(inputs), classes))
    cost = model_cost(model, test.inputs[:1])
    return Trained(_accuracy(model, test), sizes[:-1], cost.parameters, cost.flops)


def train_gated(
    sizes: Sizes, train: Examples, test: Examples, *, plan: TrainingPlan, seed: int
) -> Trained:
    """Train ``L0Linear`` layers of these sizes whose inputs have gates, and prune them.

    Raises:
        RuntimeError: the pruned network does not predict what the gated one does.
    """
    torch.manual_seed(seed)
    model = _network(
        L0Linear(*pair, structured="input", init_sparsity=plan.init_sparsity)
        for pair in itertools.pairwise(sizes)
    )
    layers = [layer for layer in model if isinstance(layer, L0Linear)]
    optimizer = torch.optim.Adam(_parameter_groups(layers, plan))
    searching = plan.epochs - plan.settled_epochs
    schedule = TemperatureScheduler(*plan.temperatures, anneal_epochs=max(searching - 1, 0))
    for epoch in range(plan.epochs):
        _set_learning_rate(optimizer, plan, epoch=epoch)
        update_temperatures(model, schedule.get_temperature(epoch))
        if epoch == searching:
            _settle(layers)
        for inputs, classes in _batches(train, size=plan.batch_size):
            loss = functional.cross_entropy(model(inputs), classes)
            if epoch < searching:
                loss = loss + _penalty(layers, plan)
            _step(optimizer, loss)
    return _judge(model.eval(), layers, test)


def _network(layers: Iterable[nn.Module]) -> nn.Sequential:
    modules = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*modules[:-1])


def _parameter_groups(layers: list[L0Linear], plan: TrainingPlan) -> list[dict[str, object]]:
    gates = [layer.input_gates.qz_logits for layer in layers]
    weights = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    return [{"params": weights}, {"params": gates, "lr": plan.gate_learning_rate}]


def _set_learning_rate(optimizer: torch.optim.Optimizer, plan: TrainingPlan, *, epoch: int) -> None:
    remaining = (1 + math.cos(math.pi * epoch / plan.epochs)) / 2
    optimizer.param_groups[0]["lr"] = plan.learning_rate * remaining


def _batches(examples: Examples, *, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(len(examples.classes)).split(size):
        yield examples.inputs[rows], examples.classes[rows]


def _penalty(layers: list[L0Linear], plan: TrainingPlan) -> Tensor:
    costs = zip(plan.gate_costs, layers, strict=True)
    return torch.stack([cost * layer.get_l0_penalty() for cost, layer in costs]).sum()


def _settle(layers: list[L0Linear]) -> None:
    for layer in layers:
        layer.input_gates.eval().requires_grad_(False)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _judge(model: nn.Sequential, layers: list[L0Linear], test: Examples) -> Trained:
    example = test.inputs[:1]
    pruned = prune_model(model, example_input=example)
    if not torch.equal(_predictions(pruned, test), _predictions(model, test)):
        raise RuntimeError("The pruned network predicts other classes than the gated one.")
    cost = model_cost(pruned, example)
    kept = tuple(layer.input_gates.get_num_active() for layer in layers)
    return Trained(_accuracy(pruned, test), kept, cost.parameters, cost.flops)


def _accuracy(model: nn.Module, test: Examples) -> float:
    return float((_predictions(model, test) == test.classes).double().mean())


@torch.no_grad()
def _predictions(model: nn.Module, test: Examples) -> Tensor:
    scores: Tensor = model(test.inputs)
    return scores.argmax(dim=1)
