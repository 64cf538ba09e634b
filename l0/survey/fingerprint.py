"""What a calibration depends on, as one digest: another one must not go on from its checkpoint."""

import hashlib
from pathlib import Path

import numpy as np
import scipy
import torch

from l0.survey.problem import CalibrationProblem, Vector


def fingerprint(
    problem: CalibrationProblem, start: Vector, device: torch.device, facts: object
) -> str:
    """Digest of everything that decides the result on one machine.

    Args:
        problem: constraints, values and design weights.
        start: (records,) weights to begin with.
        device: where it is computed.
        facts: budgets, settings and seed, in objects that print all they hold.
    """
    versions = (torch.__version__, np.__version__, scipy.__version__, _OWN_CODE)
    hashed = hashlib.sha256(problem.digest().encode())
    hashed.update(start.tobytes())
    hashed.update(repr((facts, str(device), versions)).encode())
    return hashed.hexdigest()


def _digest_of_own_code() -> str:
    package = Path(__file__).parents[1]
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        hashed.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


# of what runs: the files may be changed while it does
_OWN_CODE = _digest_of_own_code()
