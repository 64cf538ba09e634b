"""Estimates of l0.survey.estimation over many draws of one small population, design by design.

    .venv/bin/python benchmarks/estimators.py [draws]

Forty of two hundred records are drawn. Printed are the bias of each estimator relative to the
truth, the mean of its variance estimates over the variance of its values (the square of the
standard error, for quantiles), and how often its 95 % interval holds the truth. Of 20,000 draws
the second is known to about 1 % and the third to 0.2 points.

Not all can do well: a systematic sample in a fixed order is one of few, and has no unbiased
variance; balance on incomes' covariates is seen by the calibrated total alone; forty draws of
skewed wealth often miss the rich, and then their spread too.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from l0.survey.estimation import (
    Estimate,
    greg_total,
    hajek_total,
    horvitz_thompson_total,
    mean,
    quantile,
    ratio,
)
from l0.survey.selection import Sample, select

Vector = NDArray[np.float64]
Estimator = Callable[[Sample], Estimate]

RECORDS, SIZE, STRATA = 200, 40, 4


def main(draws: int) -> None:
    population = _population()
    truths, estimators = _truths(population), _estimators(population)
    # name: probability, options of the draw
    alike = np.full(RECORDS, SIZE / RECORDS)
    unequal = SIZE * population["size"] / population["size"].sum()
    balance = np.column_stack([unequal, population["size"], population["age"]])
    designs: Mapping[str, tuple[Vector, dict[str, object]]] = {
        "simple random": (alike, {"design": "simple_random"}),
        "stratified": (alike, {"design": "simple_random", "strata": population["stratum"]}),
        "systematic": (unequal, {"design": "systematic"}),
        "sampford": (unequal, {"design": "sampford"}),
        "pivotal": (unequal, {"design": "pivotal"}),
        "cube": (alike, {"design": "cube", "balance": balance}),
    }
    print(f"{'design':<15}{'estimator':<26}{'bias':>9}{'variance':>10}{'coverage':>10}")
    for design, (probability, options) in designs.items():
        start = time.perf_counter()
        found: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in estimators}
        for seed in range(draws):
            sample = _with_joint(select(probability, **options, seed=seed))
            for name, estimator in estimators.items():
                one = estimator(sample)
                low, high = one.interval()
                found[name].append((one.value, one.variance, low <= truths[name] <= high))
        for name, rows in found.items():
            values, variances, covered = np.array(rows, dtype=float).T
            print(
                f"{design:<15}{name:<26}{100 * (values.mean() / truths[name] - 1):>7.2f} %"
                f"{variances.mean() / values.var():>10.3f}{100 * covered.mean():>8.1f} %"
            )
        print(f"{'':<15}{time.perf_counter() - start:.0f} s", flush=True)


def _population() -> dict[str, Vector]:
    """Incomes nearly proportional to size, ages unlike it, and wealth of a few."""
    rng = np.random.default_rng(0)
    size = rng.gamma(4.0, 1.0, RECORDS) + 1
    stratum = np.argsort(np.argsort(size)) * STRATA // RECORDS
    return {
        "size": size,
        "stratum": stratum,
        "age": rng.uniform(20, 80, RECORDS),
        "income": 2 * size * rng.gamma(10.0, 0.1, RECORDS) + 1,
        "wealth": rng.lognormal(0.0, 1.3, RECORDS),
    }


def _truths(population: Mapping[str, Vector]) -> dict[str, float]:
    income, age, wealth = population["income"], population["age"], population["wealth"]
    return {
        "total": income.sum(),
        "total, hajek_deville": income.sum(),
        "Hajek total": income.sum(),
        "total of one in three": income[age > 60].sum(),
        "mean": income.mean(),
        "mean of one in three": income[age > 60].mean(),
        "ratio": income.sum() / age.sum(),
        "median": np.sort(income)[RECORDS // 2 - 1],
        "calibrated total": income.sum(),
        "total, skewed": wealth.sum(),
    }


def _estimators(population: Mapping[str, Vector]) -> dict[str, Estimator]:
    income, age, wealth = population["income"], population["age"], population["wealth"]
    auxiliary = np.column_stack([np.ones(RECORDS), population["size"], age])

    def of(values: Vector) -> Callable[[Sample], Vector]:
        return lambda sample: values[sample.indices]

    y, x, old, w, known = of(income), of(age), of(age > 60), of(wealth), of(auxiliary)
    return {
        "total": lambda s: horvitz_thompson_total(y(s), s),
        "total, hajek_deville": lambda s: horvitz_thompson_total(y(s), s, variance="hajek_deville"),
        "Hajek total": lambda s: hajek_total(y(s), s, population_size=RECORDS),
        "total of one in three": lambda s: horvitz_thompson_total(y(s), s, domain=old(s)),
        "mean": lambda s: mean(y(s), s),
        "mean of one in three": lambda s: mean(y(s), s, domain=old(s)),
        "ratio": lambda s: ratio(y(s), x(s), s),
        "median": lambda s: quantile(y(s), s, probability=0.5),
        "calibrated total": lambda s: greg_total(
            y(s), s, auxiliary=known(s), totals=auxiliary.sum(axis=0)
        ),
        "total, skewed": lambda s: horvitz_thompson_total(w(s), s),
    }


def _with_joint(sample: Sample) -> Sample:
    """The sample with its joint probabilities computed once for all estimators."""
    if sample.joint is None:
        return sample
    joint = sample.joint_probability()
    return dataclasses.replace(sample, joint=lambda: joint)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
