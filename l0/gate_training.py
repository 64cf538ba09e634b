"""Gates learned from any loss of them, to an exact number of open ones.

The objective takes the gates and returns a loss; what it multiplies with them is its own affair.
As in ``survey.gated_fit`` no penalty has to be tuned: one shift of all locations, solved at every
epoch, holds the expected count to a budget that falls from all gates to the target. Gates are
noisy while the budget falls and deterministic after; what rounding them to open and closed costs
is mended by exchanges.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from l0.errors import InputError
from l0.hard_concrete import (
    LOG_ALPHA_BOUND,
    HardConcrete,
    deterministic_gate,
    gate_slope,
    open_probability,
    sample_gate,
)
from l0.inputs import positive, whole
from l0.survey.adam import Adam, cosine_rate
from l0.survey.budget import hold_count, hold_to_budget, scheduled_budget
from l0.survey.history import EpochRecord, OnProgress, is_recorded

Objective = Callable[[Tensor], Tensor]
# the trained gates stand this far from the point where open and closed are equally likely:
# P(open) is within 1e-4 of 0 or 1, and a gate is exactly 0 or 1 at evaluation
SETTLED = LOG_ALPHA_BOUND / 2
# the steepest exchanges tried from each state of the gates, and how many more are drawn
CANDIDATES = 8
DRAWN = 1024


@dataclass(frozen=True)
class GateFitSettings:
    """Hyperparameters of a gate's training.

    Attributes:
        epochs: steps of the descent.
        gate_rate: learning rate of the locations, falling along a cosine.
        parameter_rate: learning rate of the user's own parameters.
        initial_temperature: of the gates at the start.
        final_temperature: of the gates at the end, and after.
        budget_share: part of the epochs until the target is reached.
        noise_share: part of the epochs with random gates.
        swap_tries: evaluations of the objective to exchange gates at the end.
    """

    epochs: int = 600
    gate_rate: float = 0.1
    parameter_rate: float = 0.02
    initial_temperature: float = 0.66
    final_temperature: float = 0.2
    budget_share: float = 0.6
    noise_share: float = 0.7
    swap_tries: int = 600

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, least=1)
        whole("swap_tries", self.swap_tries, least=0)
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in {"noise_share", "swap_tries"}:
                positive(each.name, value)
            if each.name.endswith("share") and not 0 <= value <= 1:
                raise InputError(f"{each.name} is {value}, but must lie between 0 and 1.")


@dataclass(frozen=True)
class GateFit:
    """What a training did; the gates themselves are changed in place."""

    open_indices: Tensor  # (target,), ascending
    loss: float  # with exactly these gates open
    history: tuple[EpochRecord, ...] = field(repr=False)


def fit_gates(
    gates: HardConcrete,
    objective: Objective,
    *,
    target: int,
    parameters: Iterable[Tensor] = (),
    seed: int = 0,
    warm_start: bool = False,
    settings: GateFitSettings | None = None,
    on_progress: OnProgress | None = None,
) -> GateFit:
    """Train a vector of gates until exactly ``target`` of them are open at evaluation.

    Args:
        gates: changed in place: its locations, and its temperature to the final one.
        objective: from the gates, (n,) in [0, 1], to a scalar loss that torch can differentiate.
            At first all gates are open: let a total be divided by ``gates.sum()`` where its
            scale depends on how many are.
        target: how many gates stay open, 0 to all.
        parameters: of the user's own, trained along with the gates (a model's weights).
        seed: of the noise; no global generator is read or moved.
        warm_start: start from the locations that the gates have; from equal ones without.
        settings: hyperparameters.
        on_progress: called with each record of the history as it is made.

    Raises:
        InputError: a target that the gates cannot give, or an objective that does not return
            one finite number or does not depend on the gates.
    """
    settings = settings or GateFitSettings()
    if not isinstance(settings, GateFitSettings):
        raise InputError(
            f"settings is a {type(settings).__name__}, but must be a GateFitSettings: "
            "GateFitSettings(epochs=200) for instance."
        )
    dtype = gates.qz_logits.dtype
    # half precision holds locations but not the squares of their gradients
    locations = (
        gates.qz_logits.detach().flatten().to(torch.promote_types(dtype, torch.float32), copy=True)
    )
    count = len(locations)
    if whole("target", target, least=0) > count:
        raise InputError(f"target is {target:,}, but there are {count:,} gates.")
    if not warm_start:
        locations.zero_()
    generator = torch.Generator(locations.device).manual_seed(seed)
    own = _own(parameters)
    optimizer = torch.optim.Adam(own, lr=settings.parameter_rate) if own else None
    adam = Adam(locations)
    history: list[EpochRecord] = []
    shift = 0.0
    for epoch in range(settings.epochs):
        elapsed = epoch / settings.epochs
        temperature = _between(settings.initial_temperature, settings.final_temperature, elapsed)
        expected = scheduled_budget(
            epoch,
            records=count,
            budget=max(target, 1),
            last_epoch=max(1, int(settings.budget_share * settings.epochs)),
            power=1.0,
        )
        log_alpha, shift = hold_to_budget(
            locations,
            expected=expected,
            temperature=temperature,
            start=shift,
            stretch=gates.limits,
        )
        if epoch < settings.noise_share * settings.epochs:
            gate = sample_gate(log_alpha, temperature, generator=generator, stretch=gates.limits)
        else:
            gate = deterministic_gate(log_alpha, temperature, stretch=gates.limits)
        loss, slope, own_slopes = _slopes(objective, gate.to(dtype).view(gates.gate_size), own)
        chance = open_probability(log_alpha, temperature, stretch=gates.limits)
        pull = hold_count(
            slope.flatten() * gate_slope(gate, temperature, stretch=gates.limits), chance
        )
        rate = cosine_rate(settings.gate_rate, epoch=epoch, epochs=settings.epochs)
        adam.step(locations, pull, rate)
        if optimizer is not None:
            for parameter, gradient in zip(own, own_slopes, strict=True):
                parameter.grad = gradient
            optimizer.step()
            optimizer.zero_grad()
        if is_recorded(epoch, settings.epochs):
            record = EpochRecord(
                stage="gates",
                epoch=epoch,
                epochs=settings.epochs,
                loss=loss,
                penalty=0.0,
                records=count,
                budget=expected,
                expected_count=float(chance.sum()),
                temperature=temperature,
            )
            history.append(record)
            if on_progress is not None:
                on_progress(record)
    gates.temperature = settings.final_temperature
    # equal locations fall in random order, never in that of the file
    tied = torch.randperm(count, generator=generator, device=locations.device)
    order = tied[locations[tied].sort(descending=True, stable=True).indices]
    is_open = torch.zeros_like(locations, dtype=torch.bool)
    is_open[order[:target]] = True

    def judge(chosen: Tensor) -> tuple[float, Tensor]:
        loss, slope, _ = _slopes(objective, chosen.to(dtype).view(gates.gate_size), [])
        return loss, slope.flatten()

    final = swap(is_open, judge, tries=settings.swap_tries, generator=generator)
    settle(gates, locations, is_open)
    kept = torch.nonzero(is_open).flatten()
    return GateFit(open_indices=kept, loss=final, history=tuple(history))


def _own(parameters: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(parameters, torch.nn.Module | Tensor):
        raise InputError(
            f"parameters is a {type(parameters).__name__}, but must be a list of tensors: "
            "list(module.parameters())."
        )
    own = list(parameters)
    for place, parameter in enumerate(own):
        if not (parameter.requires_grad and parameter.is_leaf):
            raise InputError(
                f"parameters[{place}] is not a tensor to be trained: make it by "
                "torch.zeros(3, requires_grad=True) for instance."
            )
    return own


def swap(
    is_open: Tensor,
    judge: Callable[[Tensor], tuple[float, Tensor]],
    *,
    tries: int,
    generator: torch.Generator,
) -> float:
    """Exchange an open gate for a closed one while that lowers the loss, in place.

    Rounding to 0 and 1 moves a fit that mixed its gates; exchanges mend it. Which are tried is
    read from the slopes at the gates as they stand: the steepest few, then any that descend, since
    near an optimum the steepest overshoot.
    """
    loss, slope = judge(is_open)
    while tries > 0:
        opened = _steepest(slope, is_open, descending=True)
        closed = _steepest(slope, ~is_open, descending=False)
        pairs = [(i, j) for i in opened for j in closed if slope[j] < slope[i]]
        pairs.sort(key=lambda pair: float(slope[pair[1]] - slope[pair[0]]))
        pairs = pairs[:CANDIDATES] + _random_pairs(slope, is_open, generator)
        for i, j in pairs[:tries]:
            tries -= 1
            is_open[i], is_open[j] = False, True
            lower, its_slope = judge(is_open)
            if lower < loss:
                loss, slope = lower, its_slope
                break
            is_open[i], is_open[j] = True, False
        else:
            break
    return loss


def _steepest(slope: Tensor, among: Tensor, *, descending: bool) -> list[int]:
    """The few gates whose exchange promises most."""
    places = torch.nonzero(among).flatten()
    best = slope[places].sort(descending=descending, stable=True).indices[:CANDIDATES]
    return [int(place) for place in places[best]]


def _random_pairs(
    slope: Tensor, is_open: Tensor, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Exchanges that descend, among some drawn at random."""
    opened, closed = torch.nonzero(is_open).flatten(), torch.nonzero(~is_open).flatten()
    if len(opened) == 0 or len(closed) == 0:
        return []
    drawn = [
        side[torch.randint(len(side), (DRAWN,), generator=generator, device=side.device)]
        for side in (opened, closed)
    ]
    descends = slope[drawn[1]] < slope[drawn[0]]
    return list(zip(drawn[0][descends].tolist(), drawn[1][descends].tolist(), strict=True))


