"""Gates that stand alone and select: samples, features, or samples together with a random draw.

How a gate is distributed is in ``hard_concrete``; how gates learn to keep an exact number is in
``gate_training``. Selections never depend on the training mode: they go by the locations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.fx
from numpy.typing import NDArray
from torch import Tensor, nn

from l0.errors import InputError
from l0.gate_training import GateFit, Objective, fit_gates
from l0.hard_concrete import HardConcrete, mean_of_open_probability
from l0.inputs import whole
from l0.survey.selection import select_hybrid

Data = Any  # a torch tensor or a numpy array


class L0Gate(nn.Module):
    """One gate for each of ``size`` items.

    Args:
        size: number of items.
        temperature: of the gates.
        init_mean: where the gates start, see ``HardConcrete``.
        seed: of the gates' noise; torch's global generator without.
    """

    def __init__(
        self,
        size: int,
        temperature: float = 0.5,
        init_mean: float = 0.5,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.init_mean = init_mean
        self.gates = HardConcrete(size, temperature=temperature, init_mean=init_mean, seed=seed)

    @property
    def temperature(self) -> float:
        """Temperature of the gates."""
        return self.gates.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.gates.temperature = temperature

    def get_gates(self) -> Tensor:  # (size,)
        """The gates: sampled in training, deterministic in evaluation."""
        gates: Tensor = self.gates()
        return gates

    def apply_gates(self, x: Tensor, dim: int = 0) -> Tensor:
        """``x`` with the gates multiplied along ``dim``.

        Raises:
            InputError: ``x`` has another length there than there are gates.
        """
        return _multiply_along(x, self.get_gates(), dim)

    def get_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.gates.get_penalty()

    @torch.no_grad()
    def get_active_indices(self, threshold: float = 0.5) -> Tensor:
        """The items whose deterministic gate is above ``threshold``, ascending."""
        return torch.nonzero(self.gates.get_deterministic_gates() > threshold).flatten()

    def fit(
        self,
        objective: Objective,
        *,
        target: int,
        **options: Any,
    ) -> GateFit:
        """Learn which ``target`` items to keep; options as of ``l0.fit_gates``.

        They are ``parameters``, ``seed``, ``warm_start``, ``settings`` and ``on_progress``.
        """
        return fit_gates(self.gates, objective, target=target, **options)

    @torch.no_grad()
    def _best(self, count: int, *, seed: int) -> Tensor:
        """The items of the highest locations, ascending; equal ones in a seeded random order."""
        locations = self.gates.qz_logits.detach().cpu()
        if locations.isnan().any():
            raise InputError(
                f"{int(locations.isnan().sum())} locations of the gates are not numbers: the "
                "training ran away. Lower its learning rate."
            )
        shuffled = torch.randperm(self.size, generator=torch.Generator().manual_seed(seed))
        order = locations[shuffled].sort(descending=True, stable=True).indices
        return shuffled[order[:count]].sort().values.to(self.gates.qz_logits.device)


class SampleGate(L0Gate):
    """Gates that select exactly ``target_samples`` of ``n_samples`` rows.

    The gates start with an expected count equal to the target. The rows selected are those of
    the highest locations; equal locations (all of them, before any training) fall in a random
    order fixed by ``tie_seed``, never in the order of the file.

    Args:
        n_samples: number of rows.
        target_samples: how many to select, 0 to ``n_samples``.
        temperature: of the gates.
        seed: of the gates' noise; torch's global generator without.
        tie_seed: of the order of equal locations.

    Raises:
        InputError: a target that the rows cannot give.
    """

    def __init__(
        self,
        n_samples: int,
        target_samples: int,
        temperature: float = 0.25,
        *,
        seed: int | None = None,
        tie_seed: int = 0,
    ) -> None:
        whole("n_samples", n_samples, least=1)
        whole("target_samples", target_samples, least=0)
        if target_samples > n_samples:
            raise InputError(
                f"target_samples is {target_samples:,}, but there are {n_samples:,} samples. "
                f"Choose a target from 0 to {n_samples:,}."
            )
        mean = mean_of_open_probability(target_samples / n_samples, temperature)
        super().__init__(n_samples, temperature, mean, seed=seed)
        self.n_samples = n_samples
        self.target_samples = target_samples
        self.tie_seed = tie_seed

    def fit(self, objective: Objective, **options: Any) -> GateFit:
        """Learn which ``target_samples`` rows to keep; options as of ``l0.fit_gates``.

        They are ``parameters``, ``seed``, ``warm_start``, ``settings`` and ``on_progress``.
        """
        return super().fit(objective, target=self.target_samples, **options)

    def select_indices(self) -> Tensor:  # (target_samples,)
        """The rows selected, ascending."""
        return self._best(self.target_samples, seed=self.tie_seed)

    def select_samples(self, data: Data) -> tuple[Data, Tensor]:
        """The rows selected of ``data`` (n_samples, ...) and their indices, ascending.

        Raises:
            InputError: ``data`` has another number of rows.
        """
        _check_rows("data", data, self.n_samples)
        indices = self.select_indices()
        return _take(data, indices), indices

    def select_weighted_samples(self, data: Data, weights: Data) -> tuple[Data, Data, Tensor]:
        """The rows selected, their weights multiplied by their deterministic gates, their indices.

        A row that is among the best although its gate is still closed has weight zero: train the
        gates first.

        Args:
            data: (n_samples, ...).
            weights: (n_samples,).

        Raises:
            InputError: ``data`` or ``weights`` have another number of rows.
        """
        _check_rows("weights", weights, self.n_samples)
        selected, indices = self.select_samples(data)
        kept = _take(weights, indices)
        gates = self.gates.get_deterministic_gates()[indices]
        if not isinstance(kept, Tensor):
            return selected, kept * gates.detach().cpu().numpy(), indices
        return selected, kept * gates.to(kept.device), indices


class FeatureGate(L0Gate):
    """Gates that select at most ``max_features`` of ``n_features`` columns.

    The gates start with an expected count of ``max_features``. The columns selected are those
    whose gate is open at evaluation, the ``max_features`` of the highest open probability where
    they are more. Before any training, when all gates are alike, ``max_features`` are selected in
    an order fixed by ``tie_seed``.

    Args:
        n_features: number of columns.
        max_features: the most to select; more than there are means all of them.
        temperature: of the gates.
        seed: of the gates' noise; torch's global generator without.
        tie_seed: of the order of equal locations.
    """

    def __init__(
        self,
        n_features: int,
        max_features: int,
        temperature: float = 0.1,
        *,
        seed: int | None = None,
        tie_seed: int = 0,
    ) -> None:
        whole("n_features", n_features, least=1)
        most = min(whole("max_features", max_features, least=0), n_features)
        mean = mean_of_open_probability(most / n_features, temperature)
        super().__init__(n_features, temperature, mean, seed=seed)
        self.n_features = n_features
        self.max_features = max_features
        self.tie_seed = tie_seed

    def fit(self, objective: Objective, **options: Any) -> GateFit:
        """Learn which ``max_features`` columns to keep; options as of ``l0.fit_gates``.

        They are ``parameters``, ``seed``, ``warm_start``, ``settings`` and ``on_progress``.
        """
        most = min(self.max_features, self.n_features)
        return super().fit(objective, target=most, **options)

    @torch.no_grad()
    def select_indices(self) -> Tensor:  # (at most max_features,)
        """The columns selected, ascending."""
        locations = self.gates.qz_logits
        if (locations == locations[0]).all():
            # before any training no gate is better than another: as many as are expected open
            count = round(float(self.gates.get_active_prob().double().sum()))
        else:
            count = self.gates.get_num_active()
        return self._best(min(count, self.max_features), seed=self.tie_seed)

    def select_features(self, data: Data) -> tuple[Data, Tensor]:
        """The columns selected of ``data`` (..., n_features) and their indices, ascending.

        Raises:
            InputError: ``data`` has another number of columns.
        """
        shape = tuple(np.shape(data))
        if not shape or shape[-1] != self.n_features:
            raise InputError(
                f"data has shape {shape}, but its last dimension must have "
                f"{self.n_features} features."
            )
        indices = self.select_indices()
        if isinstance(data, Tensor):
            return data[..., indices], indices
        return np.asarray(data)[..., indices.cpu().numpy()], indices

    def select_features_with_names(
        self, data: Data, feature_names: Sequence[str]
    ) -> tuple[Data, list[str]]:
        """The columns selected of ``data`` and their names.

        Raises:
            InputError: not one name a feature.
        """
        _check_rows("feature_names", feature_names, self.n_features)
        selected, indices = self.select_features(data)
        return selected, [feature_names[index] for index in indices.tolist()]

    @torch.no_grad()
    def get_feature_importance(self) -> Tensor:  # (n_features,)
        """P(open) of each feature's gate."""
        return self.gates.get_active_prob()


