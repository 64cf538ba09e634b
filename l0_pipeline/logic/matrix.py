"""The constraint matrix as plain arrays with the names of its rows and columns, and back."""

import hashlib
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.errors import InputError

Arrays = Mapping[str, np.ndarray]


def to_arrays(
    matrix: sp.csr_array, *, target_ids: pl.Series, household_ids: pl.Series
) -> dict[str, np.ndarray]:
    """A matrix (targets, households) with the ids of both."""
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape),
        "target_ids": np.array(target_ids.to_list(), dtype=str),
        "household_ids": household_ids.to_numpy(),
    }


def from_arrays(arrays: Arrays) -> sp.csr_array:
    """The matrix of ``to_arrays``."""
    shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
    return sp.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)


def support(arrays: Arrays) -> pl.DataFrame:
    """How many households contribute to each target, and the digest of its row.

    Two targets of one digest have the very same coefficients: no weights can tell them apart.
    """
    rows = pairwise(arrays["indptr"])
    digests = [
        hashlib.sha256(
            arrays["indices"][start:end].tobytes() + arrays["data"][start:end].tobytes()
        ).hexdigest()
        for start, end in rows
    ]
    return pl.DataFrame(
        {
            "target_id": arrays["target_ids"],
            "support": np.diff(arrays["indptr"]).astype(np.int64),
            "row_digest": pl.Series(digests, dtype=pl.String),
        }
    )


def in_matrix_order(targets: pl.DataFrame, arrays: Arrays) -> pl.DataFrame:
    """The targets that have a row, in the order of the rows.

    Raises:
        InputError: a row has no target: one of the two was built without the other.
    """
    rows = pl.DataFrame({"target_id": arrays["target_ids"]})
    ordered = rows.join(targets, on="target_id", how="left", maintain_order="left")
    missing = ordered.filter(pl.col("role").is_null())
    if len(missing):
        raise InputError(
            f"{len(missing)} rows of the constraint matrix have no target, the first "
            f"{missing['target_id'][0]}. Materialize `targets` and `constraint_matrix` together."
        )
    return ordered
