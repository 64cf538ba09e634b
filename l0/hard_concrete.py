"""The Hard Concrete distribution: a gate in [0, 1] with mass at both ends.

Notation follows Louizos, Welling and Kingma, *Learning Sparse Neural Networks through L0
Regularization* (2018): ``log_alpha`` is the location, ``temperature`` is beta and
``(gamma, zeta)`` are the stretch limits. This file is the only copy of the mathematics; what a
gate multiplies lives in ``gates``, ``layers`` and ``gated_vector``.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from l0.errors import InputError
from l0.inputs import positive, whole

STRETCH = (-0.1, 1.1)
# a location this far out is certain: P(open) is within 1e-8 of 0 or 1
LOG_ALPHA_BOUND = 20.0


def sample_gate(
    log_alpha: Tensor,
    temperature: float,
    *,
    generator: torch.Generator | None,
    stretch: tuple[float, float] = STRETCH,
) -> Tensor:
    """One random gate for each location (equation 10), in [0, 1], of the same shape and dtype.

    Without a generator the noise is that of torch's global one, as in every layer of torch.
    """
    noise = logistic_noise(
        log_alpha.shape,
        generator=generator,
        dtype=_compute_dtype(log_alpha),
        device=log_alpha.device,
    )
    return noisy_gate(log_alpha, noise, temperature, stretch=stretch)


def logistic_noise(
    shape: Sequence[int],
    *,
    generator: torch.Generator | None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """Draws of the standard logistic distribution, none further out than 14."""
    noise = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    # the ends of the unit interval have no finite logit; logarithms rather than torch's logit,
    # whose last digit depends on where in a vector a number stands
    noise.clamp_(1e-6, 1 - 1e-6)
    return noise.log().sub_(noise.neg_().log1p_())


def noisy_gate(
    log_alpha: Tensor,
    noise: Tensor,
    temperature: float,
    *,
    stretch: tuple[float, float] = STRETCH,
) -> Tensor:
    """The gates under given logistic noise (equation 10)."""
    recorded = log_alpha.requires_grad and torch.is_grad_enabled()
    gate: Callable[..., Tensor] = _Gate.apply if recorded else _Gate.forward
    return gate(log_alpha, noise, temperature, *stretch)


def deterministic_gate(
    log_alpha: Tensor, temperature: float, *, stretch: tuple[float, float] = STRETCH
) -> Tensor:
    """The gate without noise, open exactly where ``open_probability`` is above one half.

    It is the sampled gate at the median of the noise, so it keeps the temperature; the paper's
    equation 13 leaves it out and thereby opens other gates than its own probability does.
    """
    noise = torch.zeros((), dtype=_compute_dtype(log_alpha), device=log_alpha.device)
    gate = noisy_gate(log_alpha, noise, temperature, stretch=stretch)
    # rounding must not part the gate from its probability where the two are equally likely
    chance = open_probability(log_alpha, temperature, stretch=stretch)
    is_open = (chance.detach() - 0.5).sign_().clamp_(min=0)
    return gate.clamp(min=torch.finfo(gate.dtype).tiny).mul(is_open)


def gate_slope(
    gate: Tensor, temperature: float, *, stretch: tuple[float, float] = STRETCH
) -> Tensor:
    """The derivative of a gate by its location, from the gate itself; zero where it is clipped."""
    gamma, zeta = stretch
    # (g - gamma)(zeta - g) = g(1 - g) + (gamma + zeta - 1) g - gamma zeta
    slope = (1 - gate).mul_(gate)
    # arithmetic is many times faster than a mask: the sign of g(1 - g) is zero where g is clipped
    inside = slope.sign()
    if gamma + zeta != 1:
        slope.add_(gate, alpha=gamma + zeta - 1)
    return slope.sub_(gamma * zeta).mul_(inside).mul_(1 / ((zeta - gamma) * temperature))


def open_probability(
    log_alpha: Tensor, temperature: float, *, stretch: tuple[float, float] = STRETCH
) -> Tensor:
    """P(gate > 0) for each gate (equation 12); its sum is the expected number of open gates."""
    return _logistic(closing_location(temperature, stretch=stretch) - log_alpha)


def closing_location(temperature: float, *, stretch: tuple[float, float] = STRETCH) -> float:
    """The location of a gate that is as likely open as closed; the gates above it are open."""
    gamma, zeta = stretch
    return temperature * math.log(-gamma / zeta)


def mean_of_open_probability(
    probability: float, temperature: float, *, stretch: tuple[float, float] = STRETCH
) -> float:
    """The ``init_mean`` under which a gate is open with this probability, 0 and 1 included."""
    log_odds = (
        math.log(probability) - math.log1p(-probability)
        if 0 < probability < 1
        else math.copysign(LOG_ALPHA_BOUND, probability - 0.5)
    )
    # the odds are bounded, not the location: high temperatures close gates far below the bound
    location = log_odds + closing_location(temperature, stretch=stretch)
    return 1 / (1 + math.exp(min(-location, 700.0)))


class GateModule(nn.Module):
    """Gates that are learned, with noise of their own: what every holder of gates shares.

    A subclass says where its locations, its temperature and its limits are.
    """

    LOG_ALPHA_BOUND = LOG_ALPHA_BOUND
    temperature: float

    def __init__(self, *, seed: int | None) -> None:
        super().__init__()
        self.seed = seed
        self._draws = 0

    @property
    def locations(self) -> Tensor:
        """The parameter that holds ``log_alpha`` of every gate."""
        raise NotImplementedError

    @property
    def limits(self) -> tuple[float, float]:
        """Gamma and zeta: where the stretched distribution ends, below 0 and above 1."""
        raise NotImplementedError

    def get_deterministic_gates(self) -> Tensor:
        """The gates at evaluation: open exactly where P(open) > 1/2."""
        return deterministic_gate(self.locations, self.temperature, stretch=self.limits)

    def get_open_probability(self) -> Tensor:
        """P(open) of each gate."""
        return open_probability(self.locations, self.temperature, stretch=self.limits)

    def get_expected_count(self) -> Tensor:
        """The expected number of open gates, a scalar; in float32 where gates are shorter."""
        return self.get_open_probability().sum(dtype=_compute_dtype(self.locations))

    def _sample_gates(self, generator: torch.Generator | None = None) -> Tensor:
        return sample_gate(
            self.locations,
            self.temperature,
            generator=generator or self._generator(self.locations.device),
            stretch=self.limits,
        )

    def _generator(self, device: torch.device) -> torch.Generator | None:
        # a new stream for each draw: nothing to move between devices, copy or save
        if self.seed is None:
            return None
        self._draws += 1
        mixed = np.random.SeedSequence([self.seed % 2**63, self._draws])
        return torch.Generator(device).manual_seed(int(mixed.generate_state(1, np.uint64)[0] >> 1))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # files of l0-python carry the parameters alone
        state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class HardConcrete(GateModule):
    """A vector or matrix of Hard Concrete gates whose locations are learned.

    In training mode a call samples the gates; in evaluation it returns the deterministic ones,
    a gate being open exactly where P(open) > 1/2.

    Args:
        input_dim: number of gates, or of rows of a matrix of gates.
        output_dim: number of columns; without it the gates are a vector.
        temperature: beta of the paper, above 0; lower is harder.
        stretch: how far the concrete distribution reaches beyond 0 and 1 on either side.
        init_mean: the locations start at ``log(init_mean / (1 - init_mean))``, between 0 and 1.
            The mean gate is then close to it (equal at 0.5); P(open) is higher.
        n_items: another name of ``input_dim``.
        seed: of the noise, drawn from a generator of the module's own; without one the noise is
            that of torch's global generator, as in ``torch.nn.Dropout``.

    Raises:
        InputError: an argument out of its bounds.
    """

    def __init__(
        self,
        input_dim: int | None = None,
        output_dim: int | None = None,
        temperature: float = 0.5,
        stretch: float = 0.1,
        init_mean: float = 0.5,
        *,
        n_items: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed=seed)
        if (input_dim is None) == (n_items is None):
            raise InputError(
                f"input_dim is {input_dim} and n_items is {n_items}, but they are two names of "
                "the number of gates: give one of them."
            )
        rows = input_dim if n_items is None else n_items
        self.gate_size = tuple(
            whole(name, size, least=1)
            for name, size in (("input_dim", rows), ("output_dim", output_dim))
            if size is not None
        )
        if init_mean is None or not 0 < init_mean < 1:
            raise InputError(
                f"init_mean is {init_mean}, but must lie strictly between 0 and 1: a gate that "
                "is certain has no gradient. Start near the end you want, at 0.999 for instance."
            )
        self.init_mean = init_mean
        self.temperature = temperature
        self.stretch = stretch
        self.qz_logits = nn.Parameter(torch.empty(self.gate_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put every location back where ``init_mean`` says."""
        nn.init.constant_(self.qz_logits, math.log(self.init_mean) - math.log1p(-self.init_mean))

    @property
    def locations(self) -> Tensor:
        """The parameter ``qz_logits``, of shape ``gate_size``."""
        return self.qz_logits

    @property
    def limits(self) -> tuple[float, float]:
        """Gamma and zeta."""
        return self.gamma, self.zeta

    @property
    def temperature(self) -> float:
        """Beta of the paper; set it to anneal."""
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self._temperature = positive("temperature", temperature)

    @property
    def stretch(self) -> float:
        """How far the gates reach beyond 0 and 1 before they are clipped."""
        return self._stretch

    @stretch.setter
    def stretch(self, stretch: float) -> None:
        self._stretch = positive("stretch", stretch)

    @property
    def gamma(self) -> float:
        """The lower limit of the stretched distribution, below 0."""
        return -self._stretch

    @property
    def zeta(self) -> float:
        """The upper limit of the stretched distribution, above 1."""
        return 1 + self._stretch

    def forward(self, input_shape: tuple[int, ...] | None = None) -> Tensor:
        """The gates, sampled in training and deterministic in evaluation.

        Args:
            input_shape: shape of what the gates will multiply; they get a trailing dimension of
                one for each dimension that they lack.

        Returns:
            Tensor of shape ``gate_size`` and its trailing ones, in [0, 1].
        """
        gates = self._sample_gates() if self.training else self.get_deterministic_gates()
        missing = 0 if input_shape is None else len(input_shape) - gates.ndim
        return gates.reshape(*gates.shape, *(1,) * missing) if missing > 0 else gates

    def get_active_prob(self) -> Tensor:
        """P(open) of each gate, of shape ``gate_size``."""
        return self.get_open_probability()

    def get_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar; in float32 where gates are shorter."""
        return self.get_expected_count()

    @torch.no_grad()
    def get_sparsity(self) -> float:
        """The expected share of closed gates, 0 to 1."""
        return 1 - float(self.get_active_prob().double().mean())

    @torch.no_grad()
    def get_num_active(self) -> int:
        """How many gates are open at evaluation."""
        return int((self.get_deterministic_gates() > 0).sum())

    def get_extra_state(self) -> Tensor:
        """Temperature and stretch, so that ``state_dict`` carries them."""
        return torch.tensor([self._temperature, self._stretch], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take temperature and stretch from a ``state_dict``."""
        self.temperature, self.stretch = state.tolist()

    def extra_repr(self) -> str:
        """What ``print`` shows of the module."""
        return (
            f"gate_size={self.gate_size}, temperature={self.temperature}, "
            f"stretch={self.stretch}, init_mean={self.init_mean}"
        )


