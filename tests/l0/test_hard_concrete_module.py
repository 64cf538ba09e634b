"""Laws of the HardConcrete module: closed forms, gradients, seeds, saved states, any dtype."""

import copy
import inspect
import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from l0 import distributions
from l0.errors import InputError
from l0.hard_concrete import HardConcrete

DRAWS = 1_000_000
# the Kolmogorov-Smirnov bound that one sample in a thousand exceeds
KS_BOUND = 1.95
STANDARD_ERRORS = 4.0
CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
)


def located(locations: Tensor, **options: object) -> HardConcrete:
    """Gates whose locations are this tensor itself, so that gradients reach it."""
    gates = HardConcrete(*locations.shape, **options)
    del gates.qz_logits
    gates.qz_logits = locations
    return gates


def saved_and_loaded(state: dict[str, object]) -> dict[str, object]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_names_and_defaults_are_those_of_l0_python():
    parameters = list(inspect.signature(HardConcrete).parameters.values())[:5]
    assert [parameter.name for parameter in parameters] == [
        "input_dim",
        "output_dim",
        "temperature",
        "stretch",
        "init_mean",
    ]
    assert [parameter.default for parameter in parameters[1:]] == [None, 0.5, 0.1, 0.5]
    gates = HardConcrete(7, 3)
    assert gates.qz_logits.shape == gates.gate_size == (7, 3)
    assert (gates.gamma, gates.zeta) == pytest.approx((-0.1, 1.1))
    assert HardConcrete(7).qz_logits.shape == (7,)
    assert distributions.HardConcrete is HardConcrete


def test_the_number_of_gates_has_two_names_and_takes_exactly_one():
    assert HardConcrete(n_items=5).gate_size == HardConcrete(input_dim=5).gate_size == (5,)
    with pytest.raises(InputError, match="two names"):
        HardConcrete()
    with pytest.raises(InputError, match="two names"):
        HardConcrete(5, n_items=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("init_mean", 0.0),
        ("init_mean", 1.0),
        ("init_mean", math.nan),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("stretch", 0.0),
        ("input_dim", 0),
        ("input_dim", 2.5),
        ("output_dim", 0),
        ("output_dim", True),
    ],
)
def test_an_argument_out_of_its_bounds_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=name):
        HardConcrete(**{"input_dim": 3, name: value})


def test_a_temperature_that_is_not_above_zero_is_refused_later_too():
    gates = HardConcrete(3)
    with pytest.raises(InputError, match="temperature"):
        gates.temperature = 0.0
    assert gates.temperature == 0.5


@pytest.mark.parametrize(
    ("dtype", "temperature", "stretch", "init_mean"),
    [(torch.float32, 0.5, 0.1, 0.5), (torch.float64, 0.25, 0.3, 0.7)],
)
def test_training_gates_follow_the_closed_form(dtype, temperature, stretch, init_mean):
    gates = HardConcrete(DRAWS, None, temperature, stretch, init_mean, seed=1).to(dtype)
    drawn = gates().detach()
    assert drawn.dtype == dtype
    drawn = drawn.double()
    location = math.log(init_mean / (1 - init_mean))

    def below(z: Tensor) -> Tensor:
        concrete = (z + stretch) / (1 + 2 * stretch)
        return torch.sigmoid(temperature * torch.logit(concrete) - location)

    low, high = below(torch.tensor([0.0, 1.0], dtype=torch.float64))
    for share, chance in ((drawn == 0, low), (drawn == 1, 1 - high)):
        error = math.sqrt(float(chance * (1 - chance)) / DRAWS)
        assert abs(float(share.double().mean() - chance)) < STANDARD_ERRORS * error
    assert float(gates.get_active_prob()[0].detach()) == pytest.approx(1 - float(low), rel=1e-6)
    between = drawn[(drawn > 0) & (drawn < 1)].sort().values
    expected = (below(between) - low) / (high - low)
    rank = torch.arange(len(between), dtype=torch.float64) / len(between)
    distance = (expected - rank).abs().max() + 1 / len(between)
    assert float(distance) < KS_BOUND / math.sqrt(len(between))


GATES_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "sampled": lambda x: located(x, temperature=0.4, seed=5)(),
    "deterministic": lambda x: located(x, temperature=0.4).eval()(),
    "penalty": lambda x: located(x, temperature=0.4).get_penalty(),
    "open probability": lambda x: located(x, stretch=0.2).get_active_prob(),
}


