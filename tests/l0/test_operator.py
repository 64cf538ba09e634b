"""Laws of the two products: what torch multiplies is what scipy multiplies, in float32."""

import threading
import time
import warnings

import numpy as np
import pytest
import torch
from toy import random_survey, signed_totals

from l0.survey import CalibrationProblem
from l0.survey.operator import SparseOperator, one_thread_each

CPU = torch.device("cpu")
FLOAT32 = 1e-5
# sums over records are finished in float64: all that is left is the rounding of each product
FLOAT64 = 1e-12


@pytest.fixture
def problem():
    return random_survey(500, 20, seed=4)


def rand(size, seed=0):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def test_the_forward_product_is_the_weighted_total(problem):
    weights = np.random.default_rng(0).gamma(1.0, 1.0, problem.n_records)
    estimates = SparseOperator.of(problem, CPU).estimates(torch.tensor(weights).float())
    assert estimates.dtype == torch.float64
    np.testing.assert_allclose(estimates.numpy(), problem.constraints @ weights, rtol=FLOAT32)
    np.testing.assert_allclose(estimates.numpy(), problem.estimates(weights), rtol=FLOAT32)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_adjoint_product_is_the_worth_of_one_unit_of_weight(problem, precision):
    prices = np.random.default_rng(1).normal(size=problem.n_targets)
    worth = SparseOperator.of(problem, CPU).adjoint(torch.tensor(prices, dtype=precision))
    assert worth.dtype == torch.float32
    expected = problem.constraints.T @ prices
    np.testing.assert_allclose(
        worth.numpy(), expected, rtol=FLOAT32, atol=FLOAT32 * np.abs(expected).max()
    )


def test_the_two_products_are_each_others_adjoint(problem):
    operator = SparseOperator.of(problem, CPU)
    weights, prices = rand(problem.n_records), rand(problem.n_targets, seed=1).double()
    left = float(operator.estimates(weights) @ prices)
    assert left == pytest.approx(float(weights @ operator.adjoint(prices)), rel=FLOAT32)


def test_the_kept_operator_is_the_whole_one_on_these_columns(problem):
    records = torch.tensor([3, 7, 8, 499])
    kept = SparseOperator.of(problem, CPU).keep(records)
    assert kept.shape == (problem.n_targets, 4)
    assert kept.records.tolist() == [3, 7, 8, 499]
    columns = problem.constraints.toarray()[:, records.numpy()]
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    np.testing.assert_allclose(
        kept.estimates(weights).numpy(), columns @ weights.numpy(), rtol=FLOAT32
    )
    prices = torch.linspace(1, 2, problem.n_targets)
    np.testing.assert_allclose(
        kept.adjoint(prices).numpy(), columns.T @ prices.numpy(), rtol=FLOAT32
    )
    again = kept.keep(torch.tensor([1, 3]))
    assert again.records.tolist() == [7, 499]
    np.testing.assert_allclose(
        again.estimates(torch.ones(2)).numpy(), columns[:, [1, 3]].sum(axis=1), rtol=FLOAT32
    )


def test_records_without_design_weight_are_not_in_the_operator():
    problem = random_survey(40, without_weight=15)
    operator = SparseOperator.of(problem, CPU)
    assert operator.shape == (problem.n_targets, 25)
    assert operator.records.tolist() == list(range(25))
    np.testing.assert_allclose(
        operator.estimates(torch.ones(25)).numpy(),
        problem.constraints.toarray()[:, :25].sum(axis=1),
        rtol=FLOAT32,
    )


def test_records_are_kept_by_their_position_in_the_problem_whatever_has_left_before():
    draw = np.random.default_rng(0)
    whole = random_survey(40)
    design = np.where(draw.random(40) < 0.5, 0.0, whole.design_weights)
    problem = CalibrationProblem(whole.constraints, whole.values, design)
    operator = SparseOperator.of(problem, CPU)
    records = np.flatnonzero(design)[[0, 2, 5, 9]]
    kept = operator.keep_records(records)
    assert kept.records.tolist() == records.tolist()
    expected = whole.constraints.toarray()[:, records].sum(axis=1)
    np.testing.assert_allclose(kept.estimates(torch.ones(4)).numpy(), expected, rtol=FLOAT32)
    thinned = operator.keep(torch.tensor([0, 2, 5, 7, 9])).keep_records(records)
    assert torch.equal(thinned.estimates(torch.ones(4)), kept.estimates(torch.ones(4)))


