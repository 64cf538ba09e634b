"""Laws of gates learned from an objective: exact counts, planted supports, seeds, refusals."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from l0.errors import InputError
from l0.gate_training import GateFit, GateFitSettings, fit_gates
from l0.gates import FeatureGate, HybridGate, L0Gate, SampleGate
from l0.hard_concrete import HardConcrete
from l0.survey.history import EpochRecord

SHORT = GateFitSettings(epochs=60)
ITEMS = 40
SHUFFLED = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(0))


def planted(count: int) -> Tensor:
    """Items in no order of the file, ascending."""
    return SHUFFLED[:count].sort().values


def prefer(chosen: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gates: -gates.flatten()[chosen].sum()


def random_matrix(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gates_of(model: L0Gate | HybridGate) -> HardConcrete:
    return model.l0_gate.gates if isinstance(model, HybridGate) else model.gates


KINDS: dict[str, Callable[[int], L0Gate | HybridGate]] = {
    "SampleGate": lambda target: SampleGate(ITEMS, target),
    "FeatureGate": lambda target: FeatureGate(ITEMS, target),
    "HybridGate": lambda target: HybridGate(ITEMS, 1.0, 0.0, target_items=target),
}


@pytest.mark.parametrize("target", [0, 1, 13, 39, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_target_of_gates_is_open_after_a_training(kind, target):
    model = KINDS[kind](target)
    chosen = planted(target)
    # an objective of no item must still depend on the gates
    result = model.fit(lambda gates: prefer(chosen)(gates) + 0 * gates.sum(), settings=SHORT)
    gates = gates_of(model)
    assert torch.equal(result.open_indices, chosen)
    assert gates.get_num_active() == target
    assert gates.eval()().tolist() == [float(k in set(chosen.tolist())) for k in range(ITEMS)]
    assert float(gates.get_penalty().detach()) == pytest.approx(target, abs=ITEMS * 1e-4)
    selector = model.l0_gate if isinstance(model, HybridGate) else model
    assert torch.equal(selector.select_indices(), chosen)
    if isinstance(model, L0Gate):
        assert torch.equal(model.get_active_indices(), chosen)


def test_a_hybrid_selection_draws_its_random_part_from_what_the_trained_gates_left():
    model = HybridGate(ITEMS, target_items=20)
    result = model.fit(prefer(planted(5)), settings=SHORT)
    _, indices, kind = model.select(torch.arange(ITEMS))
    assert torch.equal(indices[kind == "l0"], result.open_indices)
    assert (len(result.open_indices), len(indices.unique())) == (5, 20)


def test_a_planted_support_is_recovered_with_weights_trained_along():
    x = random_matrix(300, 40, seed=1)
    chosen = [3, 11, 18, 25, 37]
    truth = torch.zeros(ITEMS)
    truth[chosen] = torch.tensor([1.5, -2.0, 1.0, -1.2, 2.0])
    y = x @ truth + 0.1 * random_matrix(300, seed=2)
    weights = torch.zeros(ITEMS, requires_grad=True)
    model = FeatureGate(ITEMS, 5)
    result = model.fit(
        lambda gates: (x @ (gates * weights) - y).square().mean(),
        parameters=[weights],
    )
    assert result.open_indices.tolist() == chosen
    assert model.gates.get_num_active() == 5
    torch.testing.assert_close(weights.detach()[chosen], truth[chosen], atol=0.1, rtol=0)
    assert result.loss < 0.05
    assert weights.grad is None


def test_a_sample_with_matched_means_is_far_closer_than_random_ones():
    data = random_matrix(400, 6, seed=3)
    mean = data.mean(0)

    def distance(gates: Tensor) -> Tensor:
        estimate = gates @ data / gates.sum().clamp(min=1e-6)
        return (estimate - mean).square().sum()

    model = SampleGate(400, 40)
    result = model.fit(distance)
    sample, indices = model.select_samples(data)
    fitted = float((sample.mean(0) - mean).square().sum())
    generator = torch.Generator().manual_seed(0)
    drawn = [
        float((data[torch.randperm(400, generator=generator)[:40]].mean(0) - mean).square().sum())
        for _ in range(200)
    ]
    assert len(indices) == model.gates.get_num_active() == 40
    assert result.loss == pytest.approx(fitted, rel=1e-3, abs=1e-9)
    assert fitted < 0.1 * sum(drawn) / len(drawn)


def two_fits(seeds: tuple[int, int]) -> list[tuple[GateFit, Tensor, Tensor]]:
    fits = []
    for global_seed, seed in enumerate(seeds):
        torch.manual_seed(global_seed)
        weights = torch.ones(ITEMS, requires_grad=True)
        model = SampleGate(ITEMS, 10)
        result = model.fit(
            lambda gates, weights=weights: (
                (gates * weights - torch.linspace(0, 1, ITEMS)).square().sum()
            ),
            parameters=[weights],
            seed=seed,
            settings=SHORT,
        )
        fits.append((result, model.gates.qz_logits.detach(), weights.detach()))
    return fits


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generators():
    with torch.random.fork_rng():
        first, second = two_fits((7, 7))
        _, other = two_fits((7, 8))
    assert first[0].history == second[0].history
    assert first[0].loss == second[0].loss
    for one, two in zip(first[1:], second[1:], strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(other[1], first[1])


def test_a_training_leaves_the_global_generators_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    SampleGate(ITEMS, 10).fit(prefer(planted(10)), settings=SHORT)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_progress_is_told_every_record_of_the_history():
    told: list[EpochRecord] = []
    result = SampleGate(ITEMS, 10).fit(prefer(planted(10)), settings=SHORT, on_progress=told.append)
    assert tuple(told) == result.history
    assert [record.epoch for record in told] == [0, 10, 20, 30, 40, 50, 59]
    assert told[0].budget == 40
    assert told[-1].budget == 10


@pytest.mark.parametrize("stretch", [0.1, 0.4])
def test_the_expected_count_is_the_budget_at_every_epoch(stretch):
    gates = HardConcrete(ITEMS, stretch=stretch)
    result = fit_gates(gates, prefer(planted(10)), target=10, settings=SHORT)
    for record in result.history:
        assert record.expected_count == pytest.approx(record.budget, rel=1e-4)
    assert gates.get_num_active() == 10


def test_training_starts_from_equal_gates_unless_a_warm_start_is_asked_for():
    def indifferent(gates: Tensor) -> Tensor:
        return 0 * gates.sum()

    started = torch.linspace(1, -1, 40)
    for warm in (True, False):
        gates = HardConcrete(ITEMS)
        with torch.no_grad():
            gates.qz_logits.copy_(started.flip(0))
        result = fit_gates(gates, indifferent, target=5, warm_start=warm, settings=SHORT)
        last = list(range(35, 40))
        assert (result.open_indices.tolist() == last) is warm
        assert gates.get_num_active() == 5


def test_a_training_leaves_its_final_temperature_and_the_mode():
    gates = HardConcrete(ITEMS, temperature=0.5)
    fit_gates(gates, prefer(planted(10)), target=5, settings=SHORT)
    assert gates.temperature == SHORT.final_temperature
    assert gates.training
    assert gates.qz_logits.grad is None


def test_a_matrix_of_gates_reaches_its_target_too():
    gates = HardConcrete(8, 5)
    result = fit_gates(gates, prefer(planted(12)), target=12, settings=SHORT)
    assert torch.equal(result.open_indices, planted(12))
    assert gates.get_num_active() == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_gates_of_other_precisions_reach_their_target(dtype):
    gates = HardConcrete(ITEMS).to(dtype)
    result = fit_gates(gates, prefer(planted(12)), target=12, settings=SHORT)
    assert torch.equal(result.open_indices, planted(12))
    assert gates.get_num_active() == 12


@pytest.mark.parametrize(
    ("objective", "match"),
    [
        (lambda gates: gates, r"shape \(40,\)"),
        (lambda gates: 1.0, "float"),
        (lambda gates: gates.sum() * math.nan, "nan with 40 gates open"),
        (lambda gates: gates.sum() * math.inf, "inf"),
        (lambda gates: gates.detach().sum(), "does not depend on the gates"),
        (lambda gates: torch.ones((), requires_grad=True) * 2, "does not depend on the gates"),
    ],
)
def test_an_objective_that_cannot_teach_the_gates_is_refused(objective, match):
    with pytest.raises(InputError, match=match):
        SampleGate(ITEMS, 10).fit(objective, settings=SHORT)


@pytest.mark.parametrize("target", [-1, 41, 2.5])
def test_a_target_that_the_gates_cannot_give_is_refused(target):
    with pytest.raises(InputError, match="target"):
        fit_gates(HardConcrete(ITEMS), prefer(planted(10)), target=target)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"gate_rate": 0.0},
        {"final_temperature": -1.0},
        {"budget_share": 1.5},
        {"budget_share": 0.0},
        {"noise_share": -0.1},
    ],
)
def test_a_setting_out_of_its_bounds_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GateFitSettings(**wrong)


def test_an_objective_without_a_finite_gradient_is_refused():
    with pytest.raises(InputError, match="its gradient is not finite"):
        SampleGate(ITEMS, 10).fit(lambda gates: (gates.sum() - ITEMS).square().sqrt())


@pytest.mark.parametrize("target", [1, 5, 13, 20])
def test_the_best_of_graded_items_are_kept(target):
    values = torch.linspace(0, 1, 40)[
        torch.randperm(40, generator=torch.Generator().manual_seed(3))
    ]
    fit = SampleGate(40, target).fit(lambda gates: -(gates * values).sum())
    assert fit.open_indices.tolist() == values.topk(target).indices.sort().values.tolist()


def test_equal_items_are_not_kept_in_the_order_of_the_file():
    fit = SampleGate(100, 50).fit(lambda gates: (gates[80:] - 1).square().sum())
    assert set(range(80, 100)) <= set(fit.open_indices.tolist())
    assert fit.open_indices.tolist()[:30] != list(range(30))
