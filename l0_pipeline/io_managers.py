"""What steps hand to each other, and how it is kept: tables as Parquet, arrays as npz, no pickle.

Parquet is dagster-polars' work; here it learns to put a file in place whole or not at all, and
the IO manager for arrays is here.
"""

import os
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
from dagster_polars import PolarsParquetIOManager
from pydantic import Field
from upath import UPath

from l0_pipeline.logic.errors import InputError
from l0_pipeline.settings import DATA_DIR

Arrays = dict[str, np.ndarray]

# an asset that returns a value and check results in one MaterializeResult must name its type
TABLE = dg.DagsterType(
    name="Table",
    typing_type=pl.DataFrame,
    type_check_fn=lambda _, value: isinstance(value, pl.DataFrame),
)
ARRAYS = dg.DagsterType(
    name="Arrays",
    typing_type=dict,
    type_check_fn=lambda _, value: (
        isinstance(value, dict) and all(isinstance(array, np.ndarray) for array in value.values())
    ),
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


class NpzIOManager(dg.ConfigurableIOManager):
    """Stores named arrays in ``<folder>/<asset>/<partition>.npz``, whole or not at all."""

    folder: str = Field(default=str(DATA_DIR / "arrays"), description="Folder of the arrays.")

    def handle_output(self, context: dg.OutputContext, obj: Arrays) -> None:
        """Write beside the file, then put it in place in one step."""
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **obj)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        context.add_output_metadata(
            {"path": dg.MetadataValue.path(path), "bytes": path.stat().st_size}
        )

    def load_input(self, context: dg.InputContext) -> Arrays:
        """All arrays of one partition."""
        path = self._path(context)
        if not path.exists():
            name = context.asset_key.to_user_string()
            raise InputError(
                f"{path} is not there: `{name}` for {context.asset_partition_key} was not built. "
                "Materialize it, after what it is made from."
            )
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        return Path(self.folder, *context.asset_key.path, f"{context.asset_partition_key}.npz")