def test_a_shard_may_lose_all_its_records(problem):
    operator = SparseOperator.of(problem, CPU).keep(torch.tensor([499]))
    assert [cut.stop - cut.start for cut in operator.cuts] == [0, 0, 0, 1]
    column = problem.constraints.toarray()[:, 499]
    np.testing.assert_allclose(operator.estimates(torch.ones(1)).numpy(), column, rtol=FLOAT32)
    assert operator.adjoint(torch.ones(problem.n_targets)).shape == (1,)
    assert operator.totals(torch.tensor([2.5])) == [2.5]


def test_totals_are_sums_over_all_records_finished_in_float64(problem):
    operator = SparseOperator.of(problem, CPU)
    one, other = rand(500), 1e6 * rand(500, seed=1)
    expected = [float(one.double().sum()), float(other.double().sum())]
    assert operator.totals(one, other) == pytest.approx(expected, rel=FLOAT64)
    kept = operator.keep(torch.tensor([3, 400]))
    assert kept.totals(torch.tensor([1.0, 2.0])) == [3.0]


@pytest.mark.parametrize("threads", [2, 4, 7])
def test_the_number_of_threads_changes_no_bit(problem, threads, monkeypatch):
    monkeypatch.setattr("l0.survey.operator._COEFFICIENTS", 0)
    alone = SparseOperator.of(problem, CPU)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shared = SparseOperator.of(problem, CPU)
    finally:
        torch.set_num_threads(before)
    weights, prices = rand(problem.n_records), rand(problem.n_targets, seed=1).double()
    assert torch.equal(alone.estimates(weights), shared.estimates(weights))
    assert torch.equal(alone.adjoint(prices), shared.adjoint(prices))
    places = torch.tensor([1, 2, 77, 300])
    assert torch.equal(
        alone.keep(places).estimates(weights[places]),
        shared.keep(places).estimates(weights[places]),
    )


def test_threads_of_the_operator_leave_torchs_number_and_pythons_filters_as_they_were(
    problem, monkeypatch
):
    monkeypatch.setattr("l0.survey.operator._COEFFICIENTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    filters = list(warnings.filters)
    seen = []
    try:
        SparseOperator.of(problem, CPU).estimates(torch.ones(problem.n_records))
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert [torch.get_num_threads(), *seen] == [3, 3]
    finally:
        torch.set_num_threads(before)
    assert list(warnings.filters) == filters


def test_an_error_is_raised_when_nobody_is_at_work_any_more(problem, monkeypatch):
    monkeypatch.setattr("l0.survey.operator._COEFFICIENTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        operator = SparseOperator.of(problem, CPU)
    finally:
        torch.set_num_threads(before)
    over = []

    def work(shard):
        if shard == 0:
            raise ZeroDivisionError
        time.sleep(0.05)
        over.append(shard)

    with pytest.raises(ZeroDivisionError):
        operator.each(work)
    assert sorted(over) == [1, 2, 3]


def test_torchs_own_threads_are_off_during_a_fit_and_back_after_an_error():
    seen = []

    @one_thread_each()
    def fail():
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 3]


def test_the_norm_of_a_record_weighs_its_coefficients_over_scale_by_the_loss():
    problem = signed_totals()  # scales 10, 4 and 1
    operator = SparseOperator.of(problem, CPU)
    norms = operator.column_norms(torch.tensor([0.5, 0.25, 0.25]), torch.tensor(problem.scales))
    by_hand = [
        np.sqrt(0.5 * 0.4**2 + 0.25 * 0.5**2 + 0.25 * 0.5**2),
        np.sqrt(0.5 * 0.5**2 + 0.25 * 0.5**2 + 0.25 * 0.5**2),
    ]
    np.testing.assert_allclose(norms.numpy(), by_hand, rtol=FLOAT32)


def test_norms_of_coefficients_too_large_to_square_in_float32_are_finite():
    problem = CalibrationProblem([[1e30, 2e-30]], [1e32], [1.0, 1.0])
    norms = SparseOperator.of(problem, CPU).column_norms(torch.ones(1), torch.tensor([1e32]))
    np.testing.assert_allclose(norms.numpy(), [1e-2, 0.0], rtol=FLOAT32)


def test_targets_and_records_without_coefficients_count_as_zero():
    problem = CalibrationProblem([[0.0, 0.0], [2.0, 0.0]], [4.0, 4.0], [1.0, 1.0])
    operator = SparseOperator.of(problem, CPU)
    assert operator.estimates(torch.tensor([1.0, 1.0])).tolist() == [0.0, 2.0]
    assert operator.adjoint(torch.tensor([1.0, 1.0])).tolist() == [2.0, 0.0]
    assert operator.column_norms(torch.ones(2), torch.ones(2)).tolist() == [2.0, 0.0]
