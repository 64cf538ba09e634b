"""Hard Concrete gates and log-weights trained together, steered to a budget in one run.

Each record i has a log-weight v and a location q. Its gate's log-odds are

    log_alpha_i = q_i + focus * log(w_i * norm_i) - shift

where ``norm`` measures the record's coefficients under the loss, so that a record that carries
much is kept, and ``shift`` holds the expected number of open gates to the epoch's budget
(``budget.py``). Gates are noisy in the first epochs only. A Kullback-Leibler penalty keeps
weights near the design's. Records that have fallen far behind leave the matrix for good.
What follows, with gates removed, is ``refit``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from l0.hard_concrete import deterministic_gate, gate_slope, open_probability
from l0.survey.adam import cosine_rate
from l0.survey.budget import hold_count, hold_to_budget, scheduled_budget
from l0.survey.gate_noise import sampled_gates
from l0.survey.history import EpochRecord, refuse_lost
from l0.survey.losses import Loss
from l0.survey.operator import SparseOperator
from l0.survey.pool import Pool
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import SMALLEST_GATE, Selection
from l0.survey.settings import check_settings
from l0.survey.target_loss import TargetLoss

# records kept in the matrix for each gate that may be open
MARGIN = 2.0


@dataclass(frozen=True)
class GatedFitSettings:
    """Hyperparameters of the gated fit; the defaults were measured on a 200,576-record survey."""

    epochs: int = 1000
    weight_rate: float = 0.05
    gate_rate: float = 0.1
    initial_temperature: float = 1.0
    final_temperature: float = 0.5
    initial_focus: float = 4.0
    final_focus: float = 16.0
    annealing_share: float = 0.7  # of the epochs, for temperature and focus
    budget_share: float = 0.6  # of the epochs, until the budget is reached
    budget_power: float = 1.5
    noise_share: float = 0.3  # of the epochs, with random gates
    leak: float = 0.1  # share of the pull left beyond a cap
    smoothing: float = 0.02  # errors below it pull in proportion to their size
    # Kullback-Leibler, towards the scaled design weights; without, the share of records kept, but
    # no more than ``LARGEST_PENALTY``
    penalty: float | None = None

    def __post_init__(self) -> None:
        bounds = {
            "epochs": (1, np.inf),
            "penalty": (0, np.inf),
            "leak": (0, 1),
            "smoothing": (0, np.inf),
            "noise_share": (0, 1),
            "annealing_share": (1e-9, 1),
            "budget_share": (1e-9, 1),
        }
        check_settings(self, bounds)

    def stage(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int,
        loss: Loss,
        seed: int,
        start: Vector,
    ) -> "GatedFit":
        """The fit of a problem, at its first epoch."""
        targets = TargetLoss.of(problem, loss, operator.device, smoothing=self.smoothing)
        return GatedFit(
            problem,
            operator,
            budget=budget,
            targets=targets,
            settings=self,
            seed=seed,
            start=start,
        )


class GatedFit:
    """The fit as a stage: gates and weights trained until exactly ``budget`` records are left.

    Raises:
        InputError: while it goes, the loss stopped being a number.
    """

    name = "gates"

    def __init__(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int,
        targets: TargetLoss,
        settings: GatedFitSettings,
        seed: int,
        start: Vector,  # (records,)
    ) -> None:
        self.epoch = 0
        self.epochs = settings.epochs
        self._problem = problem
        self._budget = budget
        self._settings = settings
        self._seed = seed
        self._targets = targets
        self._pool = Pool(problem, operator, start=start)
        self._from = self._pool.initial_size
        self._strength = self._pool.strength(settings.penalty, budget)
        self._last = max(1, int(settings.epochs * settings.budget_share))
        self._shift = 0.0

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """One epoch: gates held to the schedule, one step of weights and locations."""
        pool, settings = self._pool, self._settings
        temperature, focus = _annealed(settings, self.epoch)
        expected = self._expected()
        wanted = max(int(MARGIN * expected), self._budget)
        if pool.is_worth_a_cut(wanted):
            pool.keep_best(self._log_odds(focus), wanted)
        totals = pool.operator.totals
        log_alpha = self._held(focus, expected=expected, temperature=temperature)
        probability = open_probability(log_alpha, temperature)
        gate = self._gate(log_alpha, temperature)
        weights = pool.log_weights.exp()
        errors = self._targets.errors(pool.operator.estimates(weights * gate))
        prices = self._targets.prices(errors, leak=settings.leak)
        worth = weights * pool.operator.adjoint(prices)
        reference = pool.reference(probability * pool.design)
        distance = pool.log_weights - reference.log()
        record = None
        if recorded:
            divergence = gate * (weights * distance - weights + reference)
            open_gates, penalty = totals(probability, divergence)
            record = EpochRecord(
                stage=self.name,
                epoch=self.epoch,
                epochs=self.epochs,
                loss=self._targets.value(errors),
                penalty=self._strength * penalty,
                records=pool.size,
                budget=expected,
                expected_count=open_gates,
                temperature=temperature,
            )
            refuse_lost(record)
        gate_gradient = hold_count(
            worth * gate_slope(gate, temperature), probability, totals=totals
        )
        weight_gradient = gate * (worth + self._strength * weights * distance)
        rate = cosine_rate(settings.weight_rate, epoch=self.epoch, epochs=self.epochs)
        pool.log_weights = pool.log_weights - pool.weight_adam.step(weight_gradient, rate)
        pool.locations = pool.locations - pool.gate_adam.step(gate_gradient, settings.gate_rate)
        self.epoch += 1
        return record

    def go_on_to(self, budget: int, *, epochs: int) -> None:
        """From the budget that is reached to a smaller one, gates as sharp as they have become."""
        settings = self._settings
        self._settings = replace(
            settings,
            epochs=epochs,
            initial_temperature=settings.final_temperature,
            initial_focus=settings.final_focus,
            noise_share=0.0,
        )
        self.epoch, self.epochs = 0, epochs
        self._from, self._budget = self._budget, budget
        self._strength = self._pool.strength(settings.penalty, budget)
        self._last = max(1, int(epochs * settings.budget_share))

    def selection(self) -> Selection:
        """The ``budget`` records whose gates stand highest, and the weights gates left them."""
        pool, temperature = self._pool, self._settings.final_temperature
        log_alpha = self._held(
            self._settings.final_focus, expected=self._budget, temperature=temperature
        )
        gate = deterministic_gate(log_alpha, temperature).clamp(min=SMALLEST_GATE)
        return Selection.of(
            self._problem,
            pool.operator,
            scores=log_alpha,
            weights=pool.log_weights.exp() * gate,
            open_probability=open_probability(log_alpha, temperature),
            budget=self._budget,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The pool's vectors, and the shift."""
        return {**self._pool.state(), "shift": np.array(self._shift)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where ``state`` was taken."""
        self._pool.restore(state)
        self._shift = float(state["shift"])

    def _expected(self) -> float:
        return scheduled_budget(
            self.epoch,
            records=self._from,
            budget=self._budget,
            last_epoch=self._last,
            power=self._settings.budget_power,
        )

    def _log_odds(self, focus: float) -> Tensor:
        """Log-odds of every gate before the common shift."""
        return self._pool.locations + focus * self._pool.contribution

    def _held(self, focus: float, *, expected: float, temperature: float) -> Tensor:
        log_alpha, self._shift = hold_to_budget(
            self._log_odds(focus),
            gates=self._pool.size,
            expected=expected,
            temperature=temperature,
            start=self._shift,
            totals=self._pool.operator.totals,
        )
        return log_alpha

    def _gate(self, log_alpha: Tensor, temperature: float) -> Tensor:
        if self.epoch >= self._settings.noise_share * self.epochs:
            return deterministic_gate(log_alpha, temperature)
        return sampled_gates(
            log_alpha,
            temperature,
            operator=self._pool.operator,
            seed=self._seed,
            epoch=self.epoch,
        )


def _annealed(settings: GatedFitSettings, epoch: int) -> tuple[float, float]:
    elapsed = min(1.0, epoch / (settings.annealing_share * settings.epochs))
    cooling = settings.final_temperature / settings.initial_temperature
    focusing = settings.final_focus / settings.initial_focus
    return (
        settings.initial_temperature * cooling**elapsed,
        settings.initial_focus * focusing**elapsed,
    )
