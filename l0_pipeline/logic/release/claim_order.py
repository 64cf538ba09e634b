"""In which order units are written, so that each draws as it did in the whole survey.

Tax-Calculator draws one number a row, always the same ones in the same order, and a unit claims
the earned income and the additional child tax credit if its number is small enough. A file of
some of the units would give them other numbers, and other credits: weights that were fitted to
those who claim would meet others. So a unit is written to a row whose number gives the credits
that it had. Knows nothing of taxes: what numbers are right comes from ``tax_model.credit_draws``.
"""

from bisect import bisect_left

import numpy as np
import polars as pl
from numpy.typing import NDArray

from l0_pipeline.logic.errors import InputError

SPARE_ROWS = 100_000  # how many draws beyond the number of units should be at hand
NOBODY = -1  # a row that is no unit's


def claim_order(
    draws: pl.DataFrame,  # (units,): draw, least, most
    stream: NDArray[np.float64],  # (rows,): what the rows of a file draw; more rows than units
) -> NDArray[np.int64]:  # (rows used,)
    """For each row the unit written there, or ``NOBODY`` where none fits.

    Units that care have the nearest free number to their ``draw`` between ``least`` and
    ``most``, the narrowest first; the others follow in the order of theirs. Rows beyond the
    number of units are used only when the rows before have no number for somebody.
    """
    rows = len(draws)
    while (order := _placed(draws, stream[:rows])) is None:
        if rows == len(stream):
            raise InputError(
                f"Tax-Calculator's first {rows} draws have none for each of {len(draws)} tax "
                f"units between its least and most: publish again with another budget or seed."
            )
        rows = min(len(stream), rows + 1 + rows // 20)
    return order


def _placed(draws: pl.DataFrame, stream: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The order on exactly these rows; None when a unit finds no number."""
    rows = np.argsort(stream, kind="stable")
    free = _Free(stream[rows])
    order = np.full(len(stream), NOBODY)
    draw, least, most = (draws[name].to_numpy() for name in ("draw", "least", "most"))
    careful = np.flatnonzero((least > 0) | (most < 1))
    for unit in careful[np.argsort((most - least)[careful], kind="stable")]:
        place = free.take(float(draw[unit]), float(least[unit]), float(most[unit]))
        if place is None:
            return None
        order[rows[place]] = unit
    others = np.setdiff1d(np.arange(len(draws)), careful)
    left = np.sort(np.flatnonzero(order == NOBODY)[: len(others)])
    order[left[np.argsort(stream[left], kind="stable")]] = others[
        np.argsort(draw[others], kind="stable")
    ]
    return order[: np.flatnonzero(order != NOBODY)[-1] + 1]


class _Free:
    """The numbers not yet taken, ascending; finds the nearest to a wish in almost no time."""

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        self._numbers = numbers.tolist()
        self._above = list(range(len(numbers) + 1))  # the next free place at or after a place
        self._below = list(range(len(numbers) + 1))  # one more than the last free one before it

    def take(self, wish: float, least: float, most: float) -> int | None:
        """The place of the nearest free number within the limits, taken from now on."""
        start = bisect_left(self._numbers, wish)
        above, below = _root(self._above, start), _root(self._below, start) - 1
        near = [
            place
            for place in (below, above)
            if 0 <= place < len(self._numbers) and least <= self._numbers[place] <= most
        ]
        if not near:
            return None
        place = min(near, key=lambda each: abs(self._numbers[each] - wish))
        self._above[place], self._below[place + 1] = place + 1, place
        return place


def _root(parents: list[int], place: int) -> int:
    """The end of the chain from ``place``, which is shortened on the way."""
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place
