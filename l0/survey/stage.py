"""One fit, epoch by epoch: what it takes to lay it down at any moment and take it up again.

A stage knows its state as arrays over all records still in the matrix, whichever process holds
them. Nothing else is remembered between epochs: noise comes from a stream of its own at every
epoch, so a fit that was taken up goes on exactly as if it had never stopped.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from l0.survey.checkpoint import Journal
from l0.survey.history import EpochRecord, OnProgress, is_recorded
from l0.survey.operator import one_thread_each

State = Mapping[str, NDArray[Any]]


class Stage(Protocol):
    """A fit that goes epoch by epoch."""

    name: str
    epoch: int  # the next one
    epochs: int

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """Go one epoch on, and tell of it if it is to be recorded."""

    def state(self) -> State:
        """Everything that ``restore`` needs, from all processes."""

    def restore(self, state: State) -> None:
        """Go back to where ``state`` was taken."""


def run(stage: Stage, *, journal: Journal, tell: OnProgress) -> None:
    """Take up a stage where the journal left it, and go to its last epoch."""
    journal.resume(stage)
    with one_thread_each():
        while stage.epoch < stage.epochs:
            record = stage.step(recorded=is_recorded(stage.epoch, stage.epochs))
            if record is not None:
                tell(record)
                journal.save_if_due(stage)
