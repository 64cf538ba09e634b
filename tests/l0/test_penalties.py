"""Laws of penalties: every gate once, weights and nothing else, stats that add up."""

import pytest
import torch
from torch import Tensor, nn

from l0.gates import FeatureGate, HybridGate, L0Gate, SampleGate
from l0.hard_concrete import HardConcrete
from l0.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
from l0.penalties import (
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    get_active_parameter_count,
    get_sparsity_stats,
)


class Foreign(nn.Module):
    """A layer of somebody else's that counts its own gates."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = nn.Parameter(torch.tensor([0.5, 0.75, 0.25, 0.5]))

    def get_l0_penalty(self) -> Tensor:
        return self.chance.sum()

    def get_sparsity(self) -> float:
        return 0.5


KINDS = {
    "HardConcrete": lambda: HardConcrete(7, 2, init_mean=0.3),
    "L0Gate": lambda: L0Gate(9),
    "SampleGate": lambda: SampleGate(20, 6),
    "FeatureGate": lambda: FeatureGate(20, 6),
    "HybridGate": lambda: HybridGate(40),
    "linear": lambda: L0Linear(5, 3),
    "linear both": lambda: L0Linear(5, 3, structured="both"),
    "conv": lambda: L0Conv2d(2, 3, 3),
    "conv channels": lambda: L0Conv2d(2, 3, 3, structured=True),
    "depthwise": lambda: L0DepthwiseConv2d(3, 3),
}


def expected_open(model: nn.Module) -> float:
    """By hand: the sum of P(open) over the distinct locations of the model."""
    total = 0.0
    for module in model.modules():
        if isinstance(module, HardConcrete):
            closing = module.temperature * torch.tensor(0.1 / 1.1, dtype=torch.float64).log()
            total += float((module.qz_logits.detach().double() - closing).sigmoid().sum())
    return total


def scattered(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def number(value: Tensor) -> float:
    return float(value.detach())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_l0_penalty_sees_gates_of_every_kind_at_every_depth(kind, depth):
    model = scattered(KINDS[kind]())
    for _ in range(depth):
        model = nn.Sequential(nn.Linear(2, 2), model)
    penalty = compute_l0_penalty(model)
    assert penalty.shape == ()
    assert number(penalty) == pytest.approx(expected_open(model), rel=1e-5)
    penalty.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.endswith("qz_logits")


def test_the_l0_penalty_of_a_model_is_the_sum_over_its_parts():
    parts = [make() for make in KINDS.values()]
    alone = sum(number(compute_l0_penalty(part)) for part in parts)
    model = nn.ModuleDict(dict(zip(map(str, range(len(parts))), parts, strict=True)))
    assert number(compute_l0_penalty(model)) == pytest.approx(alone, rel=1e-6)
    assert number(compute_l0_penalty(SparseMLP(6, 5, 3))) > 0


def test_gates_that_two_layers_share_are_counted_once():
    one, two = L0Linear(4, 3), L0Linear(4, 3)
    two.weight_gates = one.weight_gates
    twice = nn.Sequential(one, two, one)
    assert number(compute_l0_penalty(twice)) == number(compute_l0_penalty(one))


def test_a_foreign_module_that_counts_its_own_gates_is_counted_once():
    foreign = Foreign()
    model = nn.ModuleList([foreign, nn.Sequential(foreign), HardConcrete(3)])
    alone = number(compute_l0_penalty(HardConcrete(3)))
    assert number(compute_l0_penalty(model)) == pytest.approx(2 + alone)
    assert get_sparsity_stats(model)["0"] == {
        "sparsity": 0.5,
        "active_params": 2.0,
        "total_params": 4,
    }


def test_a_model_of_ours_that_sums_its_own_penalty_is_still_counted_once():
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = L0Linear(4, 3), L0Linear(3, 2)

        def get_l0_penalty(self) -> Tensor:
            return self.first.get_l0_penalty() + self.second.get_l0_penalty()

    model = Summed()
    assert number(compute_l0_penalty(model)) == pytest.approx(number(model.get_l0_penalty()))
    assert list(get_sparsity_stats(model)) == ["first", "second"]


@pytest.mark.parametrize("model", [nn.Linear(3, 2), nn.ReLU(), nn.Sequential()])
def test_a_model_without_gates_has_a_penalty_of_zero_and_no_stats(model):
    penalty = compute_l0_penalty(model)
    assert isinstance(penalty, Tensor)
    assert penalty.shape == ()
    assert float(penalty) == 0
    assert get_sparsity_stats(model) == {}
    assert get_active_parameter_count(model) == 0


def test_penalties_lie_where_the_model_does_in_its_precision():
    model = SparseMLP(6, 5, 3).double()
    for penalty in (compute_l0_penalty, compute_l2_penalty, compute_l0l2_penalty):
        assert penalty(model).dtype == torch.float64
        assert penalty(SparseMLP(6, 5, 3)).dtype == torch.float32
        assert penalty(SparseMLP(6, 5, 3).to("meta")).device.type == "meta"


def test_the_penalties_of_a_half_precision_model_are_counted_in_single():
    model = SparseMLP(64, 300, 3).half()
    exact = 64 * 300 + 300 * 300 + 300 * 3
    chance = number(model.fc1.weight_gates.get_active_prob()[0, 0])
    penalty = compute_l0_penalty(model)
    assert penalty.dtype == torch.float32
    assert number(penalty) == pytest.approx(exact * chance, rel=1e-3)
    assert bool(compute_l2_penalty(model).isfinite())


def test_the_l2_penalty_is_the_sum_of_squared_weights_without_gates_or_biases():
    model = nn.Sequential(
        L0Linear(5, 4),
        L0Conv2d(2, 3, 3),
        L0DepthwiseConv2d(3, 3),
        nn.Linear(4, 2),
        SampleGate(9, 3),
    )
    scattered(model)
    weights = [model[0].weight, model[1].weight, model[2].depthwise_conv.weight, model[3].weight]
    expected = sum(float(weight.detach().double().square().sum()) for weight in weights)
    penalty = compute_l2_penalty(model)
    assert number(penalty) == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    for parameter in model.parameters():
        counted = any(parameter is weight for weight in weights)
        assert (parameter.grad is not None) == counted
        if counted:
            torch.testing.assert_close(parameter.grad, 2 * parameter.detach())


def test_a_tied_weight_is_counted_once_and_a_frozen_one_not_at_all():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    expected = model[0].weight.square().sum()
    torch.testing.assert_close(compute_l2_penalty(model), expected)


def test_the_combined_penalty_is_the_weighted_sum_of_the_two_and_differentiable():
    model = scattered(SparseMLP(6, 5, 3))
    l0, l2 = compute_l0_penalty(model), compute_l2_penalty(model)
    torch.testing.assert_close(compute_l0l2_penalty(model), 1e-3 * l0 + 1e-4 * l2)
    combined = compute_l0l2_penalty(model, l0_lambda=0.5, l2_lambda=0.25)
    torch.testing.assert_close(combined, 0.5 * l0 + 0.25 * l2)
    combined.backward()
    torch.testing.assert_close(model.fc1.weight.grad, 0.5 * model.fc1.weight.detach())
    chance = model.fc1.weight_gates.get_active_prob().detach()
    gates_slope = model.fc1.weight_gates.qz_logits.grad
    torch.testing.assert_close(gates_slope, 0.5 * chance * (1 - chance))
    assert model.fc1.bias.grad is None


def test_stats_count_the_weights_of_a_layer_and_the_items_of_a_gate():
    model = nn.ModuleDict({name.replace(" ", "_"): make() for name, make in KINDS.items()})
    stats = get_sparsity_stats(scattered(model))
    totals = {
        "HardConcrete": 14,
        "L0Gate.gates": 9,
        "SampleGate.gates": 20,
        "FeatureGate.gates": 20,
        "HybridGate.l0_gate.gates": 40,
        "linear": 15,
        "linear_both": 15,
        "conv": 54,
        "conv_channels": 54,
        "depthwise": 27,
    }
    assert {name: layer["total_params"] for name, layer in stats.items()} == totals
    for layer in stats.values():
        assert 0 < layer["sparsity"] < 1
        active = (1 - layer["sparsity"]) * layer["total_params"]
        assert layer["active_params"] == pytest.approx(active)
    together = sum(layer["active_params"] for layer in stats.values())
    assert get_active_parameter_count(model) == round(together)
    both = model["linear_both"]
    shares = [
        number(gates.get_active_prob().mean()) for gates in (both.input_gates, both.output_gates)
    ]
    assert stats["linear_both"]["active_params"] == pytest.approx(15 * shares[0] * shares[1])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_model_of_closed_or_open_gates_has_none_or_all_of_its_weights_active(share):
    model = SparseMLP(6, 5, 3, structured="both")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("qz_logits"):
                parameter.fill_(50 if share else -50)
    assert get_active_parameter_count(model) == share * (30 + 25 + 15)


def test_stats_of_foreign_modules_and_estimators_raise_no_warning_about_gradients():
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        get_sparsity_stats(nn.ModuleList([Foreign(), SampleGate(9, 3), L0Linear(3, 2)]))
    finally:
        torch.set_warn_always(always)


def test_weights_that_torch_computes_are_counted_and_logarithms_of_others_are_not_taken():
    normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    assert compute_l2_penalty(normed).item() > 0
    own = nn.Module()
    own.log_weight = nn.Parameter(torch.zeros(5))
    assert compute_l2_penalty(own).item() == 0


def test_a_layer_that_prices_its_gates_itself_is_believed():
    class Dear(L0Linear):
        def get_l0_penalty(self):
            return 10 * super().get_l0_penalty()

    layer = Dear(3, 3)
    expected = 10 * layer.weight_gates.get_penalty().item()
    assert compute_l0_penalty(nn.Sequential(layer)).item() == pytest.approx(expected)


def test_a_foreign_layer_that_tells_its_penalty_alone_is_looked_into():
    class Priced(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight_gates = HardConcrete(4)

        def get_l0_penalty(self):
            return 5 * self.weight_gates.get_penalty()

    model = nn.Sequential(Priced())
    assert list(get_sparsity_stats(model)) == ["0.weight_gates"]
    assert compute_l0_penalty(model).item() == pytest.approx(
        5 * model[0].weight_gates.get_penalty().item()
    )
