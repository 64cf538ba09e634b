"""Every method at five sizes on the real problem, as multiples of the published recipe.

    .venv/bin/python benchmarks/calibration_sizes.py [seeds]

The published recipe: Hard Concrete gates at a fixed price, 1,500 epochs, the best k of them, gates
removed, 1,500 epochs of refit without penalty; on our kernel. Its prices were found by bisection
so that about k gates are open; the seconds are of its last run alone. Cells are means over the
seeds. Reads the tables of the last `make run` of 2022.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from problem_2022 import Quality, load, quality

from l0.survey import (
    CalibrationProblem,
    GatedFitSettings,
    PenalisedFitSettings,
    RefitSettings,
    calibrate,
    refit,
    select_random,
)

SHARES = (0.18, 0.10, 0.08, 0.03, 0.01)
# of an open gate, in units of the loss over the number of households: about k gates stay open
PRICES = {0.18: 0.448, 0.10: 1.15, 0.08: 1.53, 0.03: 5.27, 0.01: 16.8}
UNPENALISED = RefitSettings(
    epochs=1500, rate=0.05, penalty=0.0, order="first", max_weight_ratio=None
)
# what each size must reach, as multiples of the recipe: held-out error, effective sample size,
# training loss of the setting for the lowest loss
ASKED = {
    0.18: (0.945, 4.2, 0.97),
    0.10: (0.935, 4.4, 0.95),
    0.08: (0.93, 4.0, 0.95),
    0.03: (0.92, 2.7, 0.83),
    0.01: (0.91, 1.3, 0.66),
}
# of the setting for the lowest loss: rounds in which households come back, where they are few
RETURNS = {0.03: 2, 0.01: 4}
Method = Callable[[CalibrationProblem, float, int], np.ndarray]


@dataclass(frozen=True)
class Run:
    """One method at one size and seed."""

    quality: Quality
    held_out_errors: np.ndarray  # (held-out targets,), capped, times their weight in the loss
    seconds: float


def main(seeds: int) -> None:
    problem, held_out = load()
    print(
        f"{problem.n_targets:,} fitted targets x {problem.n_records:,} households, "
        f"{problem.constraints.nnz:,} non-zeros, {held_out.n_targets:,} held out, {seeds} seeds"
    )
    everyone = calibrate(problem, budget=None)
    print(f"all households: {_cells(quality(problem, held_out, everyone.weights))}\n")
    header = ("loss", "held out", "ESS", "ratio", "seconds")
    for share in SHARES:
        runs: dict[str, list[Run]] = {name: [] for name in METHODS}
        for seed in range(seeds):
            for name, method in METHODS.items():
                start = time.perf_counter()
                weights = method(problem, share, seed)
                seconds = time.perf_counter() - start
                errors = np.minimum(np.abs(held_out.relative_errors(weights)), 1)
                runs[name].append(
                    Run(
                        quality(problem, held_out, weights),
                        errors * held_out.loss_weights,
                        seconds,
                    )
                )
        size = _size(problem, share)
        held_out_asked, effective_asked, lowest_asked = ASKED[share]
        print(f"{share:.0%} of households, k = {size:,}; multiples of the recipe in brackets")
        print(f"{'':<22}" + "".join(f"{name:>17}" for name in header) + f"{'held-out diff.':>22}")
        for name in METHODS:
            print(f"{name:<22}" + _row(runs[name], runs["published recipe"]))
        print(
            f"asked of gates: held out {held_out_asked}, ESS {effective_asked}, loss 1.2, ratio "
            f"30, seconds 1; of ratio <= 15: held out as without, ESS {size // 2:,}; "
            f"of lowest loss: loss {lowest_asked}\n",
            flush=True,
        )


def _row(found: list[Run], recipe: list[Run]) -> str:
    cells = ""
    for column, form in enumerate((".4f", ".4f", ",.0f", ".1f")):
        ours, theirs = (
            float(np.mean([run.quality[column] for run in runs])) for runs in (found, recipe)
        )
        cells += f"{ours:>9{form}} ({ours / theirs:.3f})"
    seconds, base = (float(np.mean([run.seconds for run in runs])) for runs in (found, recipe))
    pairs = zip(found, recipe, strict=True)
    differences = np.mean([one.held_out_errors - two.held_out_errors for one, two in pairs], axis=0)
    # targets are independent draws of what could have been held out
    error = float(np.sqrt(len(differences)) * differences.std(ddof=1))
    return f"{cells}{seconds:>9.1f} ({seconds / base:.2f})" + (
        f"{differences.sum():>+13.4f} +- {error:.4f}"
    )


def _cells(found: Quality) -> str:
    return (
        f"loss {found.loss:.4f}, held out {found.held_out:.4f}, ESS "
        f"{found.effective_sample_size:,.0f}, largest ratio {found.largest_ratio:.1f}"
    )


def _size(problem: CalibrationProblem, share: float) -> int:
    return round(share * problem.n_records)


def _recipe(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    return calibrate(
        problem,
        budget=_size(problem, share),
        method="penalised",
        settings=PenalisedFitSettings(lambda_l0=PRICES[share] / problem.n_records),
        refit_settings=UNPENALISED,
        max_weight_ratio=None,
        seed=seed,
    ).weights


def _gates(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    return calibrate(problem, budget=_size(problem, share), seed=seed).weights


def _bounded(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    budget = _size(problem, share)
    return calibrate(problem, budget=budget, max_weight_ratio=15, seed=seed).weights


def _lowest_loss(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    return calibrate(
        problem,
        budget=_size(problem, share),
        seed=seed,
        settings=GatedFitSettings(penalty=0.0, smoothing=0.0),
        refit_settings=RefitSettings(penalty=0.0, epochs=1000, order="first"),
        returns=RETURNS.get(share, 0),
        max_weight_ratio=None,
    ).weights


def _pruning(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    return calibrate(
        problem, budget=_size(problem, share), method="gradual_pruning", seed=seed
    ).weights


def _random(problem: CalibrationProblem, share: float, seed: int) -> np.ndarray:
    drawn = select_random(problem.design_weights, size=_size(problem, share), seed=seed)
    return refit(problem, drawn.indices, seed=seed).weights


METHODS: dict[str, Method] = {
    "published recipe": _recipe,
    "gates (default)": _gates,
    "gates, ratio <= 15": _bounded,
    "lowest loss": _lowest_loss,
    "gradual pruning": _pruning,
    "random": _random,
}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
