"""Epochs of ``SparseCalibrationWeights``; ``calibration_speed.py`` runs it with l0-python.

    python benchmarks/incumbent_calibration.py DISTRIBUTION PROBLEM THREADS EPOCHS

Whatever ``import l0`` finds is measured, so this file uses only the names that both packages
have. ``PROBLEM`` is a file of ``CalibrationProblem.save``. Prints JSON: seconds an epoch, taken
between a short and a longer fit, and peak memory.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

import l0
from l0.calibration import SparseCalibrationWeights


def main(distribution: str, problem: Path, threads: int, epochs: int) -> None:
    torch.set_num_threads(threads)
    with np.load(problem) as file:
        arrays = dict(file)
    parts = tuple(arrays[name] for name in ("data", "indices", "indptr"))
    shape = (len(arrays["values"]), len(arrays["design_weights"]))
    # one of the packages knows no other kind of sparse matrix
    matrix = sp.csr_matrix(sp.csc_matrix(parts, shape=shape))
    del parts, arrays["data"], arrays["indices"], arrays["indptr"]
    seconds = {}
    for count in (1, 1 + epochs):
        model = SparseCalibrationWeights(shape[1], init_weights=arrays["design_weights"])
        start = time.perf_counter()
        model.fit(matrix, arrays["values"], loss_type="relative", epochs=count, lr=0.05)
        seconds[count] = time.perf_counter() - start
    report = {
        "package": f"{distribution} {version(distribution)}",
        "folder": str(Path(l0.__file__).resolve().parent),
        "epoch": (seconds[1 + epochs] - seconds[1]) / epochs,
        "peak": peak_memory(),
    }
    print(json.dumps(report))


def peak_memory() -> int:
    """The most physical memory this process ever had, in bytes. Linux only.

    Not ``ru_maxrss``: a child inherits its parent's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM: this needs Linux.")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
