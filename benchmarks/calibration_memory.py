"""Peak memory of a process that loads a saved problem and calibrates it to a tenth.

    .venv/bin/python benchmarks/calibration_memory.py PROBLEM

PROBLEM is a file of ``CalibrationProblem.save``; ``calibration_speed.py`` writes one and runs this
file apart, so that nothing but the library is loaded. Prints bytes.
"""

import sys
from pathlib import Path

from l0.survey import CalibrationProblem, GatedFitSettings, calibrate


def peak_memory() -> int:
    """The most physical memory this process ever had, in bytes. Linux only.

    Not ``ru_maxrss``: a child inherits its parent's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM: this needs Linux.")


if __name__ == "__main__":
    problem = CalibrationProblem.load(sys.argv[1])
    calibrate(problem, budget=problem.n_records // 10, settings=GatedFitSettings(epochs=50))
    print(peak_memory())
