"""Parts of a compressed matrix that share its memory."""

from typing import TypeVar

import scipy.sparse as sp

Compressed = TypeVar("Compressed", sp.csr_array, sp.csc_array)


def run_of(matrix: Compressed, lines: slice) -> Compressed:
    """Some rows of compressed rows, or columns of compressed columns, one after the other."""
    start, stop = matrix.indptr[lines.start], matrix.indptr[lines.stop]
    size = lines.stop - lines.start
    rows, columns = matrix.shape
    shape = (size, columns) if matrix.format == "csr" else (rows, size)
    run = type(matrix)(shape, dtype=matrix.dtype)
    # set one by one: scipy's constructor would copy a part of a larger array
    run.data = matrix.data[start:stop]
    run.indices = matrix.indices[start:stop]
    run.indptr = matrix.indptr[lines.start : lines.stop + 1] - start
    return run
