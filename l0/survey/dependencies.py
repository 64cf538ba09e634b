"""How many targets say something of their own, and which are sums of others.

Only the coefficients are looked at. Whether the values of dependent targets agree is asked in
``infeasibility``, and in ``diagnostics`` where one row is a multiple of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

from l0.errors import InputError
from l0.inputs import Matrix, csr_matrix, positive
from l0.survey.problem import CalibrationProblem

# distances are known through their squares in float64: to no better than this
_SMALLEST_TOLERANCE = 1e-7
# after so many passes the largest of each row and of each column differs little from one
_PASSES = 8


@dataclass(frozen=True, eq=False)
class Dependencies:
    """The rows told apart: those of the first kind span all others."""

    independent: NDArray[np.intp]  # ascending
    dependent: NDArray[np.intp]  # ascending; rows without coefficients among them

    @property
    def rank(self) -> int:
        """How many rows are independent."""
        return len(self.independent)


def linear_dependencies(
    problem: CalibrationProblem | Matrix,
    *,
    areas: Sequence[str] | None = None,
    tolerance: float = 1e-5,
) -> Dependencies:
    """Split the rows into independent ones and linear combinations of them.

    Rows and columns are first scaled until the largest of each is about one (Ruiz, 2001), which
    changes no dependency, and rows then brought to length one. The row furthest from the span of
    those taken is taken next, until all that are left are nearer than the tolerance. A sum of
    rows in float32 misses their span by about 1e-7, and more where large rows cancel; a greater
    tolerance calls rows dependent that differ on few records.

    The lengths are followed through the inner products of rows (Cholesky's factors with pivots).
    Rows of areas that share no record are independent of each other. They are taken first, area
    by area; then, off their span, the rows of areas that do share records. Memory is 8 bytes x
    the square of the most rows taken at once, and time grows with its cube: of a nation and its
    states, name the areas.

    Args:
        problem: the problem, of which records of design weight zero do not count, or a matrix of
            one row a target and one column a record.
        areas: (targets,) a name each; one area of all without.
        tolerance: least distance from the span of the rows taken, relative to a row's length.

    Raises:
        InputError: no matrix, areas of another number, or a tolerance not from 1e-7 to below 1.
    """
    if not _SMALLEST_TOLERANCE <= positive("tolerance", tolerance) < 1:
        raise InputError(
            f"tolerance is {tolerance!r}, but must be from {_SMALLEST_TOLERANCE:g} to below 1: "
            "a share of a row's length, which float64 does not tell more finely."
        )
    rows = _scaled(problem)
    apart, sharing = _blocks(rows, areas)
    shared = _products(rows, rows[sharing])
    products = shared[sharing]
    independent = []
    for block in apart:
        own = _products(rows[block], rows[block])
        taken = _independent(own, tolerance)
        independent.append(block[taken])
        factor = scipy.linalg.cholesky(own[np.ix_(taken, taken)], lower=True)
        along = scipy.linalg.solve_triangular(factor, shared[block[taken]], lower=True)
        products -= along.T @ along
    independent.append(sharing[_independent(products, tolerance)])
    is_taken = np.zeros(rows.shape[0], dtype=bool)
    is_taken[np.concatenate(independent)] = True
    return Dependencies(independent=np.flatnonzero(is_taken), dependent=np.flatnonzero(~is_taken))


def _scaled(problem: CalibrationProblem | Matrix) -> sp.csr_array:
    """Rows of length one, or without any coefficient, of columns of like size."""
    if isinstance(problem, CalibrationProblem):
        kept = problem.constraints[:, problem.design_weights > 0]
        rows = kept.tocsr().astype(np.float64)
    else:
        rows = csr_matrix("problem", problem)
    counts = np.diff(rows.indptr)
    for _ in range(_PASSES):
        sizes = abs(rows)
        by_row, by_column = (sizes.max(axis=axis).toarray() for axis in (1, 0))
        rows.data /= np.sqrt(np.repeat(by_row, counts) * by_column[rows.indices])
    lengths = np.sqrt(rows.multiply(rows).sum(axis=1))
    rows.data /= np.repeat(lengths, counts)
    return rows


def _blocks(
    rows: sp.csr_array, areas: Sequence[str] | None
) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """Rows of areas that share no record with each other, small ones first, and all other rows."""
    if areas is None:
        return [], np.arange(rows.shape[0])
    if isinstance(areas, str) or len(areas) != rows.shape[0]:
        raise InputError(
            f"areas is {areas!r:.80}, but must be a list of {rows.shape[0]:,} names, one a target."
        )
    names = np.unique(np.asarray(areas, dtype=str), return_inverse=True)[1]
    blocks = [np.flatnonzero(names == name) for name in range(names.max() + 1)]
    blocks.sort(key=lambda block: int(np.diff(rows.indptr)[block].sum()))
    seen = np.zeros(rows.shape[1], dtype=bool)
    apart: list[NDArray[np.intp]] = []
    sharing: list[NDArray[np.intp]] = [np.empty(0, dtype=np.intp)]
    for block in blocks:
        records = rows[block].indices
        (sharing if seen[records].any() else apart).append(block)
        seen[records] = True
    return apart, np.concatenate(sharing)


def _products(some: sp.csr_array, others: sp.csr_array) -> NDArray[np.float64]:
    """Inner products (some, others)."""
    return np.asarray((some @ others.T).toarray())


def _independent(products: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Positions of rows that span all, from their inner products (rows, rows)."""
    if not products.any():
        return np.empty(0, dtype=np.intp)
    _, order, rank, _ = dpstrf(products.T, tol=tolerance**2, lower=1)
    return np.asarray(order[:rank] - 1, dtype=np.intp)
