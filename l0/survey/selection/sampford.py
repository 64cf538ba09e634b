"""Sampford's design: unequal probabilities, exact sizes, every pair possible.

The probability of a sample s of n records is proportional to
    product over s of pi / (1 - pi), times the sum over s of (1 - pi)
(Sampford, 1967). Its inclusion probabilities are pi exactly.
"""

import math

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector
from l0.survey.selection import conditional_poisson
from l0.survey.selection.sample import Matrix

# a count of records this rare takes no part in the joint probabilities
_RAREST = 1e-18
# angles and records at once
_ANGLES, _RECORDS = 64, 4096
# where fewer than one in so many samples is accepted, places belong to records nearly certain
_TRIES = 20_000

Complex = NDArray[np.complex128]


def draw(probability: Vector, rng: np.random.Generator) -> NDArray[np.intp]:
    """A Poisson sample of size n, kept with the chance that the sum of 1 - pi over it asks for.

    The sum is compared with that of the n records of the smallest pi, so that one try is enough
    where probabilities are alike.
    """
    size = round(probability.sum())
    levels = conditional_poisson.count_levels(probability)
    most = np.sort(1 - probability)[-size:].sum()
    for _ in range(_TRIES):
        drawn = conditional_poisson.draw(levels, size, rng)
        if rng.random() * most < (1 - probability[drawn]).sum():
            return drawn
    raise InputError(
        f"no sample was accepted in {_TRIES:,} tries: nearly all of {size:,} places belong to "
        "records that are almost certain. Give these probability 1, or use the design 'pivotal'."
    )


def joint_probability(probability: Vector, drawn: NDArray[np.intp]) -> Matrix:
    """Exact joint probabilities, as coefficients of generating functions.

    With f_k(z) = 1 - pi_k + pi_k z, G their product over all records, a_k = pi_k (1 - pi_k) / f_k
    and A the sum of a_k, the law's sum over all samples that hold i and j is
        pi_i pi_j times the coefficient of z^(n-2) in
        G / (f_i f_j) (2 - pi_i - pi_j + z (A - a_i - a_j)),
    over that of z^(n-1) in G A, which is the sum over all samples. Coefficients are read off by a
    discrete Fourier transform over an odd number of angles (f is zero at -1 where pi is a half),
    as many as counts that are not too rare to matter.
    """
    size = round(probability.sum())
    pi = probability[drawn]
    pairs = np.zeros((len(drawn), len(drawn)))
    total = 0.0
    angles = _angles(probability)
    for some in np.array_split(angles, math.ceil(len(angles) / _ANGLES)):
        z = np.exp(1j * some)
        product, marked = _over_all_records(probability, z)
        # G is real on the axis alone: angles below it repeat those above
        product *= np.where(some == 0, 1.0, 2.0)
        total += float((product * marked * z ** (1 - size)).real.sum())
        inverse = 1 / (1 + np.multiply.outer(z - 1, pi))  # (angles, size)
        bracket = (1 - pi) + z[:, None] * (marked[:, None] / 2 - pi * (1 - pi) * inverse)
        weighted = (product * z ** (2 - size))[:, None] * bracket * inverse
        # the bracket is a sum of i's part and j's: this is i's, and its transpose j's
        pairs += weighted.real.T @ inverse.real - weighted.imag.T @ inverse.imag
    matrix: Matrix = np.outer(pi, pi) * (pairs + pairs.T) / total
    np.fill_diagonal(matrix, pi)
    return matrix


def _over_all_records(probability: Vector, z: Complex) -> tuple[Complex, Complex]:
    """G and A at some points z."""
    log_product = np.zeros(len(z), dtype=np.complex128)
    marked = np.zeros(len(z), dtype=np.complex128)
    for some in np.array_split(probability, math.ceil(len(probability) / _RECORDS)):
        f = 1 + np.multiply.outer(z - 1, some)
        log_product += np.log(f).sum(axis=1)
        marked += (some * (1 - some) / f).sum(axis=1)
    product: Complex = np.exp(log_product)
    return product, marked


def _angles(probability: Vector) -> Vector:
    """Equally spaced over the upper half circle, 0 among them: half of an odd number."""
    variance = float((probability * (1 - probability)).sum())
    # Bernstein's inequality: P(|count - n| > reach) is below the rarest
    log = -math.log(_RAREST / 2)
    reach = log / 3 + math.sqrt(log**2 / 9 + 2 * log * variance)
    odd = min(len(probability) // 2, math.ceil(reach) + 1) * 2 + 1
    return np.arange(odd // 2 + 1, dtype=np.float64) * (2 * math.pi / odd)
