"""Laws of annealing: each schedule by hand, and every gate of a model reached."""

import math

import pytest
from torch import nn

from l0.errors import InputError
from l0.gates import FeatureGate, HybridGate, SampleGate
from l0.hard_concrete import HardConcrete
from l0.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
from l0.temperature import TemperatureScheduler, update_temperatures


@pytest.mark.parametrize(
    ("schedule", "quarter", "middle"),
    [
        ("linear", 1.6, 1.2),
        ("exponential", 2 * 0.2**0.25, 2 * math.sqrt(0.2)),
        ("cosine", 0.4 + 0.8 * (1 + math.sqrt(0.5)), 1.2),
    ],
)
def test_each_schedule_has_its_ends_and_goes_between_by_its_formula(schedule, quarter, middle):
    scheduler = TemperatureScheduler(2.0, 0.4, 40, schedule)
    at = [scheduler.get_temperature(epoch) for epoch in range(41)]
    assert (at[0], at[40]) == (2.0, 0.4)
    assert (at[10], at[20]) == pytest.approx((quarter, middle))
    assert at == sorted(at, reverse=True)
    assert scheduler.get_temperature(10**9) == 0.4


def test_defaults_are_those_of_l0_python():
    scheduler = TemperatureScheduler()
    assert (scheduler.initial_temp, scheduler.final_temp) == (2.0, 0.1)
    assert (scheduler.anneal_epochs, scheduler.schedule) == (100, "exponential")


def test_total_epochs_is_another_name_of_anneal_epochs():
    one = TemperatureScheduler(anneal_epochs=30)
    other = TemperatureScheduler(total_epochs=30)
    assert [one.get_temperature(epoch) for epoch in range(32)] == [
        other.get_temperature(epoch) for epoch in range(32)
    ]
    with pytest.raises(InputError, match="two names"):
        TemperatureScheduler(anneal_epochs=30, total_epochs=30)


def test_an_annealing_of_no_epochs_is_over_at_once():
    assert TemperatureScheduler(2.0, 0.1, 0).get_temperature(0) == 0.1


def test_an_unknown_schedule_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'cosine', 'exponential', 'linear'"):
        TemperatureScheduler(schedule="stepwise")


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_temp": 0.0},
        {"final_temp": -0.1},
        {"initial_temp": math.nan},
        {"anneal_epochs": -1},
        {"anneal_epochs": 2.5},
    ],
)
def test_an_argument_out_of_its_bounds_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TemperatureScheduler(**wrong)


def test_an_epoch_before_the_first_is_refused():
    with pytest.raises(InputError, match="epoch is -1"):
        TemperatureScheduler().get_temperature(-1)


def everything() -> nn.Module:
    return nn.ModuleList(
        [
            HardConcrete(3),
            SampleGate(10, 3),
            FeatureGate(10, 3),
            HybridGate(10),
            L0Linear(3, 2),
            L0Linear(3, 2, structured="both"),
            L0Conv2d(2, 3, 3, structured=True),
            L0DepthwiseConv2d(2, 3),
            nn.Sequential(nn.Linear(2, 2), SparseMLP(4, 3, 2)),
        ]
    )


def test_every_gate_of_a_model_takes_the_new_temperature():
    model = everything()
    update_temperatures(model, 0.123)
    gates = [module for module in model.modules() if isinstance(module, HardConcrete)]
    assert len(gates) == 12
    assert {gate.temperature for gate in gates} == {0.123}
    assert model[1].temperature == model[2].temperature == 0.123


def test_a_temperature_that_is_not_above_zero_is_refused_and_changes_nothing():
    model = everything()
    before = [gate.temperature for gate in model.modules() if isinstance(gate, HardConcrete)]
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="temperature"):
            update_temperatures(model, wrong)
    with pytest.raises(InputError, match="temperature"):
        update_temperatures(nn.Linear(2, 2), 0.0)
    after = [gate.temperature for gate in model.modules() if isinstance(gate, HardConcrete)]
    assert after == before
