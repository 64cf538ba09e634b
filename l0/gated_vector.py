"""A vector of gates with limits and noise of its own: what the sparse estimators share.

``HardConcrete`` is the module for building networks; this one is the base of
``SparseL0Linear`` and ``SparseCalibrationWeights``, whose users know its parameter as
``log_alpha``, its temperature as ``beta`` and its limits as ``gamma`` and ``zeta``.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from l0.errors import InputError
from l0.hard_concrete import (
    LOG_ALPHA_BOUND,
    deterministic_gate,
    draw_generator,
    open_probability,
    positive,
    sample_gate,
    whole,
)
from l0.inputs import vector

# an array may hold certain gates: their locations are kept finite
_SMALLEST_PROBABILITY = 1e-6


class GatedVector(nn.Module):
    """``n_features`` gates with locations ``log_alpha``, temperature ``beta`` and two limits.

    Raises:
        InputError: an argument out of its bounds.
    """

    LOG_ALPHA_BOUND = LOG_ALPHA_BOUND

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
        super().__init__()
        self.n_features = whole("n_features", n_features, least=1)
        if not (-np.inf < gamma < 0 and 1 < zeta < np.inf):
            raise InputError(
                f"gamma is {gamma} and zeta is {zeta}, but the stretched distribution must reach "
                "beyond both ends: gamma below 0, zeta above 1."
            )
        if not 0 <= jitter < np.inf:
            raise InputError(f"log_alpha_jitter_sd is {jitter}, but must be 0 or more.")
        self.temperature = beta
        self.gamma, self.zeta = gamma, zeta
        self.seed = seed
        self._draws = 0
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
    def temperature(self) -> float:
        """Beta of the paper; set it to anneal."""
        return self.beta

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.beta = positive("beta", temperature)

    def get_deterministic_gates(self) -> Tensor:  # (n_features,)
        """The gates at evaluation: open exactly where P(open) > 1/2."""
        return deterministic_gate(self.log_alpha, self.beta, stretch=(self.gamma, self.zeta))

    def get_open_probability(self) -> Tensor:  # (n_features,)
        """P(open) of each gate."""
        return open_probability(self.log_alpha, self.beta, stretch=(self.gamma, self.zeta))

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.get_open_probability().sum(
            dtype=torch.promote_types(self.log_alpha.dtype, torch.float32)
        )

    def get_extra_state(self) -> Tensor:
        """Temperature and limits, so that ``state_dict`` carries them."""
        return torch.tensor([self.beta, self.gamma, self.zeta], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take temperature and limits from a ``state_dict``."""
        self.temperature, self.gamma, self.zeta = state.tolist()

    @torch.no_grad()
    def _restart(self) -> None:
        """Gates and noise as they were when the module was made."""
        self.log_alpha.copy_(self.get_buffer("_first_log_alpha"))
        self._draws = self._first_draws

    def _sample_gates(self, generator: torch.Generator | None = None) -> Tensor:
        return sample_gate(
            self.log_alpha,
            self.beta,
            generator=generator or self._generator(),
            stretch=(self.gamma, self.zeta),
        )

    def _refuse_other_dtypes(self) -> None:
        if self.log_alpha.dtype != torch.float32:
            raise InputError(
                f"the parameters are {self.log_alpha.dtype}, but products with a sparse matrix are "
                "made in float32. Call .float() on the model."
            )

    def _normal(self, like: Tensor) -> Tensor:
        generator = self._generator(like.device)
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def _generator(self, device: torch.device | None = None) -> torch.Generator | None:
        # without a seed the noise is that of torch's global generator
        if self.seed is None:
            return None
        self._draws += 1
        return draw_generator(self.seed, self._draws, device or self.device)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # files of l0-python carry the parameters alone
        state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


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
