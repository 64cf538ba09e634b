"""Hard Concrete gates and log-weights trained together, steered to a budget in one run.

Each record i has a log-weight v and a location q. Its gate's log-odds are

    log_alpha_i = q_i + focus * log(w_i * norm_i) - shift

where ``norm`` measures the record's coefficients under the loss, so that a record that carries
much is kept, and ``shift`` holds the expected number of open gates to the epoch's budget
(``budget.py``). Gates are noisy in the first epochs only. A Kullback-Leibler penalty keeps
weights near the design's. Records that have fallen far behind leave the matrix for good.
What follows, with gates removed, is ``refit``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.adam import cosine_rate
from l0.survey.budget import scheduled_budget, solve_shift
from l0.survey.gate_noise import NoiseTable
from l0.survey.gated_epoch import GatedEpoch, log_odds
from l0.survey.history import EpochRecord, refuse_lost
from l0.survey.losses import LEAK, Loss
from l0.survey.operator import SparseOperator
from l0.survey.pool import Part, Pool
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import SMALLEST_GATE, Selection
from l0.survey.settings import check_settings
from l0.survey.target_loss import TargetLoss

# records that stay in the matrix: these multiples of the gates that may be open and of the budget
MARGIN, BESIDE = 1.25, 0.25


@dataclass(frozen=True)
class GatedFitSettings:
    """Hyperparameters of the gated fit; the defaults were measured on a 200,576-record survey."""

    epochs: int = 750
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
    leak: float = LEAK  # share of the pull left beyond a cap
    smoothing: float = 0.02  # errors below it pull in proportion to their size
    # Kullback-Leibler, towards the scaled design weights; without, the share of records kept tells
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
        targets = TargetLoss.of(
            problem, loss, operator.device, leak=self.leak, smoothing=self.smoothing
        )
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
        self._table = NoiseTable(operator.shards, seed=seed)
        self._targets = targets
        self._pool = Pool(problem, operator, start=start)
        self._from = self._pool.initial_size
        self._strength = self._pool.strength(settings.penalty, budget)
        self._last = max(1, int(settings.epochs * settings.budget_share))
        self._shift = math.nan  # not known before gates close
        self._drift = 0.0  # of the shift, from epoch to epoch

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """One epoch: gates held to the schedule, one step of weights and locations."""
        pool, settings = self._pool, self._settings
        temperature, focus = _annealed(settings, self.epoch)
        expected = self._expected()
        # never fewer than are to be open
        wanted = max(math.ceil(expected), int(MARGIN * expected + BESIDE * self._budget))
        if pool.is_worth_a_cut(wanted):
            pool.keep_best(lambda part: log_odds(part, focus), wanted)
        shards, shift = self._held(focus, expected=expected, temperature=temperature)
        total = pool.operator.total
        stored = total(lambda k: shards[k].estimates(self._noise(pool.parts[k])))
        errors = self._targets.errors(pool.operator.summed(stored))
        prices = pool.operator.folded(self._targets.prices(errors)).float()
        pull, slope, open_design = total(lambda k: shards[k].pull(prices)).tolist()
        raised = pool.raised(open_design)
        record = None
        if recorded:
            told = total(lambda k: shards[k].told(raised), multiplies=False)
            open_gates, divergence = told.tolist()
            record = EpochRecord(
                stage=self.name,
                epoch=self.epoch,
                epochs=self.epochs,
                loss=self._targets.value(errors),
                penalty=self._strength * divergence,
                records=pool.size,
                budget=expected,
                expected_count=open_gates,
                temperature=temperature,
            )
            refuse_lost(record)
        rate = cosine_rate(settings.weight_rate, epoch=self.epoch, epochs=self.epochs)
        pool.operator.each(
            lambda k: shards[k].learn(
                raised=raised,
                strength=self._strength,
                pull=pull / slope if slope > 0 else 0.0,
                weight_rate=rate,
                gate_rate=settings.gate_rate,
            ),
            multiplies=False,
        )
        if not math.isnan(self._shift):
            self._drift = shift - self._shift
        self._shift = shift
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
        settings = self._settings
        shards, _ = self._held(
            settings.final_focus, expected=self._budget, temperature=settings.final_temperature
        )
        weights = [
            part.weights() * shard.gate().clamp(min=SMALLEST_GATE)
            for part, shard in zip(self._pool.parts, shards, strict=True)
        ]
        return Selection.of(
            self._problem,
            self._pool.operator,
            scores=torch.cat([shard.log_alpha for shard in shards]),
            weights=torch.cat(weights),
            open_probability=torch.cat([shard.open_probability() for shard in shards]),
            budget=self._budget,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The pool's vectors, and the shift."""
        return {
            **self._pool.state(),
            "shift": np.array(self._shift),
            "drift": np.array(self._drift),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where ``state`` was taken."""
        self._pool.restore(state)
        self._shift, self._drift = float(state["shift"]), float(state["drift"])

    def _expected(self) -> float:
        return scheduled_budget(
            self.epoch,
            records=self._from,
            budget=self._budget,
            last_epoch=self._last,
            power=self._settings.budget_power,
        )

    def _held(
        self, focus: float, *, expected: float, temperature: float
    ) -> tuple[list[GatedEpoch], float]:
        """The shards with ``expected`` gates open, and the shift that holds them there."""
        # as if the shift went on as it went between the last two epochs
        start = 0.0 if math.isnan(self._shift) else self._shift + self._drift
        operator = self._pool.operator
        shards = [
            GatedEpoch(part, temperature=temperature, focus=focus, start=start)
            for part in self._pool.parts
        ]
        if expected >= self._pool.size:
            operator.each(lambda k: shards[k].open_all(), multiplies=False)
            return shards, self._shift

        def opened(shift: float) -> tuple[float, float]:
            sums = operator.total(lambda k: shards[k].opened(shift), multiplies=False)
            count, slope = sums.tolist()
            return count, slope

        further = solve_shift(opened, expected=expected)
        operator.each(lambda k: shards[k].hold(further), multiplies=False)
        return shards, start + further

    def _noise(self, part: Part) -> Tensor | None:
        if self.epoch >= self._settings.noise_share * self.epochs:
            return None
        return self._table.read(len(part.locations), epoch=self.epoch, shard=part.shard)


def _annealed(settings: GatedFitSettings, epoch: int) -> tuple[float, float]:
    elapsed = min(1.0, epoch / (settings.annealing_share * settings.epochs))
    cooling = settings.final_temperature / settings.initial_temperature
    focusing = settings.final_focus / settings.initial_focus
    return (
        settings.initial_temperature * cooling**elapsed,
        settings.initial_focus * focusing**elapsed,
    )
