"""Seconds and memory against the size of a problem, and the largest one that is asked for.

    .venv/bin/python benchmarks/calibration_scaling.py

Simulated surveys: each household counts in as many targets as the real ones do on average, sizes
of targets are log-normal, and values are the design's totals moved by 5 %. Each problem is
calibrated to a tenth by the default method in a process of its own; memory is its peak.
"""

import subprocess
import sys
import time

import numpy as np
import scipy.sparse as sp
from calibration_memory import peak_memory

from l0.survey import CalibrationProblem, calibrate

BASE = (50_000, 4_000, 66)  # households, targets, coefficients of a household
LARGEST = (337_000, 33_000, 65)
GROWTH = (1, 2, 4, 8)


def main() -> None:
    names = ("households", "targets", "non-zeros", "seconds", "GB", "ns a non-zero")
    print("".join(f"{name:>16}" for name in names))
    households, targets, each = BASE
    sizes = [(households * grown, targets, each) for grown in GROWTH]
    # twice the targets and households that count in twice as many
    sizes += [(households, targets * grown, each * grown) for grown in GROWTH[1:]]
    for size in [*sizes, LARGEST]:
        command = [sys.executable, __file__, *map(str, size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        coefficients, seconds, memory = (float(word) for word in done.stdout.split())
        print(
            f"{size[0]:>16,}{size[1]:>16,}{int(coefficients):>16,}{seconds:>16.1f}"
            f"{memory / 1e9:>16.2f}{1e9 * seconds / coefficients:>16,.0f}",
            flush=True,
        )
    print("asked of the last: at most 60 seconds and 3 GB")


def one(households: int, targets: int, each: int) -> None:
    """Calibrate one simulated problem; print coefficients, seconds and peak memory in bytes."""
    problem = simulated(households, targets, each, seed=0)
    start = time.perf_counter()
    calibrate(problem, budget=households // 10)
    seconds = time.perf_counter() - start
    peak = peak_memory()
    print(problem.constraints.nnz, seconds, peak)


def simulated(households: int, targets: int, each: int, *, seed: int) -> CalibrationProblem:
    """A survey whose households each count in ``each`` targets, larger ones more often."""
    draw = np.random.default_rng(seed)
    sizes = draw.lognormal(0.0, 1.5, targets)
    chance = np.cumsum(sizes / sizes.sum())
    rows = np.searchsorted(chance, draw.random(households * each)).astype(np.int32)
    rows = np.minimum(rows, targets - 1)
    starts = np.arange(households + 1, dtype=np.int64) * each
    amounts = np.where(draw.random(len(rows)) < 0.5, 1.0, draw.gamma(1.0, 2e4, len(rows)))
    columns = sp.csc_array((amounts.astype(np.float32), rows, starts), shape=(targets, households))
    columns.sum_duplicates()
    design = draw.gamma(4.0, 150.0, households)
    values = columns @ design * draw.normal(1.0, 0.05, targets)
    return CalibrationProblem(columns, values, design)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(*(int(word) for word in sys.argv[1:]))
    else:
        main()
