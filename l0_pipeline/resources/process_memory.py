"""How much memory a piece of work needs at its peak."""

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def peak_memory_of(work: Callable[[], Result]) -> tuple[Result, float]:
    """What ``work`` returns, and the most megabytes that it held at once of its own.

    Counted as Python and numpy ask for it: what a process already has, and may use again, plays
    no part, so that two pieces of work in one process can be compared.
    """
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
