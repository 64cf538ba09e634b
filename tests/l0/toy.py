"""A shelf of survey problems small enough to check by hand, and of settings quick enough for them.

What each problem's answer is stands in its docstring; the laws are in the tests.
"""

import numpy as np
from numpy.typing import NDArray

from l0.survey import (
    CalibrationProblem,
    GatedFitSettings,
    GradualPruningSettings,
    PenalisedFitSettings,
    RefitSettings,
)

QUICK_GATES = GatedFitSettings(epochs=150)
# the settings of each method by its name
QUICK = {
    "hard_concrete": QUICK_GATES,
    "gradual_pruning": GradualPruningSettings(epochs=150),
    "penalised": PenalisedFitSettings(epochs=150),
}
QUICK_REFIT = RefitSettings(epochs=150)


def two_households() -> CalibrationProblem:
    """Each household is one target alone: weights 15 and 40 hit both, from a design of 20 each."""
    return CalibrationProblem([[1.0, 0.0], [0.0, 1.0]], [15.0, 40.0], [20.0, 20.0])


def two_states() -> CalibrationProblem:
    """Households 0 and 2 live in one state, 1 and 3 in the other: one of each must stay."""
    return CalibrationProblem(
        [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]],
        [100.0, 200.0],
        [60.0, 90.0, 60.0, 90.0],
        target_names=["north", "south"],
    )


def signed_totals() -> CalibrationProblem:
    """Under weights (1, 2): a surplus of 4 on 10, a deficit of -6 on -4, and 0.5 where 0 is due."""
    return CalibrationProblem(
        [[4.0, 5.0], [-2.0, -2.0], [-0.5, 0.5]], [10.0, -4.0, 0.0], [1.0, 1.0]
    )


def one_out_of_reach() -> CalibrationProblem:
    """Both targets count the same two households, but no weights make them both 100 and 1000."""
    return CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [100.0, 1000.0], [60.0, 60.0])


def few_carry_all(blocks: int = 4, targets_each: int = 3, copies: int = 10) -> CalibrationProblem:
    """The first records each carry a block of targets alone; all others carry one target each.

    Record b at a weight of 100 (b + 1) hits its targets exactly, and no other set of as many
    records meets all targets.
    """
    targets = blocks * targets_each
    whole = np.kron(np.eye(blocks), np.ones((targets_each, 1)))
    single = np.kron(np.eye(targets), np.ones((1, copies)))
    values = np.repeat(100.0 * np.arange(1, blocks + 1), targets_each)
    constraints = np.hstack([whole, single])
    return CalibrationProblem(constraints, values, np.full(constraints.shape[1], 10.0))


def random_survey(
    records: int = 60, targets: int = 6, *, seed: int = 0, without_weight: int = 0
) -> CalibrationProblem:
    """Totals of the design raised by a twentieth; the last records may have no design weight.

    Record 0 counts in every target, so that any budget can be had.
    """
    draw = np.random.default_rng(seed)
    constraints = draw.gamma(1.0, 1.0, (targets, records)) * (draw.random((targets, records)) < 0.5)
    constraints[:, 0] = 1.0
    design = draw.gamma(2.0, 500.0, records)
    design[records - without_weight :] = 0.0
    return CalibrationProblem(constraints, constraints @ design * 1.05, design)


def capped_loss(problem: CalibrationProblem, weights: NDArray[np.float64]) -> float:
    """The loss a fit lowers, from the problem's float64 errors alone."""
    errors = np.minimum(np.abs(problem.relative_errors(weights)), 1.0)
    return float(problem.loss_weights @ errors)


def nested_survey(
    states: int = 4, each: int = 30, classes: int = 3, *, seed: int = 0, without_weight: int = 0
) -> CalibrationProblem:
    """Counts and an amount by state and class, by state, by class, and for the nation.

    The last records may have no design weight.
    """
    draw = np.random.default_rng(seed)
    records = states * each
    state = np.repeat(np.arange(states), each)
    of_class = draw.integers(0, classes, records)
    amount = np.round(draw.gamma(1.0, 3.0, records), 1) * (draw.random(records) < 0.7)
    groups = [np.ones(records, dtype=bool)]
    groups += [state == one for one in range(states)] + [of_class == one for one in range(classes)]
    groups += [
        (state == one) & (of_class == other) for one in range(states) for other in range(classes)
    ]
    rows = np.array([np.where(group, x, 0.0) for group in groups for x in (1.0, amount)])
    design = draw.gamma(2.0, 50.0, records)
    design[records - without_weight :] = 0.0
    return CalibrationProblem(rows, rows @ design * 1.1 + 1.0, design)
