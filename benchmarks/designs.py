"""Every design: are its probabilities those it states, and what does a large draw cost?

    .venv/bin/python benchmarks/designs.py [draws]

First, on seven records, the worst distance of the frequencies over many draws from the stated
probabilities, in standard errors; joint ones where the design has them. Then 20,000 of 200,576
records, the median of three seeds, each design in a process of its own: seconds of the draw, how
far its peak memory lies above the population's own, and the cube method's worst imbalance over 60
columns.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from typing import Any

import numpy as np

from l0.survey import Sample, inclusion_probabilities, select
from l0.survey.selection.designs import JOINT

UNEQUAL = np.array([0.2, 0.7, 0.35, 0.9, 0.15, 0.45, 0.25])
EQUAL = np.full(7, 3 / 7)
DESIGNS = {  # the design, whether probabilities are equal, what it uses
    "simple_random": ("simple_random", True, None),
    "systematic": ("systematic", False, None),
    "sampford": ("sampford", False, None),
    "pivotal": ("pivotal", False, None),
    "local pivotal": ("pivotal", False, "coordinates"),
    "cube": ("cube", False, "balance"),
    "cube, equal": ("cube", True, "balance"),
}
RECORDS, SIZE, COLUMNS, SEEDS = 200_576, 20_000, 60, 3


def main(draws: int) -> None:
    print(f"{draws:,} draws of 3 of 7 records")
    print(f"{'design':<16}{'first order':>14}{'joint':>10}   worst distance in standard errors")
    for name in DESIGNS:
        first, joint = _distances(name, draws)
        print(f"{name:<16}{first:>14.2f}{'' if joint is None else f'{joint:.2f}':>10}", flush=True)
    print(f"\n{SIZE:,} of {RECORDS:,} records")
    print(f"{'design':<16}{'seconds':>10}{'memory':>12}{'worst imbalance':>18}")
    for name in DESIGNS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, memory, imbalance = pool.apply(_large, (name,))
        told = "" if imbalance is None else f"{100 * imbalance:.3f} %"
        print(f"{name:<16}{seconds:>10.2f}{memory:>9.0f} MB{told:>18}", flush=True)


def _distances(name: str, draws: int) -> tuple[float, float | None]:
    design, equal, used = DESIGNS[name]
    probability = EQUAL if equal else UNEQUAL
    options: dict[str, Any] = {"design": design}
    if used:
        options[used] = np.random.default_rng(0).gamma(2.0, size=(7, 2))
    together = np.zeros((7, 7))
    for seed in range(draws):
        drawn = select(probability, seed=seed, **options).indices
        together[np.ix_(drawn, drawn)] += 1
    frequency = together / draws
    first = _worst(np.diag(frequency), probability, draws)
    if design not in JOINT:
        return first, None
    return first, _worst(frequency, JOINT[design](probability, np.arange(7)), draws)


def _worst(frequency: np.ndarray, stated: np.ndarray, draws: int) -> float:
    # what never happens, or always, has a standard error of rounding alone
    error = np.sqrt(np.maximum(stated * (1 - stated), 1e-12) / draws)
    return float((np.abs(frequency - stated) / error).max())


def _large(name: str) -> tuple[float, float, float | None]:
    design, equal, used = DESIGNS[name]
    rng = np.random.default_rng(0)
    measure = np.ones(RECORDS) if equal else rng.lognormal(sigma=0.5, size=RECORDS)
    probability = inclusion_probabilities(measure, SIZE)
    options: dict[str, Any] = {"design": design}
    if used == "coordinates":
        options[used] = rng.normal(size=(RECORDS, 2))
    if used == "balance":
        options[used] = rng.lognormal(size=(RECORDS, COLUMNS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, samples = zip(
        *(_timed(probability, seed=seed, **options) for seed in range(SEEDS)), strict=True
    )
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    imbalance = [float(np.abs(s.balance.imbalance).max()) for s in samples if s.balance is not None]
    return statistics.median(seconds), memory, max(imbalance) if imbalance else None


def _timed(probability: np.ndarray, **options: Any) -> tuple[float, Sample]:
    start = time.perf_counter()
    sample = select(probability, **options)
    return time.perf_counter() - start, sample


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
