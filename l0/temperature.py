"""Temperatures of gates over a training: high while they search, low when they settle."""

import math
from collections.abc import Callable

from torch import nn

from l0.errors import InputError
from l0.hard_concrete import GateModule
from l0.inputs import positive, whole

# from 1 at the start of the annealing to 0 at its end, and the temperature between two others
_SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, elapsed: start + (end - start) * elapsed,
    "exponential": lambda start, end, elapsed: start * (end / start) ** elapsed,
    "cosine": lambda start, end, elapsed: (
        end + (start - end) * (1 + math.cos(math.pi * elapsed)) / 2
    ),
}


class TemperatureScheduler:
    """From one temperature to another, and then constant.

    Args:
        initial_temp: at epoch 0.
        final_temp: from epoch ``anneal_epochs`` on.
        anneal_epochs: how many epochs the annealing takes, 100 unless said.
        schedule: "linear", "exponential" or "cosine".
        total_epochs: another name of ``anneal_epochs``.

    Raises:
        InputError: a temperature that is not above 0, an unknown schedule, or both names of the
            number of epochs.
    """

    def __init__(
        self,
        initial_temp: float = 2.0,
        final_temp: float = 0.1,
        anneal_epochs: int | None = None,
        schedule: str = "exponential",
        *,
        total_epochs: int | None = None,
    ) -> None:
        if anneal_epochs is not None and total_epochs is not None:
            raise InputError(
                f"anneal_epochs is {anneal_epochs} and total_epochs is {total_epochs}, but they "
                "are two names of one number: give one of them."
            )
        if schedule not in _SCHEDULES:
            raise InputError(f"schedule is {schedule!r}, but must be one of {sorted(_SCHEDULES)}.")
        epochs = total_epochs if anneal_epochs is None else anneal_epochs
        self.initial_temp = positive("initial_temp", initial_temp)
        self.final_temp = positive("final_temp", final_temp)
        self.anneal_epochs = whole("anneal_epochs", 100 if epochs is None else epochs, least=0)
        self.schedule = schedule

    def get_temperature(self, epoch: int) -> float:
        """The temperature at an epoch, counted from 0."""
        if epoch < 0:
            raise InputError(f"epoch is {epoch}, but epochs are counted from 0.")
        if epoch >= self.anneal_epochs:
            return float(self.final_temp)
        between = _SCHEDULES[self.schedule]
        return float(between(self.initial_temp, self.final_temp, epoch / self.anneal_epochs))


def update_temperatures(model: nn.Module, temperature: float) -> None:
    """Give every gate in the model this temperature, stand-alone gates and estimators too.

    Raises:
        InputError: a temperature that is not above 0.
    """
    positive("temperature", temperature)
    for module in model.modules():
        if isinstance(module, GateModule):
            module.temperature = temperature
