"""The engine on a GPU: epochs against the card's memory bandwidth, and against the CPU's result.

    .venv/bin/python benchmarks/calibration_gpu.py --save PROBLEM    # where the tables are
    python benchmarks/calibration_gpu.py PROBLEM                     # where the GPU is

The bandwidth is that of a copy on the card, counting what is read and written. An epoch is one of
the default method before any household has left, noise included; its share is the time in which
the card would read the matrix twice, 8 bytes a non-zero, over the time it took. The problem of
2022 is then calibrated on either device: which households are chosen hangs on the last digits,
as it hangs on the seed; weights of given households do not. The larger problem is simulated. It
needs 20 GB of the card's memory and 30 GB of the machine's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from calibration_scaling import simulated

from l0.survey import (
    CalibrationProblem,
    CalibrationResult,
    GatedFitSettings,
    RefitResult,
    RefitSettings,
    calibrate,
    refit,
)
from l0.survey.losses import loss_named, mean_loss
from l0.survey.operator import SparseOperator

LARGEST = (5_000_000, 20_000, 60)  # households, targets, coefficients of a household
LOSS = "capped_relative"
COPIED = 1 << 30  # float32 numbers
ROUNDS, EPOCHS = 9, 20

Result = TypeVar("Result", CalibrationResult, RefitResult)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("--save", action="store_true", help="write the problem of 2022 and stop")
    given = parser.parse_args()
    if given.save:
        from problem_2022 import load

        load()[0].save(given.problem)
        return
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here.")
    bandwidth = _bandwidth()
    card = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    print(f"{card}: a copy moves {bandwidth / 1e12:.2f} TB/s")
    problem = CalibrationProblem.load(given.problem)
    _print_epoch(problem, bandwidth)
    _print_results(problem)
    _print_epoch(simulated(*LARGEST, seed=0), bandwidth)


def _bandwidth() -> float:
    """Bytes a second, read and written, of a copy on the card."""
    source = torch.rand(COPIED, device="cuda")
    target = torch.empty_like(source)
    seconds = _seconds(lambda: target.copy_(source))
    return 2 * source.nbytes / seconds


def _print_epoch(problem: CalibrationProblem, bandwidth: float) -> None:
    fit = GatedFitSettings(epochs=10_000_000).stage(
        problem,
        SparseOperator.of(problem, torch.device("cuda"), nested=True),
        budget=problem.n_records // 10,
        loss=loss_named(LOSS),
        seed=0,
        start=problem.design_weights,
    )
    seconds = _seconds(lambda: fit.step(recorded=False))
    limit = 16 * problem.constraints.nnz / bandwidth
    print(
        f"{problem.n_targets:,} targets x {problem.n_records:,} households, "
        f"{problem.constraints.nnz:,} non-zeros: epoch {1e3 * seconds:.2f} ms, "
        f"both products' bytes {1e3 * limit:.2f} ms, share {limit / seconds:.0%}, "
        f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB of the card",
        flush=True,
    )


def _print_results(problem: CalibrationProblem) -> None:
    budget = problem.n_records // 10

    def loss(result: Result) -> float:
        errors = problem.relative_errors(result.weights)
        return mean_loss(LOSS, errors, problem.loss_weights)

    def told(name: str, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        print(f"  {name:<44}loss {loss(result):.6f} in {seconds:.1f} s", flush=True)
        return result

    def default(device: str, seed: int = 0) -> CalibrationResult:
        return calibrate(problem, budget=budget, device=device, seed=seed)

    cpu = told("a tenth, CPU", lambda: default("cpu"))
    told("a tenth, CPU, another seed", lambda: default("cpu", seed=1))
    gpu = told("a tenth, GPU", lambda: default("cuda"))
    again = told("a tenth, GPU again", lambda: default("cuda"))
    settings = RefitSettings(penalty=0.01)
    for name, support in (
        ("the CPU's tenth refitted", cpu.support),
        ("all households", np.flatnonzero(problem.design_weights > 0)),
    ):
        on_cpu, on_gpu = (
            told(
                f"{name}, {device}",
                lambda support=support, device=device: refit(
                    problem, support, settings=settings, device=torch.device(device)
                ),
            )
            for device in ("cpu", "cuda")
        )
        print(f"  {name}: apart by {abs(loss(on_gpu) / loss(on_cpu) - 1):.1e} of the loss")
    print(f"  a tenth: apart by {abs(loss(gpu) / loss(cpu) - 1):.1e} of the loss")
    print(f"  the GPU's weights twice alike: {np.array_equal(gpu.weights, again.weights)}")


def _seconds(work: Callable[[], object]) -> float:
    """Median seconds of one piece of work, each round of several."""
    rounds = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(EPOCHS):
            work()
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - start) / EPOCHS)
    return statistics.median(rounds[1:])


if __name__ == "__main__":
    main()
