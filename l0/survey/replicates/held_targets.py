"""Replicates that keep what the fit held: each refitted from the fit's own weights.

A target that a fit meets stays met when its reference changes a little, and its price moves;
one that the fit has given up keeps its price, and the weights do not follow it. So a replicate
with factors a has the weights nearest to w a, by Kullback and Leibler's distance, whose
estimates of the targets held are those of w: w a exp(-M'y), raking (Deville and Sarndal, 1992).
Newton's method finds the prices y of all replicates at once, its systems solved by conjugate
gradients. Bounds on single weights are not enforced.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import CalibrationProblem
from l0.survey.row_product import to_torch
from l0.survey.weights import Vector

Matrix = NDArray[np.float32]

# share of what its price alone would move a target by that it gives way: linear dependencies
# among targets leave the system singular without
_SLACK = 1e-2
# of the gap, in the norm of the system's diagonal: closer, no standard error changes by 1 %
_ACCURACY = 1e-2
_ROUNDING = 1e-6  # of a sum in single precision
_ITERATIONS = 200
_NEWTON_ACCURACY = 0.1
_NEWTON_STEPS = 12


@dataclass(frozen=True)
class HeldTargets:
    """The constraints that replicates must meet as the fit did, in single precision."""

    rows: "_Threaded"  # (held, size), over the scale of each target
    columns: "_Threaded"  # (size, held)
    squares: sp.csr_array  # (held, size)
    weights: Matrix  # (size, 1), those of the fit
    slack: Matrix  # (held, 1)
    totals: Matrix  # (held, 1), of the sizes of what each target adds up

    @classmethod
    def of(
        cls,
        problem: CalibrationProblem,
        support: NDArray[np.intp],  # (size,)
        weights: Vector,  # (size,)
        *,
        tolerance: float,
        hold_total: bool,
    ) -> "HeldTargets":
        """The targets that count and that the weights meet within a share of their scale.

        Raises:
            InputError: there are none.
        """
        everyone = np.zeros(problem.n_records)
        everyone[support] = weights
        met = np.abs(problem.relative_errors(everyone)) <= tolerance
        chosen = problem.constraints[:, support].tocsr()
        reached = np.diff(chosen.indptr) > 0
        held = np.flatnonzero(met & reached & (problem.loss_weights > 0))
        rows = sp.diags_array(1 / problem.scales[held]) @ chosen[held]
        if hold_total:
            rows = sp.vstack([rows, sp.csr_array(np.full((1, len(weights)), 1 / weights.sum()))])
        elif not len(held):
            raise InputError(
                f"the weights meet none of {problem.n_targets} targets within {tolerance:g} of "
                "its scale, so that replicates would have nothing to hold. Give the weights of "
                "the fit, in the order of the support, or raise the tolerance."
            )
        rows = sp.csr_array(rows, dtype=np.float32)
        squares = rows.power(2)
        column = weights.astype(np.float32)[:, None]
        return cls(
            rows=_Threaded(rows),
            columns=_Threaded(rows.T.tocsr()),
            squares=squares,
            weights=column,
            slack=np.float32(_SLACK) * (squares @ column),
            totals=abs(rows) @ column,
        )

    def answered(self, deviations: Matrix) -> Matrix:  # (size, replicates) -> the same
        """What is left of small relative deviations of the weights after the refit."""
        moved = self.rows @ (self.weights * deviations)
        prices = self._prices(self.weights, moved, accuracy=_ACCURACY)
        left: Matrix = deviations - self.columns @ prices
        return left

    def restored(self, factors: Matrix) -> Matrix:  # (size, replicates) -> weights, the same
        """The weights times factors of 0 or more, refitted to what the fit held.

        Raises:
            InputError: some replicate cannot come back to it.
        """
        drawn: Matrix = self.weights * factors
        gap = self.rows @ (drawn - self.weights)
        # a draw that keeps a total by itself leaves a gap of rounding alone
        rounding = _ROUNDING * self._size(self.totals)
        goal = np.maximum(_ACCURACY * self._size(gap), rounding)
        replicates, prices = drawn.copy(), np.zeros_like(gap)
        far = np.arange(factors.shape[1])
        for _ in range(_NEWTON_STEPS):
            step = self._prices(replicates[:, far], gap[:, far], accuracy=_NEWTON_ACCURACY)
            # no weight moves by more than a factor of e at once, so that exp stays finite
            prices[:, far] += step / np.maximum(1, np.abs(self.columns @ step).max(axis=0))
            replicates[:, far] = drawn[:, far] * np.exp(-(self.columns @ prices[:, far]))
            moved = self.rows @ (replicates[:, far] - self.weights)
            gap[:, far] = moved - self.slack * prices[:, far]
            far = np.flatnonzero(self._size(gap) > goal)
            if not len(far):
                return replicates
        raise InputError(
            f"{len(far)} of {len(goal)} replicates did not come back to the targets held in "
            f"{_NEWTON_STEPS} steps. Some targets hang on few records: lower the tolerance, so "
            "that fewer are held, or leave out targets that few records reach. The bootstrap's "
            "factors are milder than the jackknife's."
        )

    def _size(self, gap: Matrix) -> NDArray[np.float32]:  # (held, replicates) -> (replicates,)
        size: NDArray[np.float32] = np.sqrt((np.square(gap) / self.slack).sum(axis=0))
        return size

    def _prices(self, metric: Matrix, gap: Matrix, *, accuracy: float) -> Matrix:
        """Solve (M diag(metric) M' + slack) y = gap, each replicate with its own metric.

        Args:
            metric: (size, replicates), or (size, 1) for all.
            gap: (held, replicates)
            accuracy: of the gap left, in the norm of the diagonal.
        """
        diagonal = self.squares @ metric + self.slack
        prices = np.zeros_like(gap)
        left = gap.copy()
        direction = left / diagonal
        size = (left * direction).sum(axis=0)
        goal = accuracy**2 * size
        for _ in range(_ITERATIONS):
            if (size <= goal).all():
                break
            product = self.rows @ (metric * (self.columns @ direction)) + self.slack * direction
            length = _quotient(size, (direction * product).sum(axis=0))
            prices += length * direction
            left -= length * product
            ready = left / diagonal
            before, size = size, (left * ready).sum(axis=0)
            direction = ready + _quotient(size, before) * direction
        return prices


class _Threaded:
    """A sparse matrix whose product with dense columns is shared by all threads."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self._matrix = to_torch(matrix, torch.device("cpu"))

    def __matmul__(self, dense: Matrix) -> Matrix:
        product: Matrix = (self._matrix @ torch.from_numpy(np.ascontiguousarray(dense))).numpy()
        return product


def _quotient(above: Matrix, below: Matrix) -> Matrix:  # (replicates,) each
    """The quotient, and zero where a replicate has nothing left to solve."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
