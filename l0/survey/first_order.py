"""A refit by first-order steps: Adam on log-weights, projected onto the bounds after every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.adam import Adam, cosine_rate
from l0.survey.bounds import WeightBounds
from l0.survey.history import EpochRecord, refuse_lost
from l0.survey.operator import SparseOperator
from l0.survey.problem import Vector
from l0.survey.target_loss import TargetLoss

# of the total: float32 cannot tell it from its bound
_ON_BOUND = 1e-5


@dataclass(frozen=True)
class Support:
    """The records kept, ascending, with what is known of them before the refit."""

    records: NDArray[np.intp]  # (support_size,)
    reference: Vector  # (support_size,), what weights are held near
    # (support_size,), how firmly each weight is held there; one on average over the reference
    firmness: Vector
    bounds: WeightBounds

    def strengths(self, penalty: float) -> Vector:  # (support_size,)
        """How strongly a penalty pulls each weight to its reference."""
        return self.firmness * (penalty / float(self.reference.sum()))


class FirstOrder:
    """The refit as a stage: Adam on log-weights.

    Raises:
        InputError: while it goes, the loss stopped being a number.
    """

    def __init__(
        self,
        name: str,
        targets: TargetLoss,
        operator: SparseOperator,
        support: Support,
        *,
        start: Vector,  # (support_size,)
        penalty: float,
        rate: float,
        epochs: int,
    ) -> None:
        self.name = name
        self.epoch = 0
        self.epochs = epochs
        self._targets = targets
        self._rate = rate
        self._support = support
        self._operator = operator
        self._mine = np.searchsorted(support.records, operator.records.cpu().numpy())
        self._reference = self._held(support.reference)
        self._log_reference = self._reference.log()
        self._strengths = self._held(support.strengths(penalty))
        self._lowest = self._held(support.bounds.lower).log()
        self._highest = self._held(support.bounds.upper).log()
        self._log_weights = self._inside(self._held(start).log())
        self._adam = Adam(self._log_weights, operator.cuts)
        # their mean tends to the prices at the optimum, where those of one epoch only know signs
        self._price_sum = torch.zeros_like(targets.scales)

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """One epoch."""
        operator = self._operator
        weights = self._log_weights.exp()
        errors = self._targets.errors(operator.estimates(weights))
        log_ratio = self._log_weights - self._log_reference
        record = None
        if recorded:
            divergence = weights * log_ratio - weights + self._reference
            (penalty,) = operator.totals(self._strengths * divergence)
            record = EpochRecord(
                stage=self.name,
                epoch=self.epoch,
                epochs=self.epochs,
                loss=self._targets.value(errors),
                penalty=penalty,
                records=len(self._support.records),
            )
            refuse_lost(record)
        rate = cosine_rate(self._rate, epoch=self.epoch, epochs=self.epochs)
        prices = self._targets.prices(errors)
        # the first prices are of other weights, the last know signs alone
        self._price_sum += min(self.epoch, self.epochs - self.epoch) * prices
        worth = operator.adjoint(prices)
        gradient = weights * (worth + self._strengths * log_ratio)
        self._adam.step(self._log_weights, self._along_total(gradient, weights), rate)
        self._log_weights = self._inside(self._log_weights)
        self.epoch += 1
        return record

    def weights(self) -> Vector:  # (support_size,)
        """Where the weights stand, within all bounds exactly."""
        joined = self._operator.shards.join(self._log_weights)
        return self._support.bounds.project(joined.double().exp().cpu().numpy())

    def prices(self) -> Vector:  # (targets,)
        """The mean price of each error, most of it from the middle epochs."""
        weight = sum(min(epoch, self.epochs - epoch) for epoch in range(self.epochs))
        mean = self._price_sum * self._targets.scales / max(weight, 1)
        return mean.cpu().numpy()

    def state(self) -> dict[str, NDArray[Any]]:
        """Log-weights and the optimizer's moments."""
        join = self._operator.shards.join
        vectors = {
            "log_weights": self._log_weights,
            "mean": self._adam.mean,
            "square": self._adam.square,
        }
        state: dict[str, NDArray[Any]] = {
            name: join(vector).cpu().numpy() for name, vector in vectors.items()
        }
        state["steps"] = np.array(self._adam.steps)
        state["price_sum"] = self._price_sum.cpu().numpy()
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where ``state`` was taken."""
        self._log_weights = self._held(state["log_weights"])
        self._adam.mean = self._held(state["mean"])
        self._adam.square = self._held(state["square"])
        self._adam.steps = int(state["steps"])
        self._price_sum = torch.tensor(state["price_sum"], device=self._operator.device)

    def _held(self, values: NDArray[Any]) -> Tensor:  # (support_size,) -> (records held,)
        mine = np.asarray(values)[self._mine]
        return torch.tensor(mine, dtype=torch.float32, device=self._operator.device)

    def _along_total(self, gradient: Tensor, weights: Tensor) -> Tensor:
        """The part of a gradient that leaves the total where it is, if it stands on its bound."""
        band = self._support.bounds.total
        if band is None:
            return gradient
        # those that stand on a bound of their own do not give way
        moving = weights * (
            (self._log_weights > self._lowest) & (self._log_weights < self._highest)
        )
        total, outward, square = self._operator.totals(
            weights, -gradient * moving, weights * moving
        )
        at_most, at_least = total >= band[1] * (1 - _ON_BOUND), total <= band[0] * (1 + _ON_BOUND)
        if square > 0 and ((at_most and outward > 0) or (at_least and outward < 0)):
            return gradient + weights * (outward / square)
        return gradient

    def _inside(self, log_weights: Tensor) -> Tensor:
        """Within the bounds of each, and near enough to those of the total."""
        inside = torch.maximum(torch.minimum(log_weights, self._highest), self._lowest)
        band = self._support.bounds.total
        if band is None:
            return inside
        moves = (log_weights > self._lowest) & (log_weights < self._highest)
        weights = inside.exp()
        total, moving = self._operator.totals(weights, weights * moves)
        wanted = min(max(total, band[0]), band[1])
        # one factor a step is enough: the next steps mend what clipping takes back
        needed = moving + wanted - total
        if moving > 0 and needed > 0:
            return inside + moves * float(np.log(needed / moving))
        return inside + float(np.log(wanted / total))
