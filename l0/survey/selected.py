"""What a fit that selects ends with: the records kept, and the order of all."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector

# the folded weight of a record kept with a nearly closed gate starts the refit above zero
SMALLEST_GATE = 1e-2


@dataclass(frozen=True)
class Selection:
    """The support, its weights, and the order of all records."""

    support: NDArray[np.intp]  # (budget,), ascending
    weights: Vector  # (budget,), above zero, where the refit starts
    log_alpha: Vector  # (records,), the higher the sooner kept; -inf for records that left early
    open_probability: Vector  # (records,)

    @classmethod
    def everyone(cls, design_weights: Vector, weights: Vector) -> "Selection":
        """All records of positive design weight, at these weights of all records."""
        kept = design_weights > 0
        return cls(
            support=np.flatnonzero(kept),
            weights=weights[kept],
            log_alpha=np.where(kept, np.inf, -np.inf),
            open_probability=kept.astype(np.float64),
        )

    @classmethod
    def of(
        cls,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        scores: Tensor,  # (records held,)
        weights: Tensor,
        open_probability: Tensor,
        budget: int,
    ) -> "Selection":
        """The ``budget`` highest scores of the records still in the matrix."""
        join = operator.shards.join
        everyone = join(operator.records).cpu().numpy()
        places = best(operator, scores, budget)

        def of_all(values: Tensor, absent: float) -> Vector:
            vector = np.full(problem.n_records, absent)
            vector[everyone] = join(values).double().cpu().numpy()
            return vector

        return cls(
            support=join(operator.records[places]).cpu().numpy(),
            weights=join(weights[places]).double().cpu().numpy(),
            log_alpha=of_all(scores, -np.inf),
            open_probability=of_all(open_probability, 0.0),
        )


def best(operator: SparseOperator, scores: Tensor, size: int) -> Tensor:
    """Places, ascending, of this process's records among the ``size`` best of all.

    Equal scores fall in the order of the records.
    """
    shards = operator.shards
    everyone = shards.join(scores)
    chosen = everyone.sort(descending=True, stable=True).indices[:size].sort().values
    records = shards.join(operator.records)
    mine = shards.split(records[chosen], records[chosen])
    return torch.searchsorted(operator.records, mine)
