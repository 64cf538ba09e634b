"""Laws of the product by rows, and of rows in pieces, as a GPU multiplies them."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from l0.survey.row_product import RowProduct, in_pieces, sums_of_pieces


def rows_of(lengths, columns=600):
    draw = np.random.default_rng(0)
    dense = np.zeros((len(lengths), columns), dtype=np.float32)
    for row, length in enumerate(lengths):
        dense[row, draw.choice(columns, length, replace=False)] = draw.normal(1, 1, length)
    return sp.csr_array(dense)


@pytest.mark.parametrize("longest", [1, 7, 128, 1000])
@pytest.mark.parametrize("lengths", [(0, 128, 129, 0, 257, 1, 7, 8, 0), (300,), (0, 0)])
def test_pieces_are_no_longer_than_asked_and_add_up_to_the_rows(lengths, longest):
    matrix = rows_of(lengths)
    pieces, starts = in_pieces(matrix, longest)
    assert np.diff(pieces.indptr).max(initial=0) <= longest
    assert np.diff(starts).tolist() == [-(-length // longest) for length in lengths]
    assert pieces.indices is matrix.indices
    vector = np.random.default_rng(1).random(matrix.shape[1])
    sums = sums_of_pieces(torch.tensor(pieces @ vector), torch.tensor(starts))
    np.testing.assert_allclose(sums.numpy(), matrix @ vector, rtol=1e-12, atol=1e-12)


def test_on_the_cpu_rows_stay_whole_and_in_place():
    matrix = rows_of((300, 0, 5))
    vector = torch.rand(600, generator=torch.Generator().manual_seed(0))
    product = RowProduct(matrix, torch.device("cpu"))(vector)
    assert product.dtype == torch.float32
    np.testing.assert_allclose(product.numpy(), matrix @ vector.numpy(), rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_long_rows_give_the_same_bytes_every_time():
    matrix = sp.random_array((40, 90_000), density=0.2, format="csr", dtype=np.float32, rng=0)
    product = RowProduct(matrix, torch.device("cuda"))
    vector = torch.rand(90_000, device="cuda")
    first = product(vector)
    assert all(torch.equal(product(vector), first) for _ in range(100))
    np.testing.assert_allclose(first.cpu(), matrix @ vector.double().cpu().numpy(), rtol=1e-5)
