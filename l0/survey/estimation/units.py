"""What each record drawn is before its probability expands it: how many units, in which part."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import of_type, refuse, vector
from l0.survey.problem import Vector
from l0.survey.selection.sample import Sample


def units(sample: Sample, design_weights: ArrayLike | None) -> Vector:  # (size,)
    """How many units of the population each record drawn is: its design weight, or 1 without.

    Raises:
        InputError: no sample, weights of another shape, or one that is not above zero.
    """
    of_type("sample", sample, Sample)
    size = len(sample.indices)
    if design_weights is None:
        return np.ones(size)
    each = vector("design_weights", design_weights, size, "records drawn")
    refuse("design_weights", each <= 0, "not above zero", "Leave such records out of the draw.")
    return each


def members(
    sample: Sample, domain: ArrayLike | None, *, least: int = 1
) -> NDArray[np.bool_]:  # (size,)
    """Which records drawn belong to a domain; all without.

    Args:
        sample: the records drawn.
        domain: (size,) bool.
        least: how many of them the estimate needs.

    Raises:
        InputError: no mask of that shape, or fewer records.
    """
    size = len(sample.indices)
    inside = np.ones(size, dtype=bool) if domain is None else np.asarray(domain)
    if inside.dtype != bool or inside.shape != (size,):
        raise InputError(
            f"domain is {inside.dtype} of shape {inside.shape}, but must be bool of shape "
            f"({size},): whether each record drawn belongs to it."
        )
    if inside.sum() < least:
        raise InputError(
            f"{int(inside.sum())} records drawn belong to the domain, but the estimate and its "
            f"variance need {least}. Join the domain with others, or draw with it as a stratum."
        )
    return inside
