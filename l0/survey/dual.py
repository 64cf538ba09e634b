"""Weights on a fixed support by their dual: one price a target, and the weights follow.

The problem is generalised raking with soft targets. Over weights w it minimises

    sum_j loss_j((constraints w - values)_j)  +  sum_i strength_i (w_i log(w_i/r_i) - w_i + r_i)

within bounds on each weight and on their total. At prices y the weights are explicit,
r_i exp(-(constraints' y)_i / strength_i) held within both, and the dual is smooth and concave: few
Newton steps, each solving a dense system with one row a target. What targets are divided by, and
which are capped, is settled before.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import kl_div

from l0.errors import InputError
from l0.survey.operator import one_thread_each
from l0.survey.weights import Vector

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]

WEIGHT_RANGE = 1e100  # no weight leaves its reference by more, so that float64 holds exp
ROUNDING = 1e-13  # relative error of a sum over records; a total is rounded better at the end
SINGULAR = 1e-9  # share added to each curvature: above the rounding of a Cholesky factor
DAMPING = (1e-12, 1e-2, 10.0)  # least, first, largest: an error, in scales, a full price answers
MODEL_STEPS = 30  # for one quadratic model
MODEL_ACCURACY = 1e-4  # gain left, relative to the gain had, at which a model counts as solved
HALVINGS = 40  # 2^-40 of a step moves nothing
TOO_MANY_HALVINGS = 20  # in one model: it is nearly singular, and the next is damped more


@dataclass(frozen=True)
class Losses:
    """One convex loss a target, by its conjugate: ridge y^2 / 2 on prices |y| <= box."""

    box: Vector  # (targets,)
    ridge: Vector  # (targets,)

    @classmethod
    def absolute(cls, loss_weights: ArrayLike) -> Self:
        """Loss weight times |error|."""
        weights = _checked_loss_weights(loss_weights)
        return cls(weights, np.zeros_like(weights))

    @classmethod
    def squared(cls, loss_weights: ArrayLike) -> Self:
        """Loss weight times error^2."""
        weights = _checked_loss_weights(loss_weights)
        return cls(np.where(weights > 0, np.inf, 0.0), _quotient(0.5, weights))

    @classmethod
    def huber(cls, loss_weights: ArrayLike, *, delta: float) -> Self:
        """Loss weight times error^2 / (2 delta) up to delta, and |error| - delta / 2 beyond."""
        if not 0 < delta < np.inf:
            raise InputError(
                f"delta is {delta}, but must be above zero and finite. Absolute losses are its "
                "limit at zero."
            )
        weights = _checked_loss_weights(loss_weights)
        return cls(weights, _quotient(delta, weights))

    def of(self, errors: Vector) -> Vector:  # (targets,)
        """The loss of each target at these errors."""
        steepest = np.copysign(self.box, errors)
        curved = np.divide(errors, self.ridge, out=steepest.copy(), where=self.ridge > 0)
        prices = np.clip(curved, -self.box, self.box)
        return prices * errors - self.conjugate(prices)

    def conjugate(self, prices: Vector) -> Vector:  # (targets,)
        """What each price within its box costs."""
        return self.ridge * np.square(prices) / 2


@dataclass(frozen=True)
class DualSolution:
    """Weights, the prices they follow from, and how far they can be from the optimum."""

    weights: Vector  # (records,)
    prices: Vector  # (targets,)
    primal: float  # the objective at the weights
    dual: float  # no weights have a lower objective
    gap: float  # primal - dual
    iterations: int
    converged: bool


def solve_dual(
    constraints: sp.csr_array,  # (targets, records)
    values: Vector,  # (targets,)
    *,
    reference: Vector,  # (records,)
    losses: Losses,
    strength: ArrayLike,  # (records,) or one number
    bounds: tuple[ArrayLike, ArrayLike] = (0.0, np.inf),  # each (records,) or one number
    total: tuple[float, float] | None = None,
    start_prices: Vector | None = None,  # (targets,)
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> DualSolution:
    """The weights of least objective, by Newton's method on the prices.

    Every iterate meets the bounds exactly and the total to rounding, so that its gap bounds what
    is left to gain.

    Args:
        constraints: one row a target, one column a record, in units of the target's scale.
        values: what each row should come to, in the same units.
        reference: the weights to stay near, above zero.
        losses: of the errors, one a target.
        strength: of the pull towards the reference.
        bounds: least and greatest weight, 0 and infinity for none. A weight whose lower bound
            is 0 stays above it.
        total: least and greatest sum of the weights; the same number twice fixes it.
        start_prices: where to start, such as the prices of a neighbouring problem; zero without.
        tolerance: largest gap, relative to the primal objective.
        max_iterations: Newton steps after which the last weights are returned, not converged.

    Raises:
        InputError: arguments that do not fit each other, or that no weights satisfy.
    """
    problem = _checked_problem(constraints, values, reference, losses, strength, bounds, total)
    prices = np.zeros_like(problem.values)
    if start_prices is not None:
        prices = _vector("start_prices", start_prices, len(prices), "targets")
        prices = np.clip(prices, -losses.box, losses.box)
    point = problem.at(prices)
    least, damping, largest = DAMPING
    iterations = 0
    while iterations < max_iterations and not point.is_optimal(tolerance):
        step, halvings = _box_newton(
            problem.curvature(point, damping),
            point.slopes,
            lowest=-losses.box - point.prices,
            highest=losses.box - point.prices,
        )
        following, share = _search(problem, point, step)
        rises = following.dual > point.dual or following.gap < point.gap
        if not rises and damping == largest:
            break  # float64 has no more to give
        trusted = rises and share >= 0.5 and halvings < TOO_MANY_HALVINGS
        damping = max(damping / 10, least) if trusted else min(damping * 4, largest)
        point = following if rises else point
        iterations += 1
    return DualSolution(
        weights=point.weights,
        prices=point.prices,
        primal=point.primal,
        dual=point.dual,
        gap=point.gap,
        iterations=iterations,
        converged=point.is_optimal(tolerance),
    )


@dataclass(frozen=True)
class _Point:
    """What follows from prices."""

    prices: Vector
    weights: Vector
    moving: Vector  # the weights that answer to prices; zero for those on a bound
    total_binds: bool
    slopes: Vector  # of the dual, in each price
    primal: float
    dual: float
    gap: float
    rounding: float  # a gap that float64 cannot tell from none

    def is_optimal(self, tolerance: float) -> bool:
        return self.gap <= max(tolerance * self.primal, self.rounding)


@dataclass(frozen=True)
class _Problem:
    """The arguments of a solution, checked."""

    constraints: sp.csr_array
    transposed: sp.csr_array
    squares: sp.csr_array
    values: Vector
    reference: Vector
    losses: Losses
    strength: Vector  # (records,)
    softness: Vector  # (records,) the mean strength over each
    lower: Vector
    upper: Vector
    log_lower: Vector  # of the bounds, over the reference
    log_upper: Vector
    total: tuple[float, float]
    rounding: float

    def at(self, prices: Vector) -> _Point:
        log_ratios = -(self.transposed @ prices) / self.strength
        weights, moves, total_binds = self._within_total(log_ratios)
        errors = self.constraints @ weights - self.values
        pull = float((self.strength * kl_div(weights, self.reference)).sum())
        losses, conjugates = self.losses.of(errors), self.losses.conjugate(prices)
        return _Point(
            prices=prices,
            weights=weights,
            moving=np.where(moves, weights, 0.0),
            total_binds=total_binds,
            slopes=errors - self.losses.ridge * prices,
            primal=float(losses.sum()) + pull,
            dual=float((prices * errors - conjugates).sum()) + pull,
            gap=float((losses - prices * errors + conjugates).sum()),  # each term is 0 or more
            rounding=self.rounding,
        )

    def _within_total(self, log_ratios: Vector) -> tuple[Vector, Mask, bool]:
        """Weights within bounds and total, which of them move, and whether the total binds.

        The price of the total shifts each log-ratio in proportion to its softness. A shift that
        meets it exists, and Newton's method on the log of the total finds it within a shrinking
        bracket.
        """
        weights, moves = self._within_bounds(log_ratios)
        goal = float(np.clip(weights.sum(), *self.total))
        if goal == weights.sum():
            return weights, moves, False
        softness = self.softness
        least = ((self.log_lower - log_ratios) / softness).min()
        greatest = ((self.log_upper - log_ratios) / softness).max()
        shift = 0.0
        while abs(weights.sum() - goal) > ROUNDING * goal:
            excess, moving = weights.sum() - goal, weights[moves].sum()
            # not by BLAS, whose threads move the last digits
            answer = float((weights[moves] * softness[moves]).sum())
            least, greatest = (least, shift) if excess > 0 else (shift, greatest)
            middle = (least + greatest) / 2
            newton = middle
            if moving > max(excess, 0):
                newton = shift + np.log1p(-excess / moving) * moving / answer
            following = newton if least < newton < greatest else middle
            if following == shift:
                break
            shift = following
            weights, moves = self._within_bounds(log_ratios + softness * shift)
        if moves.any():
            weights[moves] *= (goal - weights[~moves].sum()) / weights[moves].sum()
        return np.clip(weights, self.lower, self.upper), moves, True

    def _within_bounds(self, log_ratios: Vector) -> tuple[Vector, Mask]:
        ratios = np.exp(np.clip(log_ratios, self.log_lower, self.log_upper))
        weights = np.where(log_ratios <= self.log_lower, self.lower, self.reference * ratios)
        weights = np.where(log_ratios >= self.log_upper, self.upper, weights)
        weights = np.clip(weights, self.lower, self.upper)  # the product is rounded
        return weights, (log_ratios > self.log_lower) & (log_ratios < self.log_upper)

    def curvature(self, point: _Point, damping: float) -> Matrix:  # (targets, targets)
        """Minus the second derivative of the dual, raised until it has an inverse."""
        answers = point.moving / self.strength
        rows = sp.csr_array(self.constraints * np.sqrt(answers))
        curvature: Matrix = (rows @ rows.T).toarray()
        if point.total_binds and answers.any():
            counts = self.constraints @ answers
            curvature -= np.outer(counts, counts / answers.sum())
        ridge = self.losses.ridge
        all_moving = self.squares @ (point.weights / self.strength) + ridge
        raised = ridge + SINGULAR * all_moving + _quotient(damping, self.losses.box)
        curvature[np.diag_indices_from(curvature)] += raised
        return curvature


def _search(problem: _Problem, point: _Point, step: Vector) -> tuple[_Point, float]:
    """A point along the step where the dual is higher and hardly rises on, and the share taken."""
    slope = float(point.slopes @ step)
    highest_rising, lowest_falling, share = 0.0, np.inf, 1.0
    best = point
    for _ in range(HALVINGS):
        prices = np.clip(point.prices + share * step, -problem.losses.box, problem.losses.box)
        tried = problem.at(prices)
        slope_there = float(tried.slopes @ step)
        if slope_there >= -0.1 * slope:
            best, highest_rising = tried, share
            if share == 1 or slope_there <= 0.5 * slope:
                break
        else:
            lowest_falling = share
        bisect = highest_rising > 0
        share = (highest_rising + lowest_falling) / 2 if bisect else share / 4
    return best, highest_rising


def _box_newton(
    curvature: Matrix, slopes: Vector, *, lowest: Vector, highest: Vector
) -> tuple[Vector, int]:
    """The step within bounds that gains most: slopes'p - p'curvature p / 2; halvings it took.

    Newton's method on the entries that no bound holds, each step bent at the bounds it meets.
    """
    step, slopes, gain, halvings = np.zeros_like(slopes), slopes.copy(), 0.0, 0
    solved = np.array([], dtype=np.intp)  # entries that a whole Newton step has just settled
    for _ in range(MODEL_STEPS):
        held = ((step <= lowest) & (slopes <= 0)) | ((step >= highest) & (slopes >= 0))
        free = np.flatnonzero(~held)
        if np.array_equal(free, solved):
            break
        newton = np.zeros_like(step)
        newton[free] = _solved(curvature[np.ix_(free, free)], slopes[free])
        if slopes @ newton <= MODEL_ACCURACY * gain:
            break
        for halving in range(HALVINGS):
            aimed = step + newton * 0.5**halving
            landed = np.clip(aimed, lowest, highest)
            move = landed - step
            change = curvature @ move
            gained = float(slopes @ move - move @ change / 2)
            if gained >= 0.01 * float(slopes @ move):
                break
        else:
            break
        halvings += halving
        solved = free if halving == 0 and (landed == aimed).all() else solved[:0]
        step, slopes, gain = landed, slopes - change, gain + gained
    return step, halvings


def _solved(curvature: Matrix, slopes: Vector) -> Vector:
    # by torch, whose threads can be turned off: those of scipy move the last digits
    with one_thread_each():
        factor = torch.linalg.cholesky(torch.from_numpy(curvature))
        newton = torch.cholesky_solve(torch.from_numpy(slopes)[:, None], factor)
    solved: Vector = newton[:, 0].numpy()
    return solved


def _checked_problem(
    constraints: sp.csr_array,
    values: Vector,
    reference: Vector,
    losses: Losses,
    strength: ArrayLike,
    bounds: tuple[ArrayLike, ArrayLike],
    total: tuple[float, float] | None,
) -> _Problem:
    rows = sp.csr_array(constraints, dtype=np.float64)
    targets, records = rows.shape
    if not records or not np.isfinite(rows.data).all():
        raise InputError(
            f"constraints has shape {rows.shape} and {(~np.isfinite(rows.data)).sum()} entries "
            "that are not finite, but needs at least one record, a column each, and none of those."
        )
    strengths = _checked_strengths(strength, records)
    values = _vector("values", values, targets, "targets")
    reference = _vector("reference", reference, records, "records")
    if (reference <= 0).any():
        raise InputError(
            f"{(reference <= 0).sum()} of {records} reference weights are not above zero. "
            "Leave those records out."
        )
    _check_losses(losses, targets)
    lower, upper = _checked_bounds(bounds, records)
    least, greatest = _checked_total(total, lower, upper)
    lower = np.maximum(lower, reference / WEIGHT_RANGE)
    upper = np.minimum(upper, reference * WEIGHT_RANGE)
    return _Problem(
        constraints=rows,
        transposed=rows.T.tocsr(),
        squares=rows.power(2),
        values=values,
        reference=reference,
        losses=losses,
        strength=strengths,
        softness=strengths.mean() / strengths,
        lower=lower,
        upper=upper,
        log_lower=np.log(lower / reference),
        log_upper=np.log(upper / reference),
        total=(least, greatest),
        rounding=float(losses.of(ROUNDING * (abs(rows) @ reference + np.abs(values))).sum()),
    )


def _checked_strengths(strength: ArrayLike, records: int) -> Vector:  # (records,)
    given = np.asarray(strength, dtype=np.float64)
    if given.shape not in [(), (records,)]:
        raise InputError(
            f"strength has shape {given.shape}, but {records} records need ({records},) or one "
            "number."
        )
    bad = given[~((given > 0) & (given < np.inf))]
    if bad.size:
        raise InputError(
            f"strength is {bad.flat[0]}, but must be above zero and finite: without a pull towards "
            "the reference, weights do not follow from prices."
        )
    return np.broadcast_to(given, records)


def _vector(name: str, given: ArrayLike, size: int, of: str) -> Vector:
    vector = np.asarray(given, dtype=np.float64)
    if vector.shape != (size,):
        raise InputError(f"{name} has shape {vector.shape}, but {size} {of} need ({size},).")
    bad = int((~np.isfinite(vector)).sum())
    if bad:
        raise InputError(f"{bad} of {size} {name} are not finite. Leave those {of} out.")
    return vector


def _checked_loss_weights(loss_weights: ArrayLike) -> Vector:
    weights = np.asarray(loss_weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError(
            f"loss weights have shape {weights.shape} and range from {weights.min(initial=0)} to "
            f"{weights.max(initial=0)}, but must be one finite number a target, 0 or more."
        )
    return weights


def _check_losses(losses: Losses, targets: int) -> None:
    box, ridge = losses.box, losses.ridge
    if box.shape != (targets,) or ridge.shape != (targets,):
        raise InputError(
            f"losses has boxes of shape {box.shape} and ridges of shape {ridge.shape}, but "
            f"{targets} targets need ({targets},) of both."
        )
    bad = ~(box >= 0) | ~((ridge >= 0) & (ridge < np.inf)) | ((box == np.inf) & (ridge == 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"the losses of {bad.sum()} of {targets} targets are none, the first at {first}: box "
            f"{box[first]}, ridge {ridge[first]}. Both must be 0 or more, the ridge finite, and "
            "above zero where the box is infinite. A small ridge nearly fixes a target."
        )


def _checked_bounds(
    bounds: tuple[ArrayLike, ArrayLike], records: int
) -> tuple[Vector, Vector]:  # each (records,)
    lower, upper = (np.asarray(bound, dtype=np.float64) for bound in bounds)
    if lower.shape not in [(), (records,)] or upper.shape not in [(), (records,)]:
        raise InputError(
            f"bounds have shapes {lower.shape} and {upper.shape}, but {records} records need "
            f"({records},) or one number each."
        )
    lower, upper = np.broadcast_to(lower, records), np.broadcast_to(upper, records)
    bad = ~(lower >= 0) | ~(lower < np.inf) | ~(upper > 0) | ~(lower <= upper)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"the bounds of {bad.sum()} of {records} records hold no weight, the first at {first}: "
            f"from {lower[first]} to {upper[first]}. The lower must be finite and 0 or more, the "
            "upper above zero and no lower than it."
        )
    return lower, upper


def _checked_total(
    total: tuple[float, float] | None, lower: Vector, upper: Vector
) -> tuple[float, float]:
    if total is None:
        return 0.0, np.inf
    least, greatest = total
    if not least <= greatest or not greatest > 0 or not least < np.inf:
        raise InputError(
            f"total is from {least} to {greatest}, which no sum of weights can be. Give the "
            "least first; the greatest must be above zero. The same number twice fixes the total."
        )
    reach = float(lower.sum()), float(upper.sum())
    if greatest < reach[0] * (1 - ROUNDING) or least > reach[1] * (1 + ROUNDING):
        raise InputError(
            f"total is from {least} to {greatest}, but the bounds on {len(lower)} weights let "
            f"their sum be from {reach[0]} to {reach[1]} alone. Widen the bounds or the total."
        )
    return float(least), float(greatest)


def _quotient(numerator: float, denominators: Vector) -> Vector:
    """Numerator over each denominator, 0 where that is 0."""
    out = np.zeros_like(denominators)
    return np.divide(numerator, denominators, out=out, where=denominators > 0)
