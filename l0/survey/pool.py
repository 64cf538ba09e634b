"""The records still in the matrix, with what a fit that selects knows of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.adam import Adam
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import best

# the logarithm of a record without any coefficient must stay finite
_SMALLEST_NORM = 1e-30
# of the penalty of a selection where none is given
LARGEST_PENALTY = 0.07
# records leave the matrix together, once this much of it would be saved
_WORTH_A_CUT = 0.25


class Pool:
    """Vectors of the records that are left, those of this process."""

    VECTORS = ("design", "log_weights", "locations", "log_norms")
    MOMENTS = ("weight_adam", "gate_adam")

    def __init__(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        start: Vector,  # (records,)
    ) -> None:
        """Begin with every record of positive design weight, at its weight of ``start``."""
        device = operator.device
        self._whole = operator
        self.operator = operator
        held = operator.records.cpu().numpy()
        self.design = torch.tensor(problem.design_weights[held], dtype=torch.float32, device=device)
        self.initial_size = int((problem.design_weights > 0).sum())
        self._total = float(problem.design_weights.sum())
        self.size = self.initial_size
        self.log_weights = torch.tensor(start[held], dtype=torch.float32, device=device).log()
        self.locations = torch.zeros_like(self.design)
        self.log_norms = (
            operator.column_norms(torch.tensor(problem.loss_weights), torch.tensor(problem.scales))
            .clamp(min=_SMALLEST_NORM)
            .log()
        )
        self.weight_adam = Adam(self.design)
        self.gate_adam = Adam(self.design)

    @property
    def records(self) -> Tensor:
        """Positions in the problem, ascending."""
        return self.operator.records

    @property
    def contribution(self) -> Tensor:
        """log(w * norm): how much each record carries under the loss."""
        return self.log_weights + self.log_norms

    def reference(self, open_design: Tensor) -> Tensor:
        """The design, raised by one factor to its total.

        Args:
            open_design: the design weight that is expected to stay of each record.
        """
        (total,) = self.operator.totals(open_design)
        return self.design * (self._total / total)

    def strength(self, penalty: float | None, budget: int) -> float:
        """How strongly weights are held near the design while records are chosen.

        The fewer records are to carry the totals, the further each must move: without a penalty
        it is the share of records kept, up to ``LARGEST_PENALTY``.
        """
        if penalty is None:
            penalty = min(LARGEST_PENALTY, budget / self.initial_size)
        return penalty / self._total

    def keep_best(self, scores: Tensor, size: int) -> None:
        """Let all but the ``size`` highest scores leave."""
        if size >= self.size:
            return
        self._keep(best(self.operator, scores, size))
        self.size = size

    def is_worth_a_cut(self, size: int) -> bool:
        """Whether a cut to this size would save enough to be made."""
        return size <= (1 - _WORTH_A_CUT) * self.size

    def _keep(self, places: Tensor) -> None:
        # one matrix at a time: what was whole is not needed until the fit is over
        self.operator.release()
        self.operator = self.operator.keep(places)
        for name in self.VECTORS:
            setattr(self, name, getattr(self, name)[places])
        self.weight_adam.keep(places)
        self.gate_adam.keep(places)

    def state(self) -> dict[str, NDArray[Any]]:
        """Every vector of all processes, and the steps of both optimizers."""
        join = self.operator.shards.join
        vectors: dict[str, Tensor] = {"records": self.records}
        vectors |= {name: getattr(self, name) for name in self.VECTORS}
        for name in self.MOMENTS:
            adam: Adam = getattr(self, name)
            vectors |= {f"{name}.mean": adam.mean, f"{name}.square": adam.square}
        state = {name: join(vector).cpu().numpy() for name, vector in vectors.items()}
        state |= {f"{name}.steps": np.array(getattr(self, name).steps) for name in self.MOMENTS}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state, from whatever this pool has become."""
        device = self._whole.device
        records = torch.tensor(state["records"], device=device)
        split = self.operator.shards.split

        def mine(name: str) -> Tensor:
            return split(torch.tensor(state[name], device=device), records).clone()

        self.size = len(records)
        self.operator = self._whole.keep(torch.searchsorted(self._whole.records, mine("records")))
        for name in self.VECTORS:
            setattr(self, name, mine(name))
        for name in self.MOMENTS:
            adam: Adam = getattr(self, name)
            adam.mean, adam.square = mine(f"{name}.mean"), mine(f"{name}.square")
            adam.steps = int(state[f"{name}.steps"])
