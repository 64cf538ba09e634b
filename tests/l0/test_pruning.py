"""Laws of pruning: closed weights are zero; a compact model is smaller, its outputs the same."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l0 import channels
from l0.compaction import Select
from l0.errors import InputError
from l0.gated_layer import GatedLayer
from l0.hard_concrete import HardConcrete
from l0.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
from l0.pruning import model_cost, prune_model

OPEN, CLOSED = 5.0, -5.0
TOLERANCE = 1e-6


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prepared(model: nn.Module, *, closed: float = 0.5, seed: int = 1) -> nn.Module:
    """The model with random weights, biases and statistics, this share of its gates closed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("qz_logits"):
                shut = torch.rand(tensor.shape, generator=generator) < closed
                tensor.copy_(torch.where(shut, CLOSED, OPEN))
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                scale = 1 / tensor[0].numel() ** 0.5
                tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
    return model


def close(gates: HardConcrete, *items: int) -> None:
    """These gates closed, the others of the group open."""
    with torch.no_grad():
        gates.qz_logits.fill_(OPEN)
        gates.qz_logits[list(items)] = CLOSED


class ConvNet(nn.Module):
    def __init__(self, *, padding: int = 0, structured: bool = True, size: int = 16) -> None:
        super().__init__()
        options = {"padding": padding, "structured": structured}
        self.conv1 = L0Conv2d(3, 8, 3, **options)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = L0Conv2d(8, 12, 3, **options)
        self.norm2 = nn.BatchNorm2d(12)
        self.pool = nn.MaxPool2d(2)
        for _ in range(2):
            size = (size - 2 + 2 * padding) // 2
        self.features = 12 * size * size
        self.head = L0Linear(self.features, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.norm1(self.conv1(x))))
        x = functional.max_pool2d(torch.tanh(self.norm2(self.conv2(x))), 2)
        return self.head(x.view(-1, self.features))


class Separable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = L0Conv2d(3, 10, 1, structured=True)
        self.depthwise = L0DepthwiseConv2d(10, 3, padding=1)
        self.pointwise = L0Conv2d(10, 6, 1, structured=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.depthwise(functional.relu(self.expand(x))))
        x = functional.adaptive_avg_pool2d(self.pointwise(x), 1)
        return self.head(x.reshape(x.shape[0], -1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = L0Conv2d(3, 6, 3, padding=1, structured=True)
        self.inner = L0Conv2d(6, 9, 3, padding=1, structured=True)
        self.outer = L0Conv2d(9, 6, 3, padding=1, structured=True)
        self.relu = nn.ReLU(inplace=True)
        self.head = L0Linear(6, 4, structured="input")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(x + self.outer(self.relu(self.inner(x))))
        return self.head(functional.avg_pool2d(x, 8).flatten(1))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = L0Linear(7, 6, structured="output")
        self.twice = L0Linear(6, 6, structured="both")
        self.again = self.twice
        self.last = L0Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(torch.relu(self.first(x))))
        return self.last(torch.relu(self.again(x)))


class Branches(nn.Module):
    """Two readers of one layer, one of which overwrites it for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = L0Linear(5, 8, structured="output")
        self.left = L0Linear(8, 4, structured="input")
        self.right = L0Linear(8, 4, structured="input")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = functional.relu(x, inplace=True)
        return torch.cat([self.left(x), self.right(y)], dim=1)


class StandAlone(nn.Module):
    """Gates of its own beside a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = HardConcrete(6)
        self.first = L0Linear(6, 9)
        self.last = L0Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x * self.gates()).sigmoid())


class PaddedPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = L0Conv2d(2, 6, 3, structured=True)
        self.pool = nn.AvgPool2d(3, padding=1)
        self.last = L0Conv2d(6, 3, 2, structured=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(self.conv(x)))


