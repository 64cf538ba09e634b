"""Totals, means and ratios estimated from a sample.

All take ``values`` of the records drawn, in the order of ``sample.indices``, and three options:

* ``design_weights`` (size,), of the records drawn, where those they were drawn from were a
  weighted survey already. The number estimated is then that of the weighted survey, and the
  variance that of drawing from it alone; what the survey itself leaves unsure is not in it.
* ``domain`` (size,) bool, the part of the population asked about. Its size among the records
  drawn is left to chance, as it was.
* ``variance``, how a variance is found: see ``variance.variance_of_total``.

They raise InputError for arrays of another shape or not finite, an empty domain, and whatever
``variance_of_total`` refuses. Quantiles are in ``quantile``, estimates that use known totals of
other variables in ``greg``. With w = design weight / inclusion probability, zero outside the
domain:
"""

from dataclasses import replace

from numpy.typing import ArrayLike

from l0.inputs import positive, vector
from l0.survey.estimation.estimate import Estimate, estimate
from l0.survey.estimation.linearised import ratio_of_totals, weighted_mean
from l0.survey.estimation.units import members, units
from l0.survey.estimation.variance import AUTO
from l0.survey.selection.sample import Sample


def horvitz_thompson_total(
    values: ArrayLike,  # (size,)
    sample: Sample,
    *,
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> Estimate:
    """Sum w y (Horvitz and Thompson, 1952): unbiased, and sure where values go with probability.

    Options and errors are those of the module.
    """
    each = units(sample, design_weights)
    y = members(sample, domain) * vector("values", values, len(each), "records drawn")
    value = float((each / sample.inclusion_probability) @ y)
    return estimate(value, y, each, sample, variance=variance)


def hajek_total(
    values: ArrayLike,  # (size,)
    sample: Sample,
    *,
    population_size: float,
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> Estimate:
    """N sum w y / sum w, N the known size (Hajek, 1971): sure where values are alike.

    Args:
        values: of the records drawn.
        sample: the records drawn.
        population_size: N, of the domain where one is given; the sum of all design weights, not
            of those drawn alone, where such are given.
        design_weights: of the records drawn.
        domain: whether each belongs to the part asked about.
        variance: how it is found.

    Raises:
        InputError: as for all, a size not above zero, or fewer than two records of the domain.
    """
    total = positive("population_size", population_size)
    level = mean(values, sample, design_weights=design_weights, domain=domain, variance=variance)
    return replace(level, value=total * level.value, variance=total**2 * level.variance)


def mean(
    values: ArrayLike,  # (size,)
    sample: Sample,
    *,
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> Estimate:
    """Sum w y / sum w (Hajek, 1971).

    Options and errors are those of the module; of a domain two records are needed.
    """
    each = units(sample, design_weights) * members(sample, domain, least=2)
    y = vector("values", values, len(each), "records drawn")
    value, linearised = weighted_mean(y, each / sample.inclusion_probability)
    return estimate(value, linearised, each, sample, variance=variance)


def ratio(
    numerator: ArrayLike,  # (size,)
    denominator: ArrayLike,  # (size,)
    sample: Sample,
    *,
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> Estimate:
    """Sum w y / sum w x, of two totals that are both estimated.

    Options and errors are those of the module; of a domain two records are needed, and a
    denominator that adds up to zero is refused.
    """
    each = units(sample, design_weights) * members(sample, domain, least=2)
    above = vector("numerator", numerator, len(each), "records drawn")
    below = vector("denominator", denominator, len(each), "records drawn")
    value, linearised = ratio_of_totals(above, below, each / sample.inclusion_probability)
    return estimate(value, linearised, each, sample, variance=variance)
