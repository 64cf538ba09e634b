"""Laws of SparseL0Linear: planted supports, gradients, units, seeds, restarts, saved states."""

import copy
import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from estimators import plain_gate, recorded_gradients, same_state
from numpy.typing import NDArray
from torch import Tensor

import l0
from l0.errors import InputError
from l0.sparse import SparseL0Linear

SAMPLES, FEATURES = 200, 60
PLANTED = [3, 10, 22, 41, 57]
QUICK = {"lr": 0.05, "epochs": 300, "lambda_reg": 0.04}


def planted(
    *, seed: int = 0, offset: float = 1.7, noise: float = 0.1
) -> tuple[sp.csr_array, NDArray[np.float64]]:
    """Five features carry a response with an intercept; the others carry nothing."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((SAMPLES, FEATURES)) < 0.3) * rng.standard_normal((SAMPLES, FEATURES))
    coefficients = np.zeros(FEATURES)
    coefficients[PLANTED] = [1.5, -2.0, 1.0, -1.2, 2.5]
    response = dense @ coefficients + offset + noise * rng.standard_normal(SAMPLES)
    return sp.csr_array(dense), response


def fitted(**options: Any) -> SparseL0Linear:
    return SparseL0Linear(FEATURES, seed=5).fit(*planted(), **{**QUICK, **options})


def fix_noise(model: SparseL0Linear) -> Tensor:
    """Give the model's gates one noise for good, and a few weights of every sign."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(FEATURES, generator=generator).logit()
    model._sample_gates = lambda generator=None: plain_gate(model, noise)
    with torch.no_grad():
        model.weight.copy_(torch.randn(FEATURES, generator=generator))
        model.log_alpha.copy_(torch.randn(FEATURES, generator=generator))
    return noise


def test_parameters_and_defaults_are_those_of_l0_python():
    def listed(function: Callable[..., Any], kind: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind == kind}

    none = inspect.Parameter.empty
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert list(listed(SparseL0Linear, positional).items()) == [
        ("n_features", none),
        ("fit_intercept", True),
        ("beta", 2 / 3),
        ("gamma", -0.1),
        ("zeta", 1.1),
        ("init_keep_prob", 0.5),
        ("device", "cpu"),
        ("seed", None),
    ]
    assert list(listed(SparseL0Linear.fit, positional).items())[1:] == [
        ("X_sparse", none),
        ("y", none),
        ("lambda_reg", 0.01),
        ("lr", 0.01),
        ("epochs", 1000),
        ("verbose", False),
        ("verbose_freq", 100),
    ]
    assert listed(SparseL0Linear.fit, inspect.Parameter.KEYWORD_ONLY) == {
        "warm_start": False,
        "refit": True,
        "on_progress": None,
    }
    assert list(inspect.signature(SparseL0Linear.predict).parameters) == ["self", "X_sparse"]
    assert list(inspect.signature(SparseL0Linear.forward).parameters)[1:] == ["X", "deterministic"]
    assert l0.SparseL0Linear is SparseL0Linear


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_support_is_recovered(seed):
    matrix, response = planted(seed=seed)
    model = SparseL0Linear(FEATURES, seed=seed).fit(matrix, response, **QUICK)
    assert model.get_selected_features().tolist() == PLANTED
    assert model.get_sparsity() == pytest.approx(1 - len(PLANTED) / FEATURES)


def test_coefficients_are_least_squares_on_the_features_selected():
    matrix, response = planted()
    model = fitted()
    columns = np.column_stack([matrix.toarray()[:, PLANTED], np.ones(SAMPLES)])
    expected = np.linalg.lstsq(columns, response, rcond=None)[0]
    coefficients = model.get_coefficients().numpy()
    assert coefficients[PLANTED] == pytest.approx(expected[:-1], rel=1e-4)
    assert model.bias.item() == pytest.approx(expected[-1], rel=1e-4)
    assert np.flatnonzero(coefficients).tolist() == PLANTED
    assert model.predict(matrix).numpy() == pytest.approx(columns @ expected, abs=1e-4)


def test_columns_of_very_different_units_are_refitted_as_exactly():
    matrix, response = planted()
    units = np.logspace(-4, 4, FEATURES)
    model = SparseL0Linear(FEATURES, seed=5).fit(matrix * units, response, **QUICK)
    assert model.get_selected_features().tolist() == PLANTED
    expected = fitted().get_coefficients().numpy() / units
    assert model.get_coefficients().numpy() == pytest.approx(expected, rel=1e-4)


