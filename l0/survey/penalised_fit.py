"""The classical fit: gates with a price on each that is open, and no budget.

    loss + lambda_l0 * expected number of open gates + lambda_l2 * sum of squared weights

over log-weights and the gates' locations (Louizos, Welling and Kingma 2018). The price decides how
many records stay, so that a wanted number takes several runs; ``gated_fit`` needs one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.errors import InputError
from l0.hard_concrete import STRETCH, deterministic_gate, gate_slope, open_probability
from l0.survey.adam import Adam, cosine_rate
from l0.survey.gate_noise import normal, sampled_gates
from l0.survey.history import EpochRecord, refuse_lost
from l0.survey.losses import Loss
from l0.survey.operator import SparseOperator
from l0.survey.problem import CalibrationProblem, Vector
from l0.survey.selected import SMALLEST_GATE, Selection
from l0.survey.settings import check_settings
from l0.survey.target_loss import TargetLoss


@dataclass(frozen=True)
class PenalisedFitSettings:
    """Hyperparameters of the penalised fit, by the names of ``SparseCalibrationWeights``."""

    lambda_l0: float = 1e-6  # price of one expected open gate, in units of the loss
    lambda_l2: float = 0.0  # price of the sum of squared weights
    lr: float = 0.05  # of Adam; falls as a cosine to zero
    epochs: int = 1500
    beta: float = 0.35  # temperature of the gates
    init_keep_prob: float = 0.999
    log_weight_jitter_sd: float = 0.0
    log_alpha_jitter_sd: float = 0.01

    def __post_init__(self) -> None:
        bounds = {
            "lambda_l0": (0, np.inf),
            "lambda_l2": (0, np.inf),
            "epochs": (1, np.inf),
            "init_keep_prob": (1e-6, 1 - 1e-6),
            "log_weight_jitter_sd": (0, np.inf),
            "log_alpha_jitter_sd": (0, np.inf),
        }
        check_settings(self, bounds)

    def stage(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int | None,
        loss: Loss,
        seed: int,
        start: Vector,
    ) -> "PenalisedSelection":
        """The fit of a problem, at its first epoch."""
        targets = TargetLoss.of(problem, loss, operator.device)
        return PenalisedSelection(
            problem,
            operator,
            budget=budget,
            targets=targets,
            settings=self,
            seed=seed,
            start=start,
        )


@dataclass
class Penalised:
    """What is descended on: prices, and where log-weights and locations stand."""

    log_weights: Tensor  # (records held,)
    log_alpha: Tensor | None  # (records held,); None without gates
    lambda_l0: float
    lambda_l2: float
    temperature: float
    limits: tuple[float, float] = STRETCH
    # what a user froze does not move
    moves_weights: bool = True
    moves_gates: bool = True


class PenalisedFit:
    """The fit as a stage.

    Raises:
        InputError: while it goes, the loss stopped being a number.
    """

    def __init__(
        self,
        targets: TargetLoss,
        operator: SparseOperator,
        objective: Penalised,
        *,
        sample: Callable[[Tensor, int], Tensor],
        epochs: int,
        rate: Callable[[int], float],
        name: str = "gates",
    ) -> None:
        """Take the objective as it stands; it is moved in place.

        Args:
            targets: what estimates are judged by.
            operator: the constraints.
            objective: prices and parameters.
            sample: random gates at these locations, at this epoch.
            epochs: how many steps.
            rate: Adam's, at each epoch.
            name: of the stage.
        """
        self.name = name
        self.epoch = 0
        self.epochs = epochs
        self.objective = objective
        self._targets = targets
        self._operator = operator
        self._sample = sample
        self._rate = rate
        self._weight_adam = Adam(objective.log_weights, operator.cuts)
        self._gate_adam = Adam(objective.log_weights, operator.cuts)

    def step(self, *, recorded: bool) -> EpochRecord | None:
        """One epoch: noisy gates, one step of weights and locations."""
        objective, operator = self.objective, self._operator
        weights = objective.log_weights.exp()
        kept, chance, gate = weights, torch.ones_like(weights), None
        if objective.log_alpha is not None:
            gate = self._sample(objective.log_alpha, self.epoch)
            chance = open_probability(
                objective.log_alpha, objective.temperature, stretch=objective.limits
            )
            kept = weights * gate
        errors = self._targets.errors(operator.estimates(kept))
        worth = operator.adjoint(self._targets.prices(errors))
        record = None
        if recorded:
            expected, squares = operator.totals(chance, weights.square())
            priced = objective.lambda_l0 * expected if gate is not None else 0.0
            record = EpochRecord(
                stage=self.name,
                epoch=self.epoch,
                epochs=self.epochs,
                loss=self._targets.value(errors),
                penalty=priced + (objective.lambda_l2 * squares if objective.lambda_l2 else 0.0),
                records=round(operator.totals(torch.ones_like(weights))[0]),
                expected_count=expected,
                temperature=objective.temperature,
            )
            refuse_lost(record)
        rate = self._rate(self.epoch)
        if objective.moves_weights:
            gradient = kept * worth
            if objective.lambda_l2 > 0:
                gradient = gradient + 2 * objective.lambda_l2 * weights.square()
            self._weight_adam.step(objective.log_weights, gradient, rate)
        if gate is not None and objective.log_alpha is not None and objective.moves_gates:
            slope = gate_slope(gate, objective.temperature, stretch=objective.limits)
            gradient = weights * worth * slope + objective.lambda_l0 * chance * (1 - chance)
            self._gate_adam.step(objective.log_alpha, gradient, rate)
        self.epoch += 1
        return record

    def state(self) -> dict[str, NDArray[Any]]:
        """Parameters and the optimizers' moments."""
        join = self._operator.shards.join
        return {name: join(vector).cpu().numpy() for name, vector in self._vectors().items()} | {
            "steps": np.array(self.epoch)
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where ``state`` was taken."""
        operator = self._operator
        records = operator.shards.join(operator.records)
        for name, vector in self._vectors().items():
            everyone = torch.tensor(state[name], device=operator.device)
            vector.copy_(operator.shards.split(everyone, records))
        self._weight_adam.steps = self._gate_adam.steps = int(state["steps"])

    def _vectors(self) -> dict[str, Tensor]:
        vectors = {
            "log_weights": self.objective.log_weights,
            "weights.mean": self._weight_adam.mean,
            "weights.square": self._weight_adam.square,
        }
        if self.objective.log_alpha is not None:
            vectors |= {
                "log_alpha": self.objective.log_alpha,
                "gates.mean": self._gate_adam.mean,
                "gates.square": self._gate_adam.square,
            }
        return vectors


class PenalisedSelection(PenalisedFit):
    """The fit of a calibration problem, from its design weights and gates that are nearly open."""

    def __init__(
        self,
        problem: CalibrationProblem,
        operator: SparseOperator,
        *,
        budget: int | None,
        targets: TargetLoss,
        settings: PenalisedFitSettings,
        seed: int,
        start: Vector,  # (records,)
    ) -> None:
        held = torch.from_numpy(start[operator.records.cpu().numpy()])
        log_weights = held.to(operator.device, torch.float32).log()
        log_weights += settings.log_weight_jitter_sd * normal(operator, seed=seed, draw=1)
        keep = settings.init_keep_prob
        log_alpha = settings.log_alpha_jitter_sd * normal(operator, seed=seed, draw=2)
        log_alpha += float(np.log(keep) - np.log1p(-keep))
        super().__init__(
            targets,
            operator,
            Penalised(
                log_weights,
                log_alpha,
                lambda_l0=settings.lambda_l0,
                lambda_l2=settings.lambda_l2,
                temperature=settings.beta,
            ),
            sample=lambda locations, epoch: sampled_gates(
                locations, settings.beta, operator=operator, seed=seed, epoch=epoch
            ),
            epochs=settings.epochs,
            rate=lambda epoch: cosine_rate(settings.lr, epoch=epoch, epochs=settings.epochs),
        )
        self._problem = problem
        self._budget = budget
        self._log_alpha = log_alpha  # the objective's, moved in place

    def selection(self) -> Selection:
        """The records whose gates are open, or the ``budget`` whose gates stand highest.

        Raises:
            InputError: no gate is open.
        """
        log_alpha = self._log_alpha
        gate = deterministic_gate(log_alpha, self.objective.temperature)
        budget = self._budget
        if budget is None:
            budget = round(self._operator.totals((gate > 0).float())[0])
            if budget == 0:
                raise InputError(
                    "no gate is open: lambda_l0 is too high for this loss. Lower it, or give a "
                    "budget."
                )
        return Selection.of(
            self._problem,
            self._operator,
            scores=log_alpha,
            weights=self.objective.log_weights.exp() * gate.clamp(min=SMALLEST_GATE),
            open_probability=open_probability(log_alpha, self.objective.temperature),
            budget=budget,
        )
