"""The records still in the matrix, shard by shard, with what a fit that selects knows of each."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.adam import Adam
from l0.survey.operator import Result, SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import best
from l0.survey.shard_matrix import ShardMatrix

# the logarithm of a record without any coefficient must stay finite
_SMALLEST_NORM = 1e-30
# of a selection where no penalty is given, at a tenth of the records
_LARGEST_PENALTY = 0.1
# records leave the matrix together, once this much of it would be saved
_WORTH_A_CUT = 0.15


class Part:
    """The records of one shard that are left."""

    VECTORS = ("design", "log_reach", "log_ratios", "locations")
    MOMENTS = ("weight_adam", "gate_adam")

    def __init__(self, shard: int, matrix: ShardMatrix, vectors: Mapping[str, Tensor]) -> None:
        """Take the vectors as they are, and optimizers that have seen nothing."""
        self.shard = shard
        self.matrix = matrix
        self.design = vectors["design"]
        # of what a record carries under the loss at its design weight
        self.log_reach = vectors["log_reach"]
        # of weights over design weights: what is trained
        self.log_ratios = vectors["log_ratios"]
        self.locations = vectors["locations"]
        self.weight_adam = Adam(self.log_ratios)
        self.gate_adam = Adam(self.locations)

    @property
    def contribution(self) -> Tensor:
        """log(w * norm): how much each record carries under the loss."""
        return self.log_reach + self.log_ratios

    def weights(self) -> Tensor:
        """The weights, before any gate."""
        return self.log_ratios.exp().mul_(self.design)

    def keep(self, places: Tensor, matrix: ShardMatrix) -> None:
        """Forget all but these records."""
        self.matrix = matrix
        for name in self.VECTORS:
            setattr(self, name, getattr(self, name)[places])
        self.weight_adam.keep(places)
        self.gate_adam.keep(places)


class Pool:
    """The parts of this process, and what takes the records of all."""

    def __init__(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        start: Vector,  # (records,)
    ) -> None:
        """Begin with every record of the operator, at its weight of ``start``."""
        self._whole = operator
        self.operator = operator
        held = operator.records.cpu().numpy()
        self._sample_size = int((problem.design_weights > 0).sum())
        self._total = float(problem.design_weights.sum())
        # fewer than the sample, where only some of it may be chosen from
        self.initial_size = len(operator.shards.join(operator.records))
        self.size = self.initial_size
        norms = operator.column_norms(
            torch.tensor(problem.loss_weights), torch.tensor(problem.scales)
        )
        design = problem.design_weights[held]

        def on_device(values: Vector) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=operator.device)

        self.parts = self._cut(
            {
                "design": on_device(design),
                "log_reach": on_device(np.log(design)) + norms.clamp(min=_SMALLEST_NORM).log(),
                "log_ratios": on_device(np.log(start[held]) - np.log(design)),
                "locations": torch.zeros_like(norms),
            }
        )

    def each(self, work: Callable[[Part], Result]) -> list[Result]:
        """Work on the vectors of every part."""
        return self.operator.each(lambda k: work(self.parts[k]), multiplies=False)

    def total(self, work: Callable[[Part], Tensor]) -> Tensor:
        """The sum over the parts of all processes of what work finds in the vectors of each."""
        return self.operator.total(lambda k: work(self.parts[k]), multiplies=False)

    def raised(self, open_design: float) -> float:
        """The factor that raises a design weight that is expected to stay to the design's total."""
        return self._total / open_design

    def strength(self, penalty: float | None, budget: int) -> float:
        """How strongly weights are held near the design while records are chosen.

        Without a penalty the share of records kept tells one, by a rule that was chosen on a
        200,576-record survey: the fewer are to carry the totals, the further each must move; and
        the more there are, the less there is to choose.
        """
        share = budget / self._sample_size
        if penalty is None:
            penalty = min(1.5 * share, _LARGEST_PENALTY, 0.1 * _LARGEST_PENALTY / share)
        return penalty / self._total

    def keep_best(self, score: Callable[[Part], Tensor], size: int) -> None:
        """Let all but the ``size`` highest scores leave.

        Args:
            score: of the records of a part.
            size: how many stay, of all processes' records.
        """
        if size >= self.size:
            return
        places = best(self.operator, torch.cat(self.each(score)), size)
        # one matrix at a time: what was whole is not needed until the fit is over
        self.operator.release()
        before = self.operator.cuts
        self.operator = self.operator.keep(places)
        cuts = zip(before, self.operator.cuts, self.operator.matrices, self.parts, strict=True)
        for old, new, matrix, part in cuts:
            part.keep(places[new] - old.start, matrix)
        self.size = size

    def is_worth_a_cut(self, size: int) -> bool:
        """Whether a cut to this size would save enough to be made."""
        return size <= (1 - _WORTH_A_CUT) * self.size

    def state(self) -> dict[str, NDArray[Any]]:
        """Every vector of all processes, and the steps of both optimizers."""

        def joined(*vectors: Tensor) -> NDArray[Any]:
            return self.operator.shards.join(torch.cat(vectors)).cpu().numpy()

        state: dict[str, NDArray[Any]] = {"records": joined(self.operator.records)}
        for name in Part.VECTORS:
            state[name] = joined(*(getattr(part, name) for part in self.parts))
        for name in Part.MOMENTS:
            adams: list[Adam] = [getattr(part, name) for part in self.parts]
            state[f"{name}.mean"] = joined(*(adam.mean for adam in adams))
            state[f"{name}.square"] = joined(*(adam.square for adam in adams))
            state[f"{name}.steps"] = np.array(adams[0].steps)
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state, from whatever this pool has become."""
        device = self._whole.device
        records = torch.tensor(state["records"], device=device)
        split = self.operator.shards.split

        def mine(name: str) -> Tensor:
            return split(torch.tensor(state[name], device=device), records)

        self.size = len(records)
        self.operator = self._whole.keep(torch.searchsorted(self._whole.records, mine("records")))
        self.parts = self._cut({name: mine(name) for name in Part.VECTORS})
        for name in Part.MOMENTS:
            mean, square = mine(f"{name}.mean"), mine(f"{name}.square")
            for part, cut in zip(self.parts, self.operator.cuts, strict=True):
                adam: Adam = getattr(part, name)
                adam.mean, adam.square = mean[cut].clone(), square[cut].clone()
                adam.steps = int(state[f"{name}.steps"])

    def _cut(self, vectors: Mapping[str, Tensor]) -> list[Part]:
        """Parts of whole vectors (records held,), copied."""
        operator = self.operator
        return [
            Part(
                operator.shards.first + place,
                matrix,
                {name: vector[cut].clone() for name, vector in vectors.items()},
            )
            for place, (cut, matrix) in enumerate(
                zip(operator.cuts, operator.matrices, strict=True)
            )
        ]