def test_without_an_intercept_there_is_none():
    matrix, response = planted(offset=0.0)
    model = SparseL0Linear(FEATURES, fit_intercept=False, seed=5).fit(matrix, response, **QUICK)
    assert model.bias is None
    assert "bias" not in dict(model.named_parameters())
    expected = np.linalg.lstsq(matrix.toarray()[:, PLANTED], response, rcond=None)[0]
    assert model.get_coefficients()[PLANTED].numpy() == pytest.approx(expected, rel=1e-4)
    assert model.predict(np.zeros((2, FEATURES))).tolist() == [0, 0]


def test_without_a_refit_the_coefficients_are_those_of_the_descent():
    model = fitted(refit=False)
    assert model.get_selected_features().tolist() == PLANTED
    assert not torch.allclose(model.get_coefficients(), fitted().get_coefficients(), rtol=1e-4)


def test_units_of_the_columns_and_the_response_do_not_matter():
    matrix, response = planted()
    price = QUICK["lambda_reg"] * 1e12
    model = SparseL0Linear(FEATURES, seed=5)
    model.fit(matrix * 1000, response * 1e6, **{**QUICK, "lambda_reg": price})
    assert model.get_selected_features().tolist() == PLANTED
    expected = fitted().get_coefficients() * 1000
    assert torch.allclose(model.get_coefficients(), expected, rtol=1e-4)
    assert model.bias.item() == pytest.approx(1e6 * fitted().bias.item(), rel=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, 1e-6, 1e9])
def test_a_constant_response_needs_no_feature(level):
    matrix, _ = planted()
    model = SparseL0Linear(FEATURES, seed=5).fit(matrix, np.full(SAMPLES, level), **QUICK)
    assert model.get_selected_features().tolist() == []
    assert model.bias.item() == pytest.approx(level)
    assert torch.isfinite(model.log_alpha).all()


def test_a_response_far_from_zero_is_fitted_as_well():
    matrix, response = planted()
    model = SparseL0Linear(FEATURES, seed=5).fit(matrix, response + 1000, **QUICK)
    assert model.get_selected_features().tolist() == PLANTED
    expected = fitted()
    assert torch.allclose(model.get_coefficients(), expected.get_coefficients(), rtol=1e-4)
    assert model.bias.item() == pytest.approx(expected.bias.item() + 1000)


def test_an_empty_column_is_not_selected():
    matrix, response = planted()
    dense = matrix.toarray()
    dense[:, 0] = 0
    model = SparseL0Linear(FEATURES, seed=5).fit(dense, response, **QUICK)
    assert model.get_selected_features().tolist() == PLANTED


def test_a_higher_price_keeps_fewer_features_and_none_keeps_all_that_help():
    matrix, response = planted()
    counts = [
        len(
            SparseL0Linear(FEATURES, seed=5)
            .fit(matrix, response, price, 0.05, 300)
            .get_selected_features()
        )
        for price in (0.0, 0.02, 1e6)
    ]
    assert counts[0] > counts[1] == len(PLANTED)
    assert counts[2] == 0


def test_a_seed_gives_the_same_fit_whatever_the_global_generators_hold():
    states = []
    for world in (1, 2):
        torch.manual_seed(world)
        np.random.seed(world)  # noqa: NPY002 - the generator that must not matter
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        states.append(fitted())
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert same_state(*states)
    assert not same_state(
        states[0], SparseL0Linear(FEATURES, seed=6).fit(*planted(), **QUICK, refit=False)
    )


def test_without_a_seed_the_noise_is_that_of_the_global_generator():
    def unseeded() -> SparseL0Linear:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            return SparseL0Linear(FEATURES).fit(*planted(), **QUICK)

    assert same_state(unseeded(), unseeded())


def test_no_epochs_move_nothing():
    model = SparseL0Linear(FEATURES, seed=5)
    before = copy.deepcopy(model)
    assert model.fit(*planted(), epochs=0) is model
    assert same_state(model, before)
    trained = fitted()
    before = copy.deepcopy(trained)
    trained.fit(*planted(), epochs=0)
    assert same_state(trained, before)


def test_a_second_fit_starts_anew_and_gives_the_first_ones_answer():
    model = fitted()
    first = copy.deepcopy(model)
    model.fit(*planted(), **QUICK)
    assert same_state(model, first)