def _compute_dtype(log_alpha: Tensor) -> torch.dtype:
    # half precision holds a gate but not the noise that makes it
    return torch.promote_types(log_alpha.dtype, torch.float32)


def _logistic_of(negated: Tensor) -> Tensor:
    """1 / (1 + exp(-x)) of values -x, in place.

    Unlike torch's sigmoid it gives a number the same last digit wherever in a vector it stands,
    so that a part of a vector has the gates that the whole would have.
    """
    return negated.exp_().add_(1).reciprocal_()


class _Logistic(torch.autograd.Function):
    @staticmethod
    def forward(negated: Tensor) -> Tensor:
        return _logistic_of(negated.clone())

    @staticmethod
    def setup_context(ctx: Any, _: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (probability,) = ctx.saved_tensors
        slope: Tensor = probability * (probability - 1)
        return gradients[0] * slope


def _logistic(negated: Tensor) -> Tensor:
    """The same, of values that nobody else needs."""
    # what autograd does not record is spared its bookkeeping, longer than the work on few gates
    recorded = negated.requires_grad and torch.is_grad_enabled()
    logistic: Callable[..., Tensor] = _Logistic.apply if recorded else _logistic_of
    return logistic(negated)


class _Gate(torch.autograd.Function):
    """A gate whose only memory for the backward pass is the gate itself."""

    @staticmethod
    def forward(
        log_alpha: Tensor, noise: Tensor, temperature: float, gamma: float, zeta: float
    ) -> Tensor:
        gate = _logistic_of(torch.add(noise, log_alpha).mul_(-1 / temperature))
        return gate.mul_(zeta - gamma).add_(gamma).clamp_(0, 1).to(log_alpha.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, ctx.temperature, gamma, zeta = inputs
        ctx.stretch = (gamma, zeta)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gate,) = ctx.saved_tensors
        slope = gate_slope(gate, ctx.temperature, stretch=ctx.stretch)
        return slope.mul_(gradients[0]), None, None, None, None
