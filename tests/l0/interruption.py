"""What the tests of taking a calibration up again look at it with."""

from collections.abc import Callable

from l0.survey import CalibrationResult
from l0.survey.history import EpochRecord


class Interrupted(Exception):  # noqa: N818 it is none of the library's errors
    """The calibration was stopped from outside."""


def bytes_of(result: CalibrationResult) -> bytes:
    arrays = (result.weights, result.log_alpha, result.estimates, result.open_probability)
    told = repr((result.history, result.validation, result.support.tolist()))
    return b"".join(array.tobytes() for array in arrays) + told.encode()


def interrupted_at(count: int) -> Callable[[EpochRecord], None]:
    """A callback that stops the calibration at its count-th record."""
    told = []

    def tell(record: EpochRecord) -> None:
        told.append(record)
        if len(told) == count:
            raise Interrupted

    return tell
