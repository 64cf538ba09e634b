"""Laws of the constraint matrix: its rows and columns are named, and what one household does."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import (
    ConstraintMatrix,
    digest_of,
    in_matrix_order,
    one_household,
    support,
)

DENSE = np.array([[0.0, 2.5, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 3.0]])
NAMES = ("wages", "nothing", "agi")


def _matrix(dense: np.ndarray = DENSE, names: tuple[str, ...] = NAMES) -> ConstraintMatrix:
    return ConstraintMatrix(
        coefficients=sp.csr_array(dense),
        targets=pl.DataFrame({"target_id": names}, schema={"target_id": pl.String}),
        households=pl.DataFrame({"household_id": range(dense.shape[1])}),
        digest="d",
    )


def test_support_counts_the_households_of_each_target():
    counted = support(_matrix()).select("target_id", "support")
    assert dict(counted.rows()) == {"wages": 1, "nothing": 0, "agi": 2}


def test_rows_share_a_digest_exactly_where_their_coefficients_are_the_same():
    rows = np.array([[1.0, 0, 2], [1.0, 0, 2], [1.0, 2, 0], [1.0, 0, 3]])
    digests = support(_matrix(rows, tuple("abcd")))["row_digest"]
    assert digests[0] == digests[1]
    assert digests.n_unique() == 3


def test_targets_come_in_the_order_of_the_rows_and_those_without_a_row_are_left_out():
    targets = pl.DataFrame(
        {"target_id": ["agi", "absent", "wages", "nothing"], "role": ["fitted"] * 4}
    )
    assert in_matrix_order(targets, _matrix())["target_id"].to_list() == list(NAMES)


def test_a_row_without_its_target_is_refused_by_name():
    targets = pl.DataFrame({"target_id": ["wages"], "role": ["fitted"]})
    with pytest.raises(
        InputError, match=r"2 rows of the constraint matrix have no target.*nothing"
    ):
        in_matrix_order(targets, _matrix())


def test_one_household_causes_its_weighted_coefficient_over_the_scale():
    steps = one_household(
        _matrix(), design_weights=np.array([10.0, 4.0, 2.0]), scales=np.array([100.0, 1.0, 50.0])
    )
    assert steps.rows() == [("wages", 0.1, 0.1), ("nothing", None, None), ("agi", 0.12, 0.2)]


def test_nothing_is_known_of_households_where_no_target_has_any():
    steps = one_household(
        _matrix(np.zeros((2, 3)), ("a", "b")), design_weights=np.ones(3), scales=np.ones(2)
    )
    assert steps.rows() == [("a", None, None), ("b", None, None)]


def test_a_digest_changes_with_any_value_type_name_and_with_the_code():
    table = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    digest = digest_of(table, code="1")
    assert digest == digest_of(pl.concat([table.head(1), table.tail(1)], rechunk=False), code="1")
    others = [
        table.with_columns(a=pl.Series([1, 3])),
        table.with_columns(pl.col("a").cast(pl.Float64)),
        table.rename({"b": "c"}),
        table.with_columns(b=pl.Series(["x", ""])),
        table.reverse(),
    ]
    digests = {digest_of(other, code="1") for other in others} | {digest_of(table, code="2")}
    assert len(digests | {digest}) == len(others) + 2
