"""Laws of rows that other rows are made of: nothing is lost, nothing is stored twice."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from toy import QUICK, QUICK_REFIT, nested_survey

from l0.survey import calibrate
from l0.survey.nested import Nesting
from l0.survey.operator import SparseOperator

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def every_row_counts(monkeypatch):
    """However short rows are, and however few."""
    monkeypatch.setattr("l0.survey.nested.SHORTEST", 1)
    monkeypatch.setattr("l0.survey.nested._SAVED", -np.inf)
    monkeypatch.setattr("l0.survey.nested._PAIRS", np.inf)
    monkeypatch.setattr("l0.survey.operator._NESTED_COEFFICIENTS", 0)


def nesting_of(dense):
    return Nesting.of(sp.csc_array(np.array(dense, dtype=np.float32)))


def test_a_nation_is_the_sum_of_its_states_and_each_state_of_its_classes():
    nesting = nesting_of(
        [
            [1, 1, 1, 1, 1],  # all
            [1, 1, 1, 0, 0],  # two states
            [0, 0, 0, 1, 1],
            [1, 1, 0, 0, 0],  # a class of the first
        ]
    )
    np.testing.assert_array_equal(
        nesting.kept.toarray(), [[0] * 5, [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [1, 1, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        nesting.sums.toarray(), [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    )


def test_what_is_left_of_a_row_stays_in_it():
    nesting = nesting_of([[2, 3, 4], [2, 0, 4]])
    np.testing.assert_array_equal(nesting.kept.toarray(), [[0, 3, 0], [2, 0, 4]])


def test_a_row_of_other_coefficients_at_the_same_places_is_not_nested():
    dense = [[1, 1, 1, 1], [1, 2, 0, 0], [0, 0, 1, 3]]
    nesting = nesting_of(dense)
    np.testing.assert_array_equal(nesting.kept.toarray(), dense)
    np.testing.assert_array_equal(nesting.sums.toarray(), np.eye(3))


def test_of_rows_that_overlap_the_longest_is_taken():
    nesting = nesting_of([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]])
    np.testing.assert_array_equal(nesting.sums.toarray(), [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    assert nesting.kept.nnz == 1 + 2 + 3


def test_of_equal_rows_the_later_one_is_made_of_the_earlier():
    nesting = nesting_of([[1, 2, 0], [1, 2, 0], [1, 2, 0]])
    assert nesting.kept.nnz == 2
    np.testing.assert_array_equal(nesting.sums.toarray()[:, 0], [1, 1, 1])


def test_a_matrix_without_any_coefficient_has_nothing_nested():
    nesting = nesting_of(np.zeros((3, 4)))
    assert nesting.kept.shape == (3, 4)
    assert nesting.kept.nnz == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_of_what_is_kept_are_the_matrix(seed):
    draw = np.random.default_rng(seed)
    rows, columns = draw.integers(2, 40), draw.integers(1, 12)
    dense = draw.integers(0, 3, (rows, columns)).astype(np.float32)
    nesting = nesting_of(dense)
    np.testing.assert_array_equal((nesting.sums @ nesting.kept).toarray(), dense)
    assert nesting.kept.nnz <= np.count_nonzero(dense)


def test_rows_that_grow_by_a_record_each_are_made_of_the_last_one():
    nesting = nesting_of(np.tri(30))
    assert nesting.kept.nnz == 30
    np.testing.assert_array_equal(nesting.sums.toarray(), np.tri(30))


def test_where_little_is_nested_the_matrix_stays_as_it_is(monkeypatch):
    monkeypatch.setattr("l0.survey.nested._SAVED", 0.1)
    draw = np.random.default_rng(0)
    assert nesting_of(draw.random((30, 40)) * (draw.random((30, 40)) < 0.3)) is None
    assert nesting_of(np.tri(30)) is None  # as many sums as coefficients
    assert nesting_of(np.tile(np.ones((4, 1)), 200)) is not None


def test_where_most_rows_share_a_column_no_pairs_are_looked_at(monkeypatch):
    monkeypatch.setattr("l0.survey.nested._PAIRS", 0.25)
    assert nesting_of(np.ones((40, 50))).kept.nnz == 40 * 50


def test_a_hierarchy_is_stored_once():
    constraints = nested_survey().constraints
    nesting = Nesting.of(constraints)
    assert abs(nesting.sums @ nesting.kept - constraints).max() == 0
    # by state and class once, where rows by both, by either and by neither stood; classes lie
    # across states, so that only one of the two ways up is taken by the nation
    assert nesting.kept.nnz <= 0.26 * constraints.nnz


def test_products_and_norms_are_those_of_the_matrix_before_and_after_records_leave():
    problem = nested_survey()
    plain, nested = (SparseOperator.of(problem, CPU, nested=way) for way in (False, True))
    prices = torch.linspace(-1, 1, problem.n_targets, dtype=torch.float64)
    omega, scales = torch.tensor(problem.loss_weights), torch.tensor(problem.scales)
    places = torch.arange(3, problem.n_records, 5)
    close = {"rtol": 1e-5, "atol": 1e-6}
    for one, other in ((plain, nested), (plain.keep(places), nested.keep(places))):
        weights = torch.linspace(1, 2, one.shape[1])
        torch.testing.assert_close(other.estimates(weights), one.estimates(weights), **close)
        torch.testing.assert_close(other.adjoint(prices), one.adjoint(prices), **close)
        torch.testing.assert_close(
            other.column_norms(omega, scales), one.column_norms(omega, scales), **close
        )


@pytest.mark.parametrize("method", ["hard_concrete", "gradual_pruning"])
def test_a_calibration_finds_the_same_with_and_without(method, monkeypatch):
    problem, found = nested_survey(), []
    for least in (0, problem.constraints.nnz + 1):
        monkeypatch.setattr("l0.survey.operator._NESTED_COEFFICIENTS", least)
        found.append(
            calibrate(
                problem,
                budget=40,
                method=method,
                settings=QUICK[method],
                refit_settings=QUICK_REFIT,
            )
        )
    assert len(found[0].support) == 40
    assert found[0].loss == pytest.approx(found[1].loss, rel=0.1)
