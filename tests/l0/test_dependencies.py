"""Laws of linear dependencies: the rank is exact, whatever the units of rows and columns."""

import numpy as np
import pytest
import scipy.sparse as sp

from l0.survey import CalibrationProblem, InputError
from l0.survey.dependencies import linear_dependencies


def survey(seed: int = 0):
    """Ten rows of each of three states on records of their own, and six of the nation.

    Dependent are a sum within each state, and of the nation's three rows that are sums over the
    states (one of them a second time) and one of no records: rank 27 + 2.
    """
    draw = np.random.default_rng(seed)
    states = []
    for _ in range(3):
        rows = draw.gamma(1.0, 1.0, (10, 80)) * (draw.random((10, 80)) < 0.3)
        rows[9] = rows[:4].sum(axis=0)
        states.append(rows)
    local = np.kron(np.eye(3), np.ones((10, 80)))
    local[local > 0] = np.concatenate([rows.ravel() for rows in states])
    nation = draw.gamma(1.0, 1.0, (6, 240)) * (draw.random((6, 240)) < 0.3)
    nation[:3] = [local[place::10].sum(axis=0) for place in (0, 5, 0)]
    nation[3] = 0.0
    areas = [f"state {place // 10}" for place in range(30)] + ["nation"] * 6
    return np.vstack([local, nation]), areas


def test_rows_of_the_identity_are_all_independent():
    found = linear_dependencies(np.eye(4))
    assert found.rank == 4
    assert found.independent.tolist() == [0, 1, 2, 3]
    assert found.dependent.tolist() == []


def test_a_sum_a_duplicate_a_multiple_and_an_empty_row_are_dependent():
    draw = np.random.default_rng(1)
    rows = draw.random((7, 20))
    rows[3] = rows[0] + rows[1] - 2.0 * rows[2]
    rows[4] = rows[5]
    rows[6] = 0.0
    found = linear_dependencies(rows)
    assert found.rank == 4
    assert 6 in found.dependent
    assert len({4, 5} & set(found.dependent.tolist())) == 1
    assert len({0, 1, 2, 3} & set(found.dependent.tolist())) == 1


@pytest.mark.parametrize("named", [True, False])
def test_states_and_the_nation_have_the_rank_that_was_planted_with_areas_and_without(named):
    rows, areas = survey()
    found = linear_dependencies(rows, areas=areas if named else None)
    assert found.rank == 29
    assert np.linalg.matrix_rank(rows[found.independent]) == 29
    assert sorted([*found.independent, *found.dependent]) == list(range(36))


def test_areas_that_share_no_record_need_no_nation():
    rows, areas = survey()
    assert linear_dependencies(rows[:30], areas=areas[:30]).rank == 27


def test_rows_of_the_nation_on_records_of_no_state_count():
    rows, areas = survey()
    wider = np.hstack([rows, np.zeros((36, 2))])
    wider[30, -1] = wider[31, -2] = 1.0
    assert linear_dependencies(wider, areas=areas).rank == 31


@pytest.mark.parametrize("named", [True, False])
def test_units_of_rows_and_records_change_nothing(named):
    rows, areas = survey()
    draw = np.random.default_rng(2)
    stretched = rows * 10.0 ** draw.uniform(-6, 8, (36, 1)) * 10.0 ** draw.uniform(-3, 3, 240)
    assert linear_dependencies(stretched, areas=areas if named else None).rank == 29


def test_sums_are_seen_in_the_float32_of_a_problem():
    rows, areas = survey()
    problem = CalibrationProblem(rows, np.ones(36), np.ones(240))
    assert linear_dependencies(problem, areas=areas).rank == 29


def test_records_of_design_weight_zero_do_not_tell_rows_apart():
    rows, values = [[1.0, 1.0, 0.0], [1.0, 1.0, 5.0]], [1.0, 1.0]
    assert linear_dependencies(CalibrationProblem(rows, values, np.ones(3))).rank == 2
    assert linear_dependencies(CalibrationProblem(rows, values, [1.0, 1.0, 0.0])).rank == 1


@pytest.mark.parametrize(("tolerance", "rank"), [(1e-5, 2), (1e-2, 1)])
def test_rows_nearer_than_the_tolerance_are_dependent(tolerance, rank):
    rows = np.ones((2, 100))
    rows[1, 0] = 1.01
    assert linear_dependencies(rows, tolerance=tolerance).rank == rank


def test_sparse_and_dense_are_read_alike_and_an_empty_matrix_of_coefficients_has_rank_zero():
    rows, areas = survey()
    assert linear_dependencies(sp.csr_array(rows), areas=areas).rank == 29
    empty = linear_dependencies(sp.csr_array((3, 4)))
    assert (empty.rank, empty.dependent.tolist()) == (0, [0, 1, 2])
    assert linear_dependencies(sp.csr_array((3, 4)), areas=["a", "a", "b"]).rank == 0


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (np.eye(2), {"tolerance": 0.0}, "tolerance is 0"),
        (np.eye(2), {"tolerance": 1.0}, "from 1e-07 to below 1"),
        (np.eye(2), {"tolerance": 1e-9}, "from 1e-07 to below 1"),
        (np.eye(2), {"areas": ["a"]}, "must be a list of 2 names"),
        (np.eye(2), {"areas": "ab"}, "areas is 'ab'"),
        (np.ones(3), {}, "must have the shape"),
        ([[np.nan]], {}, "not finite"),
    ],
)
def test_bad_input_is_refused_with_the_reason(rows, options, message):
    with pytest.raises(InputError, match=message):
        linear_dependencies(rows, **options)
