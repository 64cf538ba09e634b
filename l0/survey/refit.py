"""Weights on a fixed support: gates removed, errors lowered, weights held near the reference.

What is minimised is the loss of the targets, which beyond its cap still rises by a share
(``leak``), plus a penalty on the Kullback-Leibler divergence of the weights from the reference, as
in raking: the design weights, or weights by the inverse of inclusion probabilities, raised to the
support by one factor. A record that carries much is held there more firmly, since what it carries
to totals that nobody fits moves with it (Deville and Sarndal, 1992, weigh distances so: their
1/q). Bounds on weights and on their total hold exactly in the result.

Totals that many records carry are known better than those that hang on a few. Where there are many
targets, the reference is therefore fitted to the former first, by first order, then to more of them
level by level (``coarse``), and weights are held near what it has become: what few records want
gives way to what many agree on. ``coarse_share=0`` leaves the reference as it is.

First order: Adam on log-weights with a cosine rate, projected after every step. Second order,
where few targets count: Newton's method on their prices (``dual``), to the optimum. Where no
strength is given it is chosen by targets set aside for that alone (``validation``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from l0.errors import InputError
from l0.inputs import above_zero
from l0.survey.bounds import Total, WeightBounds, total_band
from l0.survey.checkpoint import Journal
from l0.survey.coarse import coarse_levels
from l0.survey.diagnostics import TargetError, worst_targets
from l0.survey.first_order import FirstOrder, Support
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.losses import LEAK, loss_named
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.second_order import SecondOrder
from l0.survey.settings import check_settings
from l0.survey.stage import run
from l0.survey.target_loss import TargetLoss
from l0.survey.validation import STRENGTHS, Validation, chosen, hidden_targets, validate
from l0.survey.weights import scaled_to

# up to so many targets that count, Newton's method on their prices is fast
SECOND_ORDER_TARGETS = 1_000
# share of the objective that may be left to gain by a fit that counts as converged
CONVERGED = 0.05
# no record stands for more than thirty of its like
MAX_WEIGHT_RATIO = 30.0
# of the mean norm: what no target measures is held all the same
_LEAST_NORM = 1e-2


@dataclass(frozen=True)
class RefitSettings:
    """Hyperparameters of the refit, and what its weights must satisfy."""

    epochs: int = 300
    rate: float = 0.1
    penalty: float | None = None  # strength of the pull to the reference; chosen if None
    # of a record's norm under the loss, for how firmly it is held: 0 holds all alike
    firmness_power: float = 0.5
    leak: float = LEAK  # share of a target's pull left beyond the loss's cap
    # where there are more than 1,000 targets, the share of them that the reference meets first,
    # those carried by the most records; then four times as many, and so on
    coarse_share: float = 0.025
    order: str = "auto"  # "first", "second"
    max_weight_ratio: float | None = MAX_WEIGHT_RATIO  # to the scaled reference; None for none
    min_weight_ratio: float | None = None
    max_weight: float | None = None
    min_weight: float | None = None
    total: Total = "free"  # "fixed" to the design's, a number, or (least, greatest)
    validation_share: float = 0.1  # of the fitted targets, set aside to choose the penalty

    def __post_init__(self) -> None:
        bounds = {
            "epochs": (1, np.inf),
            "penalty": (0, np.inf),
            "firmness_power": (0, 2),
            "leak": (0, 1),
            "coarse_share": (0, 1),
            "max_weight_ratio": (1, np.inf),
            "min_weight_ratio": (1e-9, 1),
            "validation_share": (1e-9, 0.5),
        }
        check_settings(self, bounds)
        total_band(self.total, design_total=1.0)
        if not isinstance(self.order, str) or self.order not in {"auto", "first", "second"}:
            raise InputError(f"order is {self.order!r}, but must be 'auto', 'first' or 'second'.")
        if self.order == "second" and self.penalty == 0:
            raise InputError(
                "order 'second' needs a penalty above 0: without one weights are not "
                "unique. Give a small one, or use order 'first'."
            )

    def on_trial(self, penalty: float) -> "RefitSettings":
        """A strength as it is tried on hidden targets.

        All but the first start where a stronger one ended, and take half the epochs.
        """
        epochs = self.epochs if penalty == STRENGTHS[0] else -(-self.epochs // 2)
        return replace(self, penalty=penalty, epochs=epochs)


@dataclass(frozen=True)
class RefitResult:
    """Refitted weights with the evidence for them."""

    weights: Vector  # (records,), exact zeros outside the support
    penalty: float  # the strength used
    validation: tuple[Validation, ...]  # how it was chosen; empty where it was given
    order: str  # "first" or "second"
    # no weights on this support have an objective lower by more than this share, as long as the
    # same targets stay beyond the cap, the reference taken as it was fitted; nan where there is no
    # penalty, and so no such bound
    gap: float
    converged: bool
    worst_targets: tuple[TargetError, ...]  # those furthest off


Outcome = tuple[Vector, Vector]  # weights (support_size,), prices (targets,)


@torch.inference_mode(mode=False)
def refit(
    problem: CalibrationProblem,
    support: Iterable[int],
    *,
    start: Vector | None = None,  # (support_size,)
    reference: Vector | None = None,  # (support_size,)
    loss: str = "capped_relative",
    settings: RefitSettings | None = None,
    operator: SparseOperator | None = None,
    device: torch.device | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    journal: Journal | None = None,
    stage: str = "refit",
    coarse_stage: str | None = None,
) -> RefitResult:
    """Fit the weights of the records kept, without gates.

    Args:
        problem: what to reproduce.
        support: positions of the records kept, each once.
        start: weights to start from, above zero, in the order of ``support``; the scaled
            reference without.
        reference: weights to stay near, above zero, in the order of ``support``: design weights
            over inclusion probabilities for instance; the design weights without. With more than
            1,000 targets it is first fitted to shares of them (``coarse_share``).
        loss: "capped_relative", "absolute", "squared" or "huber".
        settings: epochs, rate, penalty and bounds.
        operator: the problem's operator where one is at hand; built on ``device`` without.
        device: where to compute; the CPU without.
        seed: of the draw of the targets set aside to choose the penalty, where none is given.
            The support should not have been chosen by looking at them: ``calibrate`` chooses its
            penalty on a pilot of its own.
        on_progress: called with each recorded epoch.
        journal: of the calibration that this refit belongs to, if it can be taken up again.
        stage: what this refit is called in history and journal.
        coarse_stage: what the fits of its reference are called there, after "coarse 1" and so on.
            Refits of one support and the same targets that share a journal and this name do them
            once.

    Raises:
        InputError: a support that is empty, repeats, or names records that do not exist or have
            no design weight; a start or reference that does not fit it; bounds that exclude each
            other; or weights that ran out of float32.
    """
    settings = settings or RefitSettings()
    given = _checked_support(problem, support)
    order = np.argsort(given)
    pulled_to = problem.design_weights[given]
    if reference is not None:
        pulled_to = above_zero("reference", reference, len(given), "records of the support")
    if operator is not None and device is not None:
        raise InputError("operator and device were both given: an operator has its device.")
    whole = operator or SparseOperator.of(problem, device or torch.device("cpu"))
    columns = whole.keep_records(given[order])
    kept = _support(
        problem, columns, records=given[order], reference=pulled_to[order], settings=settings
    )
    weights = kept.reference
    if start is not None:
        weights = above_zero("start", start, len(given), "records of the support")[order]
    journal = journal or Journal(None, fit="", shards=whole.shards)
    tell = on_progress or _tell_nobody
    penalty = settings.penalty
    validation: tuple[Validation, ...] = ()
    if penalty is None:
        hidden = hidden_targets(problem, share=settings.validation_share, seed=seed)
        validation = validate(
            problem,
            hidden,
            lambda start, strength: (
                refit(
                    problem.without(hidden),
                    kept.records,
                    start=start,
                    reference=kept.reference,
                    loss=loss,
                    settings=settings.on_trial(strength),
                    operator=whole,
                    on_progress=tell,
                    journal=journal,
                    stage=f"{stage}, validation {strength:g}",
                    coarse_stage=f"{stage}, validation",
                ).weights
            ),
            start=weights,
        )
        penalty = chosen(validation)
    judged = loss_named(loss)

    def outcome(name: str, seen: CalibrationProblem, start: Vector, **options: Any) -> Outcome:
        fit = FirstOrder(
            name,
            TargetLoss.of(seen, judged, whole.device, leak=settings.leak),
            columns,
            kept,
            start=start,
            rate=settings.rate,
            **options,
        )
        return _outcome(fit, journal=journal, tell=tell)

    levels = []
    if penalty > 0 and problem.n_targets > SECOND_ORDER_TARGETS:
        levels = coarse_levels(problem, kept, share=settings.coarse_share)
    for level, (narrow, mild) in enumerate(levels, start=1):
        coarse, _ = outcome(
            f"coarse {level}, {coarse_stage or stage}",
            problem.without(narrow),
            kept.reference,
            penalty=mild,
            epochs=-(-settings.epochs // 2),
        )
        kept = replace(kept, reference=coarse, firmness=_on_average(kept.firmness, coarse))
    weights, prices = outcome(stage, problem, weights, penalty=penalty, epochs=settings.epochs)
    gap, settled, used = np.nan, False, "first"
    if penalty > 0:
        convex = SecondOrder.of(problem, kept, loss=judged, penalty=penalty, leak=settings.leak)
        if _is_second(settings, problem):
            used = "second"
            solved, gap, settled = convex.solve(weights)
            # targets that go in and out of the cap can keep it from settling anywhere better
            if settled or convex.objective(solved) <= convex.objective(weights):
                weights = solved
            else:
                gap = convex.gap(weights, prices)
        else:
            gap = convex.gap(weights, prices)
            settled = gap <= CONVERGED
    everyone = np.zeros(problem.n_records)
    everyone[kept.records] = weights
    return RefitResult(
        weights=everyone,
        penalty=penalty,
        validation=validation,
        order=used,
        gap=gap,
        converged=settled,
        worst_targets=worst_targets(problem, everyone),
    )


def _is_second(settings: RefitSettings, problem: CalibrationProblem) -> bool:
    if settings.order == "auto":
        return int((problem.loss_weights > 0).sum()) <= SECOND_ORDER_TARGETS
    return settings.order == "second"


def _outcome(fit: FirstOrder, *, journal: Journal, tell: OnProgress) -> Outcome:
    done = journal.outcome(fit.name)
    if done is not None:
        return done["weights"], done["prices"]
    run(fit, journal=journal, tell=tell)
    weights = fit.weights()
    lost = int((~np.isfinite(weights) | (weights == 0)).sum())
    if lost:
        raise InputError(
            f"{lost} of {len(weights)} weights became zero or infinite in the refit. Lower its "
            "rate, or look for targets whose scale is far below their value."
        )
    prices = fit.prices()
    journal.finish(fit.name, {"weights": weights, "prices": prices})
    return weights, prices


def _support(
    problem: CalibrationProblem,
    columns: SparseOperator,  # of the records kept
    *,
    records: NDArray[np.intp],
    reference: Vector,
    settings: RefitSettings,
) -> Support:
    total = float(problem.design_weights.sum())
    scaled = scaled_to(reference, total)
    bounds = WeightBounds.of(
        scaled,
        max_ratio=settings.max_weight_ratio,
        min_ratio=settings.min_weight_ratio,
        max_weight=settings.max_weight,
        min_weight=settings.min_weight,
        total=settings.total,
        design_total=total,
    )
    norms = columns.column_norms(torch.tensor(problem.loss_weights), torch.tensor(problem.scales))
    firmness = _firmness(
        columns.shards.join(norms).double().cpu().numpy(), scaled, power=settings.firmness_power
    )
    return Support(records, scaled, firmness, bounds)


def _firmness(norms: Vector, reference: Vector, *, power: float) -> Vector:  # (support_size,)
    """One on average over the reference, and in proportion to a power of the norms."""
    mean = float((reference * norms).sum() / reference.sum())
    if mean == 0:
        return np.ones_like(norms)
    return _on_average(np.maximum(norms / mean, _LEAST_NORM) ** power, reference)


def _on_average(firmness: Vector, reference: Vector) -> Vector:  # (support_size,)
    """One on average over the reference."""
    scaled: Vector = firmness * (reference.sum() / float((reference * firmness).sum()))
    return scaled


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


def _tell_nobody(record: EpochRecord) -> None:
    """No one wants to know."""
