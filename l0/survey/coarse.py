"""Which targets are carried by many records, and so known well, and which hang on a few."""

import numpy as np
from numpy.typing import NDArray

from l0.survey.first_order import Support
from l0.survey.problem import CalibrationProblem, Vector


def narrowly_carried(
    problem: CalibrationProblem, support: Support, *, share: float
) -> NDArray[np.bool_] | None:  # (targets,)
    """All but the ``share`` of the targets that count and are carried by the most records.

    None where that would leave none, or all.
    """
    counted = problem.loss_weights > 0
    wide = round(share * int(counted.sum()))
    if wide in {0, int(counted.sum())}:
        return None
    carried = np.where(counted, effective_records(problem, support), -1.0)
    narrow = np.ones(problem.n_targets, dtype=bool)
    narrow[np.argsort(-carried, kind="stable")[:wide]] = False
    return narrow


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
