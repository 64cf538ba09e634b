"""Gradual magnitude pruning: weights descend while the lightest records leave in steps.

After Zhu and Gupta (2017), *To prune, or not to prune*, with a record's magnitude measured by
what it contributes under the loss, w_i * norm_i. No gates and no noise: the number of records
follows the schedule by itself, and ends at the budget.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.adam import cosine_rate
from l0.survey.budget import scheduled_budget
from l0.survey.history import EpochRecord, refuse_lost
from l0.survey.losses import LEAK, Loss
from l0.survey.operator import SparseOperator
from l0.survey.pool import Part, Pool
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import Selection
from l0.survey.settings import check_settings
from l0.survey.shards import shard_sums
from l0.survey.target_loss import TargetLoss


@dataclass(frozen=True)
class GradualPruningSettings:
    """Hyperparameters of gradual pruning."""

    epochs: int = 1000
    weight_rate: float = 0.15
    prune_every: int = 5  # epochs between two cuts
    budget_share: float = 0.6  # of the epochs, until the budget is reached
    budget_power: float = 1.0
    leak: float = LEAK  # share of the pull left beyond a cap
    smoothing: float = 0.02  # errors below it pull in proportion to their size
    # Kullback-Leibler, towards the scaled design weights; without, the share of records kept tells
    penalty: float | None = None

    def __post_init__(self) -> None:
        bounds = {
            "epochs": (1, np.inf),
            "prune_every": (1, np.inf),
            "penalty": (0, np.inf),
            "leak": (0, 1),
            "smoothing": (0, np.inf),
            "budget_share": (1e-9, 1),
        }
        check_settings(self, bounds)

    def stage(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int,
        loss: Loss,
        seed: int,  # noqa: ARG002 nothing here is random
        start: Vector,
    ) -> "GradualPruning":
        """The fit of a problem, at its first epoch."""
        targets = TargetLoss.of(
            problem, loss, operator.device, leak=self.leak, smoothing=self.smoothing
        )
        return GradualPruning(
            problem,
            operator,
            budget=budget,
            targets=targets,
            settings=self,
            start=start,
        )


class GradualPruning:
    """The fit as a stage.

    Raises:
        InputError: while it goes, the loss stopped being a number.
    """

    name = "pruning"

    def __init__(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int,
        targets: TargetLoss,
        settings: GradualPruningSettings,
        start: Vector,  # (records,)
    ) -> None:
        self.epoch = 0
        self.epochs = settings.epochs
        self._problem = problem
        self._budget = budget
        self._settings = settings
        self._targets = targets
        self._pool = Pool(problem, operator, start=start)
        self._last = max(1, int(settings.epochs * settings.budget_share))
        self._strength = self._pool.strength(settings.penalty, budget)

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """One epoch: a cut where one is due, one step of the weights."""
        pool, settings = self._pool, self._settings
        wanted = scheduled_budget(
            self.epoch,
            records=pool.initial_size,
            budget=self._budget,
            last_epoch=self._last,
            power=settings.budget_power,
        )
        if self.epoch % settings.prune_every == 0 or self.epoch >= self._last:
            pool.keep_best(_contribution, round(wanted))
        weights = pool.each(lambda part: part.weights())
        operator, total = pool.operator, pool.operator.total
        stored = total(lambda k: pool.parts[k].matrix.estimates(weights[k]))
        errors = self._targets.errors(operator.summed(stored))
        prices = operator.folded(self._targets.prices(errors)).float()
        left = float(pool.total(lambda part: shard_sums(part.design)))
        log_raised = math.log(pool.raised(left))
        distances = pool.each(lambda part: part.log_ratios - log_raised)
        record = None
        if recorded:
            divergence = float(
                total(lambda k: shard_sums(weights[k] * (distances[k] - 1)), multiplies=False)
            )
            record = EpochRecord(
                stage=self.name,
                epoch=self.epoch,
                epochs=self.epochs,
                loss=self._targets.value(errors),
                penalty=self._strength * (divergence + pool.raised(left) * left),
                records=pool.size,
                budget=wanted,
            )
            refuse_lost(record)
        rate = cosine_rate(settings.weight_rate, epoch=self.epoch, epochs=self.epochs)

        def learn(k: int) -> None:
            part = pool.parts[k]
            worth = part.matrix.adjoint(prices)
            gradient = weights[k] * (worth + self._strength * distances[k])
            part.weight_adam.step(part.log_ratios, gradient, rate)

        pool.operator.each(learn)
        self.epoch += 1
        return record

    def selection(self) -> Selection:
        """The ``budget`` records that carry most; each that is left is in with certainty."""
        pool = self._pool
        pool.keep_best(_contribution, self._budget)
        weights = torch.cat([part.weights() for part in pool.parts])
        return Selection.of(
            self._problem,
            pool.operator,
            scores=torch.cat(pool.each(_contribution)),
            weights=weights,
            open_probability=torch.ones_like(weights),
            budget=self._budget,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The pool's vectors."""
        return self._pool.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where ``state`` was taken."""
        self._pool.restore(state)


def _contribution(part: Part) -> Tensor:
    return part.contribution
