"""What a smaller file costs: size, loss, held-out error and effective sample size along one path.

Gates are trained to the largest budget as in any fit. From there they go on to the next smaller
one, and so on: what they have learned is kept, and epochs get cheaper as records leave. At each
budget the selection is refitted, all with the penalty that was chosen at the largest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from l0.errors import InputError
from l0.inputs import not_negative, of_type, whole
from l0.survey.calibrate import CalibrationResult
from l0.survey.calibration import Calibration
from l0.survey.checkpoint import Checkpoint, below
from l0.survey.gated_fit import GatedFit, GatedFitSettings
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.losses import loss_named, mean_loss
from l0.survey.problem import CalibrationProblem
from l0.survey.refit import RefitSettings
from l0.survey.selected import Selection
from l0.survey.stage import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# of a first selection's epochs, for each further budget
_SHARE_OF_EPOCHS = 0.25


@dataclass(frozen=True)
class FrontierPoint:
    """One size, and how good it is."""

    budget: int
    loss: float  # of the fitted targets
    held_out_error: float  # the same loss of targets that were held out; nan without any
    effective_sample_size: float
    max_weight_ratio: float
    result: CalibrationResult


@dataclass(frozen=True)
class Frontier:
    """Points from the largest budget to the smallest, and the one suggested."""

    points: tuple[FrontierPoint, ...]
    suggested: FrontierPoint

    def plot(self) -> "Figure":
        """Errors, effective sample size and largest ratio against size; needs matplotlib."""
        # only who plots needs it
        from l0.survey.frontier_plot import plot

        return plot(self)


@torch.inference_mode(mode=False)
def frontier(
    problem: CalibrationProblem,
    budgets: Sequence[int],
    *,
    held_out: CalibrationProblem | None = None,
    tolerance: float = 0.05,
    loss: str = "capped_relative",
    seed: int = 0,
    device: str = "auto",
    settings: GatedFitSettings | None = None,
    refit_settings: RefitSettings | None = None,
    on_progress: OnProgress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Frontier:
    """Calibrate to every budget of a list along one warm path.

    The point suggested is the smallest size whose error is larger than the least along the path
    by no more than ``tolerance``: the held-out error, or the loss where nothing is held out.

    Args:
        problem: constraints, values and design weights.
        budgets: how many records to keep; at least two different numbers, in any order.
        held_out: targets of the same records that are never fitted.
        tolerance: by what share the suggested point may be worse than the best.
        loss: as in ``calibrate``.
        seed: of all noise.
        device: "auto", "cpu" or "cuda".
        settings: of the gated fit to the largest budget.
        refit_settings: of every refit; its penalty is chosen at the largest budget if not given.
        on_progress: called with each record of the history.
        checkpoint: where to save, so that a killed path goes on; removed at the end.

    Raises:
        InputError: budgets that cannot be had, held-out targets of other records, settings out
            of bounds or of another method, or a checkpoint of another path.
    """
    sizes = _checked_sizes(budgets)
    not_negative("tolerance", tolerance)
    judged = loss_named(loss)
    selecting = GatedFitSettings() if settings is None else settings
    refitting = RefitSettings() if refit_settings is None else refit_settings
    of_type("problem", problem, CalibrationProblem)
    of_type("settings", selecting, GatedFitSettings)
    of_type("refit_settings", refitting, RefitSettings)
    facts = ("frontier", sizes, selecting, refitting, loss, whole("seed", seed, least=0))
    # what lies between can be had if both ends can
    problem.check_budget(sizes[0])
    problem.check_budget(sizes[-1])
    if held_out is not None:
        _refuse_other_records(problem, held_out)
    path = Calibration.begin(
        problem,
        budget=sizes[0],
        settings=selecting,
        loss=loss,
        start=problem.design_weights,
        seed=seed,
        device=device,
        facts=facts,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    refitting, validation = path.settle(refitting)
    fit = selecting.stage(
        problem,
        path.operator,
        budget=sizes[0],
        loss=judged,
        seed=seed,
        start=problem.design_weights,
    )
    points = []
    for size in sizes:
        if size != sizes[0]:
            fit.go_on_to(size, epochs=max(1, round(_SHARE_OF_EPOCHS * selecting.epochs)))
        selection = _selected(fit, f"selection of {size}", path)
        result = CalibrationResult.of(
            problem,
            selection,
            refitted=path.refit(selection, refitting, name=f"refit of {size}"),
            validation=validation,
            loss=loss,
            history=_own_history(path.journal.history, size),
            diagnosis=path.diagnosis,
        )
        points.append(_point(size, result, held_out, loss=loss))
    path.journal.close()
    return Frontier(tuple(points), _suggested(points, tolerance=tolerance))


def _refuse_other_records(problem: CalibrationProblem, held_out: CalibrationProblem) -> None:
    of_type("held_out", held_out, CalibrationProblem)
    move = "Build both from the same records, in the same order."
    if held_out.n_records != problem.n_records:
        raise InputError(
            f"held_out has {held_out.n_records:,} records, but the problem has "
            f"{problem.n_records:,}. {move}"
        )
    if not np.array_equal(held_out.design_weights, problem.design_weights):
        raise InputError(f"held_out has other design weights than the problem. {move}")


def _checked_sizes(budgets: Sequence[int]) -> list[int]:
    if not isinstance(budgets, Iterable):
        raise InputError(f"budgets is {budgets!r}, but must be a list of numbers of records.")
    sizes = sorted({int(whole("budget", budget, least=1)) for budget in budgets}, reverse=True)
    if len(sizes) < 2:
        raise InputError(
            f"budgets are {list(budgets)}, but a frontier needs at least two different ones."
        )
    return sizes


def _selected(fit: GatedFit, name: str, path: Calibration) -> Selection:
    """The selection of one size, done once; the fit stands at its end, to go on from there."""
    done = path.journal.outcome(name)
    if done is not None:
        fit.restore(below(done, "fit/"))
        return Selection(**below(done, "selection/"))
    fit.name = name
    run(fit, journal=path.journal, tell=path.tell)
    selection = fit.selection()
    outcome = {f"selection/{key}": array for key, array in vars(selection).items()}
    outcome |= {f"fit/{key}": array for key, array in fit.state().items()}
    path.journal.finish(name, outcome)
    return selection


def _own_history(history: Iterable[EpochRecord], size: int) -> tuple[EpochRecord, ...]:
    """What came before all sizes, and what belongs to this one."""
    return tuple(
        record
        for record in history
        if " of " not in record.stage or record.stage.endswith(f" of {size}")
    )


def _point(
    size: int, result: CalibrationResult, held_out: CalibrationProblem | None, *, loss: str
) -> FrontierPoint:
    error = np.nan
    if held_out is not None:
        errors = held_out.relative_errors(result.weights)
        error = mean_loss(loss, errors, held_out.loss_weights)
    return FrontierPoint(
        budget=size,
        loss=result.loss,
        held_out_error=error,
        effective_sample_size=result.effective_sample_size,
        max_weight_ratio=result.realized_max_weight_ratio,
        result=result,
    )


def _suggested(points: Sequence[FrontierPoint], *, tolerance: float) -> FrontierPoint:
    def error(point: FrontierPoint) -> float:
        return point.loss if np.isnan(point.held_out_error) else point.held_out_error

    least = min(error(point) for point in points)
    return min(
        (point for point in points if error(point) <= (1 + tolerance) * least),
        key=lambda point: point.budget,
    )
