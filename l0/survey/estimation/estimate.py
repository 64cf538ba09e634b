"""What an estimator returns: a value, how sure it is, and what its design gained or lost.

Its design effect is that of one estimate. Kish's, of unequal weights alone, is in
``l0.survey.weights``.
"""

import math
from dataclasses import dataclass

from scipy.stats import t as student

from l0.errors import InputError
from l0.survey.estimation.variance import (
    degrees_of_freedom,
    simple_random_variance,
    variance_of_total,
)
from l0.survey.problem import Vector
from l0.survey.selection.sample import Sample

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """An estimate of one number of the population, in the unit of that number."""

    value: float
    variance: float  # estimated, over the draws of the design
    # the variance over that of a simple random sample of the same size, without replacement;
    # nan where that is zero
    design_effect: float
    degrees_of_freedom: float  # records asked about that were drawn at random, less their strata
    method: str  # of the variance

    @property
    def standard_error(self) -> float:
        """The root of the variance."""
        return math.sqrt(self.variance)

    def interval(self, level: float = 0.95) -> Interval:
        """What covers the true number in a share ``level`` of all draws.

        Student's t on ``degrees_of_freedom``. Fewer draws are covered where a few records carry
        most of the variance: skewed values, or weights unlike the values.

        Raises:
            InputError: a level not between 0 and 1.
        """
        half = self.standard_error * student_quantile(level, self.degrees_of_freedom)
        return self.value - half, self.value + half


def estimate(
    value: float,
    linearised: Vector,  # (size,)
    each: Vector,  # (size,)
    sample: Sample,
    *,
    variance: str,
    simple: Vector | None = None,  # (size,)
) -> Estimate:
    """An estimate whose error is that of the Horvitz-Thompson total of its linearised variable.

    Args:
        value: of the estimate.
        linearised: what one more unit of a record adds to the number estimated.
        each: how many units each record is, zero where it is not asked about at all.
        sample: the records drawn.
        variance: the method, as in ``variance_of_total``.
        simple: the linearised variable of what a simple random sample would have been asked, for
            the design effect; the same without.

    Raises:
        InputError: as in ``variance_of_total``.
    """
    found, method = variance_of_total(each * linearised, sample, method=variance)
    asked = linearised if simple is None else simple
    by_chance = simple_random_variance(each * asked, sample)
    return Estimate(
        value=value,
        variance=found,
        design_effect=found / by_chance if by_chance > 0 else math.nan,
        degrees_of_freedom=degrees_of_freedom(sample, each > 0),
        method=method,
    )


def student_quantile(level: float, degrees_of_freedom: float) -> float:
    """Half the width, in standard errors, of an interval of this level.

    Raises:
        InputError: a level not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}, but must lie between 0 and 1, such as 0.95.")
    return float(student.ppf(0.5 + level / 2, degrees_of_freedom))
