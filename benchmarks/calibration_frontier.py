"""A default run at 10 %, and the frontier of eight sizes against one run at its largest size.

    .venv/bin/python benchmarks/calibration_frontier.py [rounds]

Seconds of a run alternate with those of a frontier; the medians are printed, and the frontier's
points beside a run of their own size. Reads the tables of the last `make run` of 2022.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from problem_2022 import load, quality

from l0.survey import calibrate, frontier

SHARES = (0.25, 0.18, 0.10, 0.08, 0.05, 0.03, 0.02, 0.01)
Result = TypeVar("Result")


def main(rounds: int) -> None:
    problem, held_out = load()
    sizes = [round(share * problem.n_records) for share in SHARES]
    tenth, one, eight = [], [], []
    for _ in range(rounds):
        tenth.append(_timed(lambda: calibrate(problem, budget=problem.n_records // 10))[0])
        one.append(_timed(lambda: calibrate(problem, budget=sizes[0]))[0])
        seconds, found = _timed(lambda: frontier(problem, sizes, held_out=held_out))
        eight.append(seconds)
    ratio = statistics.median(many / single for many, single in zip(eight, one, strict=True))
    print(f"default run at 10 %: {statistics.median(tenth):.1f} s; asked at most 30 s on 2 cores")
    print(
        f"run at {SHARES[0]:.0%}: {statistics.median(one):.1f} s; frontier of {len(sizes)} sizes: "
        f"{statistics.median(eight):.1f} s, {ratio:.1f} runs; asked at most 3"
    )
    print(f"{'':>10}{'frontier':^44}{'a run of its own':^44}")
    header = ("loss", "held out", "ESS", "ratio")
    print(f"{'households':>10}" + 2 * "".join(f"{name:>11}" for name in header))
    for point in found.points:
        alone = calibrate(problem, budget=point.budget)
        cells = "".join(
            f"{judged.loss:>11.4f}{judged.held_out:>11.4f}"
            f"{judged.effective_sample_size:>11,.0f}{judged.largest_ratio:>11.1f}"
            for judged in (
                quality(problem, held_out, point.result.weights),
                quality(problem, held_out, alone.weights),
            )
        )
        print(f"{point.budget:>10,}{cells}", flush=True)
    print(f"suggested: {found.suggested.budget:,}")


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
