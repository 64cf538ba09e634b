"""Classical calibration: seconds and Newton steps against size, and agreement with R.

    .venv/bin/python benchmarks/classical.py

Simulated surveys: a record counts in a fifth of the targets, at most in 66, and values are the
design's totals moved by 5 %. Seconds are of a whole call, the search for dependent targets
included, in a process of its own for each size; memory is its peak. R's weights are those of
tests/data, recorded by benchmarks/r/calibrate.R.
"""

import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from calibration_memory import peak_memory

from l0.survey import CalibrationProblem
from l0.survey.classical import calibrate_classical

TARGETS = (50, 500, 2_000)
RECORDS = (20_000, 200_000)
LARGEST_COUNT = 66
METHODS = {
    "linear": ("linear", None),
    "raking": ("raking", None),
    "linear, bounds": ("linear", (0.4, 2.5)),
    "raking, bounds": ("raking", (0.4, 2.5)),
    "logit": ("logit", (0.2, 5.0)),
}
DATA = Path(__file__).parents[1] / "tests" / "data"
BOUNDS = {"apistrat": (0.8, 1.3), "apiclus1": (0.5, 2.0)}


def main() -> None:
    print(f"{'targets':>8}{'records':>9}{'GB':>6}", *(f"{name:>20}" for name in METHODS))
    for size in product(TARGETS, RECORDS):
        command = [sys.executable, __file__, *map(str, size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        memory, *told = done.stdout.strip().split(";")
        cells = "".join(f"{cell:>21}" for cell in told)
        print(f"{size[0]:>8,}{size[1]:>9,}{float(memory):>6.2f}{cells}", flush=True)
    print("\nlargest relative difference of a weight from R's")
    for sample in BOUNDS:
        for name, difference in against_r(sample).items():
            print(f"{sample:>10}{name:>18}{difference:>10.1e}")


def measure(targets: int, records: int) -> None:
    problem = simulated(targets, records)
    told = []
    for method, bounds in METHODS.values():
        start = time.perf_counter()
        result = calibrate_classical(problem, method=method, bounds=bounds)
        seconds = time.perf_counter() - start
        missed = "" if result.converged else f", {len(result.unmet)} unmet"
        told.append(f"{seconds:.1f} s, {result.iterations} steps{missed}")
    print(peak_memory() / 1e9, *told, sep=";")


def simulated(targets: int, records: int) -> CalibrationProblem:
    draw = np.random.default_rng(targets)
    each = min(LARGEST_COUNT, targets // 5)
    coefficients = draw.gamma(2.0, 1.0, records * each)
    rows = draw.integers(0, targets, records * each)
    starts = np.arange(0, records * each + 1, each)
    constraints = sp.csc_array((coefficients, rows, starts), shape=(targets, records))
    design = draw.gamma(2.0, 500.0, records)
    return CalibrationProblem(
        constraints, constraints @ design * draw.normal(1.0, 0.05, targets), design
    )


def against_r(sample: str) -> dict[str, float]:
    schools, recorded, totals = (
        pl.read_csv(DATA / f"{name}.csv") for name in (sample, f"{sample}_weights", "api_totals")
    )
    rows = schools.select(
        pl.lit(1.0).alias("schools"),
        *(pl.col("stype").eq(kind).cast(pl.Float64).alias(kind) for kind in ("H", "M")),
        "api99",
        "enroll",
    )
    problem = CalibrationProblem(
        rows.to_numpy().T, totals["value"].to_numpy(), schools["pw"].to_numpy()
    )
    differences = {}
    for name in recorded.columns:
        method, _, bounded = name.partition("_")
        bounds = BOUNDS[sample] if bounded else None
        weights = calibrate_classical(problem, method=method, bounds=bounds).weights
        differences[name] = float(np.abs(weights / recorded[name].to_numpy() - 1).max())
    return differences


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(*map(int, sys.argv[1:]))
    else:
        main()
