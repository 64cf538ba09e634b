"""One calibration under way: what its stages share, and the stages themselves.

Each stage is done once: what a journal says is over is not done again.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.inputs import of_type
from l0.survey.checkpoint import Checkpoint, Journal
from l0.survey.device import choose_device
from l0.survey.diagnostics import Diagnosis, diagnose
from l0.survey.fingerprint import fingerprint
from l0.survey.gated_fit import GatedFitSettings
from l0.survey.gradual_pruning import GradualPruningSettings
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.losses import Loss, loss_named, mean_loss
from l0.survey.operator import SparseOperator
from l0.survey.penalised_fit import PenalisedFitSettings
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.refit import RefitResult, RefitSettings, refit
from l0.survey.returns import candidates
from l0.survey.selected import Selection
from l0.survey.stage import Stage, run
from l0.survey.validation import Validation, chosen, hidden_targets, validate

logger = logging.getLogger("l0")

# of the epochs of a selection, for the pilot on which the refit's penalty is chosen
PILOT_SHARE = 0.2
# the same, for a selection among those kept and those that may come back
RETURN_SHARE = 0.5


class SelectingStage(Stage, Protocol):
    """A stage that ends with a selection."""

    def selection(self) -> Selection:
        """The records kept."""


class SelectionSettings(Protocol):
    """Hyperparameters of one way to select."""

    @property
    def epochs(self) -> int:
        """How many steps it takes."""

    def stage(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: Any,  # a number; the penalised fit takes None too
        loss: Loss,
        seed: int,
        start: Vector,
    ) -> SelectingStage:
        """The fit of a problem, at its first epoch."""


DEFAULT_METHOD = "hard_concrete"
METHODS: dict[str, type] = {
    "hard_concrete": GatedFitSettings,
    "gradual_pruning": GradualPruningSettings,
    "penalised": PenalisedFitSettings,
}


@dataclass(frozen=True)
class Calibration:
    """What all stages of one calibration share."""

    problem: CalibrationProblem
    operator: SparseOperator
    budget: int | None
    settings: SelectionSettings | None  # None keeps every record
    loss: str
    start: Vector  # (records,)
    seed: int
    journal: Journal
    diagnosis: Diagnosis
    on_progress: OnProgress | None

    @classmethod
    def begin(
        cls,
        problem: CalibrationProblem,
        *,
        budget: int | None,
        settings: SelectionSettings | None,
        loss: str,
        start: Vector,  # (records,)
        seed: int,
        device: str,
        facts: object,
        checkpoint: Checkpoint | None,
        on_progress: OnProgress | None,
    ) -> "Calibration":
        """Build the operator, tell what no weights can meet, and read the checkpoint.

        Args:
            problem: what to reproduce.
            budget: how many records to keep; None for all.
            settings: of the selection; None keeps every record.
            loss: its name.
            start: weights to begin with.
            seed: of all noise.
            device: "auto", "cpu" or "cuda".
            facts: all that decides the result besides problem, start and device.
            checkpoint: where to save; None saves nothing.
            on_progress: called with each record of the history.

        Raises:
            InputError: the device cannot be had, or the checkpoint is of another calibration,
                damaged, or none.
        """
        if checkpoint is not None:
            hint = ' Write Checkpoint("calibration.npz").'
            of_type("checkpoint", checkpoint, Checkpoint, hint=hint)
        operator = SparseOperator.of(problem, choose_device(device), nested=True)
        fit = "" if checkpoint is None else fingerprint(problem, start, operator.device, facts)
        diagnosis = diagnose(problem)
        for finding in diagnosis.describe():
            logger.warning(finding)
        return cls(
            problem=problem,
            operator=operator,
            budget=budget,
            settings=settings,
            loss=loss,
            start=start,
            seed=seed,
            journal=Journal(checkpoint, fit=fit, shards=operator.shards),
            diagnosis=diagnosis,
            on_progress=on_progress,
        )

    def tell(self, record: EpochRecord) -> None:
        """Keep a record, and tell whoever wants to know."""
        self.journal.history.append(record)
        if self.on_progress is not None:
            self.on_progress(record)

    def select(self) -> Selection:
        """The records kept of the whole problem."""
        return self._select(
            self.problem, self.settings, self.operator, self.start, name="selection"
        )

    def select_again(self, refitted: RefitResult, number: int, *, leak: float) -> Selection:
        """The records kept of those that a refit has, and of others that are worth having."""
        again, start = candidates(
            self.problem, self.operator, refitted.weights, loss=loss_named(self.loss), leak=leak
        )
        # noise of its own, which no first selection of another seed has
        (seed,) = np.random.SeedSequence([self.seed, number]).generate_state(1).tolist()
        return self._select(
            self.problem,
            _shortened(self.settings, RETURN_SHARE),
            self.operator.keep_records(again),
            start,
            name=f"selection, return {number}",
            seed=seed,
        )

    def refit(
        self, selection: Selection, settings: RefitSettings, *, name: str = "refit"
    ) -> RefitResult:
        """The weights of the records kept."""
        return self._refit(self.problem, selection.support, selection.weights, settings, name)

    def loss_of(self, refitted: RefitResult) -> float:
        """The loss of refitted weights, in float64."""
        errors = self.problem.relative_errors(refitted.weights)
        return mean_loss(self.loss, errors, self.problem.loss_weights)

    def settle(self, refitting: RefitSettings) -> tuple[RefitSettings, tuple[Validation, ...]]:
        """The settings of the refit with a penalty, and how it was chosen if none was given."""
        if refitting.penalty is not None:
            return refitting, ()
        validation = self._validation(refitting)
        return replace(refitting, penalty=chosen(validation)), validation

    def _validation(self, refitting: RefitSettings) -> tuple[Validation, ...]:
        """How strengths of the refit do on targets that a short selection has not seen either."""
        hidden = hidden_targets(self.problem, share=refitting.validation_share, seed=self.seed)
        if not hidden.any():
            return ()
        seen = self.problem.without(hidden)
        short = _shortened(self.settings, PILOT_SHARE)
        pilot = self._select(seen, short, self.operator, self.start, name="pilot")

        def refitted(start: Vector, penalty: float) -> Vector:
            return self._refit(
                seen,
                pilot.support,
                start,
                refitting.on_trial(penalty),
                f"validation {penalty:g}",
                coarse_stage="validation",
            ).weights

        return validate(self.problem, hidden, refitted, start=pilot.weights)

    def _select(
        self,
        problem: CalibrationProblem,
        settings: SelectionSettings | None,
        operator: SparseOperator,
        start: Vector,
        *,
        name: str,
        seed: int | None = None,
    ) -> Selection:
        if settings is None:
            return Selection.everyone(problem.design_weights, start)
        done = self.journal.outcome(name)
        if done is not None:
            return Selection(**done)
        stage = settings.stage(
            problem,
            operator,
            budget=self.budget,
            loss=loss_named(self.loss),
            seed=self.seed if seed is None else seed,
            start=start,
        )
        stage.name = name
        run(stage, journal=self.journal, tell=self.tell)
        selection = stage.selection()
        self.journal.finish(name, vars(selection))
        return selection

    def _refit(
        self,
        problem: CalibrationProblem,
        support: NDArray[np.intp],
        start: Vector,
        settings: RefitSettings,
        name: str,
        coarse_stage: str | None = None,
    ) -> RefitResult:
        return refit(
            problem,
            support,
            start=start,
            loss=self.loss,
            settings=settings,
            operator=self.operator,
            on_progress=self.tell,
            journal=self.journal,
            stage=name,
            coarse_stage=coarse_stage,
        )


def _shortened(settings: SelectionSettings | None, share: float) -> SelectionSettings | None:
    """The same selection in a share of its epochs."""
    if settings is None:
        return None
    return replace(settings, epochs=max(1, round(share * settings.epochs)))  # type: ignore[type-var]


def settings_of(
    method: str, given: SelectionSettings | None, *, budget: int | None
) -> SelectionSettings | None:
    """The settings of a method: those given if they are its own, or its defaults.

    None, where every record is kept.

    Raises:
        InputError: an unknown method, or settings that are not used.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"method is {method!r}, but must be one of {', '.join(METHODS)}.")
    own = METHODS[method]
    if budget is None and own is not PenalisedFitSettings:
        if given is not None or method != DEFAULT_METHOD:
            raise InputError(
                f"method {method!r} or settings of a selection were given, but budget=None keeps "
                "every record. Give a budget, or leave them out."
            )
        return None
    if given is None:
        defaults: SelectionSettings = own()
        return defaults
    if not isinstance(given, own):
        raise InputError(
            f"settings is a {type(given).__name__}, but method {method!r} takes a {own.__name__}."
        )
    return given
