"""Few records and their weights, in one call: gates to a budget, then a refit without them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.gated_fit import GatedFitSettings, gated_fit
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.refit import RefitSettings, refit
from l0.survey.weights import effective_sample_size, weight_ratios


@dataclass(frozen=True)
class CalibrationResult:
    """Calibrated weights with the evidence for them."""

    weights: Vector  # (records,), exact zeros outside the support
    support: NDArray[np.intp]  # (budget,), ascending
    log_alpha: Vector  # (records,), the gates' order; -inf for records that left early
    open_probability: Vector  # (records,)
    estimates: Vector  # (targets,), from the returned weights in float64
    history: tuple[EpochRecord, ...] = field(repr=False)
    effective_sample_size: float
    realized_max_weight_ratio: float  # weight over scaled design weight


def calibrate(
    problem: CalibrationProblem,
    *,
    budget: int,
    seed: int = 0,
    device: str = "auto",
    gates: GatedFitSettings | None = None,
    refit_settings: RefitSettings | None = None,
    on_progress: OnProgress | None = None,
) -> CalibrationResult:
    """Choose exactly ``budget`` records by Hard Concrete gates and refit their weights.

    The loss caps each target's relative error at one, so that a hopeless target cannot ruin the
    others: one that starts further off may stay there. Look at ``problem.relative_errors``.

    Args:
        problem: constraints, values and design weights.
        budget: how many records to keep.
        seed: of the gates' noise; no global generator is read or moved.
        device: "auto", "cpu" or "cuda".
        gates: hyperparameters of the gated fit.
        refit_settings: hyperparameters of the refit.
        on_progress: called with each record of the history as it is made.

    Raises:
        InputError: the budget or the device cannot be had, or a setting is out of
            bounds.
    """
    problem.check_budget(budget)
    history: list[EpochRecord] = []

    def record(epoch: EpochRecord) -> None:
        history.append(epoch)
        if on_progress is not None:
            on_progress(epoch)

    operator = SparseOperator.of(problem, choose_device(device))
    gated = gated_fit(
        problem,
        operator,
        budget=budget,
        settings=gates or GatedFitSettings(),
        seed=seed,
        on_progress=record,
    )
    weights = refit(
        problem,
        gated.support,
        start=gated.weights,
        settings=refit_settings,
        operator=operator,
        on_progress=record,
    )
    return CalibrationResult(
        weights=weights,
        support=gated.support,
        log_alpha=gated.log_alpha,
        open_probability=gated.open_probability,
        estimates=problem.estimates(weights),
        history=tuple(history),
        effective_sample_size=effective_sample_size(weights),
        realized_max_weight_ratio=float(weight_ratios(weights, problem.design_weights).max()),
    )


def choose_device(name: str) -> torch.device:
    """The device a fit runs on: "auto" takes a GPU where there is one."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"device is {name!r}, but must be 'auto', 'cpu' or 'cuda'.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError(
            "device 'cuda' was asked for, but torch finds no GPU here. Use 'auto' or 'cpu', or "
            "install a CUDA build of torch on a machine with a GPU."
        )
    return torch.device("cuda" if name != "cpu" and available else "cpu")
