"""Why some targets cannot be met, as sets that exclude each other, from what calibration knows.

Two causes: targets that are linear combinations of others but have other values, whatever the
weights; and targets out of the reach of weights within bounds, of which multipliers that lead
nowhere are the proof. A search for smallest sets, by linear programs, is in ``infeasibility``.
"""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from l0.survey.classical.distances import Bounds, Distance
from l0.survey.classical.newton import OUT_OF_REACH, System, proved_error
from l0.survey.infeasibility import UNBOUNDED_RATIO, Conflict
from l0.survey.problem import CalibrationProblem, Vector

Positions = NDArray[np.intp]

# in scales: a smaller part of a row that follows from others is rounding
_PART = 1e-5
# from one target to all, so many numbers of targets are tried for a proof
_TRIALS = 40


def contradictions(
    problem: CalibrationProblem, independent: Positions, apart: Positions
) -> list[Conflict]:
    """Each target that is apart, with the independent ones that it is a combination of."""
    if not len(apart):
        return []
    basis, others = System.of(problem, independent), System.of(problem, apart)
    products = (basis.rows @ basis.columns).toarray()
    lengths = np.sqrt(np.diag(products))
    inner = (basis.rows @ others.columns).toarray() / lengths[:, None]
    parts = scipy.linalg.solve(products / np.outer(lengths, lengths), inner, assume_a="pos")
    parts /= lengths[:, None]
    found = []
    for row, value, of_row in zip(apart, others.values, parts.T, strict=True):
        left = float(value - of_row @ basis.values)
        is_part = np.abs(of_row) > _PART
        rows = np.append(row, independent[is_part])
        multipliers = np.copysign(1.0, left) * np.append(1.0, -of_row[is_part])
        error = abs(left) / float(np.abs(multipliers).sum())
        found.append(_conflict(problem, rows, multipliers, error, (-np.inf, np.inf)))
    return found


def proved_conflict(
    problem: CalibrationProblem,
    targets: Positions,
    system: System,
    distance: Distance,
    multipliers: Vector,  # (targets,)
) -> Conflict | None:
    """The most blamed targets, as few as prove that some cannot be met; None without a proof."""
    order = np.argsort(-np.abs(multipliers), kind="stable")
    counts = np.geomspace(1, len(order), num=_TRIALS).round().astype(int)
    for few in (order[:count] for count in np.unique(counts)):
        blamed = np.zeros_like(multipliers)
        blamed[few] = multipliers[few]
        error = proved_error(system, distance, blamed)
        if error > OUT_OF_REACH:
            bounds = (distance.lower, min(distance.upper, UNBOUNDED_RATIO))
            return _conflict(problem, targets[few], multipliers[few], error, bounds)
    return None


def _conflict(
    problem: CalibrationProblem,
    rows: Positions,
    multipliers: Vector,  # (rows,), of errors relative to scales
    error: float,
    bounds: Bounds,
) -> Conflict:
    sizes = np.abs(multipliers)
    gap, scales = error * float(sizes.sum()), problem.scales[rows]
    return Conflict(
        rows=tuple(rows.tolist()),
        names=tuple(problem.target_names[row] for row in rows),
        values=tuple(problem.values[rows].tolist()),
        multipliers=tuple((multipliers / scales).tolist()),
        gaps=tuple((gap * scales / sizes).tolist()),
        least_error=error,
        area="",
        weight_ratios=bounds,
    )
