"""Few records and their weights, in one call: a fit that selects, then a refit without gates."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from l0.errors import InputError
from l0.inputs import above_zero, of_type, refuse, whole
from l0.survey.bounds import Total
from l0.survey.calibration import DEFAULT_METHOD, Calibration, SelectionSettings, settings_of
from l0.survey.checkpoint import Checkpoint
from l0.survey.diagnostics import Diagnosis, TargetError, worst_targets
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.losses import loss_named, mean_loss
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.refit import MAX_WEIGHT_RATIO, RefitResult, RefitSettings
from l0.survey.selected import Selection
from l0.survey.validation import Validation
from l0.survey.weights import effective_sample_size, weight_ratios

# weights are trained as logarithms of ratios; float32 holds e^88
_LARGEST_LOG_RATIO = 80.0


@dataclass(frozen=True)
class CalibrationResult:
    """Calibrated weights with the evidence for them."""

    weights: Vector  # (records,), exact zeros outside the support
    support: NDArray[np.intp]  # (budget,), ascending
    log_alpha: Vector  # (records,), the order of keeping; -inf for records that left early
    open_probability: Vector  # (records,)
    estimates: Vector  # (targets,), from the returned weights in float64
    loss: float  # of the same, in float64
    history: tuple[EpochRecord, ...] = field(repr=False)
    effective_sample_size: float
    realized_max_weight_ratio: float  # weight over scaled design weight
    validation: tuple[Validation, ...]  # how the refit's penalty was chosen, if it was
    refitted: RefitResult | None = field(repr=False)  # None where no refit was asked for
    worst_targets: tuple[TargetError, ...] = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)  # what no weights can satisfy

    @property
    def converged(self) -> bool:
        """Whether no weights on this support are better by more than the refit's tolerance."""
        return self.refitted is not None and self.refitted.converged

    @property
    def gap(self) -> float:
        """No weights on this support are better by more than this share; nan without a refit."""
        return np.nan if self.refitted is None else self.refitted.gap

    @property
    def penalty(self) -> float:
        """Strength of the refit's pull to the design; nan without a refit."""
        return np.nan if self.refitted is None else self.refitted.penalty

    @classmethod
    def of(
        cls,
        problem: CalibrationProblem,
        selection: Selection,
        *,
        refitted: RefitResult | None,
        validation: tuple[Validation, ...],
        loss: str,
        history: tuple[EpochRecord, ...],
        diagnosis: Diagnosis,
    ) -> "CalibrationResult":
        """Work out the evidence from the weights themselves."""
        if refitted is not None:
            weights = refitted.weights
        else:
            weights = np.zeros(problem.n_records)
            weights[selection.support] = selection.weights
        estimates = problem.estimates(weights)
        errors = (estimates - problem.values) / problem.scales
        return cls(
            weights=weights,
            support=selection.support,
            log_alpha=selection.log_alpha,
            open_probability=selection.open_probability,
            estimates=estimates,
            loss=mean_loss(loss, errors, problem.loss_weights),
            history=history,
            effective_sample_size=effective_sample_size(weights),
            realized_max_weight_ratio=float(weight_ratios(weights, problem.design_weights).max()),
            validation=validation,
            refitted=refitted,
            worst_targets=worst_targets(problem, weights),
            diagnosis=diagnosis,
        )


