"""Laws of SparseCalibrationWeights: totals met, gradients, groups, seeds, restarts, states."""

import copy
import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from estimators import gradients_of_every_step, plain_gate, same_state
from numpy.typing import NDArray
from torch import Tensor

import l0
from l0.calibration import SparseCalibrationWeights
from l0.errors import InputError

TARGETS, RECORDS = 12, 80
GROUPS = np.repeat([4, 7, 9], [2, 4, 6])
QUICK = {"lambda_l0": 1e-3, "lr": 0.05, "epochs": 200, "loss_type": "relative"}


def planted(*, seed: int = 0) -> tuple[sp.csr_array, NDArray[np.float64]]:
    """Totals of both signs that positive weights meet exactly."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((TARGETS, RECORDS)) < 0.4) * rng.normal(0, 1, (TARGETS, RECORDS))
    totals = dense @ rng.uniform(0.5, 3, RECORDS)
    assert (totals < -1).sum() >= 3
    return sp.csr_array(dense), totals


def model_of(**options: Any) -> SparseCalibrationWeights:
    return SparseCalibrationWeights(RECORDS, **{"seed": 5, **options})


def fitted(**options: Any) -> SparseCalibrationWeights:
    return model_of().fit(*planted(), **{**QUICK, **options})


def fix_noise(model: SparseCalibrationWeights) -> Tensor:
    """Give the model's gates one noise for good, and parameters that differ."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(RECORDS, generator=generator).logit()
    model._sample_gates = lambda generator=None: plain_gate(model, noise)
    with torch.no_grad():
        model.log_weight.copy_(torch.randn(RECORDS, generator=generator))
        model.log_alpha.copy_(torch.randn(RECORDS, generator=generator))
    return noise


def test_parameters_and_defaults_are_those_of_l0_python():
    def listed(function: Callable[..., Any], kind: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind == kind}

    none = inspect.Parameter.empty
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert list(listed(SparseCalibrationWeights, positional).items()) == [
        ("n_features", none),
        ("beta", 2 / 3),
        ("gamma", -0.1),
        ("zeta", 1.1),
        ("init_keep_prob", 0.5),
        ("init_weights", None),
        ("log_weight_jitter_sd", 0.0),
        ("log_alpha_jitter_sd", 0.01),
        ("device", "cpu"),
        ("use_gates", True),
        ("seed", None),
    ]
    assert list(listed(SparseCalibrationWeights.fit, positional).items())[1:] == [
        ("M", none),
        ("y", none),
        ("lambda_l0", 0.01),
        ("lambda_l2", 0.0),
        ("lr", 0.01),
        ("epochs", 1000),
        ("loss_type", "mse"),
        ("verbose", False),
        ("verbose_freq", 100),
        ("target_groups", None),
        ("normalize_groups", True),
        ("group_multipliers", None),
    ]
    assert listed(SparseCalibrationWeights.fit, inspect.Parameter.KEYWORD_ONLY) == {
        "warm_start": True,
        "on_progress": None,
    }
    assert list(inspect.signature(SparseCalibrationWeights.predict).parameters) == ["self", "M"]
    assert list(inspect.signature(SparseCalibrationWeights.get_weights).parameters)[1:] == [
        "deterministic"
    ]
    assert l0.SparseCalibrationWeights is SparseCalibrationWeights


@pytest.mark.parametrize("loss_type", ["mse", "relative"])
@pytest.mark.parametrize("use_gates", [False, True])
def test_totals_of_both_signs_are_met(loss_type, use_gates):
    matrix, totals = planted()
    model = model_of(use_gates=use_gates, init_keep_prob=0.99)
    model.fit(matrix, totals, 1e-4, lr=0.02, epochs=600, loss_type=loss_type)
    errors = np.abs(model.predict(matrix).numpy() - totals) / (np.abs(totals) + 1)
    assert errors.max() < (0.2 if use_gates else 0.01)
    assert (model.get_weights(deterministic=True) >= 0).all()


