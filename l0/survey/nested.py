"""Rows of a matrix that other rows are made of: a nation's totals are its states', put together.

Where the coefficients of one row all stand in a longer one too, the longer one need not be stored
with them: its total is that of the shorter one plus what is left. A survey's rows by area and
class are nested in one another, so that a third of the coefficients need not be read at every
epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.row_product import RowProduct

# of the rows that others are made of: from shorter ones there is little to save
SHORTEST = 256
# coefficients by which most rows that are not nested are told without reading on
_WITNESSES = 8

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Nesting:
    """A matrix as sums of rows that repeat nothing: ``sums @ kept``."""

    kept: sp.csr_array  # (rows, columns): each coefficient that no row within its row has
    sums: sp.csr_array  # (rows, rows) of zeros and ones, float64

    @classmethod
    def of(cls, columns: sp.csc_array) -> "Nesting":
        """Find the rows within each row, the longest first, as long as they do not overlap.

        Args:
            columns: (rows, columns), row indices ascending in each column.
        """
        rows = columns.tocsr()
        lengths = np.diff(rows.indptr)
        repeated = np.zeros(rows.nnz, dtype=bool)
        place = np.empty(rows.shape[1], dtype=rows.indptr.dtype)
        parts = []
        for outer, inner in _nested(rows, columns):
            run = _run(rows, outer)
            place[rows.indices[run]] = np.arange(run.start, run.stop)
            for row in inner[np.argsort(-lengths[inner], kind="stable")]:
                held = place[rows.indices[_run(rows, row)]]
                if not repeated[held].any():
                    repeated[held] = True
                    parts.append((outer, row))
        return cls(_without(rows, repeated), _sums(parts, rows.shape[0]))


class RowSums:
    """The sums that make all rows of those kept, on a device."""

    def __init__(self, sums: sp.csr_array, device: torch.device) -> None:
        """Copy (rows, rows) to the device, once for each direction."""
        self._forward = RowProduct(sums, device)
        self._backward = RowProduct(sp.csr_array(sums.T), device)

    def of_rows(self, kept: Tensor) -> Tensor:  # (rows,) float64
        """The total of every row."""
        return self._forward(kept)

    def of_prices(self, prices: Tensor) -> Tensor:  # (rows,) float64
        """What each row kept is worth: its own price, and those of all rows made of it."""
        return self._backward(prices)


def _nested(rows: sp.csr_array, columns: sp.csc_array) -> Iterator[tuple[int, Places]]:
    """Each row that has all coefficients of shorter ones, with these."""
    inner, outer = _likely(rows, columns)
    value = np.full(rows.shape[1], np.nan, dtype=rows.data.dtype)  # equal to nothing
    for row, pairs in groupby(zip(outer.tolist(), inner.tolist(), strict=True), itemgetter(0)):
        run = _run(rows, row)
        value[rows.indices[run]] = rows.data[run]
        within = [
            short
            for _, short in pairs
            if np.array_equal(value[rows.indices[_run(rows, short)]], rows.data[_run(rows, short)])
        ]
        value[rows.indices[run]] = np.nan
        if within:
            yield row, np.array(within, dtype=np.intp)


def _likely(rows: sp.csr_array, columns: sp.csc_array) -> tuple[Places, Places]:
    """Pairs of a row and a longer one that has its coefficients wherever it was looked, by both."""
    lengths = np.diff(rows.indptr).astype(np.int64)
    inner = np.flatnonzero(lengths >= SHORTEST)
    # everybody in the column of the first coefficient
    column = rows.indices[rows.indptr[inner]]
    counts = np.diff(columns.indptr)[column]
    inner = np.repeat(inner, counts)
    ends = np.cumsum(counts)
    at = np.arange(ends[-1] if len(ends) else 0)
    at += np.repeat(columns.indptr[column] - ends + counts, counts)
    outer = columns.indices[at].astype(np.intp)
    # of equal rows the later one is made of the earlier
    longer = (lengths[outer] > lengths[inner]) | (
        (lengths[outer] == lengths[inner]) & (outer > inner)
    )
    inner, outer = inner[longer], outer[longer]
    key = np.repeat(np.arange(len(lengths), dtype=np.int64) * rows.shape[1], lengths)
    key += rows.indices
    for witness in range(_WITNESSES):
        at = rows.indptr[inner] + witness * (lengths[inner] - 1) // (_WITNESSES - 1)
        sought = outer * np.int64(rows.shape[1]) + rows.indices[at]
        found = np.minimum(np.searchsorted(key, sought), len(key) - 1)
        same = (key[found] == sought) & (rows.data[found] == rows.data[at])
        inner, outer = inner[same], outer[same]
    order = np.lexsort((inner, outer))
    return inner[order], outer[order]


def _run(rows: sp.csr_array, row: int) -> slice:
    return slice(int(rows.indptr[row]), int(rows.indptr[row + 1]))


def _without(rows: sp.csr_array, repeated: NDArray[np.bool_]) -> sp.csr_array:
    left = ~repeated
    before = np.concatenate([[0], np.cumsum(left)])
    indptr = before[rows.indptr].astype(rows.indptr.dtype)
    return sp.csr_array((rows.data[left], rows.indices[left], indptr), shape=rows.shape)


def _sums(parts: list[tuple[int, int]], size: int) -> sp.csr_array:
    """From what each row is made of, what it is made of in the end."""
    outer, inner = np.array(parts, dtype=np.intp).reshape(-1, 2).T
    within = sp.csr_array((np.ones(len(parts)), (outer, inner)), shape=(size, size))
    total, deeper = sp.csr_array(sp.eye_array(size, format="csr")), within
    while deeper.nnz:
        total, deeper = total + deeper, deeper @ within
    return total
