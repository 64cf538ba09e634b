"""Gates, hybrid and random draws at the same budget and refit, over several seeds.

    .venv/bin/python benchmarks/selection.py [draws]

Reads the tables of the last `make run` of 2022 and prints median absolute errors of the fitted
and the held-out targets. A requirement holds when the worst of the gates stays below half of the
best of the random draws.
"""

import statistics
import sys
import time

import numpy as np
import polars as pl

from l0.survey import CalibrationProblem, calibrate, refit, select_hybrid, select_random
from l0_pipeline.logic import fit, matrix
from l0_pipeline.logic.calibration import fitted_problem
from l0_pipeline.resources.plans import SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import DATA_DIR, DEFAULT_YEAR

Errors = tuple[float, float]


def main(draws: int) -> None:
    with np.load(DATA_DIR / "arrays" / "constraint_matrix" / f"{DEFAULT_YEAR}.npz") as file:
        arrays = dict(file)
    targets = _table("target_accounting")
    design = _table("calibrated_weights")["scaled_design_weight"].to_numpy()
    problem = fitted_problem(arrays, targets, design_weights=design)
    rows = matrix.in_matrix_order(targets, arrays)
    coefficients = matrix.from_arrays(arrays)

    def errors(weights: np.ndarray) -> Errors:
        table = fit.add_errors(rows, estimates={"w": coefficients @ weights})
        found = [fit.median_error(table, weights="w", role=r) for r in ("fitted", "held_out")]
        return found[0] or 0.0, found[1] or 0.0

    results: dict[str, list[Errors]] = {"gates": [], "hybrid": [], "random": []}
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
    run, plan = TrainingRun(), SelectionPlan()
    gates = calibrate(
        problem,
        budget=run.budget,
        seed=seed,
        settings=run.selection(),
        refit_settings=run.refit(),
    )
    chosen = run.refit(penalty=gates.penalty)
    hybrid = select_hybrid(
        gates.log_alpha, design, size=run.budget, gate_share=plan.gate_share, seed=seed
    )
    drawn = select_random(design, size=run.budget, seed=seed)
    return {
        "gates": gates.weights,
        "hybrid": refit(problem, hybrid.support, settings=chosen).weights,
        "random": refit(problem, drawn.support, settings=chosen).weights,
    }


def _table(name: str) -> pl.DataFrame:
    return pl.read_parquet(DATA_DIR / "tables" / name / f"{DEFAULT_YEAR}.parquet")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
