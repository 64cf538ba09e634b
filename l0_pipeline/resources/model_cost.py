"""What a run of the tax model costs on files of different sizes, measured beside each other."""

import tracemalloc
from collections.abc import Mapping
from statistics import median
from time import perf_counter

import polars as pl

from l0_pipeline.logic.reforms import Reform, ReformModel
from l0_pipeline.logic.tables import REFORM_COST_COLUMNS

COMPILING = 100  # units that suffice to have the model compiled


def model_cost(
    files: Mapping[str, pl.DataFrame], reform: Reform, *, year: int, runs: int
) -> pl.DataFrame:
    """One row a file, ``REFORM_COST_COLUMNS``: seconds and memory of one reform, once compiled.

    Args:
        files: tax units with incomes of ``year``, by the name of the file.
        reform: what is calculated.
        year: of the incomes and of the law.
        runs: calculations that a median is of; the files take turns.
    """
    ReformModel(next(iter(files.values())).head(COMPILING), year=year).taxes(reform)
    models: dict[str, ReformModel] = {}
    memory: dict[str, float] = {}
    for name, aged in files.items():
        models[name], memory[name] = _with_memory(aged, reform, year=year)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(runs):
        for name, model in models.items():
            started = perf_counter()
            model.taxes(reform)
            seconds[name].append(perf_counter() - started)
    return pl.DataFrame(
        [
            {
                "file": name,
                "tax_units": len(aged),
                "seconds": median(seconds[name]),
                "memory_mb": memory[name],
                "reforms": runs,
            }
            for name, aged in files.items()
        ],
        schema={column.name: column.dtype for column in REFORM_COST_COLUMNS},
    )


def _with_memory(aged: pl.DataFrame, reform: Reform, *, year: int) -> tuple[ReformModel, float]:
    """The model after one calculation, and the most megabytes that both held at once.

    Counted as Python and numpy ask for it: what the process already has, and may use again, plays
    no part, so that two files in one process can be compared. The calculator's own copy of the
    law is in it.
    """
    tracemalloc.start()
    try:
        model = ReformModel(aged, year=year)
        model.taxes(reform)
        return model, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