def test_a_total_of_minus_one_has_a_finite_relative_loss():
    matrix = -np.ones((3, 4))
    model = SparseCalibrationWeights(4, use_gates=False, seed=5)
    told = []
    model.fit(
        matrix, [-1, -1, -1], loss_type="relative", lr=0.05, epochs=300, on_progress=told.append
    )
    # weights of one: estimates of -4, errors of 3, scales of 2
    assert told[0].loss == pytest.approx(3 * (3 / 2) ** 2)
    assert model.predict(matrix).tolist() == pytest.approx([-1, -1, -1], abs=0.05)


def test_totals_of_zero_are_met():
    matrix = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 1.0]])
    model = SparseCalibrationWeights(3, use_gates=False, init_weights=[3.0, 1.0, 1.0])
    model.fit(matrix, [0, 6], loss_type="relative", lr=0.05, epochs=500)
    assert model.predict(matrix).tolist() == pytest.approx([0, 6], abs=0.01)


def test_without_gates_every_record_is_kept_and_none_is_paid_for():
    matrix, totals = planted()
    model = model_of(use_gates=False)
    locations = model.log_alpha.detach().clone()
    model.fit(matrix, totals, **{**QUICK, "lambda_l0": 1e6})
    free = model_of(use_gates=False).fit(matrix, totals, **{**QUICK, "lambda_l0": 0.0})
    assert torch.equal(model.log_weight, free.log_weight)
    assert torch.equal(model.log_alpha, locations)
    assert model.get_sparsity() == 0
    assert model.get_active_weights()["count"] == RECORDS
    assert model.get_l0_penalty().item() == RECORDS
    assert {record.penalty for record in model.history} == {0}
    assert torch.equal(model.get_weights(), model.get_weights(deterministic=True))


def test_a_higher_price_keeps_fewer_records():
    counts = [
        fitted(lambda_l0=price, lr=0.1).get_active_weights()["count"] for price in (0.0, 0.02, 1e6)
    ]
    assert counts[0] > counts[1] > counts[2] == 0


def test_a_price_on_squared_weights_makes_them_smaller():
    matrix, totals = planted()
    sizes = []
    for price in (0.0, 0.01):
        model = model_of(use_gates=False).fit(matrix, totals, **QUICK, lambda_l2=price)
        sizes.append(model.get_l2_penalty().item())
        by_hand = model.get_weights().square().sum().item()
        assert sizes[-1] == pytest.approx(by_hand)
    assert sizes[1] < sizes[0]


def test_active_weights_sparsity_and_predictions_agree():
    matrix, _ = planted()
    model = fitted(lambda_l0=0.02, lr=0.1)
    weights = model.get_weights(deterministic=True).detach()
    active = model.get_active_weights()
    assert sorted(active) == ["count", "indices", "values"]
    assert 0 < active["count"] < RECORDS
    assert active["count"] == len(active["indices"]) == len(active["values"])
    assert torch.equal(active["indices"], torch.nonzero(weights).flatten())
    assert torch.equal(active["values"], weights[active["indices"]])
    assert model.get_sparsity() == pytest.approx(1 - active["count"] / RECORDS)
    assert model.predict(matrix).numpy() == pytest.approx(matrix @ weights.numpy(), abs=1e-4)
    assert torch.equal(model.predict(matrix), model(matrix, deterministic=True).detach())


def test_weights_start_where_the_user_says():
    given = np.linspace(0, 5, RECORDS)
    for start in (given, given.tolist(), torch.tensor(given)):
        assert model_of(init_weights=start).log_weight.exp().tolist() == pytest.approx(
            given, abs=1e-6
        )
    assert torch.allclose(model_of(init_weights=2).log_weight.exp(), torch.tensor(2.0))
    assert set(model_of().log_weight.tolist()) == {0}


def test_gates_start_at_the_log_odds_and_certain_ones_stay_finite():
    chances = np.linspace(0, 1, RECORDS)
    locations = model_of(init_keep_prob=chances, log_alpha_jitter_sd=0).log_alpha.detach()
    assert torch.isfinite(locations).all()
    inner = torch.tensor(chances[1:-1], dtype=torch.float32)
    assert torch.allclose(locations[1:-1].sigmoid(), inner, atol=1e-5)


