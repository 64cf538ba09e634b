"""One measurement of Hard Concrete gates; ``gates.py`` runs it with either package's interpreter.

    python benchmarks/incumbent_gates.py DISTRIBUTION NUMBER_OF_GATES THREADS

Whatever ``import l0`` finds is measured, so this file uses only the names that both packages
have. It prints JSON: for each measurement the seconds of every timed run, and the peak of
resident memory so far above what the process held with the gates in place, in MB.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

import l0
from l0.distributions import HardConcrete

WARM_UPS, RUNS = 2, 7
PENALTY_WEIGHT = 1e-3


def main(distribution: str, size: int, threads: int) -> None:
    torch.set_num_threads(threads)
    # what torch loads at the first backward pass is no memory of the gates
    _with_penalty(HardConcrete(1000)).backward()
    gates = HardConcrete(size, temperature=2 / 3)
    gates.qz_logits.grad = torch.zeros_like(gates.qz_logits)
    before = _peak_mb()
    report: dict[str, object] = {
        "package": f"{distribution} {version(distribution)}",
        "torch": torch.__version__,
        "folder": str(Path(l0.__file__).resolve().parent),
    }
    for name, loss in (("gates", _alone), ("gates and penalty", _with_penalty)):
        seconds = _seconds(gates, loss)
        report[name] = {"seconds": seconds, "mb": _peak_mb() - before}
    print(json.dumps(report))


def _alone(gates: HardConcrete) -> Tensor:
    total: Tensor = gates().sum()
    return total


def _with_penalty(gates: HardConcrete) -> Tensor:
    total: Tensor = gates().sum() + PENALTY_WEIGHT * gates.get_penalty()
    return total


def _seconds(gates: HardConcrete, loss: Callable[[HardConcrete], Tensor]) -> list[float]:
    seconds = []
    for _ in range(WARM_UPS + RUNS):
        gates.zero_grad(set_to_none=False)
        start = time.perf_counter()
        loss(gates).backward()
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UPS:]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
