"""Standard errors of replicate weights against the spread of estimates over many draws.

    .venv/bin/python benchmarks/replicates.py [draws]

First a simulated population whose truth is known: samples of a tenth, each refitted to the true
totals. Then, where the tables of the last `make run` of 2022 are there, the pipeline's own
problem: the gates' part stays and the random tenth is drawn anew with 30 seeds. Prints
standard error over Monte Carlo standard deviation, which should be 1, and seconds over those of
one refit, which should be at most 5.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from problem_2022 import held_near, load, table

from l0.survey import CalibrationProblem, RefitSettings, refit
from l0.survey.replicates import ReplicateWeights, replicate_weights
from l0.survey.selection import Sample, select
from l0_pipeline.logic.calibration import chosen_penalty
from l0_pipeline.logic.hybrid import HeldNear, draw_hybrid, refit_hybrid
from l0_pipeline.resources.plans import SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import DATA_DIR, DEFAULT_YEAR

METHODS = ("bootstrap", "jackknife")
RECORDS, SAMPLE = 10_000, 1_000
# samples of which replicates are made, for the mean of their variances
REPLICATED = 40
SEEDS = 30

Array = np.ndarray


class Population(NamedTuple):
    """Records with a stratum, what is targeted, and what is not."""

    problem: CalibrationProblem
    stratum: Array
    income: Array
    wealth: Array
    owner: Array
    size: Array  # what unequal probabilities are proportional to


def main(draws: int) -> None:
    print(f"{'design, targets':<26}{'statistic':<15}{'sd':>8}{'bootstrap':>11}{'jackknife':>11}")
    for targets in (40, 400):
        population = simulated(targets)
        for design, sample in samplers(population).items():
            for row in spread(population, sample, draws=draws):
                print(f"{f'{design}, {targets}':<26}{row}", flush=True)
    if (DATA_DIR / "arrays" / "constraint_matrix" / f"{DEFAULT_YEAR}.npz").exists():
        pipeline()


def simulated(targets: int) -> Population:
    """Counts and persons by class and stratum are targeted; wealth and owners are not."""
    draw = np.random.default_rng(targets)
    stratum = draw.integers(0, 5, RECORDS)
    income = draw.lognormal(10 + 0.15 * stratum, 0.7, RECORDS)
    persons = 1.0 + draw.poisson(1.5, RECORDS)
    cells = (targets // 2) // 5
    cell = stratum * cells + draw.integers(0, cells, RECORDS)
    member = sp.csr_array((np.ones(RECORDS), (cell, np.arange(RECORDS))))
    constraints = sp.vstack([member, member * persons])
    return Population(
        problem=CalibrationProblem(constraints, constraints @ np.ones(RECORDS), np.ones(RECORDS)),
        stratum=stratum,
        income=income,
        wealth=income * persons**0.5 * draw.lognormal(1.0, 0.6, RECORDS),
        owner=(draw.random(RECORDS) < income / (income + 25_000)).astype(float),
        size=np.sqrt(income),
    )


def samplers(population: Population) -> dict[str, Callable[[int], Sample]]:
    """One draw of each design, by seed."""
    equal = np.full(RECORDS, SAMPLE / RECORDS)
    # whole numbers by stratum
    count = np.bincount(population.stratum)
    by_stratum = (np.round(count * SAMPLE / RECORDS) / count)[population.stratum]
    unequal = SAMPLE * population.size / population.size.sum()
    return {
        "simple random": lambda seed: select(equal, design="simple_random", seed=seed),
        "stratified": lambda seed: select(
            by_stratum, design="simple_random", strata=population.stratum, seed=seed
        ),
        "sampford": lambda seed: select(unequal, design="sampford", seed=seed),
    }


def spread(population: Population, sample: Callable[[int], Sample], *, draws: int) -> list[str]:
    """One row a statistic: its spread over draws, and what replicates of some say."""
    found, variances = [], {method: [] for method in METHODS}
    for seed in range(draws):
        drawn = sample(seed)
        reference = 1 / drawn.inclusion_probability
        weights = refit(
            population.problem,
            drawn.indices,
            reference=reference,
            settings=RefitSettings(penalty=1e-3, order="second", epochs=1),
        ).weights[drawn.indices]
        judged = statistics_of(population, drawn.indices)
        found.append(judged(weights))
        if seed >= REPLICATED:
            continue
        for method in METHODS:
            replicates = replicate_weights(
                population.problem,
                drawn.indices,
                weights,
                inclusion_probability=drawn.inclusion_probability,
                strata=drawn.strata,
                method=method,
                seed=seed,
            )
            variances[method].append(np.square(replicates.standard_error(judged)))
    sd = np.std(found, axis=0, ddof=1)
    ratios = [np.sqrt(np.mean(variances[method], axis=0)) / sd for method in METHODS]
    names = ("wealth", "mean wealth", "wealth/income", "owners", "median wealth")
    relative = sd / np.mean(found, axis=0)
    return [
        f"{name:<15}{100 * share:>6.2f} %{bootstrap:>11.3f}{jackknife:>11.3f}"
        for name, share, bootstrap, jackknife in zip(names, relative, *ratios, strict=True)
    ]


def statistics_of(population: Population, indices: Array) -> Callable[[Array], Array]:
    """Total, mean, ratio, total of a flag, and median, of the weights of these records."""
    wealth, income, owner = (
        column[indices] for column in (population.wealth, population.income, population.owner)
    )
    order = np.argsort(wealth)

    def all_of(weights: Array) -> Array:
        total = weights @ wealth
        below = np.cumsum(weights[order])
        median = wealth[order][np.searchsorted(below, below[-1] / 2)]
        return np.array(
            [total, total / weights.sum(), total / (weights @ income), weights @ owner, median]
        )

    return all_of


def pipeline() -> None:
    """The released hybrid of 2022: median ratios over the variables of each kind, and seconds."""
    fitted, held_out = load()
    judged = {"untargeted": untargeted(), "held out": held_out.constraints}
    near = held_near(SelectionPlan(), design_weights=fitted.design_weights)
    draws = [hybrid(fitted, near, seed=seed) for seed in range(SEEDS)]
    seconds = statistics.median(taken for *_, taken in draws)
    everyone = np.column_stack([weights for _, weights, _ in draws])
    print(f"\n2022: {len(draws[0][0].indices):,} households, {fitted.n_targets:,} targets")
    print(f"a refit takes {seconds:.1f} s; ratios: median, and root of summed variances")
    for method in METHODS:
        for sample, weights, _ in draws[:3]:
            problem = near.problem(fitted, sample)
            start = time.perf_counter()
            replicates = replicate_weights(
                problem,
                sample.indices,
                weights[sample.indices],
                inclusion_probability=sample.inclusion_probability,
                strata=sample.strata,
                method=method,
                seed=0,
            )
            taken = time.perf_counter() - start
            cells = [
                f"{name} {ratios(columns, everyone, sample.indices, replicates)}"
                for name, columns in judged.items()
            ]
            print(f"{method:<10} {taken / seconds:>5.1f} refits   {'   '.join(cells)}", flush=True)


def hybrid(fitted: CalibrationProblem, near: HeldNear, *, seed: int) -> tuple[Sample, Array, float]:
    """The sample, refitted weights of all households, and the seconds of the refit."""
    run, plan = TrainingRun(), SelectionPlan(seed=seed)
    sample = draw_hybrid(
        table("calibrated_weights"),
        table("households"),
        near.shares,
        size=run.budget,
        **plan.draw(),
    )
    problem = near.problem(fitted, sample)
    start = time.perf_counter()
    weights = refit_hybrid(
        problem,
        sample,
        expansion=plan.expansion,
        loss=run.loss,
        settings=run.refit(penalty=chosen_penalty(table("refit_validation"))),
        device="cpu",
    )
    return sample, weights, time.perf_counter() - start


def untargeted() -> sp.csr_array:
    """Household size, by state too, and the survey's year: no target counts them."""
    households = table("households")
    persons, year, state = (
        households[name].to_numpy() for name in ("persons", "income_year", "state_fips")
    )
    sizes = [persons == n for n in range(1, 5)] + [persons >= 5]
    rows = [
        *sizes,
        *(year == one for one in np.unique(year)),
        *(size & (state == one) for one in np.unique(state) for size in sizes),
    ]
    return sp.csr_array(np.array(rows, dtype=float))


def ratios(
    columns: sp.csr_array, everyone: Array, indices: Array, replicates: ReplicateWeights
) -> str:
    """Median of standard errors over Monte Carlo deviations, and root of the sums' ratio."""
    totals = columns @ everyone
    sd = totals.std(axis=1, ddof=1)
    of_sample = columns[:, indices].tocsr()
    error = replicates.standard_error(lambda weights: of_sample @ weights)
    moves = sd > 1e-9 * np.abs(totals).mean(axis=1)
    scaled = np.abs(totals).mean(axis=1)[moves]
    error, sd = error[moves] / scaled, sd[moves] / scaled
    return (
        f"{np.median(error / sd):.3f} {np.sqrt(np.square(error).sum() / np.square(sd).sum()):.3f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
