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
from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.errors import InputError
from l0.hard_concrete import deterministic_gate, gate_slope, open_probability, sample_gate
from l0.survey.adam import Adam, cosine_rate
from l0.survey.budget import hold_count, hold_to_budget, scheduled_budget
from l0.survey.history import EpochRecord, OnProgress, is_recorded
from l0.survey.losses import capped_relative, capped_relative_gradient
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector

# a gate about to close still has a weight; its logarithm must not run away
SMALLEST_NORM = 1e-30
# the folded weight of a record kept with a nearly closed gate starts the refit above zero
SMALLEST_GATE = 1e-2


@dataclass(frozen=True)
class GatedFitSettings:
    """Hyperparameters of the gated fit; the defaults were measured on a 200,576-record survey."""

    epochs: int = 1000
    weight_rate: float = 0.05
    gate_rate: float = 0.02
    initial_temperature: float = 0.5
    final_temperature: float = 0.25
    initial_focus: float = 4.0
    final_focus: float = 16.0
    annealing_share: float = 0.7  # of the epochs, for temperature and focus
    budget_share: float = 0.6  # of the epochs, until the budget is reached
    budget_power: float = 1.5
    noise_share: float = 0.3  # of the epochs, with random gates
    penalty: float = 0.03  # Kullback-Leibler, towards the scaled design weights

    def __post_init__(self) -> None:
        bounds: Mapping[str, tuple[float, float]] = {
            "epochs": (1, np.inf),
            "penalty": (0, np.inf),
            "noise_share": (0, 1),
            "annealing_share": (1e-9, 1),
            "budget_share": (1e-9, 1),
        }
        for field in fields(self):
            low, high = bounds.get(field.name, (1e-9, np.inf))
            value = getattr(self, field.name)
            if not low <= value <= high or value == np.inf:
                raise InputError(
                    f"{field.name} is {value}, but must be finite and lie between {low:g} and "
                    f"{high:g}."
                )
        if not isinstance(self.epochs, Integral):
            raise InputError(f"epochs is {self.epochs}, but must be a whole number.")


@dataclass(frozen=True)
class GatedFit:
    """Where the gates ended: order of all records, the support, and the weights gates left."""

    support: NDArray[np.intp]  # (budget,), ascending
    weights: Vector  # (budget,), gates folded in
    log_alpha: Vector  # (records,), -inf for records that left the matrix
    open_probability: Vector  # (records,)


def gated_fit(
    problem: CalibrationProblem,
    operator: SparseOperator,
    *,
    budget: int,
    settings: GatedFitSettings,
    seed: int,
    on_progress: OnProgress | None = None,
) -> GatedFit:
    """Train gates and weights until exactly ``budget`` records are left.

    Raises:
        InputError: the loss stopped being a number.
    """
    device = operator.device
    generator = torch.Generator(device).manual_seed(seed)
    loss_weights = torch.tensor(problem.loss_weights, dtype=torch.float32, device=device)
    values = torch.tensor(problem.values / problem.scales, dtype=torch.float32, device=device)
    pool = _Pool.of(problem, operator, loss_weights)
    total = float(problem.design_weights.sum())
    last = max(1, int(settings.epochs * settings.budget_share))
    shift = 0.0
    for epoch in range(settings.epochs):
        temperature, focus = _annealed(settings, epoch)
        expected = scheduled_budget(
            epoch,
            records=pool.initial_size,
            budget=budget,
            last_epoch=last,
            power=settings.budget_power,
        )
        pool.drop_far_behind(focus, expected=expected, budget=budget)
        odds = pool.log_odds(focus)
        log_alpha, shift = hold_to_budget(
            odds, expected=expected, temperature=temperature, start=shift
        )
        probability = open_probability(log_alpha, temperature)
        if epoch < settings.noise_share * settings.epochs:
            gate = sample_gate(log_alpha, temperature, generator=generator)
        else:
            gate = deterministic_gate(log_alpha, temperature)
        weights = pool.log_weights.exp()
        error = pool.operator.estimates(weights * gate) - values
        worth = pool.operator.adjoint(capped_relative_gradient(error, loss_weights))
        reference = pool.design * (total / (probability * pool.design).sum())
        pull = settings.penalty / total * gate * weights * (pool.log_weights - reference.log())
        pool.step(
            weight_gradient=weights * gate * worth + pull,
            gate_gradient=hold_count(weights * worth * gate_slope(gate, temperature), probability),
            weight_rate=cosine_rate(settings.weight_rate, epoch=epoch, epochs=settings.epochs),
            gate_rate=settings.gate_rate,
        )
        if is_recorded(epoch, settings.epochs):
            record = EpochRecord(
                stage="gates",
                epoch=epoch,
                epochs=settings.epochs,
                loss=float(capped_relative(error, loss_weights)),
                penalty=float(_divergence(weights * gate, reference) * settings.penalty / total),
                records=len(odds),
                budget=expected,
                expected_count=float(probability.sum()),
                temperature=temperature,
            )
            _refuse_lost(record)
            if on_progress is not None:
                on_progress(record)
    return pool.result(problem, settings, budget=budget)


