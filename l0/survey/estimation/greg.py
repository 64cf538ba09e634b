"""The calibrated (generalised regression) estimator: totals of other variables are known.

Weights that meet a problem's targets, for a file to be used with, are in ``l0.survey.classical``
and ``l0.survey.refit``; here the variance of one total is wanted.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import numbers, refuse, vector
from l0.survey.estimation.estimate import Estimate, estimate
from l0.survey.estimation.units import members, units
from l0.survey.estimation.variance import AUTO
from l0.survey.problem import Vector
from l0.survey.selection.sample import Sample

Matrix = NDArray[np.float64]

# singular values below this share of the largest are of columns that depend on others
_DEPENDENT = 1e-9
# by how much a known total may be missed, relative to its size among the records drawn
_MISSED = 1e-7


def greg_total(
    values: ArrayLike,  # (size,)
    sample: Sample,
    *,
    auxiliary: ArrayLike,  # (size, columns)
    totals: ArrayLike,  # (columns,)
    design_weights: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    variance: str = AUTO,
) -> Estimate:
    """Sum w g y, the weights w g nearest to w = design weight / pi that give the known totals.

    g = 1 + x' T^-1 (X - sum w x), T = sum w x x'. The linearised variable is g e, with e the
    residuals of y by weighted regression on x (Särndal, Swensson and Wretman, 1992; Deville
    and Särndal, 1992). To first order every calibration with these totals has this variance,
    raking and logit too. The design effect is against the plain total of a simple random sample.

    For a sample balanced by the cube method give the balancing columns and pi as auxiliary: g is
    then near 1, and the variance is that of residuals on what was balanced (Deville and Tillé,
    2005), short by a factor (n - columns) / (n - strata), as no degree of freedom is taken off
    for the regression.

    Args:
        values: y of the records drawn, in the order of ``sample.indices``.
        sample: the records drawn.
        auxiliary: x of the records drawn, one column a known total. A column of ones where the
            number of records is known; columns that depend on others may stay.
        totals: X of the population, weighted by design weights where such are given.
        design_weights: as in ``estimators``.
        domain: as in ``estimators``; auxiliary and totals are those of the whole population.
        variance: as in ``estimators``.

    Raises:
        InputError: as in ``estimators``, or known totals that no weights of the records drawn
            reach.
    """
    each = units(sample, design_weights)
    y = members(sample, domain) * vector("values", values, len(each), "records drawn")
    x, known = _auxiliary(auxiliary, totals, len(each))
    weights = each / sample.inclusion_probability
    root = np.sqrt(weights)
    scaled = root[:, None] * x
    g = 1 + _least_squares(scaled.T, known - weights @ x) / root
    _refuse_missed(weights * g, x, known)
    residuals = y - x @ _least_squares(scaled, root * y)
    total = float(weights * g @ y)
    return estimate(total, g * residuals, each, sample, variance=variance, simple=y)


def _auxiliary(auxiliary: ArrayLike, totals: ArrayLike, size: int) -> tuple[Matrix, Vector]:
    """Columns and their totals, each divided by the column's largest entry."""
    x = numbers("auxiliary", auxiliary)
    if x.ndim != 2 or len(x) != size or x.shape[1] == 0:
        raise InputError(
            f"auxiliary has shape {x.shape}, but must be ({size}, columns): one row a record "
            "drawn, one column a known total."
        )
    bad = np.array(~np.isfinite(x).all(axis=1))
    refuse("auxiliary", bad, "rows with an entry that is not finite", "Mend these records.")
    known = vector("totals", totals, x.shape[1], "columns of auxiliary")
    largest = np.abs(x).max(axis=0)
    largest[largest == 0] = 1.0
    return x / largest, known / largest


def _least_squares(matrix: Matrix, aim: Vector) -> Vector:
    """The shortest of the vectors that come nearest to the aim."""
    return np.asarray(np.linalg.lstsq(matrix, aim, rcond=_DEPENDENT)[0], dtype=np.float64)


def _refuse_missed(weights: Vector, x: Matrix, known: Vector) -> None:
    reached = weights @ x
    missed = np.abs(reached - known) > _MISSED * (np.abs(weights) @ np.abs(x) + np.abs(known))
    if missed.any():
        raise InputError(
            f"{int(missed.sum())} known totals cannot be met by any weights of the records drawn, "
            f"in columns {', '.join(map(str, np.flatnonzero(missed)[:5]))} of auxiliary: they "
            "contradict those of other columns, or no record drawn has such a value. Leave these "
            "columns out, or join them with others."
        )
