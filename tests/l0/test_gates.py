"""Laws of selection by gates: exact sizes, the same rows in either mode, nothing from the file's
order.
"""

import numpy as np
import pytest
import torch
from torch import nn

from l0.errors import InputError
from l0.gates import FeatureGate, HybridGate, L0Gate, SampleGate

SIZES = [(10, 3), (1_000, 1), (1_000, 999), (10_000, 250), (7, 7), (50, 0)]  # items, target
MODELS = {
    "SampleGate": lambda: SampleGate(20, 5),
    "FeatureGate": lambda: FeatureGate(20, 5),
    "L0Gate": lambda: L0Gate(20),
}


def shuffled(gate: L0Gate, *, seed: int = 3) -> torch.Tensor:
    """Locations in random order given to the gate, no two equal, all certain."""
    order = torch.randperm(gate.size, generator=torch.Generator().manual_seed(seed))
    locations = torch.linspace(-9, 9, gate.size)[order]
    with torch.no_grad():
        gate.gates.qz_logits.copy_(locations)
    return locations


@pytest.mark.parametrize(("items", "target"), SIZES)
def test_a_sample_has_exactly_its_target_of_rows_at_each_call_in_either_mode(items, target):
    gate = SampleGate(items, target)
    data = torch.arange(items) * 2
    first, indices = gate.train().select_samples(data)
    again, same = gate.eval().select_samples(data)
    assert len(indices) == len(indices.unique()) == target
    assert torch.equal(indices, indices.sort().values)
    assert torch.equal(first, data[indices])
    assert torch.equal(indices, same)
    assert torch.equal(first, again)


@pytest.mark.parametrize(("items", "target"), SIZES)
def test_the_expected_count_starts_at_the_target(items, target):
    # the locations are float32, and a certain gate stops 2e-9 short of certainty
    for gate in (SampleGate(items, target), FeatureGate(items, target)):
        assert float(gate.get_penalty().detach()) == pytest.approx(target, rel=1e-4, abs=1e-4)


def test_the_rows_of_the_highest_locations_are_selected():
    gate = SampleGate(100, 30)
    highest = shuffled(gate).topk(30).indices.sort().values
    assert torch.equal(gate.select_indices(), highest)


def test_equal_locations_fall_in_an_order_of_the_seed_not_of_the_file():
    chosen = [SampleGate(10_000, 2_000, tie_seed=seed).select_indices() for seed in (0, 0, 1)]
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])
    for indices in chosen:
        # a fifth of the file's first half too, within four standard errors
        share = float((indices < 5_000).double().mean())
        assert abs(share - 0.5) < 4 * 0.5 / 2_000**0.5


def test_selection_leaves_the_global_generators_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    SampleGate(100, 10).select_indices()
    HybridGate(100).select(torch.arange(100))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_torch_and_numpy_data_come_back_as_they_came():
    gate = SampleGate(20, 5)
    rows = np.arange(60.0).reshape(20, 3)
    from_numpy, indices = gate.select_samples(rows)
    from_torch, _ = gate.select_samples(torch.from_numpy(rows))
    assert isinstance(from_numpy, np.ndarray)
    assert isinstance(from_torch, torch.Tensor)
    assert (from_numpy == rows[indices.numpy()]).all()
    assert (from_torch.numpy() == from_numpy).all()


@pytest.mark.parametrize("target", [-1, 11, 2.5])
def test_a_target_that_the_items_cannot_give_is_refused(target):
    with pytest.raises(InputError, match="target_samples"):
        SampleGate(10, target)
    with pytest.raises(InputError, match="target_items"):
        HybridGate(10, target_items=target)


def test_data_of_another_length_is_refused():
    gate, features, hybrid = SampleGate(10, 3), FeatureGate(10, 3), HybridGate(10)
    short, ten = torch.zeros(9), torch.zeros(10)
    for refused, match in (
        (lambda: gate.select_samples(short), "data has a length of 9, .*10"),
        (lambda: gate.select_samples(np.float64(3)), "data has no length"),
        (lambda: gate.select_weighted_samples(ten, short), "weights has a length of 9"),
        (lambda: gate.select_weighted_samples(short, ten), "data has a length of 9"),
        (lambda: hybrid.select(short), "data has a length of 9"),
        (lambda: features.select_features(torch.zeros(10, 9)), "10 features"),
        (lambda: features.select_features_with_names(torch.zeros(4, 10), ["a"]), "feature_names"),
        (lambda: gate.apply_gates(short), "10 items"),
        (lambda: gate.apply_gates(ten, dim=1), "10 items"),
    ):
        with pytest.raises(InputError, match=match):
            refused()


