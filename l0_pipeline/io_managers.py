"""What steps hand to each other, and how it is kept: tables as Parquet, arrays as npz, no pickle.

Parquet is dagster-polars' work; here it learns to put a file in place whole or not at all, and
the IO manager for the constraint matrix is here.
"""

import hashlib
import os
from pathlib import Path
from zipfile import BadZipFile

import dagster as dg
import numpy as np
import polars as pl
import scipy.sparse as sp
from dagster_polars import PolarsParquetIOManager
from pydantic import Field
from upath import UPath

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.settings import DATA_DIR

_SIDES = ("targets", "households")
# what reading an npz raises that was cut off, or that another program wrote
_DAMAGED = (BadZipFile, KeyError, ValueError, EOFError)

# an asset that returns a value and check results in one MaterializeResult must name its type
TABLE = dg.DagsterType(
    name="Table",
    typing_type=pl.DataFrame,
    type_check_fn=lambda _, value: isinstance(value, pl.DataFrame),
)
MATRIX = dg.DagsterType(
    name="ConstraintMatrix",
    typing_type=ConstraintMatrix,
    type_check_fn=lambda _, value: isinstance(value, ConstraintMatrix),
)


class WholeParquetIOManager(PolarsParquetIOManager):
    """dagster-polars' Parquet files, replaced in one step: a killed write leaves the earlier."""

    def write_df_to_path(self, context: dg.OutputContext, df: pl.DataFrame, path: UPath) -> None:
        """Write beside the file, then put it in place."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            super().write_df_to_path(context, df, partial)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


class MatrixIOManager(dg.ConfigurableIOManager):
    """Stores a constraint matrix as ``<folder>/<asset>/<partition>.npz`` with two Parquet files.

    The arrays of the sparse matrix (data, indices, indptr, shape) are in the npz; what its rows
    and columns are is in ``<partition>.targets.parquet`` and ``<partition>.households.parquet``.
    The npz is put in place last and holds the SHA-256 of the two, so that a write that was killed
    in between is noticed.
    """

    folder: str = Field(default=str(DATA_DIR / "arrays"), description="Folder of the matrices.")

    def handle_output(self, context: dg.OutputContext, obj: ConstraintMatrix) -> None:
        """Write beside the files, then put them in place; an unchanged matrix is left alone."""
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        if _digest(path) != obj.digest:
            _write(obj, path)
        context.add_output_metadata(
            {"path": dg.MetadataValue.path(path), "bytes": path.stat().st_size}
        )

    def load_input(self, context: dg.InputContext) -> ConstraintMatrix:
        """The matrix of one partition.

        Raises:
            InputError: it was not built, or the three files do not belong together.
        """
        path = self._path(context)
        if not path.exists():
            name = context.asset_key.to_user_string()
            raise InputError(
                f"{path} is not there: `{name}` for {context.asset_partition_key} was not built. "
                "Materialize it, after what it is made from."
            )
        return read_matrix(path)

    def unchanged(self, asset: str, partition: str, *, digest: str) -> ConstraintMatrix | None:
        """The stored matrix if it was compiled from inputs of this digest, else None."""
        path = Path(self.folder, asset, f"{partition}.npz")
        return read_matrix(path) if _digest(path) == digest else None

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        return Path(self.folder, *context.asset_key.path, f"{context.asset_partition_key}.npz")


def read_matrix(path: Path) -> ConstraintMatrix:
    """The matrix of an npz and of the two Parquet files beside it.

    Raises:
        InputError: it cannot be read, or the three do not belong together.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except _DAMAGED as refused:
        raise InputError(
            f"{path} cannot be read ({refused}). Materialize `{path.parent.name}` again."
        ) from refused
    for side in _SIDES:
        beside = _side(path, side)
        if not beside.exists() or _sha256(beside) != str(arrays[side]):
            raise InputError(
                f"{beside} is not the file that {path.name} was written with. "
                f"Materialize `{path.parent.name}` again."
            )
    rows, columns = arrays["shape"].tolist()
    return ConstraintMatrix(
        coefficients=sp.csr_array(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(rows, columns)
        ),
        targets=pl.read_parquet(_side(path, "targets")),
        households=pl.read_parquet(_side(path, "households")),
        digest=str(arrays["digest"]),
    )


def _write(matrix: ConstraintMatrix, path: Path) -> None:
    rows = matrix.coefficients
    partial = {side: _beside(path, f".{side}.{os.getpid()}") for side in (*_SIDES, "npz")}
    try:
        for side in _SIDES:
            getattr(matrix, side).write_parquet(partial[side])
        with partial["npz"].open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                data=rows.data,
                indices=rows.indices,
                indptr=rows.indptr,
                shape=np.array(rows.shape),
                digest=np.array(matrix.digest),
                **{side: np.array(_sha256(partial[side])) for side in _SIDES},
            )
        for side in _SIDES:
            partial[side].replace(_side(path, side))
        partial["npz"].replace(path)
    finally:
        for left in partial.values():
            left.unlink(missing_ok=True)


def _digest(path: Path) -> str | None:
    """What a stored matrix was compiled from; None where there is none, or not a whole one."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            whole = all(_sha256(_side(path, side)) == str(file[side]) for side in _SIDES)
            return str(file["digest"]) if whole else None
    except (*_DAMAGED, FileNotFoundError):
        return None


def _side(path: Path, side: str) -> Path:
    return path.with_name(f"{path.stem}.{side}.parquet")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.stem}{ending}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