def test_a_warm_start_continues_from_where_the_first_fit_ended():
    matrix, response = planted()
    whole = {**QUICK, "refit": False}
    model = fitted(refit=False)
    end = copy.deepcopy(model)
    model.fit(matrix, response, **{**whole, "epochs": 1, "warm_start": True, "lr": 1e-6})
    assert torch.allclose(model.weight, end.weight, atol=1e-4)
    assert torch.allclose(model.log_alpha, end.log_alpha, atol=1e-4)
    assert not torch.equal(model.log_alpha, end.log_alpha)


def test_another_matrix_of_the_same_shape_and_as_many_entries_gives_another_answer():
    matrix, response = planted()
    other = matrix[::-1]
    assert (other.shape, other.nnz) == (matrix.shape, matrix.nnz)
    model = fitted()
    assert not torch.allclose(model.predict(matrix), model.predict(other))
    assert torch.allclose(model.predict(matrix).flip(0), model.predict(other))
    again = SparseL0Linear(FEATURES, seed=5).fit(matrix, response, **QUICK)
    again.fit(other, response, **QUICK)
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
def test_every_kind_of_matrix_and_response_gives_the_same_fit(kind):
    matrix, response = planted()
    options = {**QUICK, "epochs": 50}
    expected = SparseL0Linear(FEATURES, seed=5).fit(matrix, response, **options)
    given = kind(matrix)
    for answer in (response, response.tolist(), torch.tensor(response)):
        model = SparseL0Linear(FEATURES, seed=5).fit(given, answer, **options)
        assert same_state(model, expected)
    assert torch.equal(model.predict(given), expected.predict(matrix))


def test_a_fit_changes_nothing_of_the_callers():
    matrix, response = planted()
    given = matrix.copy(), response.copy()
    SparseL0Linear(FEATURES, seed=5).fit(*given, **{**QUICK, "epochs": 5})
    assert (given[0] != matrix).nnz == 0
    assert np.array_equal(given[1], response)


def test_gradients_by_hand_are_those_of_the_documented_objective(monkeypatch):
    matrix, response = planted()
    model = SparseL0Linear(FEATURES, seed=5)
    noise = fix_noise(model)
    with torch.no_grad():
        model.bias.fill_(0.3)
    price = 0.05
    # the same objective in double precision, by autograd alone
    dense = copy.deepcopy(model).double()
    # features are taken about their means, and the intercept with what their means add at the start
    columns = torch.tensor(matrix.toarray())
    settled = (dense.weight * plain_gate(dense, torch.zeros(FEATURES).double())).detach()
    errors = (columns - columns.mean(0)) @ (dense.weight * plain_gate(dense, noise.double()))
    errors = errors + dense.bias + columns.mean(0) @ settled - torch.tensor(response)
    expected_open = torch.sigmoid(
        dense.log_alpha - dense.beta * np.log(-dense.gamma / dense.zeta)
    ).sum()
    (errors.square().mean() + price * expected_open).backward()

    steps = recorded_gradients(monkeypatch)
    model.fit(matrix, response, lambda_reg=price, epochs=1, warm_start=True, refit=False)
    unit, spread = response.std(), columns.numpy().std(axis=0)
    by_coefficient, by_location, by_intercept = (grad.double().numpy() for grad in steps[0])
    assert by_coefficient * unit * spread == pytest.approx(dense.weight.grad.numpy(), abs=1e-5)
    assert by_location * unit**2 == pytest.approx(dense.log_alpha.grad.numpy(), abs=1e-5)
    assert by_intercept * unit == pytest.approx(dense.bias.grad.numpy(), abs=1e-5)
    assert np.abs(dense.log_alpha.grad.numpy()).max() > 0.01


@pytest.mark.parametrize("deterministic", [False, True])
def test_forward_is_differentiable_as_the_dense_product_is(deterministic):
    matrix, _ = planted()
    model = SparseL0Linear(FEATURES, seed=5)
    noise = fix_noise(model)
    twin = copy.deepcopy(model)
    pull = torch.linspace(-1, 1, SAMPLES)
    prediction = model(matrix, deterministic=deterministic)
    (prediction * pull).sum().backward()
    gate = plain_gate(twin, torch.zeros(FEATURES) if deterministic else noise)
    expected = torch.tensor(matrix.toarray(), dtype=torch.float32) @ (twin.weight * gate)
    expected = expected + twin.bias
    (expected * pull).sum().backward()
    assert torch.allclose(prediction, expected, atol=1e-5)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, twin.get_parameter(name).grad, atol=1e-4), name


