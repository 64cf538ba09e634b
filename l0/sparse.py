"""Linear regression with a gate for each feature, on sparse matrices.

The objective is the mean squared error plus a price on the expected number of features. It is
minimised in units of each feature's and the response's spread, so that neither decides how far a
step of Adam goes; what comes out are coefficients in the units given.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from l0.errors import InputError
from l0.gated_vector import GatedVector
from l0.hard_concrete import gate_slope
from l0.inputs import Matrix, csr_matrix, not_negative, positive, vector
from l0.progress import Progress
from l0.sparse_product import operator_of, operator_on, product
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.operator import SparseOperator

WORDS: dict[str, Any] = {"row": "sample", "column": "feature"}
# a gate at or below this counts as closed: what users of l0-python know
CLOSED = 0.01
# of a gate in units of the response's variance: no feature explains more than all of it, and the
# square of a gradient must stay within float32
HIGHEST_PRICE = 1e6
LARGEST = 1e30


class SparseL0Linear(GatedVector):
    """A linear model whose features have gates.

    Args:
        n_features: number of features.
        fit_intercept: whether to fit an intercept.
        beta: temperature of the gates.
        gamma: lower limit of the stretched distribution, below 0.
        zeta: upper limit, above 1.
        init_keep_prob: the gates' locations start at its log-odds, strictly between 0 and 1.
        device: of the parameters.
        seed: of all noise; torch's global generator without.

    Raises:
        InputError: an argument out of its bounds.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        n_features: int,
        fit_intercept: bool = True,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float = 0.5,
        device: str | torch.device = "cpu",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            n_features,
            beta=beta,
            gamma=gamma,
            zeta=zeta,
            init_keep_prob=init_keep_prob,
            jitter=0.01,
            device=device,
            seed=seed,
        )
        self.fit_intercept = fit_intercept
        # float32 whatever torch's default: the products of a fit are
        zeros = torch.zeros(self.n_features + 1, dtype=torch.float32, device=device)
        self.weight = nn.Parameter(zeros[1:].clone())
        self.bias = nn.Parameter(zeros[:1].clone()) if fit_intercept else None
        self.history: tuple[EpochRecord, ...] = ()

    def forward(self, X: Matrix, deterministic: bool = False) -> Tensor:
        """Predictions (n_samples,) for X (n_samples, n_features), scipy sparse, numpy or torch.

        Raises:
            InputError: X has other columns, or entries that are not finite.
        """
        self._refuse_other_dtypes()
        operator = operator_of("X", X, self.device, columns=self.n_features, **WORDS)
        gates = self.get_deterministic_gates() if deterministic else self._sample_gates()
        prediction = product(operator, self.weight * gates)
        return prediction if self.bias is None else prediction + self.bias

    def predict(self, X_sparse: Matrix) -> Tensor:
        """Predictions (n_samples,) at evaluation."""
        with torch.no_grad():
            return self(X_sparse, deterministic=True)  # type: ignore[no-any-return]

    @torch.no_grad()
    def get_sparsity(self) -> float:
        """The share of features whose deterministic gate is closed."""
        return float((self.get_deterministic_gates() < CLOSED).float().mean())

    @torch.no_grad()
    def get_selected_features(self, threshold: float = CLOSED) -> Tensor:
        """The features whose deterministic gate is above ``threshold``, ascending."""
        return torch.nonzero(self.get_deterministic_gates() > threshold).flatten()

    @torch.no_grad()
    def get_coefficients(self, threshold: float = CLOSED) -> Tensor:  # (n_features,)
        """Weights multiplied by their deterministic gates; zero where a gate is closed."""
        gates = self.get_deterministic_gates()
        return torch.where(gates > threshold, self.weight * gates, torch.zeros_like(gates))

    def fit(
        self,
        X_sparse: Matrix,
        y: ArrayLike | Tensor,
        lambda_reg: float = 0.01,
        lr: float = 0.01,
        epochs: int = 1000,
        verbose: bool = False,
        verbose_freq: int = 100,
        *,
        warm_start: bool = False,
        refit: bool = True,
        on_progress: OnProgress | None = None,
    ) -> "SparseL0Linear":
        """Lower the mean squared error with a price on each expected open gate.

        Args:
            X_sparse: (n_samples, n_features), scipy sparse, numpy or torch.
            y: (n_samples,).
            lambda_reg: price of one expected open gate, in squared units of y.
            lr: learning rate of Adam, in spreads of the response a spread of the feature.
            epochs: how many steps; none moves nothing.
            verbose: log every ``verbose_freq`` epochs and show a progress bar.
            verbose_freq: how often to log.
            warm_start: continue from where weights and gates are; anew without.
            refit: end with least squares on the features selected, so that what the gates'
                noise took from the coefficients is given back.
            on_progress: called with each record of the history, which ``history`` keeps.

        Raises:
            InputError: lengths that do not fit, numbers that are not finite, or a loss that ran
                away.
        """
        self._refuse_other_dtypes()
        matrix = csr_matrix("X", X_sparse, columns=self.n_features, **WORDS)
        samples = matrix.shape[0]
        response = vector("y", y, samples, "samples")
        not_negative("lambda_reg", lambda_reg)
        positive("lr", lr)
        progress = Progress(
            epochs, verbose=verbose, verbose_freq=verbose_freq, on_progress=on_progress
        )
        if epochs == 0:
            return self
        # the level can be moved between the features and the intercept if that is free to follow
        level_is_free = self.bias is not None and self.bias.requires_grad
        centre = float(response.mean()) if level_is_free else 0.0
        if not warm_start:
            self._restart(centre)
        mean = np.asarray(matrix.mean(axis=0)).ravel() * level_is_free
        spread = _spread(matrix, mean)
        unit = _unit(response, centre)
        if not (spread.max() < LARGEST and (unit / spread).max() < LARGEST):
            raise InputError(
                "X has columns whose size is beyond float32, in their own units or in those of y. "
                "Rescale them."
            )
        scaled = sp.csr_array(matrix @ sp.diags_array(1 / spread))
        operator = operator_on(scaled, self.device)
        with torch.no_grad(), progress:
            self._descend(
                operator,
                torch.tensor((response - centre) / unit, dtype=torch.float32, device=self.device),
                units=torch.tensor(unit / spread, dtype=torch.float32, device=self.device),
                offset=torch.tensor(mean / spread, dtype=torch.float32, device=self.device),
                centre=centre,
                unit=unit,
                price=min(lambda_reg / unit**2, HIGHEST_PRICE),
                lr=lr,
                epochs=epochs,
                progress=progress,
            )
            if refit and self.weight.requires_grad:
                self._least_squares(scaled, response, spread)
        self.history = tuple(progress.history)
        return self

    def _descend(
        self,
        operator: SparseOperator,
        response: Tensor,  # (samples,), centred, in units of its spread
        *,
        units: Tensor,  # (features,), of the coefficients
        offset: Tensor,  # (features,), the mean of each feature in its spreads
        centre: float,
        unit: float,
        price: float,
        lr: float,
        epochs: int,
        progress: Progress,
    ) -> None:
        coefficients = self.weight / units
        intercept = torch.zeros_like(coefficients[:1])
        if self.bias is not None:
            level = offset @ (coefficients * self.get_deterministic_gates())
            intercept = (self.bias - centre) / unit + level
        # what the user froze stays
        trained = []
        if self.weight.requires_grad:
            trained.append(coefficients)
        if self.log_alpha.requires_grad:
            trained.append(self.log_alpha)
        if self.bias is not None and self.bias.requires_grad:
            trained.append(intercept)
        if not trained:
            raise InputError("no parameter has requires_grad: there is nothing to fit.")
        optimizer = torch.optim.Adam(trained, lr=lr)
        generator = self._generator(self.device)
        for epoch in range(epochs):
            gate = self._sample_gates(generator)
            kept = coefficients * gate
            # features about their means: what a column has in common is the intercept's
            estimates = operator.estimates(kept).float()
            error = estimates - offset @ kept + intercept - response
            pull = (2 / len(error)) * error
            worth = operator.adjoint(pull) - offset * pull.sum()
            chance = self.get_open_probability()
            slope = gate_slope(gate, self.beta, stretch=self.limits)
            coefficients.grad = gate * worth
            self.log_alpha.grad = coefficients * worth * slope + price * chance * (1 - chance)
            intercept.grad = pull.sum(0, keepdim=True)
            if progress.wants(epoch):
                expected = float(chance.sum())
                progress.record(
                    EpochRecord(
                        stage="gates",
                        epoch=epoch,
                        epochs=epochs,
                        loss=float(error.square().mean()) * unit**2,
                        penalty=price * unit**2 * expected,
                        records=self.n_features,
                        expected_count=expected,
                        temperature=self.beta,
                    )
                )
            optimizer.step()
        self.log_alpha.grad = None
        if self.weight.requires_grad:
            self.weight.copy_(coefficients * units)
        if self.bias is not None and self.bias.requires_grad:
            level = offset @ (coefficients * self.get_deterministic_gates())
            self.bias.copy_(centre + unit * (intercept - level))

    def _least_squares(
        self,
        scaled: sp.csr_array,  # (samples, features), each column of spread one
        response: NDArray[np.float64],
        spread: NDArray[np.float64],
    ) -> None:
        """Coefficients and intercept of least squares on the features selected; no others."""
        selected = self.get_selected_features()
        chosen = selected.cpu().numpy()
        # of several solutions the one nearest to where the descent ended
        start = self.get_coefficients().double().cpu().numpy()[chosen] * spread[chosen]
        self.weight.zero_()
        columns = scaled[:, chosen]
        if self.bias is not None and self.bias.requires_grad:
            columns = sp.hstack([columns, np.ones((scaled.shape[0], 1))], format="csr")
            start = np.append(start, float(self.bias))
        elif self.bias is not None:
            response = response - float(self.bias)
        if columns.shape[1] == 0:
            return
        solution = spl.lsqr(columns, response, x0=start, atol=1e-10, btol=1e-10)[0]
        if self.bias is not None and self.bias.requires_grad:
            self.bias.fill_(solution[-1])
        found = solution[: len(chosen)] / spread[chosen]
        self.weight[selected] = (
            torch.tensor(found, dtype=torch.float32, device=self.device)
            / self.get_deterministic_gates()[selected]
        )

    @torch.no_grad()
    def _restart(self, level: float = 0.0) -> None:
        super()._restart()
        if self.weight.requires_grad:
            self.weight.zero_()
        if self.bias is not None and self.bias.requires_grad:
            self.bias.fill_(level)


def _unit(response: NDArray[np.float64], centre: float) -> float:
    """The response's spread about its centre; 1 where that is but rounding."""
    unit = float(np.sqrt(np.mean((response - centre) ** 2)))
    return unit if unit > 1e-12 * np.abs(response).max() else 1.0


def _spread(matrix: sp.csr_array, mean: NDArray[np.float64]) -> NDArray[np.float64]:  # (features,)
    """The root mean square of each column about its mean; of a constant one its size, or 1."""
    squared = np.asarray(matrix.power(2).sum(axis=0)).ravel() / matrix.shape[0]
    varying = squared - mean**2
    squared = np.where(varying > 1e-12 * squared, varying, squared)
    return np.sqrt(np.where(squared > 0, squared, 1.0))
