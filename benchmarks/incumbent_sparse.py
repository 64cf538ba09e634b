"""Fits of ``SparseL0Linear``; ``sparse_regression.py`` runs it with either package's interpreter.

    python benchmarks/incumbent_sparse.py DISTRIBUTION FOLDER THREADS

Whatever ``import l0`` finds is measured, so this file uses only the names that both packages
have. ``FOLDER`` holds one folder for each problem. Prints JSON: for each problem and price the
features selected, the mean squared error on the validation sample, and the seconds of the fit.
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
from l0.sparse import SparseL0Linear

LEARNING_RATE, EPOCHS = 0.01, 1000


def main(distribution: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    problems = sorted(path for path in folder.iterdir() if path.is_dir())
    # what is loaded at the first fit is no time of a fit
    _fits(problems[0], epochs=10)
    report = {
        "package": f"{distribution} {version(distribution)}",
        "torch": torch.__version__,
        "folder": str(Path(l0.__file__).resolve().parent),
        "fits": {problem.name: _fits(problem, epochs=EPOCHS) for problem in problems},
    }
    print(json.dumps(report))


def _fits(problem: Path, *, epochs: int) -> list[dict[str, object]]:
    train, validation = (
        # one of the packages knows no other kind of sparse matrix
        sp.csr_matrix(sp.load_npz(problem / f"{part}.npz"))
        for part in ("train", "validation")
    )
    numbers = np.load(problem / "numbers.npz")
    response = numbers["train"].astype(np.float32)
    fits = []
    for price in numbers["prices"]:
        # one of the packages draws its noise from the global generator
        torch.manual_seed(0)
        model = SparseL0Linear(train.shape[1], seed=0)
        start = time.perf_counter()
        model.fit(train, response, lambda_reg=float(price), lr=LEARNING_RATE, epochs=epochs)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            coefficients = (model.weight * model.get_deterministic_gates()).numpy()
            intercept = model.bias.item()
        # one of the packages mistakes another matrix of the same size for the first
        error = validation @ coefficients + intercept - numbers["validation"]
        fits.append(
            {
                "selected": model.get_selected_features().tolist(),
                "validation": float(np.mean(error**2)),
                "seconds": seconds,
            }
        )
    return fits


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