IMAGES = (4, 3, 16, 16)
MODELS = {
    "unstructured": (lambda: SparseMLP(12, 10, 3), (5, 12)),
    "input": (lambda: SparseMLP(12, 10, 3, structured="input"), (5, 12)),
    "output": (lambda: SparseMLP(12, 10, 3, structured="output"), (5, 12)),
    "both": (lambda: SparseMLP(12, 10, 3, structured="both"), (5, 3, 2, 2)),
    "conv net": (ConvNet, IMAGES),
    "padded conv net": (lambda: ConvNet(padding=1), IMAGES),
    "unstructured conv net": (lambda: ConvNet(structured=False), IMAGES),
    "depthwise": (Separable, (4, 3, 6, 6)),
    "residual": (Residual, (4, 3, 8, 8)),
    "shared": (Shared, (5, 7)),
    "branches": (Branches, (5, 5)),
    "stand-alone gates": (StandAlone, (5, 6)),
    "padded pool": (PaddedPool, (2, 2, 9, 9)),
    "one layer": (lambda: L0Linear(7, 4, structured="input"), (5, 7)),
    "three dimensions": (lambda: nn.Sequential(L0Linear(7, 4), L0Linear(4, 3)), (5, 6, 7)),
}
# the others hold nothing but layers that must keep their shapes
SHRINKING = [name for name in MODELS if name not in {"shared", "three dimensions", "padded pool"}]


def build(name: str, *, closed: float = 0.5) -> tuple[nn.Module, Tensor]:
    make, shape = MODELS[name]
    return prepared(make(), closed=closed), random_tensor(*shape)


def assert_same_outputs(compact: nn.Module, model: nn.Module, batch: Tensor) -> None:
    with torch.no_grad():
        found = copy.deepcopy(compact).double()(batch.double())
        expected = copy.deepcopy(model).eval().double()(batch.double())
    # the weights and biases of the compact model are rounded to single precision
    assert torch.allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, expected.abs().max()))


@pytest.mark.parametrize("threshold", [0.2, 0.5, "that of a gate"])
@pytest.mark.parametrize(
    ("layer", "along"),
    [
        (L0Linear(4, 3), {"weight_gates": (3, 4)}),
        (L0Linear(4, 3, structured="input"), {"input_gates": (1, 4)}),
        (L0Linear(4, 3, structured="output"), {"output_gates": (3, 1)}),
        (L0Linear(4, 3, structured="both"), {"input_gates": (1, 4), "output_gates": (3, 1)}),
        (L0Conv2d(2, 3, 3), {"weight_gates": (3, 2, 3, 3)}),
        (L0Conv2d(2, 3, 3, structured=True), {"channel_gates": (3, 1, 1, 1)}),
        (L0DepthwiseConv2d(4, 3), {"channel_gates": (4, 1, 1, 1)}),
    ],
)
def test_exactly_the_weights_with_a_gate_at_or_below_the_threshold_become_zero(
    layer, along, threshold
):
    model = nn.Sequential(copy.deepcopy(layer)).train()
    pruned = model[0]
    for name in along:
        locations = getattr(pruned, name).qz_logits
        locations.data = torch.linspace(-4, 4, locations.numel()).view(locations.shape)
    part = pruned.depthwise_conv if isinstance(pruned, L0DepthwiseConv2d) else pruned
    part.weight.data = before = random_tensor(*part.weight.shape, seed=9)
    before = before.clone()
    groups = {name: getattr(pruned, name).get_active_prob() for name in along}
    if threshold == "that of a gate":
        threshold = float(next(iter(groups.values())).detach().median())
    kept = torch.ones_like(before, dtype=torch.bool)
    for name, shape in along.items():
        kept &= (groups[name] > threshold).view(shape)
    assert 0 < kept.sum() < kept.numel()
    assert prune_model(model, threshold) is model
    assert not model.training
    assert not pruned.training
    assert torch.equal(part.weight, before * kept)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_at_evaluation_stay_as_they_are_up_to_a_threshold_of_one_half(name, threshold):
    model, batch = build(name)
    for module in model.modules():
        if isinstance(module, HardConcrete):
            module.qz_logits.data = 3 * random_tensor(*module.gate_size)
    with torch.no_grad():
        before = model.eval()(batch)
        assert torch.equal(prune_model(model, threshold)(batch), before)