def test_jitter_has_the_given_spread_and_moves_log_weights_when_a_fit_starts():
    noisy = SparseCalibrationWeights(100_000, log_alpha_jitter_sd=0.3, seed=1)
    assert noisy.log_alpha.std().item() == pytest.approx(0.3, rel=0.02)
    model = SparseCalibrationWeights(20_000, log_weight_jitter_sd=0.5, use_gates=False, seed=1)
    assert set(model.log_weight.tolist()) == {0}
    model.fit(sp.csr_array(([1.0], ([0], [0])), shape=(1, 20_000)), [1.0], epochs=1, lr=1e-9)
    assert model.log_weight.std().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_a_seed_gives_the_same_fit_whatever_the_global_generators_hold(jitter):
    models = []
    for world in (1, 2):
        torch.manual_seed(world)
        np.random.seed(world)  # noqa: NPY002 - the generator that must not matter
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        model = model_of(log_weight_jitter_sd=jitter)
        models.append(model.fit(*planted(), **{**QUICK, "epochs": 30}))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert same_state(*models)
    other = model_of(seed=6, log_weight_jitter_sd=jitter)
    assert not same_state(models[0], other.fit(*planted(), **{**QUICK, "epochs": 30}))


def test_without_a_seed_the_noise_is_that_of_the_global_generator():
    def unseeded() -> SparseCalibrationWeights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            return model_of(seed=None).fit(*planted(), **{**QUICK, "epochs": 20})

    assert same_state(unseeded(), unseeded())


def test_no_epochs_move_nothing():
    model = model_of(log_weight_jitter_sd=0.5)
    before = copy.deepcopy(model)
    assert model.fit(*planted(), epochs=0) is model
    assert same_state(model, before)
    model.fit(*planted(), epochs=5)
    trained = copy.deepcopy(model)
    model.fit(*planted(), epochs=0, warm_start=False)
    assert same_state(model, trained)


def test_a_second_fit_continues_from_where_the_first_ended():
    model = fitted()
    end = copy.deepcopy(model)
    model.fit(*planted(), **{**QUICK, "epochs": 1, "lr": 1e-6})
    for name in ("log_weight", "log_alpha"):
        assert torch.allclose(model.get_parameter(name), end.get_parameter(name), atol=1e-5)
        assert not torch.equal(model.get_parameter(name), end.get_parameter(name))


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_without_a_warm_start_a_second_fit_gives_the_first_ones_answer(jitter):
    options = {**QUICK, "epochs": 30}
    model = model_of(log_weight_jitter_sd=jitter).fit(*planted(), **options)
    first = copy.deepcopy(model)
    # noise drawn in between does not matter either
    model.get_weights()
    model.fit(*planted(), **options, warm_start=False)
    assert same_state(model, first)
    model.fit(*planted(), **options)
    assert not same_state(model, first)


def test_another_matrix_of_the_same_shape_and_as_many_entries_gives_another_answer():
    matrix, totals = planted()
    other = matrix[::-1]
    assert (other.shape, other.nnz) == (matrix.shape, matrix.nnz)
    model = fitted(epochs=30)
    assert torch.allclose(model.predict(matrix).flip(0), model.predict(other))
    assert not torch.allclose(model.predict(matrix), model.predict(other))
    again = fitted(epochs=30).fit(other, totals, **{**QUICK, "epochs": 30}, warm_start=False)
    assert not same_state(again, model)


@pytest.mark.parametrize(
    "kind",
    [
        sp.csr_matrix,
        sp.csc_matrix,
        sp.coo_matrix,
        sp.csc_array,
        sp.coo_array,
        sp.csr_array.toarray,
        lambda m: torch.tensor(m.toarray()),
        lambda m: torch.tensor(m.toarray()).to_sparse(),
    ],
    ids=["csr_matrix", "csc_matrix", "coo_matrix", "csc", "coo", "numpy", "torch", "torch sparse"],
)
def test_every_kind_of_matrix_and_totals_gives_the_same_fit(kind):
    matrix, totals = planted()
    expected = fitted(epochs=20)
    given = kind(matrix)
    for answer in (totals, totals.tolist(), torch.tensor(totals)):
        model = model_of().fit(given, answer, **{**QUICK, "epochs": 20})
        assert same_state(model, expected)
    assert torch.equal(model.predict(given), expected.predict(matrix))


