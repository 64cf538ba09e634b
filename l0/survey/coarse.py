"""Which targets are carried by many records, and so known well, and which hang on a few."""

import numpy as np
from numpy.typing import NDArray

from l0.survey.first_order import Support
from l0.survey.problem import CalibrationProblem, Vector

# On the survey of 2022 hidden targets were met alike from .01 to .03 at the first level, and the
# weights are the less uneven, the higher it is.
FIRST_PENALTY = 0.03
FIRMER, MORE_TARGETS = 2, 4  # from level to level


def coarse_levels(
    problem: CalibrationProblem, support: Support, *, share: float
) -> list[tuple[NDArray[np.bool_], float]]:
    """For each fit before that of all targets, the targets it leaves out and its penalty.

    The first meets the ``share`` of the targets that count and are carried by the most records;
    each of the next ``MORE_TARGETS`` times as many, near what the last one has made of the weights.
    """
    counted = problem.loss_weights > 0
    count = int(counted.sum())
    carried = np.where(counted, effective_records(problem, support), -1.0)
    widest_first = np.argsort(-carried, kind="stable")
    levels = []
    penalty = FIRST_PENALTY
    while 0 < share < 1:
        wide = round(share * count)
        if 0 < wide < count:
            narrow = np.ones(problem.n_targets, dtype=bool)
            narrow[widest_first[:wide]] = False
            levels.append((narrow, penalty))
            penalty *= FIRMER
        share *= MORE_TARGETS
    return levels


def effective_records(problem: CalibrationProblem, support: Support) -> Vector:  # (targets,)
    """How many equal records would carry each target as unevenly, at the reference weights.

    (sum |x|)^2 / sum x^2 of what each record carries, as in Kish's effective sample size.
    """
    columns = problem.constraints[:, support.records].astype(np.float64)
    columns.data = np.abs(columns.data)
    sums = columns @ support.reference
    columns.data **= 2
    squares = columns @ np.square(support.reference)
    carried: Vector = np.divide(
        np.square(sums), squares, out=np.zeros_like(sums), where=squares > 0
    )
    return carried
