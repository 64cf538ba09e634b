"""Laws of the two products: what torch multiplies is what scipy multiplies, in float32."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from toy import random_survey, signed_totals

from l0.survey import CalibrationProblem
from l0.survey.operator import SparseOperator

CPU = torch.device("cpu")
FLOAT32 = 1e-5


def scaled(problem):
    return sp.diags_array(1 / problem.scales) @ problem.constraints


@pytest.fixture
def problem():
    return random_survey(500, 20, seed=4)


def test_the_forward_product_is_the_weighted_total_over_the_scale(problem):
    weights = np.random.default_rng(0).gamma(1.0, 1.0, problem.n_records)
    estimates = SparseOperator.of(problem, CPU).estimates(torch.tensor(weights).float())
    np.testing.assert_allclose(estimates.numpy(), scaled(problem) @ weights, rtol=FLOAT32)
    np.testing.assert_allclose(
        estimates.numpy() * problem.scales, problem.estimates(weights), rtol=FLOAT32
    )


def test_the_adjoint_product_is_the_worth_of_one_unit_of_weight(problem):
    prices = np.random.default_rng(1).normal(size=problem.n_targets)
    worth = SparseOperator.of(problem, CPU).adjoint(torch.tensor(prices).float())
    expected = scaled(problem).T @ prices
    np.testing.assert_allclose(
        worth.numpy(), expected, rtol=FLOAT32, atol=FLOAT32 * np.abs(expected).max()
    )


def test_the_two_products_are_each_others_adjoint(problem):
    operator = SparseOperator.of(problem, CPU)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(problem.n_records, generator=generator)
    prices = torch.rand(problem.n_targets, generator=generator)
    left = float(operator.estimates(weights) @ prices)
    assert left == pytest.approx(float(weights @ operator.adjoint(prices)), rel=FLOAT32)


def test_the_kept_operator_is_the_whole_one_on_these_columns(problem):
    records = torch.tensor([3, 7, 8, 499])
    kept = SparseOperator.of(problem, CPU).keep(records)
    columns = scaled(problem)[:, records.numpy()]
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    np.testing.assert_allclose(
        kept.estimates(weights).numpy(), columns @ weights.numpy(), rtol=FLOAT32
    )
    prices = torch.linspace(1, 2, problem.n_targets)
    np.testing.assert_allclose(
        kept.adjoint(prices).numpy(), columns.T @ prices.numpy(), rtol=FLOAT32
    )
    again = kept.keep(torch.tensor([1, 3]))
    np.testing.assert_allclose(
        again.estimates(torch.ones(2)).numpy(), columns[:, [1, 3]].sum(axis=1), rtol=FLOAT32
    )


def test_the_norm_of_a_record_weighs_its_coefficients_over_scale_by_the_loss():
    problem = signed_totals()  # scales 10, 4 and 1
    norms = SparseOperator.of(problem, CPU).column_norms(torch.tensor([0.5, 0.25, 0.25]))
    by_hand = [
        np.sqrt(0.5 * 0.4**2 + 0.25 * 0.5**2 + 0.25 * 0.5**2),
        np.sqrt(0.5 * 0.5**2 + 0.25 * 0.5**2 + 0.25 * 0.5**2),
    ]
    np.testing.assert_allclose(norms.numpy(), by_hand, rtol=FLOAT32)


def test_targets_and_records_without_coefficients_count_as_zero():
    problem = CalibrationProblem([[0.0, 0.0], [2.0, 0.0]], [4.0, 4.0], [1.0, 1.0])
    operator = SparseOperator.of(problem, CPU)
    assert operator.estimates(torch.tensor([1.0, 1.0])).tolist() == [0.0, 0.5]
    assert operator.adjoint(torch.tensor([1.0, 1.0])).tolist() == [0.5, 0.0]
