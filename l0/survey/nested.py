"""Rows of a matrix that other rows are made of: a nation's totals are its states', put together.

Where the coefficients of one row all stand in a longer one too, the longer one need not be stored
with them: its total is that of the shorter one plus what is left. A survey's rows by area and
class are nested in one another, so that a third of the coefficients need not be read at every
epoch.
"""

from dataclasses import dataclass
from itertools import pairwise

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
# of the coefficients: so many pairs of rows are looked at, and so many must be saved
_PAIRS = 0.25
_SAVED = 0.1

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Nesting:
    """A matrix as sums of rows that repeat nothing: ``sums @ kept``."""

    kept: sp.csr_array  # (rows, columns): each coefficient that no row within its row has
    sums: sp.csr_array  # (rows, rows) of zeros and ones, float64

    @classmethod
    def of(cls, columns: sp.csc_array) -> "Nesting | None":
        """Find the rows within each row, the longest first, as long as they do not overlap.

        None where it would not save a tenth of the work, or be too much work to find.

        Args:
            columns: (rows, columns).
        """
        rows = columns.tocsr()
        inner, outer = _likely(rows, columns)
        repeated = np.zeros(rows.nnz, dtype=bool)
        parts: list[list[int]] = [[] for _ in range(rows.shape[0])]
        place = np.full(rows.shape[1], -1, dtype=np.int64)
        ends = np.flatnonzero(np.diff(outer, append=-1)) + 1
        for start, stop in pairwise([0, *ends.tolist()]):
            row = int(outer[start])
            run = _run(rows, row)
            place[rows.indices[run]] = np.arange(run.start, run.stop)
            left = inner[start:stop]
            while left.size:
                part = _run(rows, int(left[0]))
                held = place[rows.indices[part]]
                # what is not in the row has a place before the first
                within = held.min() >= run.start and (rows.data[held] == rows.data[part]).all()
                if within and not repeated[held].any():
                    repeated[held] = True
                    parts[row].append(int(left[0]))
                left = left[1:]
                left = left[~repeated[place[rows.indices[rows.indptr[left]]]]]
            place[rows.indices[run]] = -1
        sums = _sums(parts, np.diff(rows.indptr))
        if rows.nnz - np.count_nonzero(repeated) + 2 * sums.nnz > (1 - _SAVED) * rows.nnz:
            return None
        return cls(_without(rows, repeated), sums)


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


def _likely(rows: sp.csr_array, columns: sp.csc_array) -> tuple[Places, Places]:
    """Pairs of a row and a longer one that has its coefficients wherever it was looked.

    Sorted by the longer one, and then the shorter ones from long to short.
    """
    lengths = np.diff(rows.indptr).astype(np.int64)
    filled = np.diff(columns.indptr)
    inner = np.flatnonzero(lengths >= SHORTEST)
    # whoever has all coefficients has the one in the column that the fewest rows share
    column = np.array(
        [
            part[np.argmin(filled[part])]
            for part in (rows.indices[_run(rows, int(row))] for row in inner)
        ],
        dtype=np.intp,
    )
    counts = filled[column]
    if counts.sum() > _PAIRS * rows.nnz:
        return np.empty(0, np.intp), np.empty(0, np.intp)
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
    order = np.lexsort((inner, -lengths[inner], outer))
    return inner[order], outer[order]


def _run(rows: sp.csr_array, row: int) -> slice:
    return slice(int(rows.indptr[row]), int(rows.indptr[row + 1]))


def _without(rows: sp.csr_array, repeated: NDArray[np.bool_]) -> sp.csr_array:
    left = ~repeated
    before = np.concatenate([[0], np.cumsum(left)])
    indptr = before[rows.indptr].astype(rows.indptr.dtype)
    return sp.csr_array((rows.data[left], rows.indices[left], indptr), shape=rows.shape)


def _sums(parts: list[list[int]], lengths: NDArray[np.int32]) -> sp.csr_array:
    """From the rows that each is made of, those that it is made of in the end."""
    whole = [np.array([row]) for row in range(len(parts))]
    # rows are made of shorter ones, or of earlier ones as long
    for row in np.argsort(lengths, kind="stable"):
        if parts[row]:
            whole[row] = np.concatenate([whole[row], *(whole[part] for part in parts[row])])
    counts = [len(of_row) for of_row in whole]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    size = len(parts)
    sums = sp.csr_array((np.ones(indptr[-1]), np.concatenate(whole), indptr), shape=(size, size))
    sums.sort_indices()
    return sums
