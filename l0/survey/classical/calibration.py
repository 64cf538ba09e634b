"""Calibration without sparsity: every record keeps a weight, as near to the design's as can be.

Targets are met exactly, not nearly: for few records, or for targets that are to be approached
together, see ``l0.survey.calibrate``.
"""

from dataclasses import dataclass

import numpy as np

from l0.errors import InputError
from l0.inputs import of_type
from l0.survey.classical.conflicts import Positions, contradictions, proved_conflict
from l0.survey.classical.distances import Bounds, distance_of
from l0.survey.classical.newton import ROUNDING, Solution, System, solve
from l0.survey.dependencies import linear_dependencies
from l0.survey.diagnostics import TargetError, worst_targets
from l0.survey.infeasibility import Conflict
from l0.survey.problem import CalibrationProblem, Vector

# a step factors a dense matrix of their square
MOST_TARGETS = 4_000
# in scales: targets that follow from others are met to what float32 coefficients can tell
AGREE = 1e-6
# with more, it is the bounds that are too tight
MOST_CONFLICTS = 20
_TOLD = 3


@dataclass(frozen=True, eq=False)
class ClassicalCalibration:
    """Calibrated weights, the multipliers they follow from, and what no weights can meet."""

    weights: Vector  # (records,), design weight x g-weight; zero where the design weight is
    g_weights: Vector  # (records,), 1 where the design weight is zero
    multipliers: Vector  # (targets,), of constraints in their units; 0 of targets that follow
    iterations: int  # Newton steps
    unmet: tuple[TargetError, ...]  # worst first: the others were met without these
    conflicts: tuple[Conflict, ...]  # why: sets of targets that exclude each other

    @property
    def converged(self) -> bool:
        """Whether all targets that count are met."""
        return not self.unmet


def calibrate_classical(
    problem: CalibrationProblem,
    *,
    method: str = "linear",
    bounds: Bounds | None = None,
) -> ClassicalCalibration:
    """The weights nearest to the design's that meet all targets (Deville and Särndal, 1992).

    A weight is design weight x F(multipliers' x), with x the record's column of constraints and F
    the g-weight of the distance. Newton's method finds the multipliers: errors end below 1e-10 of
    a target's scale, or 1e-13 of the sum of the sizes of all that it adds up.

    Targets that are linear combinations of others follow from them, and are met to 1e-6 where
    their values agree. Targets that exclude each other are told as ``conflicts``, each with its
    proof: a combination of others of another value, or a set that no weights within the bounds can
    meet (weights above 10,000 design weights are not looked at). The multipliers of a search that
    cannot succeed are such a proof, and those of a few targets are often enough. The most blamed
    target of the set is then left out, and the others are fitted again: what is met in the
    end is met exactly, and ``unmet`` says what is not. ``find_conflicts`` looks for smallest sets.

    Args:
        problem: constraints (targets, records), values and design weights. Targets whose loss
            weight is zero are not calibrated to; all others count alike.
        method: "linear" (chi-square distance, the weights of the GREG estimator; some may be
            below zero without bounds), "raking" (Kullback-Leibler, weights above zero) or
            "logit" (between the bounds).
        bounds: least and greatest g-weight, 0 <= least < 1 < greatest. Linear and raking
            g-weights are truncated there; "logit" needs them.

    Raises:
        InputError: arguments of the wrong kind, more than 4,000 targets that count, targets in
            more than 20 conflicts, or of which none can be met.
    """
    of_type("problem", problem, CalibrationProblem)
    distance = distance_of(method, bounds)
    counted = np.flatnonzero(problem.loss_weights > 0)
    if len(counted) > MOST_TARGETS:
        raise InputError(
            f"{len(counted):,} targets count, but at most {MOST_TARGETS:,} are met exactly: a "
            "step would take the memory of their square. calibrate(problem, budget=None) "
            "approaches any number of them together."
        )
    kept, conflicts = counted, list[Conflict]()
    while True:
        met = _independent(problem, kept)
        system = System.of(problem, met)
        solution = solve(system, distance)
        if solution.converged:
            break
        conflict = proved_conflict(problem, met, system, distance, solution.multipliers)
        if conflict is not None:
            conflicts.append(conflict)
        if conflict is None or len(kept) == 1 or len(conflicts) > MOST_CONFLICTS:
            raise _refusal(method, solution, conflicts)
        kept = kept[kept != conflict.rows[0]]
    g_weights = np.ones(problem.n_records)
    g_weights[problem.design_weights > 0] = solution.g_weights
    weights = problem.design_weights * g_weights
    multipliers = np.zeros(problem.n_targets)
    multipliers[met] = solution.multipliers / problem.scales[met]
    sizes = abs(problem.constraints) @ problem.design_weights
    off = np.abs(problem.relative_errors(weights)) > AGREE + ROUNDING * sizes / problem.scales
    conflicts += contradictions(problem, met, kept[off[kept]])
    worst = worst_targets(problem, weights, problem.n_targets)
    return ClassicalCalibration(
        weights=weights,
        g_weights=g_weights,
        multipliers=multipliers,
        iterations=solution.steps,
        unmet=tuple(target for target in worst if off[target.row]),
        conflicts=tuple(conflicts),
    )


def _independent(problem: CalibrationProblem, targets: Positions) -> Positions:
    independent = linear_dependencies(System.of(problem, targets).rows).independent
    if not len(independent):
        raise InputError(
            f"none of {len(targets)} targets counts a record of positive design weight: there "
            "is nothing to calibrate to. Mend the columns they are computed from."
        )
    return targets[independent]


def _refusal(method: str, solution: Solution, conflicts: list[Conflict]) -> InputError:
    told = " ".join(conflict.describe() for conflict in conflicts[:_TOLD])
    return InputError(
        f"{method} calibration ended after {solution.steps} steps with a target "
        f"{solution.error:.3g} of its scale off, and {len(conflicts)} conflicts of targets were "
        f"found. {told or 'What keeps it from its value was not proved.'} Widen the bounds, leave "
        "targets out, or approach them together with calibrate(problem, budget=None)."
    )
