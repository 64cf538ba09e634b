"""Laws of the matrix as arrays: it comes back as it was, with its rows and columns named."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from l0_pipeline.logic import matrix
from l0_pipeline.logic.errors import InputError

DENSE = np.array([[0.0, 2.5, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 3.0]])
TARGETS = pl.Series("target_id", ["wages", "nothing", "agi"])
HOUSEHOLDS = pl.Series("household_id", [4, 7, 9])


def _arrays() -> dict[str, np.ndarray]:
    return matrix.to_arrays(sp.csr_array(DENSE), target_ids=TARGETS, household_ids=HOUSEHOLDS)


def test_a_matrix_comes_back_from_its_arrays():
    back = matrix.from_arrays(_arrays())
    assert back.shape == (3, 3)
    assert back.toarray().tolist() == DENSE.tolist()


def test_no_array_needs_pickle():
    assert all(not array.dtype.hasobject for array in _arrays().values())
    assert _arrays()["target_ids"].tolist() == TARGETS.to_list()
    assert _arrays()["household_ids"].tolist() == HOUSEHOLDS.to_list()


def test_empty_rows_and_columns_at_the_ends_keep_the_shape():
    empty = matrix.to_arrays(
        sp.csr_array((2, 3)), target_ids=TARGETS.head(2), household_ids=HOUSEHOLDS
    )
    assert matrix.from_arrays(empty).shape == (2, 3)
    assert matrix.support(empty)["support"].to_list() == [0, 0]


def test_support_counts_the_households_of_each_target():
    assert dict(matrix.support(_arrays()).select("target_id", "support").rows()) == {
        "wages": 1,
        "nothing": 0,
        "agi": 2,
    }


def test_rows_share_a_digest_exactly_where_their_coefficients_are_the_same():
    rows = sp.csr_array([[1.0, 0, 2], [1.0, 0, 2], [1.0, 2, 0], [1.0, 0, 3]])
    named = matrix.to_arrays(
        rows, target_ids=pl.Series(list("abcd")), household_ids=pl.Series([1, 2, 3])
    )
    digests = matrix.support(named)["row_digest"]
    assert digests[0] == digests[1]
    assert digests.n_unique() == 3


def test_targets_come_in_the_order_of_the_rows_and_those_without_a_row_are_left_out():
    targets = pl.DataFrame(
        {"target_id": ["agi", "absent", "wages", "nothing"], "role": ["fitted"] * 4}
    )
    assert matrix.in_matrix_order(targets, _arrays())["target_id"].to_list() == TARGETS.to_list()


def test_a_row_without_its_target_is_refused_by_name():
    targets = pl.DataFrame({"target_id": ["wages"], "role": ["fitted"]})
    with pytest.raises(
        InputError, match=r"2 rows of the constraint matrix have no target.*nothing"
    ):
        matrix.in_matrix_order(targets, _arrays())
