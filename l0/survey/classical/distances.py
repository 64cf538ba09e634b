"""The distances of classical calibration, each by the g-weights that minimise it.

Deville and Särndal (1992): a distance G of calibrated over design weight, g, is least where
g = F(u), with F the inverse of G' and u what the multipliers of the targets come to at a record.
Every F is 1 with slope 1 at u = 0. How multipliers are found is in ``newton``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from l0.errors import InputError
from l0.inputs import numbers
from l0.survey.problem import Vector

Bounds = tuple[float, float]
# u, least and greatest g-weight; g-weights and their derivative in u
GWeights = Callable[[Vector, float, float], tuple[Vector, Vector]]


@dataclass(frozen=True)
class Distance:
    """A distance with the least and the greatest g-weight that it allows."""

    function: GWeights
    lower: float
    upper: float

    def g_weights(self, u: Vector) -> tuple[Vector, Vector]:  # each (records,)
        """F(u) and its derivative."""
        return self.function(u, self.lower, self.upper)


def distance_of(method: str, bounds: Bounds | None) -> Distance:
    """The distance of that name.

    Raises:
        InputError: a name that is none, bounds that do not hold 1 between them or are below zero,
            or a logit without bounds.
    """
    if method not in _METHODS:
        raise InputError(f"method is {method!r}, but must be one of {', '.join(_METHODS)}.")
    function, unbounded = _METHODS[method]
    if bounds is None:
        if unbounded is None:
            raise InputError(
                f"method {method!r} is a distance between two bounds: give the least and the "
                "greatest g-weight, such as bounds=(0.3, 3)."
            )
        return Distance(function, *unbounded)
    given = numbers("bounds", bounds)
    finite = method != "logit" or bool(np.isfinite(given).all())
    if given.shape != (2,) or not 0 <= given[0] < 1 < given[1] or not finite:
        raise InputError(
            f"bounds is {bounds!r}, but must be the least g-weight, from 0 to below 1, and the "
            "greatest, above 1" + (" and finite." if method == "logit" else ".")
        )
    return Distance(function, float(given[0]), float(given[1]))


def _linear(u: Vector, lower: float, upper: float) -> tuple[Vector, Vector]:
    """Chi-square, G = (g - 1)^2 / 2: F = 1 + u, held within the bounds (cases 1 and 7)."""
    free = 1 + u
    return np.clip(free, lower, upper), ((lower < free) & (free < upper)).astype(np.float64)


def _raking(u: Vector, lower: float, upper: float) -> tuple[Vector, Vector]:
    """Kullback-Leibler, G = g log g - g + 1: F = exp u, held within the bounds (case 2)."""
    with np.errstate(over="ignore"):  # an infinite trial is refused by its slope
        free = np.exp(u)
    return np.clip(free, lower, upper), np.where((lower < free) & (free < upper), free, 0.0)


def _logit(u: Vector, lower: float, upper: float) -> tuple[Vector, Vector]:
    """Logit (case 6): F rises from one bound to the other and has no kinks."""
    width = upper - lower
    steepness = width / ((1 - lower) * (upper - 1))
    share = expit(steepness * u + float(logit((1 - lower) / width)))
    return lower + width * share, width * steepness * share * (1 - share)


# and the bounds where none are given
_METHODS: dict[str, tuple[GWeights, Bounds | None]] = {
    "linear": (_linear, (-math.inf, math.inf)),
    "raking": (_raking, (0.0, math.inf)),
    "logit": (_logit, None),
}
