"""Design-based estimates from a sample, each with the variance that its design gives it.

A number of the population is estimated from records drawn with known inclusion probabilities.
Every estimator is a linearised variable (``linearised``, ``greg``) and the variance of its total
(``variance``). How records are drawn is in ``l0.survey.selection``.
"""

from l0.survey.estimation.collapsed_strata import collapse_strata
from l0.survey.estimation.domains import by_domain
from l0.survey.estimation.estimate import Estimate
from l0.survey.estimation.estimators import hajek_total, horvitz_thompson_total, mean, ratio
from l0.survey.estimation.greg import greg_total
from l0.survey.estimation.quantile import QuantileEstimate, quantile

__all__ = [
    "Estimate",
    "QuantileEstimate",
    "by_domain",
    "collapse_strata",
    "greg_total",
    "hajek_total",
    "horvitz_thompson_total",
    "mean",
    "quantile",
    "ratio",
]
