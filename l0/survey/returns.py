"""Records that have left come back to be chosen from again, beside those that were kept.

A selection lets records go while the weights are still far from their end. Once these are
refitted, the errors that are left tell which of the others would be worth having: those whose
weight, raised from zero, lowers the loss the most.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from l0.survey.losses import Loss
from l0.survey.operator import SparseOperator, one_thread_each
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.target_loss import TargetLoss

# for each record kept, how many of the others may come back
CANDIDATES = 6
# of the raised design weight, at which they come
FIRST_SHARE = 0.1


def candidates(
    problem: CalibrationProblem,
    operator: SparseOperator,
    weights: Vector,  # (records,), zeros for those that were not kept
    *,
    loss: Loss,
    leak: float,
) -> tuple[NDArray[np.intp], Vector]:
    """The records to choose from, ascending, and a weight of every record to begin with.

    These are the records kept, and those that left which would lower the loss the most if they came
    in with a little of their design weight, raised to the total of those kept.

    Args:
        problem: what to reproduce.
        operator: its constraints.
        weights: as refitted.
        loss: how errors are judged.
        leak: share of a target's pull left beyond the loss's cap.
    """
    kept = weights > 0
    targets = TargetLoss.of(problem, loss, operator.device, leak=leak)
    estimates = torch.tensor(problem.estimates(weights), device=operator.device)
    with one_thread_each():
        worth = operator.shards.join(operator.adjoint(targets.prices(targets.errors(estimates))))
    held = operator.shards.join(operator.records).cpu().numpy()
    kept_design = problem.design_weights[kept].sum()
    raised: Vector = problem.design_weights * (problem.design_weights.sum() / kept_design)
    gain = np.full(problem.n_records, -np.inf)
    gain[held] = -worth.double().cpu().numpy() * raised[held]
    gain[kept] = -np.inf
    best = np.argsort(-gain, kind="stable")[: CANDIDATES * int(kept.sum())]
    chosen_from = kept.copy()
    chosen_from[best[gain[best] > 0]] = True
    return np.flatnonzero(chosen_from), np.where(kept, weights, FIRST_SHARE * raised)
