"""What kept households are held near besides the targets: soft rows at the end of a problem.

An anchor is a total that is known from all households of the survey. It weighs less than the
targets and is no target: it has no role, and nothing is judged by it. Which anchors there are is
in ``untargeted`` (shares that no target mentions) and ``model_totals`` (what a tax model computes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from l0.survey import CalibrationProblem


@dataclass(frozen=True)
class Anchors:
    """Rows that hold weights near what is known of all households."""

    names: Sequence[str]
    constraints: sp.csr_array  # (anchors, households)
    values: np.ndarray  # (anchors,)
    scales: np.ndarray  # (anchors,), what errors are divided by
    importance: np.ndarray  # (anchors,), in relation to each other


def anchored(problem: CalibrationProblem, *weighted: tuple[Anchors, float]) -> CalibrationProblem:
    """The problem with the anchors below its targets.

    Args:
        problem: the targets.
        weighted: anchors, and what all of one kind together weigh in the loss; the targets weigh 1.
    """
    used = [(held, weight) for held, weight in weighted if weight > 0 and len(held.names)]
    if not used:
        return problem
    of_targets = float(problem.loss_weights.sum())
    parts = [
        (held, weight * of_targets * held.importance / held.importance.sum())
        for held, weight in used
    ]
    return CalibrationProblem(
        sp.vstack([problem.constraints, *(held.constraints for held, _ in parts)], format="csr"),
        np.concatenate([problem.values, *(held.values for held, _ in parts)]),
        problem.design_weights,
        target_names=[*problem.target_names, *(name for held, _ in parts for name in held.names)],
        scales=np.concatenate([problem.scales, *(held.scales for held, _ in parts)]),
        loss_weights=np.concatenate([problem.loss_weights, *(share for _, share in parts)]),
    )
