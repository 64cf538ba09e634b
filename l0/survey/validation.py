"""How strongly weights are held near the reference: chosen by targets set aside for that alone.

A part of the fitted targets is hidden; weights are refitted at each of a few strengths, from
strong to weak, each from where the last one ended and so in half the epochs; the strongest is
taken of those under which the hidden targets are met as well as can be told, since it leaves
weights the least uneven.
Targets held out from the whole calibration are never looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0.survey.losses import CAP
from l0.survey.problem import CalibrationProblem, Vector

Refit = Callable[[Vector, float], Vector]

STRENGTHS = (0.06, 0.03, 0.01, 0.003)
# with fewer targets that count, too few could be hidden to tell strengths apart
FEWEST_TARGETS = 50
WITHOUT_VALIDATION = 0.01


@dataclass(frozen=True)
class Validation:
    """One strength, and how it did on the hidden targets."""

    penalty: float
    loss: float  # of the hidden targets
    standard_error: float  # of the difference to the best strength


def hidden_targets(problem: CalibrationProblem, *, share: float, seed: int) -> NDArray[np.bool_]:
    """A mask of the targets set aside: this share of those that count, drawn by the seed.

    None where too few count.
    """
    counted = np.flatnonzero(problem.loss_weights > 0)
    if len(counted) < FEWEST_TARGETS:
        return np.zeros(problem.n_targets, dtype=bool)
    drawn = np.random.default_rng(seed).choice(
        counted, size=round(share * len(counted)), replace=False
    )
    hidden = np.zeros(problem.n_targets, dtype=bool)
    hidden[drawn] = True
    return hidden


def validate(
    problem: CalibrationProblem,
    hidden: NDArray[np.bool_],  # (targets,)
    refit: Refit,
    *,
    start: Vector,  # (support_size,)
) -> tuple[Validation, ...]:
    """Every strength, strongest first, with the loss of the hidden targets; none without any.

    Args:
        problem: with all targets.
        hidden: those that the support was chosen and is refitted without.
        refit: from start weights and a strength, the weights of all records.
        start: where the first refit starts; each of the others starts where the last one ended.
    """
    losses: list[Vector] = []
    if not hidden.any():
        return ()
    for strength in STRENGTHS:
        weights = refit(start, strength)
        start = weights[weights > 0]
        errors = np.abs(problem.relative_errors(weights)[hidden])
        losses.append(np.minimum(errors, CAP))
    omega = problem.loss_weights[hidden] / problem.loss_weights[hidden].sum()
    means = [float((omega * loss).sum()) for loss in losses]
    best = losses[int(np.argmin(means))]
    return tuple(
        Validation(strength, mean, _standard_error(loss - best, omega))
        for strength, mean, loss in zip(STRENGTHS, means, losses, strict=True)
    )


def chosen(validation: Sequence[Validation]) -> float:
    """The strongest within one standard error of the best; a mild one where none were compared.

    The rule of one standard error is that of Breiman, Friedman, Olshen and Stone (1984).
    """
    if not validation:
        return WITHOUT_VALIDATION
    least = min(tried.loss for tried in validation)
    return max(tried.penalty for tried in validation if tried.loss - least <= tried.standard_error)


def _standard_error(differences: Vector, omega: Vector) -> float:
    """Of a weighted mean of independent differences."""
    mean = float((omega * differences).sum())
    return float(np.sqrt(np.square(omega * (differences - mean)).sum()))