class HybridGate(nn.Module):
    """Some items by their gates, others at random from what is left, no item twice.

    Args:
        n_items: number of items.
        l0_fraction: share of the target selected by gates.
        random_fraction: share of the target drawn at random.
        target_items: how many to select in all; a fifth of the items unless said. Where the two
            fractions leave a part of it, fewer are selected.
        temperature: of the gates.
        seed: of the random draw and of the order of equal locations.

    Raises:
        InputError: fractions below 0 or above 1 together, or a target that the items cannot
            give.
    """

    def __init__(
        self,
        n_items: int,
        l0_fraction: float = 0.25,
        random_fraction: float = 0.75,
        target_items: int | None = None,
        temperature: float = 0.25,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        together = l0_fraction + random_fraction
        if not (l0_fraction >= 0 and random_fraction >= 0 and together <= 1 + 1e-9):
            raise InputError(
                f"l0_fraction is {l0_fraction} and random_fraction is {random_fraction}, but "
                "both must be 0 or more and at most 1 together."
            )
        whole("n_items", n_items, least=1)
        target = n_items // 5 if target_items is None else target_items
        whole("target_items", target, least=0)
        if target > n_items:
            raise InputError(
                f"target_items is {target:,}, but there are {n_items:,} items. "
                f"Choose a target from 0 to {n_items:,}."
            )
        self.n_items = n_items
        self.l0_fraction = l0_fraction
        self.random_fraction = random_fraction
        self.target_items = target
        self.seed = seed
        self.n_l0 = round(target * l0_fraction)
        # the two parts add up to the rounded whole
        self.n_random = round(target * together) - self.n_l0
        self.l0_gate = SampleGate(n_items, self.n_l0, temperature, tie_seed=seed)

    def fit(self, objective: Objective, **options: Any) -> GateFit:
        """Learn which ``n_l0`` items the gates keep; options as of ``l0.fit_gates``.

        They are ``parameters``, ``seed``, ``warm_start``, ``settings`` and ``on_progress``.
        """
        return self.l0_gate.fit(objective, **options)

    def select(
        self, data: Data, random_seed: int | None = None
    ) -> tuple[Data, Tensor, NDArray[np.str_]]:
        """The items selected of ``data`` (n_items, ...), their indices and how each came in.

        Args:
            data: what to select from.
            random_seed: of the random draw; the gate's own seed without. No global generator is
                read or moved.

        Returns:
            The selected part, the indices ascending, and "l0" or "random" for each.

        Raises:
            InputError: ``data`` has another number of items.
        """
        _check_rows("data", data, self.n_items)
        size = self.n_l0 + self.n_random
        if size == 0:
            nothing = torch.empty(0, dtype=torch.long, device=self.l0_gate.gates.qz_logits.device)
            return _take(data, nothing), nothing, np.empty(0, dtype="<U6")
        by_gates = self.l0_gate.select_indices()
        rank = np.zeros(self.n_items)
        rank[by_gates.cpu().numpy()] = 1.0
        selection = select_hybrid(
            rank,
            np.ones(self.n_items),
            size=size,
            gate_count=self.n_l0,
            seed=self.seed if random_seed is None else random_seed,
        )
        indices = torch.from_numpy(selection.indices).to(by_gates.device)
        return _take(data, indices), indices, selection.kind

    def get_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.l0_gate.get_penalty()


def _check_rows(name: str, data: Any, rows: int) -> None:
    """Refuse data of another length than the gates have."""
    if np.ndim(data) == 0 or len(data) != rows:
        found = "no length" if np.ndim(data) == 0 else f"a length of {len(data):,}"
        raise InputError(f"{name} has {found}, but the gate was made for {rows:,}.")


def _take(data: Data, indices: Tensor) -> Data:
    """Rows of a torch tensor, on its own device, or of a numpy array."""
    if isinstance(data, Tensor):
        return data[indices.to(data.device)]
    return np.asarray(data)[indices.cpu().numpy()]


@torch.fx.wrap
def _multiply_along(x: Tensor, gates: Tensor, dim: int) -> Tensor:
    # one operation to torch.fx, so that a model with it can be traced and pruned
    if x.ndim == 0 or not -x.ndim <= dim < x.ndim or x.shape[dim] != len(gates):
        raise InputError(
            f"x has shape {tuple(x.shape)}, but dimension {dim} must have {len(gates)} items."
        )
    shape = [1] * x.ndim
    shape[dim] = len(gates)
    return x * gates.view(shape)
