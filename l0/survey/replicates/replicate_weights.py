"""Replicate weights of a sparse support, and the standard error of any statistic from them.

Factors that repeat the design's variance (``deviations``) perturb the weights of the fit, and
each replicate is refitted to what the fit held (``held_targets``). R's survey package reads
them: ``svrepdesign(weights=, repweights=, type="other", scale=, combined.weights=TRUE,
mse=TRUE)``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import above_zero, numbers, positive, refuse, vector, whole
from l0.survey.problem import CalibrationProblem
from l0.survey.replicates.deviations import DesignVariance, Matrix
from l0.survey.replicates.held_targets import HeldTargets
from l0.survey.weights import Vector

METHODS = ("bootstrap", "jackknife")
# factors of the bootstrap never leave one by more: all records move in each replicate, and a
# refit that must make up for some that are nearly gone is far from a small change
_MOST_CHANGE = 0.5
# deviations by which it is seen how much of each record's variance the refit leaves
_PROBES = 100
# a record to which it leaves less is raised as if it left that much
_LEAST_LEFT = 0.1
# share of all variance that the refit must leave
_LEAST_LEFT_IN_ALL = 1e-2
# numbers in a matrix of replicates that are refitted together
_TOGETHER = 4_000_000


@dataclass(frozen=True)
class ReplicateWeights:
    """Weights of the fit and of each replicate; differences times ``scale`` add to a variance."""

    calibrated_weights: Vector  # (size,), those of the fit
    weights: Matrix  # (size, replicates), 0 or more, at the fit's own level
    scale: float  # of the sum of squared differences, the same for all replicates
    method: str  # "bootstrap" or "jackknife"
    variance_of: str  # "thinning" or "survey"

    def standard_error(self, statistic: Callable[[Vector], ArrayLike]) -> Any:
        """sqrt(scale * sum_r (statistic_r - statistic)^2), of one number or an array of them.

        Args:
            statistic: of the weights (size,) alone, in the order of the support, such as
                ``lambda weights: weights @ income``.

        Returns:
            A float, or an array of the statistic's shape.

        Raises:
            InputError: the statistic is not finite under some weights.
        """
        at_fit = numbers("statistic", statistic(self.calibrated_weights))
        squares = np.zeros_like(at_fit)
        for replicate, weights in enumerate(np.ascontiguousarray(self.weights.T)):
            value = numbers("statistic", statistic(weights))
            if value.shape != at_fit.shape or not np.isfinite(value - at_fit).all():
                raise InputError(
                    f"the statistic is {value} in replicate {replicate} and {at_fit} under the "
                    "weights of the fit, but must be finite and of one shape in both. A mean "
                    "over few records may lose them all: join domains."
                )
            squares += np.square(value - at_fit)
        error = np.sqrt(self.scale * squares)
        return error if error.ndim else float(error)


def replicate_weights(
    problem: CalibrationProblem,
    support: ArrayLike,  # (size,)
    weights: ArrayLike,  # (size,)
    *,
    inclusion_probability: ArrayLike,  # (size,)
    strata: ArrayLike | None = None,  # (size,)
    method: str = "bootstrap",
    replicates: int = 100,
    variance_of: str = "thinning",
    tolerance: float = 1e-3,
    hold_total: bool = False,
    seed: int,
) -> ReplicateWeights:
    """Replicates of fitted weights, each refitted from them as a warm start.

    The bootstrap is that of Beaumont and Patak (2012), the jackknife that of Kott (2001). A refit
    takes from the deviations the part that the targets explain, the more the fewer records there
    are to a target, and standard errors would come out short, as squared residuals of a
    regression do without their correction. So the scale is set by what is left: after the refit,
    the records that vary show the variance that the design gives them, sum_i w_i^2 c_i. The
    jackknife takes records away and so gives each its own share; deviations of the bootstrap are
    first raised record by record, by the correction of Hartley, Rao and Kiefer (1969) with its
    matrix taken for diagonal and found by probing.

    Args:
        problem: what the weights were fitted to.
        support: positions of the records kept, each once.
        weights: of the fit, above zero, in the order of ``support``.
        inclusion_probability: of each record kept, in (0, 1].
        strata: code of the stratum each was drawn from; one for all without.
        method: "bootstrap" or "jackknife" (random groups left out, one a replicate; single
            records where there are as many replicates as records that are not certain).
        replicates: how many, 2 or more.
        variance_of: "thinning" measures what keeping a sample of the survey's records cost;
            certain records carry none of it. "survey" takes every record, certain ones too, for
            an independent draw from the population, so that there is no finite population
            correction.
        tolerance: a target that the weights miss by at most this share of its scale is held in
            every replicate; the fit has given up the others.
        hold_total: whether the fit held the sum of the weights.
        seed: of signs, groups and probes.

    Raises:
        InputError: arguments that do not fit each other, a stratum in which a single record
            varies, no target held, or replicates that cannot come back to those held.
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}, but must be one of {', '.join(METHODS)}.")
    count = whole("replicates", replicates, least=2)
    kept = _checked_support(problem, support)
    size = len(kept)
    fitted = above_zero("weights", weights, size, "records of the support")
    probability = vector(
        "inclusion_probability", inclusion_probability, size, "records of the support"
    )
    outside = (probability <= 0) | (probability > 1)
    refuse("inclusion_probability", outside, "outside (0, 1]", "Certain records have 1.")
    codes = np.zeros(size) if strata is None else strata
    design = DesignVariance.of(
        probability,
        vector("strata", codes, size, "records of the support").astype(np.intp),
        variance_of=variance_of,
    )
    held = HeldTargets.of(
        problem,
        kept,
        fitted,
        tolerance=positive("tolerance", tolerance),
        hold_total=hold_total,
    )
    draw = np.random.default_rng(seed)
    if method == "bootstrap":
        deviations = design.bootstrap(count, draw)
        raised = _raised(design, held, draw)[:, None] * deviations
        amplitude = _MOST_CHANGE / float(np.abs(raised).max())
    else:
        raised = deviations = design.jackknife(count, draw)
        # among unequal probabilities a little less, where a factor would fall below zero
        amplitude = min(float(np.sqrt(count / (count - 1))), 1 / float(-deviations.min()))
    refitted = _refitted(held, amplitude * raised)
    left = _share_left(fitted, amplitude * deviations, refitted, varying=design.root > 0)
    return ReplicateWeights(
        calibrated_weights=fitted,
        weights=refitted,
        scale=1 / (amplitude**2 * left),
        method=method,
        variance_of=variance_of,
    )


