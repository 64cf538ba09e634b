"""Laws of the checks of arguments: any kind of matrix is the same one, and faults are named."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from l0.errors import InputError
from l0.inputs import csr_matrix, numbers, refuse, vector

DENSE = np.array([[0.0, 2.0, 0.0], [-1.5, 0.0, 0.25]])
KINDS = {
    "numpy": DENSE,
    "nested lists": DENSE.tolist(),
    "float32": DENSE.astype(np.float32),
    "objects": DENSE.astype(object),
    "csr_matrix": sp.csr_matrix(DENSE),
    "csc_matrix": sp.csc_matrix(DENSE),
    "coo_matrix": sp.coo_matrix(DENSE),
    "csr_array": sp.csr_array(DENSE),
    "csc_array": sp.csc_array(DENSE),
    "coo_array": sp.coo_array(DENSE),
    "torch": torch.tensor(DENSE),
    "torch in float32 with gradients": torch.tensor(DENSE, dtype=torch.float32, requires_grad=True),
    "torch sparse": torch.tensor(DENSE).to_sparse(),
    "torch sparse, uncoalesced": torch.sparse_coo_tensor(
        [[0, 0, 1, 1], [1, 1, 0, 2]], [1.0, 1.0, -1.5, 0.25], (2, 3), check_invariants=True
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_matrix_is_the_same_rows_in_double_precision(kind):
    checked = csr_matrix("M", KINDS[kind])
    assert isinstance(checked, sp.csr_array)
    assert checked.dtype == np.float64
    assert checked.nnz == 3
    assert np.array_equal(checked.toarray(), DENSE)


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.uint16, np.float16])
def test_every_kind_of_real_number_is_taken(kind):
    assert csr_matrix("M", np.eye(2, dtype=kind)).toarray().tolist() == [[1, 0], [0, 1]]


def test_stored_zeros_go_and_duplicates_are_added_in_a_copy():
    given = sp.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    checked = csr_matrix("M", given)
    assert (checked.nnz, checked.toarray().tolist()) == (1, [[0, 3], [0, 0]])
    assert (given.nnz, given.data.tolist()) == (3, [1, 2, 0])


@pytest.mark.parametrize("kind", ["numpy", "csr_matrix", "csr_array", "torch"])
def test_changing_what_comes_back_changes_nothing_of_the_callers(kind):
    given = {
        "numpy": DENSE.copy(),
        "csr_matrix": sp.csr_matrix(DENSE),
        "csr_array": sp.csr_array(DENSE),
        "torch": torch.tensor(DENSE),
    }[kind]
    csr_matrix("M", given).data[:] = 7
    assert np.array_equal(given.toarray() if sp.issparse(given) else np.asarray(given), DENSE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [np.asarray, sp.csc_array, sp.coo_matrix, torch.tensor])
def test_an_entry_that_is_not_finite_is_refused_with_its_place(bad, form):
    spoiled = DENSE.copy()
    spoiled[1, 2] = bad
    with pytest.raises(
        InputError,
        match="1 entries of X are not finite in float64, the first in sample 1, feature 2",
    ):
        csr_matrix("X", form(spoiled), row="sample", column="feature")


@pytest.mark.parametrize(
    "given",
    [
        np.ones(3),
        np.ones((2, 2, 2)),
        np.empty((0, 3)),
        sp.csr_array((3, 0)),
        5.0,
        np.ones((2, 2)) * 1j,
        sp.csr_array(np.ones((2, 2)) * 1j),
        [["a", "b"]],
        [[1.0, 2.0], [3.0]],
        np.array([["a"]], dtype=object),
        None,
    ],
    ids=str,
)
def test_what_is_no_matrix_of_real_numbers_is_refused_by_name(given):
    with pytest.raises(InputError, match=r"^constraints must"):
        csr_matrix("constraints", given)


@pytest.mark.parametrize("values", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1, 2])])
def test_numbers_come_back_in_double_precision(values):
    checked = numbers("y", values)
    assert checked.dtype == np.float64
    assert checked.tolist() == [1, 2]


def test_a_vector_is_a_copy():
    given = np.array([1.0, 2.0])
    vector("y", given, 2, "targets")[0] = 9
    assert given.tolist() == [1, 2]


@pytest.mark.parametrize("values", [[1.0], [[1.0, 2.0]], 1.0, [[1.0], [2.0]]])
def test_a_vector_of_another_shape_is_refused_with_the_shape_it_needs(values):
    with pytest.raises(InputError, match=r"^y has shape .*, but 2 targets need \(2,\)\. Look\.$"):
        vector("y", values, 2, "targets", hint=" Look.")


def test_entries_of_a_vector_that_are_not_finite_are_refused_with_their_places():
    with pytest.raises(InputError, match="2 entries of y are not finite, at positions 1, 3"):
        vector("y", [0.0, np.nan, 1.0, np.inf], 4, "targets")


def test_at_most_five_places_are_told_and_none_where_all_is_well():
    refuse("y", np.zeros(3, dtype=bool), "odd", "Mend them.")
    with pytest.raises(InputError, match=r"^9 entries of y are odd, at positions 0, 1, 2, 3, 4\. "):
        refuse("y", np.ones(9, dtype=bool), "odd", "Mend them.")
