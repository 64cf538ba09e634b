"""An epoch of the engine against l0-python's and against streaming the matrix; memory.

    .venv/bin/python benchmarks/calibration_speed.py OTHER_PYTHON

OTHER_PYTHON is an interpreter with l0-python. The streaming limit is the time in which this
machine reads the problem's matrix twice, 8 bytes a non-zero: once for each product. It is measured
beside every round of epochs, by one thread for each that the engine has. The engine stores fewer
coefficients, since rows that others are made of are stored once; the share of the time in which
these could be read is told too. An epoch is one of the default method before any household has
left, noise included. Memory is the peak of a process that loads
the problem and calibrates. Reads the tables of the last `make run` of 2022.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from problem_2022 import load
from two_packages import measure_other, other_python

from l0.survey import CalibrationProblem, GatedFitSettings
from l0.survey.losses import loss_named
from l0.survey.operator import SparseOperator, one_thread_each

ROUNDS, EPOCHS, OTHER_EPOCHS = 9, 20, 10
BASE_MEMORY, PER_NON_ZERO, PER_HOUSEHOLD = 0.6e9, 16, 60


def main() -> None:
    problem, _ = load()
    threads = torch.get_num_threads()
    start = time.perf_counter()
    operator = SparseOperator.of(problem, torch.device("cpu"), nested=True)
    set_up = time.perf_counter() - start
    stored = sum(matrix.nnz for matrix in operator.matrices)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        problem.save(path)
        epochs, limits = zip(*_rounds(problem, operator, threads), strict=True)
        other = measure_other(
            other_python(), "incumbent_calibration.py", str(path), str(threads), str(OTHER_EPOCHS)
        )
        command = [
            sys.executable,
            str(Path(__file__).with_name("calibration_memory.py")),
            str(path),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    epoch, limit = statistics.median(epochs), statistics.median(limits)
    share = statistics.median(b / a for a, b in zip(epochs, limits, strict=True))
    allowed = (
        BASE_MEMORY + PER_NON_ZERO * problem.constraints.nnz + PER_HOUSEHOLD * problem.n_records
    )
    rows = (
        ("epoch, ms", f"{1e3 * epoch:.1f}", ""),
        ("streaming limit, ms", f"{1e3 * limit:.1f}", ""),
        ("share of the streaming limit", f"{share:.0%}", "at least 50%"),
        ("non-zeros stored", f"{stored / problem.constraints.nnz:.0%}", ""),
        ("share of the limit of these", f"{share * stored / problem.constraints.nnz:.0%}", ""),
        ("finding what need not be stored, s", f"{set_up:.1f}", ""),
        (f"{other['package']}: epoch, ms", f"{1e3 * other['epoch']:.0f}", ""),
        ("times as fast", f"{other['epoch'] / epoch:.0f}", "at least 60"),
        ("peak memory, GB", f"{int(done.stdout) / 1e9:.2f}", f"at most {allowed / 1e9:.2f}"),
        (f"{other['package']}: peak memory, GB", f"{other['peak'] / 1e9:.2f}", ""),
    )
    print(
        f"{problem.n_targets:,} targets x {problem.n_records:,} households, "
        f"{problem.constraints.nnz:,} non-zeros, {threads} threads"
    )
    for name, value, asked in rows:
        print(f"{name:<40}{value:>10}   {asked}")


def _rounds(
    problem: CalibrationProblem, operator: SparseOperator, threads: int
) -> list[tuple[float, float]]:
    """Seconds of an epoch and of the streaming limit, beside each other."""
    fit = GatedFitSettings(epochs=10_000_000).stage(
        problem,
        operator,
        budget=problem.n_records // 10,
        loss=loss_named("capped_relative"),
        seed=0,
        start=problem.design_weights,
    )
    # as many bytes as the matrix has, each half once
    words = np.ones(2 * problem.constraints.nnz, dtype=np.float32)
    parts = np.array_split(words, threads)
    rounds = []
    with one_thread_each(), ThreadPoolExecutor(threads) as workers:
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            for _ in range(EPOCHS):
                fit.step(recorded=False)
            epoch = (time.perf_counter() - start) / EPOCHS
            start = time.perf_counter()
            for _ in range(EPOCHS):
                for _ in range(2):
                    list(workers.map(np.add.reduce, parts))
            rounds.append((epoch, (time.perf_counter() - start) / EPOCHS))
    return rounds[1:]


if __name__ == "__main__":
    main()
