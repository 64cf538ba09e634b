"""Calibration weights with gates, as an estimator: the classical penalised fit.

The loss and the penalties are those that users of l0-python know, and their strength is the
user's to choose. ``l0.survey.calibrate`` needs no such choice: it keeps an exact number of
records and refits their weights.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0.errors import InputError
from l0.gated_vector import GatedVector
from l0.inputs import Matrix, not_negative, numbers, positive, vector
from l0.progress import Progress
from l0.sparse_product import operator_of, product
from l0.survey.groups import group_factors
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.losses import loss_named
from l0.survey.operator import one_thread_each
from l0.survey.penalised_fit import Penalised, PenalisedFit
from l0.survey.target_loss import TargetLoss

LOSSES = ("mse", "relative")


class ActiveWeights(TypedDict):
    """Positions and values of the weights above zero, and how many there are."""

    indices: Tensor
    values: Tensor
    count: int


class SparseCalibrationWeights(GatedVector):
    """Positive weights, one a record, many of them closed by gates.

    Args:
        n_features: number of records.
        beta: temperature of the gates.
        gamma: lower limit of the stretched distribution, below 0.
        zeta: upper limit, above 1.
        init_keep_prob: the gates' locations start at its log-odds; one number strictly between
            0 and 1, or one a record.
        init_weights: where the weights start; one number, one a record, or 1. A weight of 0
            starts at 1e-8, since positive weights have logarithms.
        log_weight_jitter_sd: standard deviation of the noise on log-weights when a fit starts.
        log_alpha_jitter_sd: standard deviation of the noise on the gates' first locations.
        device: of the parameters.
        use_gates: without gates every record is kept and only weights are fitted.
        seed: of all noise; torch's global generator without.

    Raises:
        InputError: an argument out of its bounds.
    """

    def __init__(
        self,
        n_features: int,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float | ArrayLike = 0.5,
        init_weights: float | ArrayLike | None = None,
        log_weight_jitter_sd: float = 0.0,
        log_alpha_jitter_sd: float = 0.01,
        device: str | torch.device = "cpu",
        use_gates: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            n_features,
            beta=beta,
            gamma=gamma,
            zeta=zeta,
            init_keep_prob=init_keep_prob,
            jitter=log_alpha_jitter_sd,
            device=device,
            seed=seed,
        )
        self.log_weight_jitter_sd = not_negative("log_weight_jitter_sd", log_weight_jitter_sd)
        self.log_alpha_jitter_sd = log_alpha_jitter_sd
        self.use_gates = use_gates
        self.history: tuple[EpochRecord, ...] = ()
        start = _log_weights(init_weights, self.n_features).to(device)
        self.log_weight = nn.Parameter(start)
        self.register_buffer("_first_log_weight", start.clone(), persistent=False)

    def get_weights(self, deterministic: bool = False) -> Tensor:  # (n_features,)
        """Weights multiplied by their gates: sampled ones, or those of evaluation."""
        weights = self.log_weight.exp()
        if not self.use_gates:
            return weights
        return weights * (self.get_deterministic_gates() if deterministic else self._sample_gates())

    def forward(self, M: Matrix, deterministic: bool = False) -> Tensor:
        """Weighted sums (n_targets,) of the rows of M (n_targets, n_features).

        Raises:
            InputError: M has other columns, or entries that are not finite.
        """
        self._refuse_other_dtypes()
        operator = operator_of("M", M, self.device, columns=self.n_features)
        return product(operator, self.get_weights(deterministic))

    def predict(self, M: Matrix) -> Tensor:
        """The weighted sums at evaluation, (n_targets,)."""
        with torch.no_grad():
            return self(M, deterministic=True)  # type: ignore[no-any-return]

    def get_l0_penalty(self) -> Tensor:
        """The expected number of records kept, a scalar; all of them without gates."""
        if not self.use_gates:
            return self.log_weight.new_tensor(float(self.n_features))
        return super().get_l0_penalty()

    def get_l2_penalty(self) -> Tensor:
        """The sum of squared weights before their gates, a scalar."""
        exact = torch.promote_types(self.log_weight.dtype, torch.float32)
        return self.log_weight.to(exact).exp().square().sum()

    @torch.no_grad()
    def get_sparsity(self) -> float:
        """The share of records whose weight is zero at evaluation."""
        return float((self.get_weights(deterministic=True) == 0).float().mean())

    @torch.no_grad()
    def get_active_weights(self) -> ActiveWeights:
        """The weights above zero at evaluation."""
        weights = self.get_weights(deterministic=True)
        indices = torch.nonzero(weights > 0).flatten()
        return {"indices": indices, "values": weights[indices], "count": len(indices)}

    def fit(
        self,
        M: Matrix,
        y: ArrayLike | Tensor,
        lambda_l0: float = 0.01,
        lambda_l2: float = 0.0,
        lr: float = 0.01,
        epochs: int = 1000,
        loss_type: str = "mse",
        verbose: bool = False,
        verbose_freq: int = 100,
        target_groups: ArrayLike | None = None,
        normalize_groups: bool = True,
        group_multipliers: Mapping[Any, float] | None = None,
        *,
        warm_start: bool = True,
        on_progress: OnProgress | None = None,
    ) -> "SparseCalibrationWeights":
        """Lower the loss of M w against y, with a price on gates and on squared weights.

        Args:
            M: (n_targets, n_features), scipy sparse, numpy or torch.
            y: (n_targets,), of any sign.
            lambda_l0: price of one expected open gate.
            lambda_l2: price of the sum of squared weights.
            lr: learning rate of Adam.
            epochs: how many steps; none moves nothing.
            loss_type: "mse", the sum of squared errors, or "relative", each error divided by
                ``|y| + 1``.
            verbose: log every ``verbose_freq`` epochs and show a progress bar.
            verbose_freq: how often to log.
            target_groups: (n_targets,) the group of each target, a number or a name.
            normalize_groups: let each group count as one target.
            group_multipliers: a factor for the loss of some groups.
            warm_start: continue from where the weights and gates are; from their first values
                without.
            on_progress: called with each record of the history, which ``history`` keeps.

        Raises:
            InputError: lengths that do not fit, numbers that are not finite, an unknown loss,
                multipliers without groups, or a loss that ran away.
        """
        if loss_type not in LOSSES:
            raise InputError(f"loss_type is {loss_type!r}, but must be one of {list(LOSSES)}.")
        not_negative("lambda_l0", lambda_l0)
        not_negative("lambda_l2", lambda_l2)
        positive("lr", lr)
        self._refuse_other_dtypes()
        operator = operator_of("M", M, self.device, columns=self.n_features)
        targets = operator.shape[0]
        values = vector("y", y, targets, "targets")
        importance = group_factors(
            targets,
            target_groups,
            multipliers=group_multipliers,
            normalize=normalize_groups,
            names=("target_groups", "group_multipliers"),
        )
        scales = np.abs(values) + 1 if loss_type == "relative" else np.ones(targets)
        progress = Progress(
            epochs, verbose=verbose, verbose_freq=verbose_freq, on_progress=on_progress
        )
        if epochs == 0:
            return self
        if not warm_start:
            self._restart()
        if not (self.log_weight.requires_grad or (self.use_gates and self.log_alpha.requires_grad)):
            raise InputError("no parameter has requires_grad: there is nothing to fit.")
        with torch.no_grad(), progress:
            if self.log_weight_jitter_sd > 0 and self.log_weight.requires_grad:
                noise = self._normal(self.log_weight)
                self.log_weight.add_(self.log_weight_jitter_sd * noise)
            generator = self._generator(self.device)
            descent = PenalisedFit(
                TargetLoss(
                    loss_named("squared"),
                    values=values,
                    scales=scales,
                    loss_weights=importance,
                    device=self.device,
                ),
                operator,
                Penalised(
                    self.log_weight,
                    self.log_alpha if self.use_gates else None,
                    lambda_l0=lambda_l0,
                    lambda_l2=lambda_l2,
                    temperature=self.beta,
                    limits=self.limits,
                    moves_weights=self.log_weight.requires_grad,
                    moves_gates=self.log_alpha.requires_grad,
                ),
                sample=lambda _locations, _epoch: self._sample_gates(generator),
                epochs=epochs,
                rate=lambda _epoch: lr,
            )
            with one_thread_each():
                for epoch in range(epochs):
                    record = descent.step(recorded=progress.wants(epoch))
                    if record is not None:
                        progress.record(record)
        self.history = tuple(progress.history)
        return self

    @torch.no_grad()
    def _restart(self) -> None:
        super()._restart()
        if self.log_weight.requires_grad:
            self.log_weight.copy_(self.get_buffer("_first_log_weight"))


def _log_weights(init_weights: float | ArrayLike | None, n_features: int) -> Tensor:
    if init_weights is None:
        return torch.zeros(n_features, dtype=torch.float32)
    if np.ndim(init_weights) == 0:
        given = np.full(n_features, numbers("init_weights", init_weights))
    else:
        given = vector("init_weights", init_weights, n_features, "features")
    if (given < 0).any() or not np.isfinite(given).all():
        raise InputError("init_weights must be finite and not negative: weights are positive.")
    # a weight of zero has no logarithm
    return torch.tensor(np.log(given + 1e-8), dtype=torch.float32)
