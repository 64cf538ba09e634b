"""A refit of one support by its dual: to the optimum, or how far from it given weights are.

A capped loss is not convex. Targets beyond the cap pull less, or not at all; with those of the
moment at their lesser pull the problem is convex. It is solved, and again with those that are
beyond the cap then, until they are the same.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0.survey.dual import DualSolution, Losses, solve_dual
from l0.survey.first_order import Support
from l0.survey.losses import HUBER_DELTA, Loss
from l0.survey.problem import CalibrationProblem, Vector

# of the objective; Newton's last step gains several digits at once
_TOLERANCE = 1e-6
_ROUNDS = 20


@dataclass(frozen=True)
class SecondOrder:
    """The convex problems of one support at one strength."""

    constraints: sp.csr_array  # (targets, support_size), over scale
    values: Vector  # (targets,), over scale
    loss_weights: Vector  # (targets,)
    loss: Loss
    support: Support
    penalty: float
    leak: float  # share of the pull left beyond the cap

    @classmethod
    def of(
        cls,
        problem: CalibrationProblem,
        support: Support,
        *,
        loss: Loss,
        penalty: float,
        leak: float,
    ) -> "SecondOrder":
        """Take the columns of the support, each target over its scale."""
        columns = problem.constraints[:, support.records]
        scaled = sp.diags_array(1 / problem.scales) @ columns.astype(np.float64)
        return cls(
            sp.csr_array(scaled),
            problem.values / problem.scales,
            problem.loss_weights,
            loss,
            support,
            penalty,
            leak,
        )

    def solve(self, weights: Vector) -> tuple[Vector, float, bool]:
        """From weights of the support: the best ones, their relative gap, and whether settled."""
        inside = self._inside(weights)
        prices = np.zeros_like(self.values)
        for _ in range(_ROUNDS):
            found = self._solved(inside, prices=prices)
            weights, prices = found.weights, found.prices
            before, inside = inside, self._inside(weights)
            if (before == inside).all():
                objective = found.primal + self._given_up(inside)
                # an objective of zero has nothing left to gain
                share = found.gap / objective if objective > 0 else 0.0
                return weights, share, found.converged
        return weights, self.gap(weights, prices), False

    def gap(self, weights: Vector, prices: Vector) -> float:
        """By what share of the objective of these weights a better one can be lower, at most.

        Args:
            weights: (support_size,)
            prices: (targets,) any; the nearer to the optimum's, the tighter.
        """
        inside = self._inside(weights)
        solved = self._solved(inside, prices=prices, steps=0)
        # poor prices say less than that no objective is below zero
        bound = max(solved.dual, 0.0) + self._given_up(inside)
        objective = self.objective(weights)
        return max(objective - bound, 0.0) / objective if objective > 0 else 0.0

    def objective(self, weights: Vector) -> float:  # (support_size,)
        """What is minimised: the loss with its leak, and the pull to the reference."""
        inside = self._inside(weights)
        losses = self._losses(inside).of(self._errors(weights))
        reference = self.support.reference
        ratio = weights / reference
        divergence = reference * (ratio * np.log(ratio) - ratio + 1)
        pull = float((self._strengths * divergence).sum())
        return float(losses.sum()) + pull + self._given_up(inside)

    @property
    def _strengths(self) -> Vector:  # (support_size,)
        return self.support.strengths(self.penalty)

    def _errors(self, weights: Vector) -> Vector:
        errors: Vector = self.constraints @ weights - self.values
        return errors

    def _inside(self, weights: Vector) -> NDArray[np.bool_]:  # (targets,)
        return np.abs(self._errors(weights)) < self.loss.cap

    def _given_up(self, inside: NDArray[np.bool_]) -> float:
        """The loss of the targets beyond the cap that no step of these problems changes."""
        if inside.all():
            return 0.0
        return float(self.loss_weights[~inside].sum()) * self.loss.cap * (1 - self.leak)

    def _losses(self, inside: NDArray[np.bool_]) -> Losses:
        weights = np.where(inside, self.loss_weights, self.leak * self.loss_weights)
        if self.loss.box == np.inf:
            return Losses.squared(weights)
        if self.loss.ridge > 0:
            return Losses.huber(weights, delta=HUBER_DELTA)
        return Losses.absolute(weights)

    def _solved(
        self, inside: NDArray[np.bool_], *, prices: Vector, steps: int = 200
    ) -> DualSolution:
        bounds = self.support.bounds
        return solve_dual(
            self.constraints,
            self.values,
            reference=self.support.reference,
            losses=self._losses(inside),
            strength=self._strengths,
            bounds=(bounds.lower, bounds.upper),
            total=bounds.total,
            start_prices=prices,
            tolerance=_TOLERANCE,
            max_iterations=steps,
        )