def test_a_fit_changes_nothing_of_the_callers():
    matrix, totals = planted()
    given = matrix.copy(), totals.copy(), GROUPS.copy(), {4: 2.0}
    model_of().fit(*given[:2], epochs=5, target_groups=given[2], group_multipliers=given[3])
    assert (given[0] != matrix).nnz == 0
    assert np.array_equal(given[1], totals)
    assert np.array_equal(given[2], GROUPS)
    assert given[3] == {4: 2.0}


@pytest.mark.parametrize("loss_type", ["mse", "relative"])
@pytest.mark.parametrize("use_gates", [True, False])
def test_gradients_by_hand_are_those_of_the_documented_objective(monkeypatch, loss_type, use_gates):
    matrix, totals = planted()
    model = model_of(use_gates=use_gates)
    noise = fix_noise(model)
    # the same objective in double precision, by autograd alone
    dense = copy.deepcopy(model).double()
    gate = plain_gate(dense, noise.double()) if use_gates else 1.0
    scales = torch.tensor(np.abs(totals) + 1 if loss_type == "relative" else np.ones(TARGETS))
    errors = torch.tensor(matrix.toarray()) @ (dense.log_weight.exp() * gate)
    errors = (errors - torch.tensor(totals)) / scales
    importance = torch.tensor(np.repeat([3 / 2, 1 / 4, 0.5 / 6], [2, 4, 6]))
    opening = dense.log_alpha - dense.beta * np.log(-dense.gamma / dense.zeta)
    loss = (importance * errors.square()).sum() + 0.07 * dense.log_weight.exp().square().sum()
    if use_gates:
        loss = loss + 0.3 * opening.sigmoid().sum()
    loss.backward()

    steps = gradients_of_every_step(monkeypatch)
    model.fit(
        matrix,
        totals,
        lambda_l0=0.3,
        lambda_l2=0.07,
        epochs=1,
        loss_type=loss_type,
        target_groups=GROUPS,
        group_multipliers={4: 3.0, 9: 0.5},
    )
    expected = [dense.log_weight.grad, dense.log_alpha.grad][: 2 if use_gates else 1]
    for given, right in zip(steps, expected, strict=True):
        assert given.tolist() == pytest.approx(right.tolist(), rel=1e-4, abs=1e-4)
    told = model.history[0]
    assert told.loss + told.penalty == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("deterministic", [False, True])
def test_forward_is_differentiable_as_the_dense_product_is(deterministic):
    matrix, _ = planted()
    model = model_of()
    noise = fix_noise(model)
    twin = copy.deepcopy(model)
    pull = torch.linspace(-1, 1, TARGETS)
    estimates = model(matrix, deterministic=deterministic)
    (estimates * pull).sum().backward()
    gate = plain_gate(twin, torch.zeros(RECORDS) if deterministic else noise)
    expected = torch.tensor(matrix.toarray(), dtype=torch.float32) @ (twin.log_weight.exp() * gate)
    (expected * pull).sum().backward()
    assert torch.allclose(estimates, expected, atol=1e-4)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, twin.get_parameter(name).grad, atol=1e-4), name


def test_a_fit_leaves_no_gradient_behind():
    assert all(parameter.grad is None for parameter in fitted(epochs=3).parameters())


@pytest.mark.parametrize("frozen", ["log_weight", "log_alpha"])
def test_what_the_user_froze_stays_and_the_other_is_fitted(frozen):
    model = model_of(log_weight_jitter_sd=0.1)
    model.get_parameter(frozen).requires_grad_(False)
    before = copy.deepcopy(model)
    model.fit(*planted(), **{**QUICK, "epochs": 5})
    for name in ("log_weight", "log_alpha"):
        same = torch.equal(model.get_parameter(name), before.get_parameter(name))
        assert same == (name == frozen)


def test_a_model_frozen_as_a_whole_is_refused():
    model = model_of().requires_grad_(False)
    with pytest.raises(InputError, match="no parameter has requires_grad"):
        model.fit(*planted())
    ungated = model_of(use_gates=False)
    ungated.log_weight.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter has requires_grad"):
        ungated.fit(*planted())