@pytest.mark.parametrize("training", [True, False])
def test_weighted_samples_carry_their_weight_times_their_deterministic_gate(training):
    gate = SampleGate(100, 60).train(training)
    with torch.no_grad():
        gate.gates.qz_logits.copy_(torch.linspace(-1, 1, 100))
    weights = torch.linspace(1, 3, 100)
    data, carried, indices = gate.select_weighted_samples(torch.arange(100), weights)
    gates = gate.eval().get_gates().detach()
    assert torch.equal(data, indices)
    assert torch.equal(carried, (weights * gates)[indices])
    assert bool(((carried > 0) & (carried < weights[indices])).any())


def test_features_are_at_most_the_maximum_and_those_of_the_highest_gates():
    gate = FeatureGate(30, 8)
    data = torch.arange(90.0).view(3, 30)
    assert len(gate.select_features(data)[1]) == 8
    locations = shuffled(gate)
    selected, indices = gate.select_features(data)
    assert torch.equal(indices, locations.topk(8).indices.sort().values)
    assert torch.equal(selected, data[:, indices])
    assert (gate.select_features(data.numpy())[0] == selected.numpy()).all()
    with torch.no_grad():
        gate.gates.qz_logits.fill_(-9)
        gate.gates.qz_logits[[4, 17]] = 9
    assert gate.select_indices().tolist() == [4, 17]
    assert gate.select_features_with_names(data, [f"x{k}" for k in range(30)])[1] == ["x4", "x17"]


def test_more_features_than_there_are_means_all_of_them():
    assert FeatureGate(5, 9).select_indices().tolist() == [0, 1, 2, 3, 4]


def test_the_importance_of_a_feature_is_the_probability_that_its_gate_is_open():
    gate = FeatureGate(30, 8)
    locations = shuffled(gate)
    importance = gate.get_feature_importance()
    assert not importance.requires_grad
    assert bool(((importance >= 0) & (importance <= 1)).all())
    assert torch.equal(importance, gate.gates.get_active_prob().detach())
    assert torch.equal(importance.argsort(), locations.argsort())


def test_a_hybrid_selection_has_exactly_its_parts_and_no_item_twice():
    gate = HybridGate(10_000, 0.25, 0.75, target_items=1_000)
    best = torch.randperm(10_000, generator=torch.Generator().manual_seed(2))[:250]
    with torch.no_grad():
        gate.l0_gate.gates.qz_logits.fill_(-5)
        gate.l0_gate.gates.qz_logits[best] = 5
    data, indices, kind = gate.select(torch.arange(10_000))
    assert torch.equal(data, indices)
    assert len(indices.unique()) == 1_000
    assert torch.equal(indices, indices.sort().values)
    assert dict(zip(*np.unique(kind, return_counts=True), strict=True)) == {
        "l0": 250,
        "random": 750,
    }
    assert torch.equal(indices[kind == "l0"], best.sort().values)


def test_another_random_seed_changes_only_the_random_part_of_a_hybrid_selection():
    gate = HybridGate(2_000, seed=4)
    data = np.arange(2_000)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        _, first, kind = gate.select(data, random_seed=1)
        torch.manual_seed(2)
        _, same, same_kind = gate.eval().select(data, random_seed=1)
        _, other, other_kind = gate.select(data, random_seed=2)
        own, its_seed = gate.select(data)[1], gate.select(data, random_seed=4)[1]
    assert torch.equal(first, same)
    assert (kind == same_kind).all()
    assert torch.equal(own, its_seed)
    assert torch.equal(first[kind == "l0"], other[other_kind == "l0"])
    assert not torch.equal(first[kind == "random"], other[other_kind == "random"])


@pytest.mark.parametrize(
    ("l0_fraction", "random_fraction", "by_gates", "at_random"),
    [
        (0.25, 0.75, 25, 75),
        (0.29, 0.0, 29, 0),
        (0.29, 0.71, 29, 71),
        (0.1, 0.2, 10, 20),
        (0.0, 1.0, 0, 100),
        (1.0, 0.0, 100, 0),
        (0.0, 0.29, 0, 29),
        (0.0, 0.0, 0, 0),
    ],
)
def test_each_part_is_its_fraction_of_the_target(l0_fraction, random_fraction, by_gates, at_random):
    gate = HybridGate(500, l0_fraction, random_fraction, target_items=100)
    assert (gate.n_l0, gate.n_random) == (by_gates, at_random)
    data, indices, kind = gate.select(torch.arange(500))
    assert len(data) == len(indices) == by_gates + at_random
    assert [int((kind == way).sum()) for way in ("l0", "random")] == [by_gates, at_random]


