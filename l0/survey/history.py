"""What a fit tells while it runs: one record every few epochs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """One recorded epoch; the gates' fields are None while weights are refitted."""

    stage: str  # "gates" or "refit"
    epoch: int
    epochs: int
    loss: float
    penalty: float
    records: int  # still in the matrix
    budget: float | None = None
    expected_count: float | None = None
    temperature: float | None = None


OnProgress = Callable[[EpochRecord], None]
RECORD_EVERY = 10


def is_recorded(epoch: int, epochs: int) -> bool:
    """Every tenth epoch, and the last."""
    return epoch % RECORD_EVERY == 0 or epoch == epochs - 1
