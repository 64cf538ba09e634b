"""Forward and backward of ten million Hard Concrete gates, against the package l0-python.

    python -m venv OTHER; OTHER/bin/pip install l0-python==0.6.2
    .venv/bin/python benchmarks/gates.py OTHER/bin/python

Both packages are imported as ``l0``, so each is measured in processes of its own interpreter,
taking turns; both run ``incumbent_gates.py``. Prints medians over all timed runs of all
processes. The requirement holds when this package is neither slower nor takes more memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASUREMENTS = ("gates", "gates and penalty")
GATES, THREADS, PROCESSES = 10_000_000, 2, 3

Report = dict[str, Any]


def main(other_python: str) -> None:
    if not Path(other_python).is_file():
        raise SystemExit(f"{other_python} is no file, but must be the other interpreter.")
    ours, others = [], []
    for _ in range(PROCESSES):
        ours.append(_measure(sys.executable, "l0-pipeline", path=ROOT))
        others.append(_measure(other_python, "l0-python", path=None))
    if Path(ours[0]["folder"]) != ROOT / "l0" or Path(others[0]["folder"]) == ROOT / "l0":
        raise SystemExit(
            f"measured {ours[0]['folder']} and {others[0]['folder']}, but the first must be "
            f"{ROOT / 'l0'} and the second another package: give the other's interpreter."
        )
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


def _measure(python: str, distribution: str, *, path: Path | None) -> Report:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    script = Path(__file__).with_name("incumbent_gates.py")
    # -P: the folder of the script is not searched for modules
    command = [python, "-P", str(script), distribution, str(GATES), str(THREADS)]
    done = subprocess.run(
        command,
        cwd=path or tempfile.gettempdir(),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{python} could not measure {distribution}: is it installed there?")
    report: Report = json.loads(done.stdout)
    return report


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
    if len(sys.argv) != 2:
        raise SystemExit("usage: python benchmarks/gates.py OTHER_PYTHON")
    # the processes run elsewhere; a link is left a link, or the environment would be lost
    main(str(Path(sys.argv[1]).absolute()))
