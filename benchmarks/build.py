"""Seconds and memory of `make run`, and of loading the code location. Linux only.

    .venv/bin/python benchmarks/build.py

Memory is the largest sum, over the build's processes at one moment, of each process's share of
physical memory (Pss), sampled twice a second.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[1]
SAMPLE_SECONDS = 0.5
IMPORTS = 5


def main() -> None:
    seconds, memory = _build()
    load = statistics.median(_load() for _ in range(IMPORTS))
    print(f"{'what':<44}{'measured':>12}{'limit':>10}")
    print(f"{'make run, seconds':<44}{seconds:>12.0f}{240:>10}")
    print(f"{'make run, peak memory in GB':<44}{memory / 1e9:>12.2f}{6:>10}")
    print(f"{'import of l0_pipeline.definitions, seconds':<44}{load:>12.2f}{3:>10}")


def _build() -> tuple[float, int]:
    start = time.monotonic()
    build = subprocess.Popen(["make", "run"], cwd=PROJECT_DIR, start_new_session=True)
    peak = 0
    while build.poll() is None:
        peak = max(peak, _memory_of_session(build.pid))
        time.sleep(SAMPLE_SECONDS)
    if build.returncode:
        sys.exit(f"make run ended with {build.returncode}")
    return time.monotonic() - start, peak


def _memory_of_session(session: int) -> int:
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += 1024 * sum(int(line.split()[1]) for line in lines if "Pss:" in line[:5])
        except (OSError, ProcessLookupError):
            continue  # it ended while we looked
    return total


def _load() -> float:
    code = "import time; t = time.perf_counter(); import l0_pipeline.definitions as _\n"
    shown = "print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code + shown], capture_output=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