def test_a_fit_leaves_no_gradient_behind():
    assert all(parameter.grad is None for parameter in fitted().parameters())


def test_prediction_coefficients_selection_and_sparsity_agree():
    matrix, _ = planted()
    model = fitted(epochs=40)
    coefficients = model.get_coefficients()
    selected = model.get_selected_features()
    assert torch.equal(torch.nonzero(coefficients).flatten(), selected)
    assert model.get_sparsity() == pytest.approx(1 - len(selected) / FEATURES)
    by_hand = matrix @ coefficients.numpy() + model.bias.item()
    assert model.predict(matrix).numpy() == pytest.approx(by_hand, abs=1e-5)
    assert torch.equal(model.predict(matrix), model(matrix, deterministic=True).detach())
    assert model.get_selected_features(threshold=1.0).tolist() == []


def test_penalties_and_temperatures_of_a_model_see_its_gates():
    model = torch.nn.ModuleDict({"linear": SparseL0Linear(FEATURES, seed=5)})
    linear = model["linear"]
    assert l0.compute_l0_penalty(model).item() == pytest.approx(linear.get_l0_penalty().item())
    before = linear.get_l0_penalty().item()
    l0.update_temperatures(model, 0.2)
    assert linear.beta == linear.temperature == 0.2
    assert linear.get_l0_penalty().item() < before


def test_saved_states_carry_temperature_and_limits():
    model = fitted(epochs=20)
    model.temperature = 0.3
    other = SparseL0Linear(FEATURES, gamma=-0.2, zeta=1.3, seed=8)
    other.load_state_dict(model.state_dict())
    assert (other.beta, other.gamma, other.zeta) == (0.3, -0.1, 1.1)
    assert same_state(model, other)
    matrix, _ = planted()
    assert torch.equal(model.predict(matrix), other.predict(matrix))


def test_states_of_l0_python_load_and_keep_temperature_and_limits():
    state = {
        "weight": torch.arange(3.0),
        "bias": torch.tensor([0.5]),
        "log_alpha": torch.tensor([-9.0, 9.0, 9.0]),
    }
    model = SparseL0Linear(3, beta=0.4, gamma=-0.3, zeta=1.2)
    model.load_state_dict(state, strict=True)
    assert (model.beta, model.gamma, model.zeta) == (0.4, -0.3, 1.2)
    assert sorted(state) == ["bias", "log_alpha", "weight"]
    assert model.predict(np.eye(3)).tolist() == pytest.approx([0.5, 1.5, 2.5])
    del state["bias"]
    SparseL0Linear(3, fit_intercept=False).load_state_dict(state, strict=True)


def test_a_copy_is_independent_and_behaves_alike():
    model = SparseL0Linear(FEATURES, seed=5)
    twin = copy.deepcopy(model)
    model.fit(*planted(), **QUICK)
    assert not same_state(model, twin)
    twin.fit(*planted(), **QUICK)
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


def test_every_record_of_the_history_is_told_as_it_is_made():
    told = []
    model = fitted(epochs=25, on_progress=told.append)
    assert tuple(told) == model.history
    assert [record.epoch for record in told] == [0, 10, 20, 24]
    _, response = planted()
    # the fit starts from no weights, at the mean response
    assert told[0].loss == pytest.approx(np.var(response), rel=1e-5)
    assert told[0].penalty == pytest.approx(QUICK["lambda_reg"] * told[0].expected_count)
    assert told[-1].loss < told[0].loss


def test_an_error_of_the_callback_ends_the_fit():
    def refuse(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(on_progress=refuse, verbose=True)


def spoiled(position: int, bad: float) -> list[Any]:
    matrix, response = planted()
    given = [matrix.toarray(), response]
    given[position].flat[7] = bad
    return given


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("position", "name"), [(0, "X"), (1, "y")])
def test_numbers_that_are_not_finite_are_refused_by_name(bad, position, name):
    model = SparseL0Linear(FEATURES, seed=5)
    before = copy.deepcopy(model)
    given = spoiled(position, bad)
    with pytest.raises(InputError, match=rf"\b{name}\b.* not finite"):
        model.fit(*given)
    assert same_state(model, before)
    if name == "X":
        with pytest.raises(InputError, match=r"\bX\b.* not finite"):
            model.predict(given[0])


