"""Forward and backward of ten million Hard Concrete gates, against the package l0-python.

    python -m venv OTHER; OTHER/bin/pip install l0-python==0.6.2
    .venv/bin/python benchmarks/gates.py OTHER/bin/python

Both packages are imported as ``l0``, so each is measured in processes of its own interpreter,
taking turns; both run ``incumbent_gates.py``. Prints medians over all timed runs of all
processes. The requirement holds when this package is neither slower nor takes more memory.
"""

import statistics

from two_packages import Report, measure_other, measure_ours, other_python

MEASUREMENTS = ("gates", "gates and penalty")
GATES, THREADS, PROCESSES = 10_000_000, 2, 3
PROGRAM = ("incumbent_gates.py", str(GATES), str(THREADS))


def main(python: str) -> None:
    ours, others = [], []
    for _ in range(PROCESSES):
        ours.append(measure_ours(*PROGRAM))
        others.append(measure_other(python, *PROGRAM))
    print(f"ours:  {ours[0]['package']}, torch {ours[0]['torch']}")
    print(f"other: {others[0]['package']}, torch {others[0]['torch']}")
    print(f"{GATES} gates, {THREADS} threads, {PROCESSES} processes each")
    print(f"{'forward and backward':<36}{'ours':>10}{'other':>10}{'ours / other':>14}")
    ratios = [
        ratio
        for measurement in MEASUREMENTS
        for ratio in (
            _row(f"{measurement}: s", _seconds(ours, measurement), _seconds(others, measurement)),
            _row(f"{measurement}: peak MB", _mb(ours, measurement), _mb(others, measurement)),
        )
    ]
    print("requirement", "holds" if max(ratios) <= 1 else "FAILS")


def _seconds(reports: list[Report], measurement: str) -> float:
    seconds: list[float] = [s for report in reports for s in report[measurement]["seconds"]]
    return statistics.median(seconds)


def _mb(reports: list[Report], measurement: str) -> float:
    peaks: list[float] = [report[measurement]["mb"] for report in reports]
    return statistics.median(peaks)


def _row(name: str, ours: float, other: float) -> float:
    digits = 0 if name.endswith("MB") else 3
    print(f"{name:<36}{ours:>10.{digits}f}{other:>10.{digits}f}{ours / other:>14.2f}")
    return ours / other


if __name__ == "__main__":
    main(other_python())
