"""What a training writes down by name, step by step; kept as lists, written as CSV or Parquet."""

import csv
from collections.abc import Sequence
from itertools import zip_longest
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch

from l0.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | PathLike[str]


class PenaltyTracker:
    """Histories of named metrics, of any lengths."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}

    def log(self, name: str, value: float | torch.Tensor) -> None:
        """Append a number, or a tensor that holds one, to the history of a metric."""
        self.history.setdefault(name, []).append(
            float(value.item() if isinstance(value, torch.Tensor) else value)
        )

    def get_history(self, name: str) -> list[float]:
        """All values of a metric in order; none for a metric that was never logged."""
        return list(self.history.get(name, []))

    def get_stats(self, name: str) -> dict[str, float]:
        """Mean, standard deviation, minimum, maximum and last value; empty without values."""
        values = self.get_history(name)
        if not values:
            return {}
        return {
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "min": float(np.min(values)),
            "max": float(np.max(values)),
            "last": values[-1],
        }

    def clear(self) -> None:
        """Forget everything."""
        self.history.clear()

    def save_to_csv(self, filepath: Path) -> None:
        """One column a metric, one row a step; shorter histories end in empty cells."""
        with open(filepath, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(self.history)
            table.writerows(zip_longest(*self.history.values(), fillvalue=""))

    def save_to_parquet(self, filepath: Path) -> None:
        """One column a metric, one row a step; shorter histories end in nulls. Needs pyarrow."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(zip_longest(*self.history.values()))
        columns = [[row[column] for row in rows] for column in range(len(self.history))]
        arrays = [pa.array(values, pa.float64()) for values in columns]
        pq.write_table(pa.table(arrays, names=list(self.history)), filepath)

    def plot_history(
        self, metrics: Sequence[str] | None = None, save_path: Path | None = None
    ) -> "Figure":
        """One panel a metric over its steps; shown, or written to ``save_path``. Needs matplotlib.

        Raises:
            InputError: nothing was logged, or a metric was not.
        """
        names = list(metrics or self.history)
        unknown = [name for name in names if name not in self.history]
        if unknown or not names:
            raise InputError(
                f"metrics {unknown} were not logged. Logged are {list(self.history)}."
                if unknown
                else "nothing was logged: there is nothing to plot."
            )
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(
            len(names), 1, figsize=(8, 2.4 * len(names)), squeeze=False, layout="constrained"
        )
        for axis, name in zip(axes[:, 0], names, strict=True):
            axis.plot(self.history[name], marker="." if len(self.history[name]) < 30 else "")
            axis.set_ylabel(name)
            axis.grid(visible=True, alpha=0.3)
        axes[-1, 0].set_xlabel("step")
        if save_path is None:
            plt.show()
        else:
            figure.savefig(save_path)
            plt.close(figure)
        return figure
