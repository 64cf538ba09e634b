"""Gates and random draws at the same budget and refit, over several seeds.

    .venv/bin/python benchmarks/selection.py [draws]

Reads the tables of the last `make run` of 2022 and prints median absolute errors of the fitted
and the held-out targets. A requirement holds when the worst of the gates stays below half of the
best of the random draws.
"""

import statistics
import sys
import time

import numpy as np
from problem_2022 import load

from l0.survey import CalibrationProblem, calibrate, refit, select_random
from l0_pipeline.resources.training_run import TrainingRun

Errors = tuple[float, float]


def main(draws: int) -> None:
    problem, held_out = load()
    design = problem.design_weights

    def errors(weights: np.ndarray) -> Errors:
        fitted, unseen = (
            float(np.median(np.abs(judged.relative_errors(weights))))
            for judged in (problem, held_out)
        )
        return fitted, unseen

    results: dict[str, list[Errors]] = {"gates": [], "random": []}
    for seed in range(draws):
        start = time.perf_counter()
        for name, weights in _weights(problem, design, seed=seed).items():
            results[name].append(errors(weights))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    print(
        f"{'weights':<10}{'fitted: median, worst, best':>32}{'held out: median, worst, best':>36}"
    )
    for name, found in results.items():
        cells = [
            f"{100 * statistics.median(column):.2f} % {100 * max(column):.2f} % "
            f"{100 * min(column):.2f} %"
            for column in zip(*found, strict=True)
        ]
        print(f"{name:<10}{cells[0]:>32}{cells[1]:>36}")


def _weights(
    problem: CalibrationProblem, design: np.ndarray, *, seed: int
) -> dict[str, np.ndarray]:
    run = TrainingRun()
    gates = calibrate(
        problem,
        budget=run.budget,
        seed=seed,
        settings=run.selection(),
        refit_settings=run.refit(),
    )
    chosen = run.refit(penalty=gates.penalty)
    drawn = select_random(design, size=run.budget, seed=seed)
    return {
        "gates": gates.weights,
        "random": refit(problem, drawn.indices, settings=chosen).weights,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
