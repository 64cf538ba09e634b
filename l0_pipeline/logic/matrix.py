"""The constraint matrix with what its rows and columns are."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.errors import InputError


@dataclass(frozen=True, eq=False)
class ConstraintMatrix:
    """What one unit of each household's weight adds to each target."""

    coefficients: sp.csr_array  # (targets, households)
    targets: pl.DataFrame  # one row a row of the matrix, ``target_id`` first
    households: pl.DataFrame  # one row a column of the matrix, ``household_id`` first
    digest: str  # of all that the coefficients were compiled from


def digest_of(*tables: pl.DataFrame, code: str) -> str:
    """SHA-256 of tables and code: equal digests give equal coefficients."""
    total = hashlib.sha256(code.encode())
    for table in tables:
        # 64 bits a row, whatever the chunks that a table was read in
        total.update(repr(table.schema).encode() + table.hash_rows(1, 2, 3, 4).to_numpy().tobytes())
    return total.hexdigest()


def support(matrix: ConstraintMatrix) -> pl.DataFrame:
    """How many households contribute to each target, and the digest of its row.

    Two targets of one digest have the very same coefficients: no weights can tell them apart.
    """
    rows = matrix.coefficients
    digests = [
        hashlib.sha256(
            rows.indices[start:end].tobytes() + rows.data[start:end].tobytes()
        ).hexdigest()
        for start, end in pairwise(rows.indptr)
    ]
    return matrix.targets.select("target_id").with_columns(
        support=pl.Series(np.diff(rows.indptr).astype(np.int64)),
        row_digest=pl.Series(digests, dtype=pl.String),
    )


def one_household(
    matrix: ConstraintMatrix, *, design_weights: np.ndarray, scales: np.ndarray
) -> pl.DataFrame:
    """The smallest and the largest error that leaving out one contributing household causes.

    Args:
        matrix: coefficients, shape (targets, households).
        design_weights: what each household stands for, shape (households,).
        scales: what the errors of each target are divided by, shape (targets,).

    Returns:
        ``target_id``, ``one_household_least`` and ``one_household_most``, as shares of the scale;
        null where no household contributes.
    """
    rows = matrix.coefficients
    carried = np.flatnonzero(np.diff(rows.indptr))
    sizes = np.abs(rows.data) * design_weights[rows.indices]
    bounds: dict[str, np.ndarray] = {}
    for name, extreme in (("least", np.minimum), ("most", np.maximum)):
        bounds[name] = np.full(len(scales), np.nan)
        bounds[name][carried] = extreme.reduceat(sizes, rows.indptr[carried]) / scales[carried]
    return matrix.targets.select("target_id").with_columns(
        pl.Series(f"one_household_{name}", shares).fill_nan(None) for name, shares in bounds.items()
    )


def in_matrix_order(targets: pl.DataFrame, matrix: ConstraintMatrix) -> pl.DataFrame:
    """The targets that have a row, in the order of the rows.

    Raises:
        InputError: a row has no target: one of the two was built without the other.
    """
    rows = matrix.targets.select("target_id")
    ordered = rows.join(targets, on="target_id", how="left", maintain_order="left")
    missing = ordered.filter(pl.col("role").is_null())
    if len(missing):
        raise InputError(
            f"{len(missing)} rows of the constraint matrix have no target, the first "
            f"{missing['target_id'][0]}. Materialize `targets` and `constraint_matrix` together."
        )
    return ordered