@pytest.mark.parametrize("closed", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_a_compact_model_gives_the_outputs_of_the_pruned_one(name, closed):
    model, batch = build(name, closed=closed)
    compact = prune_model(model, example_input=batch)
    assert_same_outputs(compact, model, batch)
    assert_same_outputs(compact, model, torch.cat([batch, 3 * batch.flip(0)]))
    assert not any(isinstance(module, GatedLayer) for module in compact.modules())
    assert not any(module.training for module in compact.modules())
    assert {parameter.dtype for parameter in compact.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", SHRINKING)
def test_a_compact_model_takes_fewer_parameters_and_flops(name):
    model, batch = build(name, closed=0.8)
    before, after = (
        model_cost(model, batch),
        model_cost(prune_model(model, example_input=batch), batch),
    )
    assert after.parameters < before.parameters
    assert after.flops < before.flops


def test_pruning_above_one_half_compacts_what_it_changes():
    model, batch = build("output", closed=0.0)
    model.fc1.output_gates.qz_logits.data[:4] = 0.5  # open, with a probability of 0.85
    compact = prune_model(model, 0.9, example_input=batch)
    assert compact.fc1.weight.shape == (6, 12)
    assert_same_outputs(compact, prune_model(copy.deepcopy(model), 0.9), batch)


def test_a_closed_neuron_leaves_both_its_layers_and_its_constant_goes_into_the_bias():
    model, batch = build("output", closed=0.0)
    close(model.fc1.output_gates, 0, 3)
    close(model.fc2.output_gates, 1)
    compact = prune_model(model, example_input=batch)
    assert compact.fc1.weight.shape == (8, 12)
    assert compact.fc2.weight.shape == (9, 8)
    assert compact.fc3.weight.shape == (3, 9)


def test_a_neuron_that_nothing_reads_leaves_the_layer_that_makes_it():
    model, batch = build("input", closed=0.0)
    close(model.fc1.input_gates, 2, 5)
    close(model.fc2.input_gates, 0, 1, 2)
    compact = prune_model(model, example_input=batch)
    assert compact.fc1.weight.shape == (7, 10)
    assert compact.fc2.weight.shape == (10, 7)
    selects = [module for module in compact.modules() if isinstance(module, Select)]
    assert [module.index.tolist() for module in selects] == [[0, 1, 3, 4, 6, 7, 8, 9, 10, 11]]


def test_a_neuron_that_feeds_only_dead_neurons_is_dead():
    model, batch = build("both", closed=0.0)
    with torch.no_grad():
        model.fc2.weight[1:, 4] = 0.0
    close(model.fc2.output_gates, 0)  # the one reader of neuron 4
    assert prune_model(model, example_input=batch).fc1.weight.shape == (9, 12)


def test_a_bias_is_made_where_a_constant_needs_one():
    model = prepared(nn.Sequential(L0Linear(4, 5, structured="output"), L0Linear(5, 3, bias=False)))
    close(model[0].output_gates, 2)
    close(model[1].weight_gates, 1)
    batch = random_tensor(6, 4)
    compact = prune_model(model, example_input=batch)
    assert compact.get_submodule("1").bias is not None
    assert_same_outputs(compact, model, batch)


def test_a_closed_channel_leaves_its_convolution_its_norm_and_the_columns_behind_flattening():
    model, batch = build("conv net", closed=0.0)
    close(model.conv1.channel_gates, 0, 7)
    close(model.conv2.channel_gates, 1, 2, 3)
    compact = prune_model(model, example_input=batch)
    assert compact.conv1.weight.shape == (6, 3, 3, 3)
    assert compact.norm1.running_mean.shape == (6,)
    assert compact.conv2.weight.shape == (9, 6, 3, 3)
    assert compact.head.in_features == 9 * 2 * 2


def test_a_constant_under_padding_stays_a_channel_unless_it_is_zero():
    layers = L0Conv2d(2, 4, 3, structured=True), L0Conv2d(4, 3, 3, padding=1, structured=True)
    model = prepared(nn.Sequential(layers[0], nn.ReLU(), layers[1]), closed=0.0)
    close(model[0].channel_gates, 1, 2)
    model[0].bias.data[:] = torch.tensor([0.3, -0.4, 0.5, 0.6])
    batch = random_tensor(2, 2, 7, 7)
    compact = prune_model(model, example_input=batch)
    assert compact.get_submodule("0").out_channels == 3  # the rectifier makes channel 1 zero
    assert_same_outputs(compact, model, batch)


def test_a_depthwise_convolution_shrinks_with_its_channels():
    model, batch = build("depthwise", closed=0.0)
    close(model.depthwise.channel_gates, 0, 1)
    close(model.pointwise.channel_gates, 5)
    compact = prune_model(model, example_input=batch)
    assert compact.expand.weight.shape == (8, 3, 1, 1)
    assert compact.depthwise.weight.shape == (8, 1, 3, 3)
    assert compact.depthwise.groups == 8
    assert compact.pointwise.weight.shape == (5, 8, 1, 1)
    assert compact.head.weight.shape == (4, 5)


def test_a_sum_of_branches_keeps_all_its_channels():
    model, batch = build("residual", closed=0.0)
    close(model.stem.channel_gates, 0)
    close(model.inner.channel_gates, 0, 1)
    close(model.outer.channel_gates, 0)
    model.inner.bias.data[:2] = -1.0
    compact = prune_model(model, example_input=batch)
    assert compact.stem.out_channels == compact.outer.out_channels == 6
    assert compact.inner.out_channels == compact.outer.in_channels == 7


def test_with_all_gates_closed_every_layer_keeps_one_channel_and_the_output_its_bias():
    model, batch = build("output", closed=1.0)
    compact = prune_model(model, example_input=batch)
    shapes = [compact.get_submodule(name).weight.shape for name in ("fc1", "fc2", "fc3")]
    assert shapes == [(1, 1), (1, 1), (3, 1)]


def test_with_no_gate_closed_no_layer_changes_its_shape():
    model, batch = build("conv net", closed=0.0)
    compact = prune_model(model, example_input=batch)
    shapes = {name: parameter.shape for name, parameter in compact.named_parameters()}
    gated = {n: p.shape for n, p in model.named_parameters() if not n.endswith("qz_logits")}
    assert shapes == gated


@pytest.mark.parametrize("name", MODELS)
def test_the_model_given_is_left_as_it_was(name):
    model, batch = build(name)
    model.train()
    next(model.children()).eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    prune_model(model, example_input=batch)
    model_cost(model, batch)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_state_of_a_compact_model_survives_a_file():
    model, batch = build("conv net")
    first, second = (prune_model(model, example_input=batch) for _ in range(2))
    for parameter in second.parameters():
        parameter.data.zero_()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(first(batch), second(batch))


def test_a_compact_model_can_be_trained_on():
    model, batch = build("conv net")
    compact = prune_model(model, example_input=batch)
    compact.train()(batch).square().sum().backward()
    assert all(parameter.grad is not None for parameter in compact.parameters())


def test_cost_counts_weights_and_biases_but_no_gates():
    cost = model_cost(L0Linear(4, 3), random_tensor(5, 4))
    assert cost.parameters == 4 * 3 + 3
    assert cost.flops == 2 * 5 * 4 * 3


def test_a_forward_that_writes_into_its_input_leaves_the_example_alone():
    class Doubling(Shared):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))

    model, batch = prepared(Doubling()).double(), random_tensor(5, 7).double()
    prune_model(model, example_input=batch)
    assert torch.equal(batch, random_tensor(5, 7).double())


