"""The variance of a Horvitz-Thompson total, from the records drawn.

What makes a variable of an estimator is in ``linearised``; strata of one record are joined in
``collapsed_strata``.
"""

import math

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector
from l0.survey.selection.sample import Sample

Matrix = NDArray[np.float64]

METHODS = AUTO, SEN_YATES_GRUNDY, HAJEK_DEVILLE = "auto", "sen_yates_grundy", "hajek_deville"
# of one stratum of so many records both variances are within 1 % of each other, and time and
# memory of joint probabilities grow with the square
LARGEST_JOINT = 200
# of a joint probability, relative to itself
_ROUNDING = 1e-8


def variance_of_total(
    values: Vector,  # (size,)
    sample: Sample,
    *,
    method: str = AUTO,
) -> tuple[float, str]:
    """The estimated variance of sum y / pi over all draws, and the method that found it.

    With pi the inclusion probability and pi_ij that of a pair, Sen, Yates and Grundy (1953) sum
    (pi_i pi_j - pi_ij) / pi_ij (y_i / pi_i - y_j / pi_j)^2 over the pairs drawn: unbiased where
    sizes are exact and every pair of the population has a chance. In systematic samples many have
    none, and no variance is unbiased: Hajek's then is of a sample in random order, and may be far
    too small where the order of the file repeats itself.

    Hajek's approximation (Deville, 1999; Tillé, 2006) sums c (y / pi - B)^2 over
    the records drawn at random, c = (1 - pi) n / (n - 1) with n of them in a stratum, B the mean
    of y / pi in the stratum weighted by c: exact for simple random samples, and close for designs
    of high entropy.

    Args:
        values: the variable y, in the order of ``sample.indices``.
        sample: the records drawn.
        method: "sen_yates_grundy", "hajek_deville", or "auto": the former for up to LARGEST_JOINT
            records where the design knows the pairs' probabilities and 0 < pi_ij <= pi_i pi_j,
            the latter otherwise.

    Raises:
        InputError: another method, a stratum with one record drawn at random, or
            "sen_yates_grundy" where "auto" would not take it, whatever the size.
    """
    if method not in METHODS:
        raise InputError(f"variance is {method!r}, but must be one of {', '.join(METHODS)}.")
    _refuse_single_records(sample)
    joint = _joint_probability(sample, method)
    if joint is None:
        return _hajek_deville(values, sample), HAJEK_DEVILLE
    return _sen_yates_grundy(values, sample.inclusion_probability, joint), SEN_YATES_GRUNDY


def simple_random_variance(values: Vector, sample: Sample) -> float:
    """What the variance would have been in a simple random sample of the same size.

    N^2 (1 - n / N) S^2 / n without replacement, with N = sum 1 / pi and S^2 the variance of the
    population estimated with weights 1 / pi (Kish, 1965).
    """
    size = len(values)
    weights = 1 / sample.inclusion_probability
    population = weights.sum()
    if size == 1 or population <= size:
        return 0.0
    mean = weights @ values / population
    spread = weights @ np.square(values - mean) / population * size / (size - 1)
    return float(population * (population - size) * spread / size)


def degrees_of_freedom(sample: Sample, inside: NDArray[np.bool_]) -> float:
    """Records drawn at random less the strata they come from, of those ``inside``.

    Infinite where none was drawn at random, and at least 1: the few records of a domain may all
    be of different strata.
    """
    random = inside & (sample.inclusion_probability < 1)
    if not random.any():
        return math.inf
    return float(max(1, random.sum() - len(np.unique(sample.strata[random]))))


def _refuse_single_records(sample: Sample) -> None:
    random = sample.inclusion_probability < 1
    strata, counts = np.unique(sample.strata[random], return_counts=True)
    single = strata[counts == 1]
    if len(single):
        raise InputError(
            f"{len(single)} strata have one record drawn at random, which tells nothing of their "
            f"spread: {', '.join(map(str, single[:5]))}. Draw two or more from each, or join each "
            "with its neighbour by collapse_strata(sample), which errs upwards."
        )


def _joint_probability(sample: Sample, method: str) -> Matrix | None:
    """Of the pairs drawn, if the method wants it and it serves; refused if it does not."""
    known = sample.joint is not None and len(sample.indices) <= LARGEST_JOINT
    if method == HAJEK_DEVILLE or (method == AUTO and not (known and sample.measurable)):
        return None
    joint = sample.joint_probability()
    independent = np.outer(sample.inclusion_probability, sample.inclusion_probability)
    serves = (joint > 0) & (joint <= independent * (1 + _ROUNDING))
    np.fill_diagonal(serves, True)
    if serves.all():
        return joint
    if method == AUTO:
        return None
    first, second = np.argwhere(~serves)[0]
    raise InputError(
        f"{int((~serves).sum()) // 2:,} pairs of records break 0 < pi_ij <= pi_i pi_j, the first "
        f"{sample.indices[first]} and {sample.indices[second]} with {joint[first, second]:g} "
        f"against {independent[first, second]:g}: other pairs have no chance at all, and the "
        f"variance would be biased and could be negative. Use variance={HAJEK_DEVILLE!r}."
    )


def _sen_yates_grundy(values: Vector, probability: Vector, joint: Matrix) -> float:
    expanded = values / probability
    excess = np.outer(probability, probability) / joint - 1
    np.fill_diagonal(excess, 0.0)
    return float((excess * np.square(expanded[:, None] - expanded)).sum() / 2)


def _hajek_deville(values: Vector, sample: Sample) -> float:
    random = sample.inclusion_probability < 1
    probability = sample.inclusion_probability[random]
    expanded = values[random] / probability
    _, stratum, counts = np.unique(sample.strata[random], return_inverse=True, return_counts=True)
    c = (1 - probability) * (counts / (counts - 1))[stratum]
    means = np.bincount(stratum, c * expanded) / np.bincount(stratum, c)
    return float((c * np.square(expanded - means[stratum])).sum())
