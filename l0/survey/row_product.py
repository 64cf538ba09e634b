"""The product of a compressed matrix with a vector, the same bytes every time on one device.

A GPU shares the coefficients of a long row among blocks that add their sums in whatever order they
end. Rows are therefore cut into pieces that at most two blocks share, where the order is nothing;
the pieces of a row are added in float64, one after the other.
"""

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

# cuSPARSE gave other bytes from one product to the next from 512 coefficients on, never with 256
LONGEST = 256


class RowProduct:
    """The rows of one matrix on a device."""

    def __init__(self, matrix: sp.csr_array, device: torch.device) -> None:
        """Copy the matrix (rows, columns), float32 or float64; on the CPU values share memory."""
        self._starts: Tensor | None = None
        if device.type != "cpu" and matrix.nnz and np.diff(matrix.indptr).max() > LONGEST:
            matrix, starts = in_pieces(matrix, LONGEST)
            self._starts = torch.from_numpy(starts).to(device)
        self._rows = to_torch(matrix, device)

    def __call__(self, vector: Tensor) -> Tensor:  # (columns,) as the matrix -> (rows,)
        """The product, in float64 where rows are cut."""
        product = torch.mv(self._rows, vector)
        return product if self._starts is None else sums_of_pieces(product, self._starts)


def in_pieces(matrix: sp.csr_array, longest: int) -> tuple[sp.csr_array, NDArray[np.int64]]:
    """The same coefficients in rows of at most ``longest``, and where each row's pieces start.

    Returns:
        The pieces (pieces, columns), which share the memory of ``matrix``, and their starts
        (rows + 1,), the last one behind.
    """
    lengths = np.diff(matrix.indptr).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(-(-lengths // longest))])
    row = np.repeat(np.arange(len(lengths)), np.diff(starts))
    place = np.arange(starts[-1]) - starts[row]
    pieces = sp.csr_array((int(starts[-1]), matrix.shape[1]), dtype=matrix.dtype)
    # set one by one: scipy's constructor would copy
    pieces.data, pieces.indices = matrix.data, matrix.indices
    first = matrix.indptr[row] + place * longest
    pieces.indptr = np.append(first, matrix.indptr[-1]).astype(matrix.indptr.dtype)
    return pieces, starts


def sums_of_pieces(values: Tensor, starts: Tensor) -> Tensor:  # (pieces,) -> (rows,) float64
    """The sum of every row's pieces."""
    return torch.segment_reduce(values.double(), "sum", offsets=starts, initial=0.0)


def to_torch(matrix: sp.csr_array, device: torch.device) -> Tensor:
    """The same compressed rows as a torch tensor; on the CPU its values share their memory."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int32, copy=False)),
        torch.from_numpy(matrix.indices.astype(np.int32, copy=False)),
        torch.from_numpy(matrix.data),
        size=matrix.shape,
        device=device,
        check_invariants=False,
    )


def _hear_torch_out() -> None:
    """Let torch say once what it says once in a process, where nobody needs to hear it.

    That its compressed layout may still change, and that memory it only reads is not its to
    write. Later it would be said in a thread, where Python cannot silence one thread alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nothing = sp.csr_array((1, 1), dtype=np.float32)
        for part in (nothing.indptr, nothing.indices, nothing.data):
            part.flags.writeable = False
        to_torch(nothing, torch.device("cpu"))


_hear_torch_out()
