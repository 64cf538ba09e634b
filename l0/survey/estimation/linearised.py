"""Numbers of a population, each with its linearised variable: what its error is the total of.

An estimate is the same number of the sample, each record counted ``weights`` times. The
linearised variable of a record is the derivative of that number by its weight (Deville, 1999):
to first order the error of the estimate is that of the Horvitz-Thompson total of this variable.
Of a total it is the variable itself; that of the calibrated estimator is in ``greg``.
"""

import numpy as np

from l0.errors import InputError
from l0.survey.problem import Vector


def ratio_of_totals(
    numerator: Vector,  # (size,)
    denominator: Vector,  # (size,)
    weights: Vector,  # (size,)
) -> tuple[float, Vector]:
    """R = sum w y / sum w x, and (y - R x) / sum w x.

    Raises:
        InputError: the weighted total of the denominator is zero.
    """
    below = float(weights @ denominator)
    if below == 0:
        raise InputError(
            "the denominator adds up to zero over the records drawn, so no ratio to it exists. "
            "Choose another, or a domain where it is not zero."
        )
    ratio = float(weights @ numerator) / below
    return ratio, (numerator - ratio * denominator) / below


def weighted_mean(values: Vector, weights: Vector) -> tuple[float, Vector]:
    """The ratio to a variable that is one everywhere: sum w y / sum w (Hajek, 1971)."""
    return ratio_of_totals(values, np.ones_like(values), weights)


def share_up_to(threshold: float, values: Vector, weights: Vector) -> tuple[float, Vector]:
    """The distribution function at a threshold: the mean of whether a value is at most that."""
    return weighted_mean((values <= threshold).astype(np.float64), weights)