def _raised(design: DesignVariance, held: HeldTargets, draw: np.random.Generator) -> Vector:
    """By what factor (size,) deviations must exceed the design's to keep them in a refit."""
    probes = design.bootstrap(_PROBES, draw)
    before = np.square(probes).sum(axis=1)
    after = np.square(held.answered(probes.astype(np.float32)), dtype=np.float64).sum(axis=1)
    left = np.divide(after, before, out=np.ones_like(before), where=before > 0)
    raised: Vector = 1 / np.sqrt(np.maximum(left, _LEAST_LEFT))
    return raised


def _refitted(held: HeldTargets, deviations: Matrix) -> Matrix:  # (size, replicates)
    """The replicates, some at a time so that memory does not grow with their number."""
    size, replicates = deviations.shape
    together = max(_TOGETHER // size, 1)
    weights = np.empty((size, replicates))
    for first in range(0, replicates, together):
        columns = slice(first, first + together)
        # rounding alone leaves a factor below zero
        factors = np.maximum(1 + deviations[:, columns], 0).astype(np.float32)
        weights[:, columns] = held.restored(factors)
    return weights


def _share_left(
    fitted: Vector,  # (size,)
    deviations: Matrix,  # (size, replicates)
    refitted: Matrix,  # (size, replicates)
    *,
    varying: NDArray[np.bool_],  # (size,)
) -> float:
    """How much of the variance of the records that vary the refit has left."""
    drawn = np.square(fitted[:, None] * deviations).sum()
    left = float(np.square(refitted - fitted[:, None])[varying].sum() / drawn)
    if left < _LEAST_LEFT_IN_ALL:
        raise InputError(
            f"the refit takes back {1 - left:.2%} of all deviations: the targets held pin the "
            "weights down, and no variance shows. Lower the tolerance, so that fewer are held."
        )
    return left


def _checked_support(problem: CalibrationProblem, support: ArrayLike) -> NDArray[np.intp]:
    kept = np.asarray(support)
    if kept.ndim != 1 or kept.dtype.kind not in "iu" or not kept.size:
        raise InputError(
            f"support is {kept.dtype} of shape {kept.shape}, but must be positions of records, "
            "at least one: whole numbers of shape (size,)."
        )
    outside = (kept < 0) | (kept >= problem.n_records)
    refuse("support", outside, f"not from 0 to {problem.n_records - 1}", "Name records.")
    if len(np.unique(kept)) < len(kept):
        raise InputError("the support names a record twice. Give each position once.")
    return kept.astype(np.intp)