class _Pool:
    """The records still in the matrix, with what is learned of each."""

    def __init__(self, operator: SparseOperator, records: Tensor, design: Tensor) -> None:
        self.operator = operator
        self.records = records
        self.initial_size = len(records)
        self.design = design
        self.log_weights = design.log()
        self.locations = torch.zeros_like(design)
        self.log_norms = torch.zeros_like(design)
        self._weight_adam = Adam(design)
        self._gate_adam = Adam(design)

    @classmethod
    def of(
        cls, problem: CalibrationProblem, operator: SparseOperator, loss_weights: Tensor
    ) -> "_Pool":
        design = torch.tensor(problem.design_weights, dtype=torch.float32, device=operator.device)
        records = torch.nonzero(design > 0).flatten()
        if len(records) < len(design):
            operator = operator.keep(records)
        pool = cls(operator, records, design[records])
        pool.log_norms = operator.column_norms(loss_weights).clamp(min=SMALLEST_NORM).log()
        return pool

    def log_odds(self, focus: float) -> Tensor:
        """Log-odds of every gate before the common shift."""
        return self.locations + focus * (self.log_weights + self.log_norms)

    def drop_far_behind(self, focus: float, *, expected: float, budget: int) -> None:
        """Keep the best two for each gate that may be open, once that saves a quarter."""
        wanted = max(int(2 * expected), budget)
        if wanted > 0.75 * len(self.records):
            return
        best = torch.topk(self.log_odds(focus), wanted).indices.sort().values
        self.operator = self.operator.keep(best)
        for name in ("records", "design", "log_weights", "locations", "log_norms"):
            setattr(self, name, getattr(self, name)[best])
        self._weight_adam.keep(best)
        self._gate_adam.keep(best)

    def step(
        self,
        *,
        weight_gradient: Tensor,
        gate_gradient: Tensor,
        weight_rate: float,
        gate_rate: float,
    ) -> None:
        self.log_weights = self.log_weights - self._weight_adam.step(weight_gradient, weight_rate)
        self.locations = self.locations - self._gate_adam.step(gate_gradient, gate_rate)

    def result(
        self, problem: CalibrationProblem, settings: GatedFitSettings, *, budget: int
    ) -> GatedFit:
        odds = self.log_odds(settings.final_focus)
        temperature = settings.final_temperature
        log_alpha, _ = hold_to_budget(odds, expected=budget, temperature=temperature, start=0.0)
        best = torch.topk(log_alpha, budget).indices.sort().values
        gate = deterministic_gate(log_alpha[best], temperature).clamp(min=SMALLEST_GATE)
        return GatedFit(
            support=self.records[best].cpu().numpy(),
            weights=_float64(self.log_weights[best].exp() * gate),
            log_alpha=self._of_all(problem, log_alpha, -np.inf),
            open_probability=self._of_all(problem, open_probability(log_alpha, temperature), 0.0),
        )

    def _of_all(self, problem: CalibrationProblem, values: Tensor, absent: float) -> Vector:
        everyone = np.full(problem.n_records, absent)
        everyone[self.records.cpu().numpy()] = _float64(values)
        return everyone


def _annealed(settings: GatedFitSettings, epoch: int) -> tuple[float, float]:
    elapsed = min(1.0, epoch / (settings.annealing_share * settings.epochs))
    cooling = settings.final_temperature / settings.initial_temperature
    focusing = settings.final_focus / settings.initial_focus
    return (
        settings.initial_temperature * cooling**elapsed,
        settings.initial_focus * focusing**elapsed,
    )


def _divergence(weights: Tensor, reference: Tensor) -> Tensor:
    return (torch.xlogy(weights, weights / reference) - weights + reference).sum()


def _refuse_lost(record: EpochRecord) -> None:
    if not np.isfinite(record.loss):
        raise InputError(
            f"the loss is {record.loss} at epoch {record.epoch}. Lower weight_rate, or look for "
            "targets whose scale is far below their value."
        )


def _float64(values: Tensor) -> Vector:
    return values.double().cpu().numpy()
