"""Weights on a fixed support: gates removed, errors lowered, weights held near the design's.

Adam on log-weights with a cosine rate, so that weights stay positive. The penalty is the
Kullback-Leibler divergence from the design weights, raised to the support by one factor. A bound
on the ratio to them is held by projection after every step, and exactly in the result.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.adam import Adam, cosine_rate
from l0.survey.history import EpochRecord, OnProgress, is_recorded
from l0.survey.losses import capped_relative, capped_relative_gradient
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.weights import scaled_design_weights


@dataclass(frozen=True)
class RefitSettings:
    """Hyperparameters of the refit."""

    epochs: int = 300
    rate: float = 0.1
    penalty: float = 0.1  # Kullback-Leibler, towards the scaled design weights
    max_weight_ratio: float | None = None  # to the scaled design weights; None for no bound

    def __post_init__(self) -> None:
        if self.max_weight_ratio is not None and not 1 <= self.max_weight_ratio < np.inf:
            raise InputError(
                f"max_weight_ratio is {self.max_weight_ratio}, but must be at least 1, where "
                "every weight is its scaled design weight at most. None sets no bound."
            )
        whole = isinstance(self.epochs, Integral) and self.epochs >= 1
        if not whole or not 0 < self.rate < np.inf or not 0 <= self.penalty < np.inf:
            raise InputError(
                f"refit needs at least one epoch, a positive rate and a penalty of 0 or more, "
                f"all finite and the epochs whole, but got {self}."
            )


def refit(
    problem: CalibrationProblem,
    support: Iterable[int],
    *,
    start: Vector | None = None,  # (support_size,)
    settings: RefitSettings | None = None,
    operator: SparseOperator | None = None,
    device: torch.device | None = None,
    on_progress: OnProgress | None = None,
) -> Vector:
    """The weights of all records, (records,), exact zeros outside the support.

    Args:
        problem: what to reproduce.
        support: positions of the records kept, each once.
        start: weights to start from, above zero, in the order of ``support``; the scaled
            design weights without.
        settings: epochs, rate, penalty and bound.
        operator: the problem's operator where one is at hand; built on ``device`` without.
        device: where to compute; the CPU without.
        on_progress: called with each recorded epoch.

    Raises:
        InputError: a support that is empty, repeats, or names records that do not
            exist or have no design weight; a start that does not fit it; or weights that ran
            out of float32.
    """
    settings = settings or RefitSettings()
    given = _checked_support(problem, support)
    order = np.argsort(given)
    kept = given[order]
    whole = operator or SparseOperator.of(problem, device or torch.device("cpu"))
    kept_operator = whole.keep(torch.from_numpy(kept))
    design = scaled_design_weights(problem.design_weights, kept)
    reference = torch.tensor(design, dtype=torch.float32, device=whole.device)
    loss_weights = torch.tensor(problem.loss_weights, dtype=torch.float32, device=whole.device)
    values = torch.tensor(problem.values / problem.scales, dtype=torch.float32, device=whole.device)
    first = reference
    if start is not None:
        first = torch.from_numpy(_checked_start(start, len(given))[order]).to(reference)
    log_weights = first.log()
    log_reference = reference.log()
    bound = np.inf if settings.max_weight_ratio is None else settings.max_weight_ratio
    ceiling = log_reference + math.log(bound)
    strength = settings.penalty / float(reference.sum())
    adam = Adam(log_weights)
    for epoch in range(settings.epochs):
        weights = log_weights.exp()
        error = kept_operator.estimates(weights) - values
        worth = kept_operator.adjoint(capped_relative_gradient(error, loss_weights))
        pull = strength * (log_weights - log_reference)
        rate = cosine_rate(settings.rate, epoch=epoch, epochs=settings.epochs)
        if on_progress is not None and is_recorded(epoch, settings.epochs):
            divergence = weights * (log_weights - log_reference) - weights + reference
            on_progress(
                EpochRecord(
                    stage="refit",
                    epoch=epoch,
                    epochs=settings.epochs,
                    loss=float(capped_relative(error, loss_weights)),
                    penalty=float(divergence.sum()) * strength,
                    records=len(kept),
                )
            )
        step = adam.step(weights * (worth + pull), rate)
        log_weights = torch.minimum(log_weights - step, ceiling)
    everyone = np.zeros(problem.n_records)
    everyone[kept] = np.minimum(log_weights.exp().double().cpu().numpy(), bound * design)
    lost = int((~np.isfinite(everyone[kept]) | (everyone[kept] == 0)).sum())
    if lost:
        raise InputError(
            f"{lost} of {len(kept)} weights became zero or infinite in the refit. Lower its rate, "
            "or look for targets whose scale is far below their value."
        )
    return everyone


def _checked_support(problem: CalibrationProblem, support: Iterable[int]) -> NDArray[np.intp]:
    given = np.asarray(list(support))
    if not given.size:
        raise InputError("the support is empty. Keep at least one record.")
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise InputError(
            f"the support must be a list of positions, but got {given.dtype} of shape "
            f"{given.shape}. np.flatnonzero turns a mask into positions."
        )
    kept = given.astype(np.intp)
    if kept.min() < 0 or kept.max() >= problem.n_records:
        raise InputError(
            f"the support names records from {kept.min()} to {kept.max()}, but there are "
            f"{problem.n_records}: positions run from 0 to {problem.n_records - 1}."
        )
    if len(np.unique(kept)) < len(kept):
        raise InputError("the support names a record twice. Give each position once.")
    without_weight = int((problem.design_weights[kept] == 0).sum())
    if without_weight:
        raise InputError(
            f"{without_weight} records of the support have a design weight of zero. "
            "Draw the support from records of the sample."
        )
    return kept


def _checked_start(start: Vector, size: int) -> Vector:
    weights = np.asarray(start, dtype=np.float64)
    if weights.shape != (size,):
        raise InputError(
            f"start has shape {weights.shape}, but a support of {size} records needs ({size},)."
        )
    bad = int((~np.isfinite(weights) | (weights.astype(np.float32) <= 0)).sum())
    if bad:
        raise InputError(
            f"{bad} of {size} weights of start are not above zero or not finite. A weight of zero "
            "can never grow: leave the record out of the support."
        )
    return weights