@pytest.mark.parametrize(
    ("options", "importance"),
    [
        ({}, [1, 1, 1]),
        ({"target_groups": GROUPS}, [1 / 2, 1 / 4, 1 / 6]),
        ({"target_groups": GROUPS, "normalize_groups": False}, [1, 1, 1]),
        ({"target_groups": GROUPS, "group_multipliers": {7: 10.0}}, [1 / 2, 10 / 4, 1 / 6]),
        (
            {
                "target_groups": GROUPS.tolist(),
                "normalize_groups": False,
                "group_multipliers": {7: 10, 9: 0},
            },
            [1, 10, 0],
        ),
    ],
    ids=["none", "normalised", "not normalised", "with a factor", "factors alone"],
)
def test_groups_weigh_the_loss_as_documented(options, importance):
    matrix, totals = planted()
    model = model_of(use_gates=False).fit(matrix, totals, epochs=1, **options)
    squared = (matrix.toarray().sum(axis=1) - totals) ** 2
    expected = np.repeat(importance, [2, 4, 6]) @ squared
    assert model.history[0].loss == pytest.approx(expected, rel=1e-5)


def test_penalties_and_temperatures_of_a_model_see_its_gates():
    model = torch.nn.ModuleDict({"weights": model_of(init_weights=2.0)})
    weights = model["weights"]
    assert l0.compute_l0_penalty(model).item() == pytest.approx(weights.get_l0_penalty().item())
    assert l0.compute_l2_penalty(model).item() == pytest.approx(4 * RECORDS)
    before = weights.get_l0_penalty().item()
    l0.update_temperatures(model, 0.2)
    assert weights.beta == weights.temperature == 0.2
    assert weights.get_l0_penalty().item() < before


def test_saved_states_carry_temperature_and_limits():
    model = fitted(epochs=5)
    model.temperature = 0.3
    other = model_of(gamma=-0.2, zeta=1.3, seed=8)
    other.load_state_dict(model.state_dict())
    assert (other.beta, other.gamma, other.zeta) == (0.3, -0.1, 1.1)
    assert same_state(model, other)
    matrix, _ = planted()
    assert torch.equal(model.predict(matrix), other.predict(matrix))


def test_states_of_l0_python_load_and_keep_temperature_and_limits():
    state = {"log_weight": torch.tensor([0.0, 1.0]), "log_alpha": torch.tensor([-9.0, 9.0])}
    model = SparseCalibrationWeights(2, beta=0.4, gamma=-0.3, zeta=1.2)
    model.load_state_dict(state, strict=True)
    assert (model.beta, model.gamma, model.zeta) == (0.4, -0.3, 1.2)
    assert sorted(state) == ["log_alpha", "log_weight"]
    assert model.predict(np.eye(2)).tolist() == pytest.approx([0, np.e])


def test_a_copy_is_independent_and_behaves_alike():
    model = model_of()
    twin = copy.deepcopy(model)
    model.fit(*planted(), epochs=5)
    assert not same_state(model, twin)
    twin.fit(*planted(), epochs=5)
    assert same_state(model, twin)


def test_a_verbose_fit_logs_and_prints_nothing(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="l0"):
        fitted(epochs=20, verbose=True, verbose_freq=7)
    assert [record.name for record in caplog.records] == ["l0", "l0"]
    assert [r.getMessage().split(":")[0] for r in caplog.records] == [
        "epoch 7 of 20",
        "epoch 14 of 20",
    ]
    out, bar = capsys.readouterr()
    assert out == ""
    assert "20/20" in bar


def test_a_quiet_fit_says_nothing(caplog, capsys):
    with caplog.at_level(logging.DEBUG, logger="l0"):
        fitted(epochs=20)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_a_verbose_fit_of_no_epochs_leaves_no_bar(capsys):
    fitted(epochs=0, verbose=True)
    out, _ = capsys.readouterr()
    assert out == ""


def test_every_record_of_the_history_is_told_as_it_is_made():
    told = []
    model = fitted(epochs=25, lambda_l2=0.01, on_progress=told.append)
    assert tuple(told) == model.history
    assert [record.epoch for record in told] == [0, 10, 20, 24]
    weights = QUICK["lambda_l0"] * told[0].expected_count + 0.01 * RECORDS
    assert told[0].penalty == pytest.approx(weights)
    assert told[0].expected_count == pytest.approx(model_of().get_l0_penalty().item())
    assert {record.records for record in told} == {RECORDS}


