"""What targets cost before anything is fitted, on the figures of 2022 and all households.

    .venv/bin/python benchmarks/targets.py

Needs the tables of the last `make run` of 2022. Each line runs in a process of its own, so that
peak memory (resident, imports included) is its own too.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import polars as pl
from problem_2022 import load, roles

from l0.survey import CalibrationProblem
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.settings import (
    CONFLICT_SECONDS,
    CONFLICT_TOLERANCE,
    CONFLICTS_MOST,
    DATA_DIR,
    DEFAULT_YEAR,
    HELD_OUT_SHARE,
    MAX_WEIGHT_RATIO,
    SEED,
)

ROWS = 12_000
Measured = tuple[float, str]  # seconds, what came out
MEASUREMENTS: list[tuple[str, str, Callable[[], Measured]]] = []


def measured(asked: str) -> Callable[[Callable[[], Measured]], Callable[[], Measured]]:
    """Put a function into the table, with what is asked of it."""

    def add(function: Callable[[], Measured]) -> Callable[[], Measured]:
        MEASUREMENTS.append(((function.__doc__ or "").rstrip("."), asked, function))
        return function

    return add


def figures() -> pl.DataFrame:
    variables = VariableDictionary().read()["variable"].to_list()
    return FiguresSource().read(int(DEFAULT_YEAR), variables=variables)


def table(name: str) -> pl.DataFrame:
    return pl.read_parquet(DATA_DIR / "tables" / name / f"{DEFAULT_YEAR}.parquet")


@measured("3 s")
def reading() -> Measured:
    """Load and validate all figures."""
    start = time.perf_counter()
    found = figures()
    return time.perf_counter() - start, f"{len(found):,} figures"


@measured("")
def findings() -> Measured:
    """Look for faults in them."""
    from l0_pipeline.logic.figure_findings import find

    read = figures()
    start = time.perf_counter()
    found = find(read)
    seconds = time.perf_counter() - start
    counts = dict(found.group_by("severity").len().rows())
    return seconds, ", ".join(f"{counts.get(s, 0):,} {s}s" for s in ("error", "warning", "note"))


@measured("20 s, 3 GB")
def compiling() -> Measured:
    """Compile 12,000 targets."""
    from l0_pipeline.logic.constraints import compile_constraints
    from l0_pipeline.logic.measures import unit_measures
    from l0_pipeline.logic.targets import declare_targets

    declared = declare_targets(
        figures(), VariableDictionary().read(), held_out_share=HELD_OUT_SHARE, seed=SEED
    )
    shown = declared.filter(pl.col("role").is_in(["fitted", "held_out"])).sample(ROWS, seed=SEED)
    households, units, outputs = (table(n) for n in ("households", "tax_units", "tax_outputs"))
    start = time.perf_counter()
    matrix = compile_constraints(
        shown, unit_measures(units, outputs), household_ids=households["household_id"]
    )
    seconds = time.perf_counter() - start
    return seconds, f"{matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} non-zeros"


@measured("")
def dependencies() -> Measured:
    """Count linear dependencies of the fitted targets."""
    from l0.survey.dependencies import linear_dependencies

    problem, rows = _fitted()
    start = time.perf_counter()
    found = linear_dependencies(problem, areas=rows["geography"].to_list())
    return time.perf_counter() - start, f"rank {found.rank:,} of {problem.n_targets:,}"


@measured("60 s")
def conflicts() -> Measured:
    """Look for fitted targets that exclude each other."""
    from l0.survey.infeasibility import find_conflicts
    from l0_pipeline.logic.conflicts import state_sums

    problem, rows = _fitted()
    areas = rows["geography"].to_list()
    start = time.perf_counter()
    found = find_conflicts(
        problem,
        max_weight_ratio=MAX_WEIGHT_RATIO,
        areas=areas,
        sums=state_sums(rows),
        tolerance=CONFLICT_TOLERANCE,
        most=CONFLICTS_MOST,
        seconds=CONFLICT_SECONDS,
    )
    decided = len(set(areas)) - len(found.undecided)
    came_out = (
        f"{len(found.found)} conflicts; {decided} of {len(set(areas))} areas searched through"
    )
    return time.perf_counter() - start, came_out


def _fitted() -> tuple[CalibrationProblem, pl.DataFrame]:
    problem, _ = load()
    rows = pl.DataFrame({"target_id": problem.target_names})
    return problem, rows.join(roles(), on="target_id", how="left", maintain_order="left")


def _run(number: int) -> tuple[float, str, float]:
    seconds, came_out = MEASUREMENTS[number][2]()
    return seconds, came_out, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    print(f"{'what':<52}{'seconds':>9}{'asked':>12}{'GB':>6}  result")
    for number, (what, asked, _) in enumerate(MEASUREMENTS):
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
            seconds, came_out, peak = pool.submit(_run, number).result()
        print(f"{what:<52}{seconds:>9.2f}{asked:>12}{peak:>6.2f}  {came_out}", flush=True)


if __name__ == "__main__":
    main()