@torch.inference_mode(mode=False)
def calibrate(
    problem: CalibrationProblem,
    *,
    budget: int | None,
    method: str = DEFAULT_METHOD,
    loss: str = "capped_relative",
    max_weight_ratio: float | None = MAX_WEIGHT_RATIO,
    min_weight_ratio: float | None = None,
    total: Total = "free",
    refit: bool = True,
    returns: int = 0,
    start: Vector | None = None,  # (records,)
    seed: int = 0,
    device: str = "auto",
    settings: SelectionSettings | None = None,
    refit_settings: RefitSettings | None = None,
    on_progress: OnProgress | None = None,
    checkpoint: Checkpoint | None = None,
) -> CalibrationResult:
    """Choose exactly ``budget`` records and refit their weights.

    Args:
        problem: constraints, values and design weights.
        budget: how many records to keep. None keeps all of positive design weight, or, by the
            method "penalised", those whose gates are worth their price.
        method: how they are chosen: "hard_concrete", by gates trained together with the weights
            to the budget; "gradual_pruning", by letting the lightest leave in steps;
            "penalised", by gates with a price.
        loss: of each relative error e: "capped_relative", min(|e|, 1), so that a hopeless target
            cannot ruin the others (beyond the cap fits follow a share of the pull, their ``leak``,
            which the loss told leaves out); "absolute"; "squared"; or "huber".
        max_weight_ratio: largest weight over scaled design weight, held exactly; None for any.
        min_weight_ratio: least weight over scaled design weight of a record that is kept.
        total: of the weights: "free", "fixed" to the design's, a number, or (least, greatest).
        refit: whether to end with a refit; without, weights are those that the selection left.
        returns: rounds after the first refit in which records that left may come back, as many as
            six for each that is kept, to be chosen from again in half the epochs and refitted. One
            that does not lower the loss is forgotten. They pay where few records are to meet many
            targets: where six fall on each, four rounds lower the loss by a tenth.
        start: weights to begin with, above zero where the design's are: those of an earlier
            calibration for instance; the design's without.
        seed: of all noise; no global generator is read or moved.
        device: "auto", "cpu" or "cuda".
        settings: hyperparameters of the method.
        refit_settings: hyperparameters of the refit.
        on_progress: called with each record of the history as it is made.
        checkpoint: where to save, so that a killed run goes on; removed at the end.

    Raises:
        InputError: the budget, the device or the bounds cannot be had, a setting is out of
            bounds, or the checkpoint is of another calibration or damaged.
    """
    of_type("problem", problem, CalibrationProblem)
    loss_named(loss)
    seed = whole("seed", seed, least=0)
    selecting = settings_of(method, settings, budget=budget)
    refitting = _refit_settings(
        refit_settings,
        refit=refit,
        max_weight_ratio=max_weight_ratio,
        min_weight_ratio=min_weight_ratio,
        total=total,
    )
    rounds = _checked_returns(returns, method=method, budget=budget, refit=refit)
    if budget is not None:
        problem.check_budget(budget)
    first = problem.design_weights
    if start is not None:
        first = _checked_start(problem, start)
    facts = (
        None if budget is None else int(budget),
        selecting,
        refitting,
        loss,
        seed,
        rounds,
    )
    calibration = Calibration.begin(
        problem,
        budget=budget,
        settings=selecting,
        loss=loss,
        start=first,
        seed=seed,
        device=device,
        facts=facts,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    validation: tuple[Validation, ...] = ()
    if refitting is not None:
        refitting, validation = calibration.settle(refitting)
    selection = calibration.select()
    refitted: RefitResult | None = None
    if refitting is not None:
        refitted = calibration.refit(selection, refitting)
        for number in range(1, rounds + 1):
            again = calibration.select_again(refitted, number, leak=refitting.leak)
            found = calibration.refit(again, refitting, name=f"refit, return {number}")
            if calibration.loss_of(found) < calibration.loss_of(refitted):
                selection, refitted = again, found
            elif method != "hard_concrete":
                break  # without noise the next round would be the same
    result = CalibrationResult.of(
        problem,
        selection,
        refitted=refitted,
        validation=validation,
        loss=loss,
        history=tuple(calibration.journal.history),
        diagnosis=calibration.diagnosis,
    )
    calibration.journal.close()
    return result


def _refit_settings(
    given: RefitSettings | None,
    *,
    refit: bool,
    max_weight_ratio: float | None,
    min_weight_ratio: float | None,
    total: Total,
) -> RefitSettings | None:
    if given is not None:
        of_type("refit_settings", given, RefitSettings)
    wishes = {
        name: value
        for name, value, unset in (
            ("max_weight_ratio", max_weight_ratio, RefitSettings.max_weight_ratio),
            ("min_weight_ratio", min_weight_ratio, RefitSettings.min_weight_ratio),
            ("total", total, RefitSettings.total),
        )
        if value != unset
    }
    if not refit:
        unused = sorted(wishes) + (["refit_settings"] if given is not None else [])
        if unused:
            raise InputError(
                f"{', '.join(unused)} belong to the refit, but refit=False. Leave them out, or "
                "let weights be refitted."
            )
        return None
    settings = given or RefitSettings()
    for name, value in wishes.items():
        if getattr(settings, name) not in {getattr(RefitSettings, name), value}:
            raise InputError(f"{name} was given twice, once in refit_settings. Give it once.")
    return replace(settings, **wishes)  # type: ignore[arg-type]


def _checked_returns(returns: int, *, method: str, budget: int | None, refit: bool) -> int:
    rounds = whole("returns", returns, least=0)
    if rounds and (budget is None or not refit or method == "penalised"):
        raise InputError(
            f"returns is {rounds}, but records can come back only where a method keeps to a budget "
            "(not 'penalised') and weights are refitted. Leave returns out."
        )
    return rounds


def _checked_start(problem: CalibrationProblem, start: Vector) -> Vector:
    used = problem.design_weights > 0
    given = above_zero("start", start, problem.n_records, "records", where=used)
    log_ratios = np.zeros(problem.n_records)
    log_ratios[used] = np.log(given[used]) - np.log(problem.design_weights[used])
    fault = "beyond e^80 times their design weight, or its inverse"
    refuse("start", np.abs(log_ratios) > _LARGEST_LOG_RATIO, fault, "Start nearer to the design.")
    return given