def settle(gates: HardConcrete, locations: Tensor, is_open: Tensor) -> None:
    """Far above or below the point of even odds, in the order that was learned on each side."""
    side = is_open.to(locations.dtype) * 2 - 1
    distance = (locations - locations.mean()) * side
    # on its own side every gate stays at least ``SETTLED`` away, ranked by what it learned
    reach = float(distance.abs().max()) or 1.0
    with torch.no_grad():
        settled = side * (1.5 * SETTLED + 0.5 * SETTLED * distance / reach)
        gates.qz_logits.copy_(settled.view(gates.gate_size))


def _slopes(
    objective: Objective, gate: Tensor, parameters: list[Tensor]
) -> tuple[float, Tensor, list[Tensor | None]]:
    """The loss and its gradients by the gates and by the user's parameters."""
    gate = gate.detach().requires_grad_()
    with torch.enable_grad():
        loss: Any = objective(gate)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(type(loss))
        raise InputError(f"the objective returned {found}, but must return a tensor of one loss.")
    value: float = loss.item()
    if not math.isfinite(value):
        raise InputError(
            f"the objective returned {value} with {int((gate > 0).sum()):,} gates open. "
            "Let it be finite for any gates, none open too."
        )
    slopes: tuple[Any, ...] = (
        torch.autograd.grad(loss, [gate, *parameters], allow_unused=True)
        if loss.requires_grad
        else (None,)
    )
    if slopes[0] is None:
        raise InputError(
            "the objective does not depend on the gates it is given: multiply by them, and do "
            "not detach them."
        )
    if not all(slope is None or bool(slope.isfinite().all()) for slope in slopes):
        raise InputError(
            f"the objective returned {value}, but its gradient is not finite with "
            f"{int((gate > 0).sum()):,} gates open. A square root at zero does that: leave it out, "
            "or add a small number below it."
        )
    return value, slopes[0], list(slopes[1:])


def _between(start: float, end: float, elapsed: float) -> float:
    return start * math.pow(end / start, elapsed)
