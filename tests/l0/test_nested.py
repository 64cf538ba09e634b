"""Laws of rows that other rows are made of: nothing is lost, nothing is stored twice."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from toy import QUICK, QUICK_REFIT

from l0.survey import CalibrationProblem, calibrate
from l0.survey.nested import Nesting
from l0.survey.operator import SparseOperator

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def every_row_counts(monkeypatch):
    """However short rows are, and however few."""
    monkeypatch.setattr("l0.survey.nested.SHORTEST", 1)
    monkeypatch.setattr("l0.survey.operator._NESTED_COEFFICIENTS", 0)


def nesting_of(dense):
    return Nesting.of(sp.csc_array(np.array(dense, dtype=np.float32)))


def survey(states=4, each=30, classes=3, *, seed=0):
    """Counts and an amount by state and class, by state, by class, and for the nation."""
    draw = np.random.default_rng(seed)
    records = states * each
    state = np.repeat(np.arange(states), each)
    of_class = draw.integers(0, classes, records)
    amount = np.round(draw.gamma(1.0, 3.0, records), 1) * (draw.random(records) < 0.7)
    groups = [np.ones(records, dtype=bool)]
    groups += [state == one for one in range(states)] + [of_class == one for one in range(classes)]
    groups += [
        (state == one) & (of_class == other) for one in range(states) for other in range(classes)
    ]
    rows = np.array([np.where(group, x, 0.0) for group in groups for x in (1.0, amount)])
    design = draw.gamma(2.0, 50.0, records)
    return CalibrationProblem(rows, rows @ design * 1.1 + 1.0, design)


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


def test_a_hierarchy_is_stored_once():
    constraints = survey().constraints
    nesting = Nesting.of(constraints)
    assert abs(nesting.sums @ nesting.kept - constraints).max() == 0
    # by state and class once, where rows by both, by either and by neither stood; classes lie
    # across states, so that only one of the two ways up is taken by the nation
    assert nesting.kept.nnz <= 0.26 * constraints.nnz


def test_products_and_norms_are_those_of_the_matrix_before_and_after_records_leave():
    problem = survey()
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
    problem, found = survey(), []
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
