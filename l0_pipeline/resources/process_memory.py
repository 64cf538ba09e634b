"""How much memory a piece of work needs at its peak, as Linux counts it for this process."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak of resident memory to what is resident now


def peak_memory_of(work: Callable[[], Result]) -> tuple[Result, float | None]:
    """What ``work`` returns, and its peak of resident memory in megabytes above that before it.

    The number is None where the system does not count it, as outside Linux.
    """
    try:
        _CLEAR.write_text(_RESET_PEAK)
        before = _megabytes("VmRSS")
    except OSError:
        return work(), None
    result = work()
    return result, _megabytes("VmHWM") - before


def _megabytes(field: str) -> float:
    (line,) = (row for row in _STATUS.read_text().splitlines() if row.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6
