"""A vector of gates with limits and noise of its own: what the sparse estimators share.

``HardConcrete`` is the module for building networks; this one is the base of
``SparseL0Linear`` and ``SparseCalibrationWeights``, whose users know its parameter as
``log_alpha``, its temperature as ``beta`` and its limits as ``gamma`` and ``zeta``.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0.errors import InputError
from l0.hard_concrete import GateModule
from l0.inputs import not_negative, positive, vector, whole

# an array may hold certain gates: their locations are kept finite
_SMALLEST_PROBABILITY = 1e-6


class GatedVector(GateModule):
    """``n_features`` gates with locations ``log_alpha``, temperature ``beta`` and two limits.

    Raises:
        InputError: an argument out of its bounds.
    """

    def __init__(
        self,
        n_features: int,
        *,
        beta: float,
        gamma: float,
        zeta: float,
        init_keep_prob: float | ArrayLike,
        jitter: float,
        device: str | torch.device,
        seed: int | None,
    ) -> None:
        super().__init__(seed=seed)
        self.n_features = whole("n_features", n_features, least=1)
        if not (-np.inf < gamma < 0 and 1 < zeta < np.inf):
            raise InputError(
                f"gamma is {gamma} and zeta is {zeta}, but the stretched distribution must reach "
                "beyond both ends: gamma below 0, zeta above 1."
            )
        not_negative("log_alpha_jitter_sd", jitter)
        self.temperature = beta
        self.gamma, self.zeta = gamma, zeta
        start = _log_odds(init_keep_prob, self.n_features).to(device)
        if jitter > 0:
            start = start + jitter * self._normal(start)
        self.log_alpha = nn.Parameter(start)
        self.register_buffer("_first_log_alpha", start.clone(), persistent=False)
        self._first_draws = self._draws

    @property
    def device(self) -> torch.device:
        """Where the parameters lie; ``.to(device)`` moves them."""
        return self.log_alpha.device

    @property
    def locations(self) -> Tensor:
        """The parameter ``log_alpha``, (n_features,)."""
        return self.log_alpha

    @property
    def limits(self) -> tuple[float, float]:
        """Gamma and zeta."""
        return self.gamma, self.zeta

    @property
    def temperature(self) -> float:
        """Beta of the paper; set it to anneal."""
        return self.beta

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.beta = positive("beta", temperature)

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.get_expected_count()

    def get_extra_state(self) -> Tensor:
        """Temperature and limits, so that ``state_dict`` carries them."""
        return torch.tensor([self.beta, self.gamma, self.zeta], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take temperature and limits from a ``state_dict``."""
        self.temperature, self.gamma, self.zeta = state.tolist()

    @torch.no_grad()
    def _restart(self) -> None:
        """Gates and noise as they were when the module was made; a frozen parameter stays."""
        if self.log_alpha.requires_grad:
            self.log_alpha.copy_(self.get_buffer("_first_log_alpha"))
        self._draws = self._first_draws

    def _refuse_other_dtypes(self) -> None:
        if self.log_alpha.dtype != torch.float32:
            raise InputError(
                f"the parameters are {self.log_alpha.dtype}, but products with a sparse matrix are "
                "made in float32. Call .float() on the model."
            )

    def _normal(self, like: Tensor) -> Tensor:
        generator = self._generator(like.device)
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _log_odds(init_keep_prob: float | ArrayLike, n_features: int) -> Tensor:
    if np.ndim(init_keep_prob) == 0:
        chance = float(np.asarray(init_keep_prob))
        if not 0 < chance < 1:
            raise InputError(
                f"init_keep_prob is {chance}, but must lie strictly between 0 and 1: a gate that "
                "is certain has no gradient. Start near the end you want, at 0.999 for instance."
            )
        chances = np.full(n_features, chance)
    else:
        chances = vector("init_keep_prob", init_keep_prob, n_features, "features")
        if ((chances < 0) | (chances > 1)).any():
            raise InputError("init_keep_prob has entries outside [0, 1]: give probabilities.")
        chances = chances.clip(_SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return torch.tensor(np.log(chances) - np.log1p(-chances), dtype=torch.float32)