def test_a_loss_that_ran_away_is_refused_with_the_next_move():
    matrix, totals = planted()
    with pytest.raises(InputError, match=r"loss is (nan|inf).*Lower the learning rate"):
        model_of(init_weights=1e30).fit(matrix, totals)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("position", "name"), [(0, "M"), (1, "y")])
def test_numbers_that_are_not_finite_are_refused_by_name(bad, position, name):
    matrix, totals = planted()
    given = [matrix.toarray(), totals]
    given[position].flat[7] = bad
    model = model_of(log_weight_jitter_sd=1.0)
    before = copy.deepcopy(model)
    with pytest.raises(InputError, match=rf"\b{name}\b.* not finite"):
        model.fit(*given)
    assert same_state(model, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda_l0": -1e-9}, "lambda_l0 is "),
        ({"lambda_l0": np.nan}, "lambda_l0 is "),
        ({"lambda_l2": -1}, "lambda_l2 is "),
        ({"lambda_l2": np.inf}, "lambda_l2 is "),
        ({"lr": 0}, "lr is "),
        ({"lr": -1}, "lr is "),
        ({"epochs": -1}, "epochs is "),
        ({"epochs": 1.5}, "epochs is "),
        ({"verbose_freq": 0, "verbose": True}, "verbose_freq is "),
        ({"loss_type": "absolute"}, "loss_type is 'absolute'.*'mse', 'relative'"),
        ({"group_multipliers": {4: 2.0}}, "group_multipliers requires target_groups"),
        (
            {"target_groups": GROUPS, "group_multipliers": {5: 2.0}},
            "group_multipliers key 5 not found",
        ),
        ({"target_groups": GROUPS, "group_multipliers": {4: -1.0}}, r"group_multipliers\[4\] is "),
        ({"target_groups": GROUPS[1:]}, "target_groups has shape"),
        ({"target_groups": [np.nan] * TARGETS}, "target_groups has entries that are not finite"),
    ],
    ids=str,
)
def test_an_option_out_of_its_bounds_is_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        model_of().fit(*planted(), **options)


@pytest.mark.parametrize(
    ("rows", "columns", "answers", "name"),
    [(9, 4, 9, "M"), (9, 3, 8, "y"), (9, 3, 10, "y"), (0, 3, 0, "M")],
)
def test_lengths_that_do_not_fit_are_refused_by_name(rows, columns, answers, name):
    with pytest.raises(InputError, match=rf"^{name}\b"):
        SparseCalibrationWeights(3).fit(np.ones((rows, columns)), np.ones(answers))


def test_a_ragged_matrix_is_refused_by_name():
    with pytest.raises(InputError, match=r"^M\b"):
        SparseCalibrationWeights(3).fit([[1.0, 2.0, 3.0], [4.0]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_features": 0}, "n_features"),
        ({"beta": 0}, "beta"),
        ({"gamma": 0.1}, "gamma"),
        ({"zeta": 1.0}, "zeta"),
        ({"init_keep_prob": 0}, "init_keep_prob"),
        ({"init_keep_prob": [0.5, 1.1, 0.5]}, "init_keep_prob"),
        ({"init_keep_prob": [0.5, np.nan, 0.5]}, "init_keep_prob"),
        ({"init_keep_prob": [0.5, 0.5]}, "init_keep_prob"),
        ({"init_weights": -1}, "init_weights"),
        ({"init_weights": np.nan}, "init_weights"),
        ({"init_weights": [1.0, np.inf, 1.0]}, "init_weights"),
        ({"init_weights": [1.0, -1.0, 1.0]}, "init_weights"),
        ({"init_weights": [1.0, 1.0]}, "init_weights"),
        ({"init_weights": "many"}, "init_weights"),
        ({"log_weight_jitter_sd": -1}, "log_weight_jitter_sd"),
        ({"log_alpha_jitter_sd": np.nan}, "log_alpha_jitter_sd"),
    ],
    ids=str,
)
def test_an_argument_of_the_model_out_of_its_bounds_is_refused_by_name(options, name):
    with pytest.raises(InputError, match=rf"\b{name}\b"):
        SparseCalibrationWeights(**{"n_features": 3, **options})
