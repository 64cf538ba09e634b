"""Newton's method on the dual of calibration: one multiplier a target, and the weights follow.

The weights w = d F(A' y) that come to the values b maximise y'b - sum_i d_i Phi((A' y)_i), where
Phi' = F: smooth and concave, with slope b - A w and curvature A diag(d F') A' (Deville and
Särndal, 1992, section 3). Multipliers that prove that no weights within the bounds come near the
values (Farkas's lemma) end the search.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from l0.survey.classical.distances import Distance
from l0.survey.infeasibility import UNBOUNDED_RATIO
from l0.survey.operator import one_thread_each
from l0.survey.problem import CalibrationProblem, Vector

# in scales: an error no greater is met
MET = 1e-10
# relative error of a sum over records
ROUNDING = 1e-13
# in scales: an error that must remain, for a search to end with that proof
OUT_OF_REACH = 1e-6
# a feasible search takes 4 to 10 steps, one whose solution has all weights on bounds up to 90
MOST_STEPS = 100
_HALVINGS = 60
# a slope turned by less of itself has not passed the maximum by far
_TURNED = 0.1
# share added to each curvature: above the rounding of a Cholesky factor
_SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class System:
    """Targets over their scales, by the records of positive design weight."""

    rows: sp.csr_array  # (targets, records kept)
    columns: sp.csr_array  # (records kept, targets)
    values: Vector  # (targets,)
    design_weights: Vector  # (records kept,), > 0

    @classmethod
    def of(cls, problem: CalibrationProblem, targets: NDArray[np.intp]) -> Self:
        """These targets of a problem."""
        kept = problem.design_weights > 0
        rows = problem.constraints[:, kept].tocsr()[targets].astype(np.float64)
        scales = problem.scales[targets]
        rows.data /= np.repeat(scales, np.diff(rows.indptr))
        values = problem.values[targets] / scales
        return cls(rows, rows.T.tocsr(), values, problem.design_weights[kept])

    def curvature(self, slopes: Vector) -> NDArray[np.float64]:  # (targets, targets)
        """A diag(d F') A' from the slopes F' of the records."""
        weighted = self.rows.copy()
        weighted.data *= (self.design_weights * slopes)[weighted.indices]
        curvature: NDArray[np.float64] = (weighted @ self.columns).toarray()
        return curvature


@dataclass(frozen=True, eq=False)
class Solution:
    """Multipliers, the g-weights that follow from them, and how the search ended."""

    multipliers: Vector  # (targets,)
    g_weights: Vector  # (records kept,)
    error: float  # of the target that is most off, relative to its scale
    steps: int
    converged: bool


def solve(system: System, distance: Distance) -> Solution:
    """Search from the design weights until all targets are met, or cannot be.

    A step is halved until the slope along it has not turned steeply by its end.

    Args:
        system: linearly independent targets.
        distance: whose g-weights are sought.
    """
    values, design = system.values, system.design_weights
    met = MET + ROUNDING * (abs(system.rows) @ design)
    raised = _SINGULAR * (system.rows.power(2) @ design)
    multipliers, u = np.zeros_like(values), np.zeros_like(design)
    for steps in range(MOST_STEPS + 1):
        g_weights, slopes = distance.g_weights(u)
        rising = values - system.rows @ (design * g_weights)
        converged = bool((np.abs(rising) <= met).all())
        if converged or steps == MOST_STEPS:
            break
        if proved_error(system, distance, multipliers) > OUT_OF_REACH:
            break
        curvature = system.curvature(slopes)
        curvature[np.diag_indices_from(curvature)] += raised
        step = _solved(curvature, rising)
        share = _share(system, distance, u, step, slope=float(rising @ step))
        if share == 0:  # float64 has no more to give
            break
        multipliers = multipliers + share * step
        u = system.columns @ multipliers
    return Solution(multipliers, g_weights, float(np.abs(rising).max()), steps, converged)


def proved_error(system: System, distance: Distance, multipliers: Vector) -> float:
    """How far some target stays off at least, in scales, whatever weights the bounds allow.

    It is (y'b - sum_i d_i max(lower u_i, upper u_i)) / sum |y|, with u = A' y, for any y; below
    zero nothing is proved. Weights above ``UNBOUNDED_RATIO`` design weights are not allowed.
    """
    size = float(np.abs(multipliers).sum())
    if distance.lower < 0 or size == 0:
        return -math.inf
    u = system.columns @ multipliers
    greatest = min(distance.upper, UNBOUNDED_RATIO)
    most = system.design_weights @ np.maximum(distance.lower * u, greatest * u)
    return float(multipliers @ system.values - most) / size


def _share(system: System, distance: Distance, u: Vector, step: Vector, *, slope: float) -> float:
    """How much of the step to take, from u, where the slope along it is as given."""
    along = system.columns @ step
    asked = float(system.values @ step)
    for halvings in range(_HALVINGS):
        share = 0.5**halvings
        g_weights, _ = distance.g_weights(u + share * along)
        with np.errstate(over="ignore", invalid="ignore"):  # no slope, no share
            slope_there = asked - float((system.design_weights * g_weights) @ along)
        if slope_there >= -_TURNED * slope:
            return share
    return 0.0


def _solved(curvature: NDArray[np.float64], slopes: Vector) -> Vector:
    # by torch, whose threads can be turned off: those of scipy move the last digits
    with one_thread_each():
        factor = torch.linalg.cholesky(torch.from_numpy(curvature))
        step = torch.cholesky_solve(torch.from_numpy(slopes)[:, None], factor)
    solved: Vector = step[:, 0].numpy()
    return solved
