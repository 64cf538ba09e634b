"""Recovering a planted support with ``SparseL0Linear``, against l0-python and the Lasso.

    python -m venv OTHER; OTHER/bin/pip install l0-python==0.6.2
    .venv/bin/python benchmarks/sparse_regression.py OTHER/bin/python

Every method chooses one of as many penalties by the mean squared error on a validation sample.
Both packages are imported as ``l0``, so each is measured in processes of its own interpreter,
taking turns; both run ``incumbent_sparse.py``. The requirement holds when this package's
precision, recall and F1 are on average no lower than those of l0-python, its fits take no longer,
and its F1 is no lower than the Lasso's.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import sklearn
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.linear_model import Lasso
from two_packages import Report, measure_other, measure_ours, other_python

SAMPLES, FEATURES, DENSITY, PLANTED, SIGNAL_TO_NOISE = 300, 600, 0.1, 15, 5.0
# features of a block are non-zero in the same samples; their correlation there
BLOCK, CORRELATION = 10, 0.7
PROBLEMS, TURNS, THREADS = 20, 4, 2
# in units of the signal's variance for an expected gate, and of the largest sensible alpha
PRICES = np.geomspace(3e-3, 1, 8)
METHODS = ("ours", "l0-python", "Lasso")


def main(python: str) -> None:
    verdicts = [_compare(name, matrix, python) for name, matrix in VARIANTS.items()]
    print("requirement", "holds" if all(verdicts) else "FAILS")


def _independent(rng: Generator) -> sp.csr_array:
    present = rng.random((SAMPLES, FEATURES)) < DENSITY
    return sp.csr_array(present * rng.standard_normal(present.shape))


def _correlated(rng: Generator) -> sp.csr_array:
    blocks = FEATURES // BLOCK
    present = np.repeat(rng.random((SAMPLES, blocks)) < DENSITY, BLOCK, axis=1)
    common = np.repeat(rng.standard_normal((SAMPLES, blocks)), BLOCK, axis=1)
    own = rng.standard_normal(present.shape)
    return sp.csr_array(present * (CORRELATION**0.5 * common + (1 - CORRELATION) ** 0.5 * own))


VARIANTS: dict[str, Callable[[Generator], sp.csr_array]] = {
    "independent features": _independent,
    f"blocks of {BLOCK} with correlation {CORRELATION}": _correlated,
}


def _compare(name: str, matrix: Callable[[Generator], sp.csr_array], python: str) -> bool:
    scores: dict[str, list[tuple[float, ...]]] = {method: [] for method in METHODS}
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for turn in range(TURNS):
        with tempfile.TemporaryDirectory() as made:
            planted = {
                f"{seed:03}": _write(Path(made, f"{seed:03}"), matrix, seed)
                for seed in range(turn, PROBLEMS, TURNS)
            }
            ours = measure_ours("incumbent_sparse.py", made, str(THREADS))
            other = measure_other(python, "incumbent_sparse.py", made, str(THREADS))
            lasso = {problem: _lasso(Path(made, problem)) for problem in planted}
        for method, fits in zip(METHODS, (ours["fits"], other["fits"], lasso), strict=True):
            for problem, support in planted.items():
                best = min(fits[problem], key=lambda fit: fit["validation"])
                scores[method].append(_score(set(best["selected"]), support))
                seconds[method] += [fit["seconds"] for fit in fits[problem]]
    versions = (
        f"{ours['package']}, torch {ours['torch']}",
        f"{other['package']}, torch {other['torch']}",
        f"scikit-learn {sklearn.__version__}",
    )
    print(f"{name}: {SAMPLES} samples, {FEATURES} features, {PLANTED} planted, {PROBLEMS} problems")
    print(f"{'mean / median':<12}{'precision':>16}{'recall':>16}{'F1':>16}{'s a fit':>10}")
    for method, version in zip(METHODS, versions, strict=True):
        cells = (
            f"{np.mean(s):.3f} / {np.median(s):.3f}" for s in zip(*scores[method], strict=True)
        )
        row = "".join(f"{cell:>16}" for cell in cells)
        print(f"{method:<12}{row}{statistics.median(seconds[method]):>10.3f}  {version}")
    return _judge(scores, seconds)


def _judge(scores: dict[str, list[tuple[float, ...]]], seconds: dict[str, list[float]]) -> bool:
    ours, other, lasso = (np.mean(scores[method], axis=0) for method in METHODS)
    slower = statistics.median(seconds["ours"]) > statistics.median(seconds["l0-python"])
    than_other = _worse(ours, other) + (["seconds"] if slower else [])
    than_lasso = _worse(ours, lasso)
    print(f"worse than l0-python: {', '.join(than_other) or 'nothing'}")
    print(f"worse than Lasso: {', '.join(than_lasso) or 'nothing'}\n", flush=True)
    return not than_other and "F1" not in than_lasso


def _worse(ours: NDArray[np.float64], other: NDArray[np.float64]) -> list[str]:
    measures = zip(("precision", "recall", "F1"), ours < other, strict=True)
    return [measure for measure, is_worse in measures if is_worse]


def _write(folder: Path, matrix: Callable[[Generator], sp.csr_array], seed: int) -> set[int]:
    """One problem's files; its planted support."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    support = rng.choice(FEATURES, PLANTED, replace=False)
    coefficients = np.zeros(FEATURES)
    coefficients[support] = rng.choice([-1, 1], PLANTED) * rng.uniform(0.5, 2, PLANTED)
    responses = {}
    # the noise of both samples is that of the first's signal
    variance = None
    for part in ("train", "validation"):
        sample = matrix(rng)
        signal = sample @ coefficients
        variance = float(signal.var()) if variance is None else variance
        noise = rng.standard_normal(SAMPLES) * (variance / SIGNAL_TO_NOISE) ** 0.5
        responses[part] = signal + noise
        sp.save_npz(folder / f"{part}.npz", sample)
    np.savez(folder / "numbers.npz", prices=PRICES * variance, **responses)
    return {int(feature) for feature in support}


def _lasso(problem: Path) -> list[Report]:
    train, validation = (
        sp.csc_array(sp.load_npz(problem / f"{part}.npz")) for part in ("train", "validation")
    )
    numbers = np.load(problem / "numbers.npz")
    response = numbers["train"]
    # with a higher alpha no feature is kept
    highest = np.abs(train.T @ (response - response.mean())).max() / SAMPLES
    fits = []
    for alpha in PRICES * highest:
        model = Lasso(alpha=alpha, max_iter=100_000)
        start = time.perf_counter()
        model.fit(train, response)
        elapsed = time.perf_counter() - start
        error = model.predict(validation) - numbers["validation"]
        fits.append(
            {
                "selected": np.flatnonzero(model.coef_).tolist(),
                "validation": float(np.mean(error**2)),
                "seconds": elapsed,
            }
        )
    return fits


def _score(selected: set[int], planted: set[int]) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    found = len(selected & planted)
    precision = found / len(selected) if selected else 0.0
    return precision, found / len(planted), 2 * found / (len(selected) + len(planted))


if __name__ == "__main__":
    main(other_python())