def test_a_fifth_of_the_items_is_the_target_unless_said():
    assert HybridGate(500).target_items == 100
    assert len(HybridGate(500).select(torch.arange(500))[1]) == 100
    everything = HybridGate(40, target_items=40).select(torch.arange(40))[1]
    assert everything.tolist() == list(range(40))


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.5), (-0.1, 0.5), (0.5, -0.1), (float("nan"), 0.5), (1.1, 0.0)]
)
def test_fractions_that_are_not_parts_of_one_whole_are_refused(fractions):
    with pytest.raises(InputError, match="l0_fraction"):
        HybridGate(100, *fractions)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_gates_are_applied_along_the_dimension_asked_for(dim):
    gate = L0Gate(4).eval()
    with torch.no_grad():
        gate.gates.qz_logits.copy_(torch.linspace(-1, 1, 4))
    shape = [2, 3, 5]
    shape[dim] = 4
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = (x.movedim(dim, -1) * gate.get_gates()).movedim(-1, dim)
    torch.testing.assert_close(gate.apply_gates(x, dim=dim), expected)


def test_active_items_are_those_whose_deterministic_gate_is_above_the_threshold():
    gate = L0Gate(201)
    with torch.no_grad():
        gate.gates.qz_logits.copy_(torch.linspace(-3, 3, 201).flip(0))
    gates = gate.eval().get_gates()
    counts = []
    for threshold in (0.0, 0.3, 0.5, 0.99):
        expected = torch.nonzero(gates > threshold).flatten()
        assert torch.equal(gate.train().get_active_indices(threshold), expected)
        counts.append(len(expected))
    assert torch.equal(gate.get_active_indices(), gate.get_active_indices(0.5))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == gate.gates.get_num_active() > counts[-1] > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_temperature_of_a_gate_is_that_of_its_gates(name):
    gate = MODELS[name]()
    gate.temperature = 0.07
    assert gate.gates.temperature == gate.temperature == 0.07
    gate.gates.temperature = 0.3
    assert gate.temperature == 0.3


def test_saved_names_are_those_of_l0_python():
    def keys(model: nn.Module) -> set[str]:
        return {key for key in model.state_dict() if not key.endswith("_extra_state")}

    for make in MODELS.values():
        assert keys(make()) == {"gates.qz_logits"}
    hybrid = HybridGate(20)
    assert keys(hybrid) == {"l0_gate.gates.qz_logits"}
    hybrid.load_state_dict({"l0_gate.gates.qz_logits": torch.arange(20.0)}, strict=True)
    assert hybrid.l0_gate.select_indices().tolist() == [19]


@pytest.mark.parametrize("temperature", [0.25, 0.3, 0.66, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_gate_at_even_odds_is_open_exactly_where_its_probability_says(dtype, temperature):
    gate = SampleGate(1000, 500, temperature=temperature).to(dtype).eval()
    with torch.no_grad():
        gate.gates.qz_logits[:400] += torch.linspace(-1e-3, 1e-3, 400).to(dtype)
    likely = gate.gates.get_active_prob() > 0.5
    assert torch.equal(gate.get_gates() > 0, likely)
    assert gate.gates.get_num_active() == int(likely.sum())


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0, 100.0])
def test_the_expected_count_starts_at_the_target_at_any_temperature(temperature):
    gate = SampleGate(100_000, 100, temperature=temperature)
    assert gate.get_penalty().item() == pytest.approx(100, rel=1e-3)


def test_a_trained_feature_gate_selects_open_features_alone():
    gate = FeatureGate(1000, 50)
    with torch.no_grad():
        gate.gates.qz_logits.fill_(-4.5)
        gate.gates.qz_logits[:5] = 10
    assert gate.select_indices().tolist() == list(range(5))


def test_locations_that_are_not_numbers_are_refused():
    gate = SampleGate(10, 3)
    with torch.no_grad():
        gate.gates.qz_logits[7] = torch.nan
    with pytest.raises(InputError, match="1 locations of the gates are not numbers"):
        gate.select_indices()