@pytest.mark.parametrize("name", GATES_OF)
def test_gradients_are_finite_differences(name):
    # the corners, where a gate is clipped, are not on this grid
    locations = torch.linspace(-2.01, 2.03, 23, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(GATES_OF[name], (locations,))


@pytest.mark.parametrize("name", GATES_OF)
def test_second_derivatives_are_finite_differences(name):
    locations = torch.linspace(-2.01, 2.03, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(GATES_OF[name], (locations,))


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [None, 3])
def test_values_and_gradients_are_finite_in_any_dtype_at_any_location(device, dtype, seed):
    gates = HardConcrete(2_000, seed=seed).to(device=device, dtype=dtype)
    far = [-60_000, -1e4, -20, -1, 0, 1, 20, 1e4, 60_000]
    with torch.no_grad():
        gates.qz_logits.copy_(torch.tensor(far).repeat(223)[:2_000])
    for training in (True, False):
        gates.train(training)
        values = gates()
        assert values.dtype == dtype
        assert values.device.type == device
        assert bool(((values >= 0) & (values <= 1)).all())
        (slope,) = torch.autograd.grad(values.sum(), gates.qz_logits)
        assert bool(slope.isfinite().all())
        assert bool((slope > 0).any())
    penalty = gates.get_penalty()
    (slope,) = torch.autograd.grad(penalty, gates.qz_logits)
    assert bool(penalty.isfinite())
    assert bool(slope.isfinite().all())


def test_the_penalty_of_many_half_precision_gates_is_their_count():
    gates = HardConcrete(100_000, init_mean=0.999).to(torch.float16)
    assert float(gates.get_penalty().detach()) == pytest.approx(100_000, rel=2e-3)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("stretch", [0.1, 0.4])
def test_a_gate_is_open_at_evaluation_exactly_where_opening_is_likelier_than_not(
    temperature, stretch
):
    gates = HardConcrete(20_001, temperature=temperature, stretch=stretch).double().eval()
    with torch.no_grad():
        gates.qz_logits.copy_(torch.linspace(-5.003, 5, 20_001))
    likely = gates.get_active_prob() > 0.5
    assert 0 < int(likely.sum()) < len(likely)
    assert torch.equal(gates() > 0, likely)
    gates.train()
    assert gates.get_num_active() == int(likely.sum())
    assert gates.training


def test_sparsity_is_the_mean_probability_of_being_closed():
    gates = HardConcrete(40, 5, init_mean=0.8)
    closed = 1 - gates.get_active_prob().mean()
    assert gates.get_sparsity() == pytest.approx(float(closed.detach()), abs=1e-6)


def test_a_seed_reproduces_the_draws_whatever_the_global_generator_and_leaves_it_alone():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        gates = HardConcrete(1_000, seed=7)
        first = [gates(), gates()]
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        again = HardConcrete(1_000, seed=7)
        assert all(torch.equal(draw, again()) for draw in first)
    assert not torch.equal(*first)
    assert not torch.equal(HardConcrete(1_000, seed=8)(), first[0])


def test_without_a_seed_the_global_generator_governs():
    gates = HardConcrete(1_000)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = gates()
        other = gates()
        torch.manual_seed(1)
        assert torch.equal(gates(), first)
    assert not torch.equal(first, other)


def test_evaluation_draws_nothing():
    gates = HardConcrete(100, seed=None).eval()
    before = torch.get_rng_state()
    assert torch.equal(gates(), gates())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_state_carries_locations_temperature_and_stretch():
    gates = HardConcrete(6, 2, temperature=0.3, stretch=0.2, init_mean=0.9)
    gates.temperature = 0.17
    other = HardConcrete(6, 2)
    other.load_state_dict(saved_and_loaded(gates.state_dict()))
    assert (other.temperature, other.stretch) == (0.17, 0.2)
    assert torch.equal(other.qz_logits, gates.qz_logits)
    assert torch.equal(other.eval()(), gates.eval()())


def test_a_state_of_l0_python_loads_strictly_and_keeps_temperature_and_stretch():
    state = {"0.qz_logits": torch.arange(4.0)}
    model = torch.nn.Sequential(HardConcrete(4, temperature=0.3, stretch=0.2))
    model.load_state_dict(saved_and_loaded(state), strict=True)
    assert torch.equal(model[0].qz_logits, torch.arange(4.0))
    assert (model[0].temperature, model[0].stretch) == (0.3, 0.2)
    assert list(state) == ["0.qz_logits"]


def test_a_copy_goes_its_own_way():
    gates = HardConcrete(50, seed=4)
    gates()
    twin = copy.deepcopy(gates)
    assert torch.equal(twin(), gates())
    twin.temperature = 0.1
    with torch.no_grad():
        twin.qz_logits.add_(1)
    assert gates.temperature == 0.5
    assert bool((gates.qz_logits == 0).all())


def test_locations_return_to_their_start_by_reset():
    gates = HardConcrete(5, init_mean=0.9)
    start = gates.qz_logits.detach().clone()
    torch.testing.assert_close(start.sigmoid(), torch.full((5,), 0.9))
    with torch.no_grad():
        gates.qz_logits.add_(2)
    gates.reset_parameters()
    assert torch.equal(gates.qz_logits, start)


@pytest.mark.parametrize(
    ("input_shape", "shape"),
    [(None, (4, 3)), ((4,), (4, 3)), ((4, 3), (4, 3)), ((4, 3, 5, 5), (4, 3, 1, 1))],
)
def test_gates_take_a_trailing_dimension_for_each_that_the_input_has_more(input_shape, shape):
    assert HardConcrete(4, 3)(input_shape).shape == shape


# torch makes an autograd function's context while it traces one
@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
def test_a_compiled_module_evaluates_like_the_eager_one_and_trains():
    gates = HardConcrete(64, init_mean=0.6)
    with torch.no_grad():
        gates.qz_logits.copy_(torch.linspace(-3, 3, 64))
    try:
        compiled = torch.compile(gates, backend="aot_eager", fullgraph=True)
        gates.eval()
        torch.testing.assert_close(compiled(), gates())
        gates.train()
        optimizer = torch.optim.SGD(gates.parameters(), lr=1.0)
        before = gates.get_num_active()
        for _ in range(20):
            optimizer.zero_grad()
            compiled().sum().backward()
            optimizer.step()
        assert gates.get_num_active() < before
    finally:
        torch._dynamo.reset()
