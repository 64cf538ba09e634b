"""Quantiles, and intervals read off the distribution function (Woodruff, 1952)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from l0.errors import InputError
from l0.inputs import vector
from l0.survey.estimation.estimate import Estimate, Interval, estimate, student_quantile
from l0.survey.estimation.linearised import share_up_to
from l0.survey.estimation.units import members, units
from l0.survey.estimation.variance import AUTO
from l0.survey.problem import Vector
from l0.survey.selection.sample import Sample

# the interval whose width gives the standard error
_LEVEL = 0.95
# of a sum of shares
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Distribution:
    """The values drawn, ascending, and the estimated share of the population up to each."""

    values: Vector
    shares: Vector  # the last is 1

    def quantile(self, probability: float) -> float:
        """The least value that this share does not exceed; infinite outside the shares."""
        if probability <= 0:
            return -math.inf
        if probability > 1:
            return math.inf
        return float(self.values[np.searchsorted(self.shares, probability - _ROUNDING)])


@dataclass(frozen=True)
class QuantileEstimate(Estimate):
    """An estimate whose interval ends at two other quantiles, and so fits skewed values."""

    probability: float
    share_error: float  # standard error of the share of the population up to the value
    distribution: Distribution

    def interval(self, level: float = 0.95) -> Interval:
        """The quantiles of probability +- t x share_error; infinite where these leave 0 to 1.

        Raises:
            InputError: a level not between 0 and 1.
        """
        return _woodruff(
            self.distribution,
            self.probability,
            student_quantile(level, self.degrees_of_freedom) * self.share_error,
        )


def quantile(
    values: ArrayLike,  # (size,)
    sample: Sample,
    *,
    probability: float,
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> QuantileEstimate:
    """The least value that at least a share ``probability`` of the population does not exceed.

    The share of the population up to that value is a mean, whose variance is known; Woodruff's
    interval leads its error back to values. The standard error is half the width of the interval
    of 95 % over Student's t, infinite where that interval is: the sample is then too small for a
    quantile so near an end. The design effect is that of the share.

    Options and errors are those of ``estimators``; besides, a probability not between 0 and 1 is
    refused, and one so near 1 that no record drawn lies above the quantile.
    """
    if not 0 < probability < 1:
        raise InputError(f"probability is {probability!r}, but must lie between 0 and 1.")
    each = units(sample, design_weights) * members(sample, domain, least=2)
    y = vector("values", values, len(each), "records drawn")
    weights = each / sample.inclusion_probability
    distribution = _distribution(y[weights > 0], weights[weights > 0])
    value = distribution.quantile(probability)
    if value == distribution.values[-1]:
        raise InputError(
            f"no record drawn lies above the quantile of probability {probability:g}, {value:g}, "
            "so nothing tells how far it may be off. Ask for a lower one, or draw more records."
        )
    share, linearised = share_up_to(value, y, weights)
    of_share = estimate(share, linearised, each, sample, variance=variance)
    student = student_quantile(_LEVEL, of_share.degrees_of_freedom)
    low, high = _woodruff(distribution, probability, student * of_share.standard_error)
    return QuantileEstimate(
        value=value,
        variance=((high - low) / (2 * student)) ** 2,
        design_effect=of_share.design_effect,
        degrees_of_freedom=of_share.degrees_of_freedom,
        method=of_share.method,
        probability=probability,
        share_error=of_share.standard_error,
        distribution=distribution,
    )


def _distribution(values: Vector, weights: Vector) -> Distribution:
    order = np.argsort(values, kind="stable")
    up_to = np.cumsum(weights[order])
    return Distribution(values[order], up_to / up_to[-1])


def _woodruff(distribution: Distribution, probability: float, half: float) -> Interval:
    return distribution.quantile(probability - half), distribution.quantile(probability + half)
