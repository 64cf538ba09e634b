"""Laws of gated layers: a dense layer with folded weights at evaluation, gates trained along."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l0.errors import InputError
from l0.gated_layer import GatedLayer
from l0.hard_concrete import HardConcrete
from l0.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP, prune_model

Make = Callable[..., GatedLayer]
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "linear": (lambda **o: L0Linear(6, 4, **o), (3, 6)),
    "linear without bias": (lambda **o: L0Linear(6, 4, False, **o), (2, 3, 6)),
    "linear input": (lambda **o: L0Linear(6, 4, structured="input", **o), (3, 6)),
    "linear output": (lambda **o: L0Linear(6, 4, structured="output", **o), (3, 6)),
    "linear both": (lambda **o: L0Linear(6, 4, structured="both", **o), (3, 6)),
    "conv": (lambda **o: L0Conv2d(3, 5, (2, 3), stride=2, padding=(0, 1), **o), (2, 3, 7, 8)),
    "conv channels": (
        lambda **o: L0Conv2d(3, 5, 3, bias=False, structured=True, **o),
        (2, 3, 7, 8),
    ),
    "depthwise": (lambda **o: L0DepthwiseConv2d(4, 3, stride=(1, 2), padding=1, **o), (2, 4, 7, 8)),
    "depthwise without bias": (
        lambda **o: L0DepthwiseConv2d(4, (3, 1), bias=False, **o),
        (2, 4, 5, 5),
    ),
}
GATES = {
    "linear": ["weight_gates"],
    "linear without bias": ["weight_gates"],
    "linear input": ["input_gates"],
    "linear output": ["output_gates"],
    "linear both": ["input_gates", "output_gates"],
    "conv": ["weight_gates"],
    "conv channels": ["channel_gates"],
    "depthwise": ["channel_gates"],
    "depthwise without bias": ["channel_gates"],
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prepared(name: str, **options: float) -> tuple[GatedLayer, Tensor]:
    """A layer with random weights, biases and gates, some closed and some half open, and inputs."""
    make, shape = LAYERS[name]
    layer = make(**options)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters(), start=1):
            parameter.copy_(seeded(*parameter.shape, seed=seed))
        for group in layer.gate_groups():
            group.qz_logits.view(-1)[1] = -3
    return layer, seeded(*shape)


def core(layer: GatedLayer) -> nn.Module:
    return layer.depthwise_conv if isinstance(layer, L0DepthwiseConv2d) else layer


def by_hand(layer: GatedLayer, x: Tensor) -> Tensor:
    """The dense layer with each weight multiplied by its gates of evaluation."""
    gates = {part: module() for part, module in layer.named_children() if "gates" in part}
    weight, bias = core(layer).weight, core(layer).bias
    if isinstance(layer, L0Linear):
        weight = weight * gates.get("weight_gates", torch.ones(()))
        weight = torch.einsum("oi,i->oi", weight, gates.get("input_gates", torch.ones(6)))
        weight = torch.einsum("oi,o->oi", weight, gates.get("output_gates", torch.ones(4)))
        return functional.linear(x, weight, bias)
    if "channel_gates" in gates:
        weight = torch.einsum("ochw,o->ochw", weight, gates["channel_gates"])
    else:
        weight = weight * gates["weight_gates"].reshape(weight.shape)
    groups = len(weight) if isinstance(layer, L0DepthwiseConv2d) else 1
    return functional.conv2d(x, weight, bias, layer.stride, layer.padding, groups=groups)


@every_layer
def test_outputs_at_evaluation_are_those_of_the_dense_layer_with_folded_weights(name):
    layer, x = prepared(name)
    layer.eval()
    gates = torch.cat([group().flatten() for group in layer.gate_groups()])
    assert bool((gates == 0).any())
    assert bool((gates > 0).any())
    expected = by_hand(layer, x)
    torch.testing.assert_close(layer(x), expected)
    folded = layer.folded()
    assert type(folded) in {nn.Linear, nn.Conv2d}
    assert (folded.bias is None) == (core(layer).bias is None)
    torch.testing.assert_close(folded(x), expected)
    assert torch.equal(folded.weight, layer.deterministic_weight())


@every_layer
def test_folding_leaves_modes_parameters_and_the_global_generator_alone(name):
    layer, _ = prepared(name)
    first = layer.gate_groups()[0]
    before = torch.get_rng_state()
    for training in (True, False):
        layer.train(training)
        first.train(not training)
        state = {key: value.clone() for key, value in layer.state_dict().items()}
        modes = [module.training for module in layer.modules()]
        weight, dense = layer.deterministic_weight(), layer.folded()
        assert not weight.requires_grad
        assert weight.data_ptr() != core(layer).weight.data_ptr()
        assert [module.training for module in layer.modules()] == modes
        assert all(torch.equal(state[key], value) for key, value in layer.state_dict().items())
        with torch.no_grad():
            dense.weight.zero_()
        assert bool((core(layer).weight != 0).any())
    assert torch.equal(torch.get_rng_state(), before)


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_every_weight_bias_and_gate(name, training):
    layer, x = prepared(name)
    with torch.no_grad():
        for group in layer.gate_groups():
            group.qz_logits.mul_(0.1)
            group.seed = 3
    layer.train(training)(x).square().sum().backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool((parameter.grad != 0).any()), key


@every_layer
def test_training_outputs_differ_between_calls_and_evaluation_outputs_do_not(name):
    layer, x = prepared(name)
    for group in layer.gate_groups():
        group.seed = 5
        nn.init.zeros_(group.qz_logits)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@every_layer
def test_the_penalty_is_the_expected_number_of_open_gates(name):
    layer, _ = prepared(name, temperature=0.3)
    closing = 0.3 * torch.log(torch.tensor(0.1 / 1.1))
    groups = [getattr(layer, part) for part in GATES[name]]
    assert layer.gate_groups() == groups
    expected = sum(torch.sigmoid(group.qz_logits - closing).sum() for group in groups)
    torch.testing.assert_close(layer.get_l0_penalty(), expected)


@every_layer
def test_sparsity_is_the_expected_share_of_inactive_weights(name):
    layer, _ = prepared(name)
    weight = core(layer).weight
    chances = {part: getattr(layer, part).get_active_prob().detach() for part in GATES[name]}
    active = torch.ones(weight.shape)
    if "weight_gates" in chances:
        active = active * chances["weight_gates"].reshape(weight.shape)
    if "input_gates" in chances:
        active = active * chances["input_gates"]
    for part in ("output_gates", "channel_gates"):
        if part in chances:
            active = active * chances[part].reshape(-1, *(1,) * (weight.ndim - 1))
    assert layer.get_sparsity() == pytest.approx(1 - float(active.mean()), abs=1e-6)
    assert layer.total_weights() == weight.numel()


@every_layer
def test_saved_names_are_those_of_l0_python_and_such_a_file_loads_strictly(name):
    layer, x = prepared(name)
    prefix = "depthwise_conv." if isinstance(layer, L0DepthwiseConv2d) else ""
    names = {f"{prefix}weight", *(f"{part}.qz_logits" for part in GATES[name])}
    if core(layer).bias is not None:
        names.add(f"{prefix}bias")
    state = {key: value for key, value in layer.state_dict().items() if "_extra_state" not in key}
    assert set(state) == names
    fresh = LAYERS[name][0]()
    fresh.load_state_dict(state, strict=True)
    assert torch.equal(fresh.eval()(x), layer.eval()(x))


@every_layer
@pytest.mark.parametrize("init_sparsity", [0, 1, -0.5, 1.5, float("nan")])
def test_a_start_that_is_certain_is_refused(name, init_sparsity):
    with pytest.raises(InputError, match="init_sparsity"):
        LAYERS[name][0](init_sparsity=init_sparsity)


@every_layer
def test_gates_start_at_the_sparsity_and_temperature_asked_for(name):
    layer = LAYERS[name][0](init_sparsity=0.2, temperature=0.3)
    for group in layer.gate_groups():
        assert group.temperature == 0.3
        assert group.qz_logits.detach().sigmoid().flatten().tolist() == pytest.approx(
            [0.8] * group.qz_logits.numel()
        )


def test_an_unknown_structure_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'input', 'output', 'both'"):
        L0Linear(3, 2, structured="rows")


@pytest.mark.parametrize(
    "make", [lambda **o: L0Linear(4, 3, **o), lambda **o: L0Conv2d(2, 3, 2, **o)]
)
def test_a_layer_counts_its_squared_weights_only_when_asked_to(make):
    counted, ignored = make(use_l2=True), make()
    torch.testing.assert_close(counted.get_l2_penalty(), counted.weight.square().sum())
    assert float(ignored.get_l2_penalty()) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@every_layer
def test_layers_work_in_other_precisions(name, dtype):
    layer, x = prepared(name)
    layer, x = layer.to(dtype).eval(), x.to(dtype)
    assert layer(x).dtype == layer.folded()(x).dtype == dtype
    torch.testing.assert_close(layer.folded()(x), layer(x))


@pytest.mark.parametrize("structured", [None, "input", "output", "both"])
def test_the_losses_and_stats_of_an_mlp_are_those_of_its_layers(structured):
    model = SparseMLP(12, 8, 3, init_sparsity=0.3, use_l2=True, structured=structured)
    layers = {"fc1": model.fc1, "fc2": model.fc2, "fc3": model.fc3}
    l0 = sum(layer.get_l0_penalty() for layer in layers.values())
    l2 = sum(layer.weight.square().sum() for layer in layers.values())
    torch.testing.assert_close(model.get_l0_loss(), l0)
    torch.testing.assert_close(model.get_l2_loss(), l2)
    stats = model.get_sparsity_stats()
    assert list(stats) == list(layers)
    for name, layer in layers.items():
        total = layer.weight.numel()
        assert stats[name]["total_params"] == total
        assert stats[name]["sparsity"] == pytest.approx(layer.get_sparsity())
        assert stats[name]["active_params"] == pytest.approx(total * (1 - layer.get_sparsity()))
    assert float(SparseMLP(12, 8, 3).get_l2_loss()) == 0


def test_an_mlp_flattens_its_input_and_has_the_sizes_of_l0_python():
    model = SparseMLP().eval()
    assert model(seeded(2, 1, 28, 28)).shape == (2, 10)
    assert model.fc2.weight.shape == (256, 256)
    assert {key.rpartition(".")[0] for key in model.state_dict() if key.endswith("logits")} == {
        f"fc{layer}.weight_gates" for layer in (1, 2, 3)
    }


def test_a_trained_mlp_loses_gates_and_prunes_to_the_same_outputs():
    model = SparseMLP(12, 8, 3, init_sparsity=0.3, structured="input")
    with torch.no_grad():
        for layer in (model.fc1, model.fc2, model.fc3):
            layer.weight.copy_(0.5 * seeded(*layer.weight.shape))
    for seed, gates in enumerate(m for m in model.modules() if isinstance(m, HardConcrete)):
        gates.seed = seed
    x = seeded(64, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    before = float(model.get_l0_loss().detach())
    for _ in range(60):
        optimizer.zero_grad()
        (
            functional.cross_entropy(model(x), x[:, :3].argmax(1)) + 0.2 * model.get_l0_loss()
        ).backward()
        optimizer.step()
    assert float(model.get_l0_loss().detach()) < 0.8 * before
    expected = model.eval()(x).detach()
    pruned = prune_model(model)
    torch.testing.assert_close(pruned.eval()(x).detach(), expected, atol=1e-5, rtol=1e-5)


# torch makes an autograd function's context while it traces one
@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
def test_a_compiled_mlp_evaluates_like_the_eager_one():
    model = SparseMLP(12, 8, 3, structured="both").eval()
    x = seeded(5, 12)
    try:
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), model(x))
    finally:
        torch._dynamo.reset()