def test_a_compact_model_of_other_outputs_is_never_returned(monkeypatch):
    model, batch = build("padded conv net")
    monkeypatch.setattr(channels, "_pads", lambda padding: False)  # a wrong rule
    with pytest.raises(RuntimeError, match="outputs differ up to"):
        prune_model(model, example_input=batch)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(InputError, match=f"threshold is {threshold}, but must be"):
        prune_model(SparseMLP(4, 4, 2), threshold)


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = L0Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


def test_a_model_that_decides_by_its_data_is_refused_with_the_next_move():
    model, batch = prepared(Deciding()), random_tensor(2, 4)
    with pytest.raises(InputError, match=r"cannot be traced.*without example_input"):
        prune_model(model, example_input=batch)
    prune_model(model)


def test_an_example_that_the_model_does_not_take_is_refused():
    with pytest.raises(InputError, match=r"fails at evaluation on example_input of shape \(2, 9\)"):
        prune_model(SparseMLP(4, 4, 2), example_input=random_tensor(2, 9))


def test_a_model_of_two_dtypes_is_refused():
    model = nn.Sequential(L0Linear(4, 3), nn.Linear(3, 2).half())
    with pytest.raises(InputError, match="2 dtypes"):
        prune_model(model, example_input=random_tensor(2, 4))


def test_a_users_layer_with_gates_for_its_weight_is_pruned_too():
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.ones(2, 3))
    layer.weight_gates = HardConcrete(2, 3, init_mean=0.001)
    assert prune_model(layer).weight.sum().item() == 0