@pytest.mark.parametrize(
    "options",
    [
        {"lambda_reg": -1e-9},
        {"lambda_reg": np.nan},
        {"lambda_reg": np.inf},
        {"lr": 0},
        {"lr": -1},
        {"lr": np.nan},
        {"epochs": -1},
        {"epochs": 1.5},
    ],
    ids=str,
)
def test_an_option_out_of_its_bounds_is_refused_by_name(options):
    (name,) = options
    with pytest.raises(InputError, match=rf"^{name} is "):
        SparseL0Linear(FEATURES).fit(*planted(), **options)


@pytest.mark.parametrize(
    ("rows", "columns", "answers", "name"),
    [(9, 4, 9, "X"), (9, 3, 8, "y"), (9, 3, 10, "y"), (0, 3, 0, "X")],
)
def test_lengths_that_do_not_fit_are_refused_by_name(rows, columns, answers, name):
    with pytest.raises(InputError, match=rf"^{name}\b"):
        SparseL0Linear(3).fit(np.ones((rows, columns)), np.ones(answers))


def test_a_ragged_matrix_is_refused_by_name():
    with pytest.raises(InputError, match=r"^X\b"):
        SparseL0Linear(3).fit([[1.0, 2.0, 3.0], [4.0]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_features": 0}, "n_features"),
        ({"n_features": 2.5}, "n_features"),
        ({"beta": 0}, "beta"),
        ({"gamma": 0.1}, "gamma"),
        ({"zeta": 1.0}, "zeta"),
        ({"zeta": np.nan}, "zeta"),
        ({"init_keep_prob": 0}, "init_keep_prob"),
        ({"init_keep_prob": 1.0}, "init_keep_prob"),
        ({"init_keep_prob": np.nan}, "init_keep_prob"),
    ],
    ids=str,
)
def test_an_argument_of_the_model_out_of_its_bounds_is_refused_by_name(options, name):
    with pytest.raises(InputError, match=rf"\b{name} is "):
        SparseL0Linear(**{"n_features": 3, **options})


def test_a_whole_number_of_features_may_be_a_float():
    assert SparseL0Linear(3.0).log_alpha.shape == (3,)


def test_a_feature_far_from_zero_is_found_as_one_about_zero():
    generator = np.random.default_rng(0)
    columns = generator.normal(size=(500, 10))
    columns[:, 0] += 2000
    response = 3 * columns[:, 0] - 2 * columns[:, 1] + 0.1 * generator.normal(size=500)
    model = SparseL0Linear(10, seed=0).fit(columns, response, lambda_reg=0.05, lr=0.05)
    assert model.get_selected_features().tolist() == [0, 1]
    assert model.get_coefficients()[:2].tolist() == pytest.approx([3, -2], abs=0.02)


def test_what_the_user_froze_stays():
    matrix, response = planted()
    model = SparseL0Linear(FEATURES, seed=0)
    model.log_alpha.requires_grad_(False)
    before = model.log_alpha.clone()
    model.fit(matrix, response, **QUICK)
    assert torch.equal(model.log_alpha, before)
    assert model.weight.any()


def test_other_precisions_and_sizes_beyond_float32_are_refused():
    matrix, response = planted()
    with pytest.raises(InputError, match=r"float64.*Call \.float\(\)"):
        SparseL0Linear(FEATURES).double().fit(matrix, response)
    with pytest.raises(InputError, match="beyond float32"):
        SparseL0Linear(FEATURES).fit(matrix * 1e-42, response)


@pytest.mark.parametrize("frozen", ["weight", "log_alpha", "bias"])
def test_a_frozen_parameter_keeps_the_value_that_the_user_gave_it(frozen):
    model = SparseL0Linear(FEATURES, seed=0)
    parameter = model.get_parameter(frozen)
    with torch.no_grad():
        parameter.fill_(1.25)
    parameter.requires_grad_(False)
    free = {name: p.clone() for name, p in model.named_parameters() if name != frozen}
    model.fit(*planted(), **QUICK)
    assert torch.equal(parameter, torch.full_like(parameter, 1.25))
    assert all(not torch.equal(model.get_parameter(name), p) for name, p in free.items())
