"""What a fit tells while it runs: one record every few epochs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from l0.errors import InputError


@dataclass(frozen=True)
class EpochRecord:
    """One recorded epoch; the gates' fields are None where no gates are trained."""

    # "selection" or "refit", with "return 1" and so on where records come back; before them "pilot"
    # and one "validation" a strength; "coarse 1" and so on before the name of a refit whose
    # reference is fitted first
    stage: str
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


def refuse_lost(record: EpochRecord) -> None:
    """Refuse to go on with a loss that is no number.

    Raises:
        InputError: it is none.
    """
    if not isfinite(record.loss):
        raise InputError(
            f"the loss is {record.loss} at epoch {record.epoch} of {record.stage}. Lower the "
            "learning rate, or look for targets whose scale is far below their value."
        )
