"""What a set of weights costs: effective sample size, design effect, ratios to the design."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def effective_sample_size(weights: Vector) -> float:
    """(sum w)^2 / sum w^2 (Kish, 1965); equals the number of records when all weights agree."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def design_effect(weights: Vector) -> float:
    """N sum w^2 / (sum w)^2 over the records kept: variance inflation by unequal weights."""
    return int((weights > 0).sum()) / effective_sample_size(weights)


def scaled_design_weights(design_weights: Vector, support: NDArray[np.intp]) -> Vector:
    """Design weights of the records kept, raised by one factor to the total of all records."""
    return scaled_to(design_weights[support], float(design_weights.sum()))


def scaled_to(weights: Vector, total: float) -> Vector:
    """Weights raised by one factor to a total."""
    return weights * (total / float(weights.sum()))


def weight_ratios(weights: Vector, design_weights: Vector) -> Vector:  # (support_size,)
    """Weight over scaled design weight of each record kept; 1 where thinning alone did it all."""
    support = np.flatnonzero(weights > 0)
    return weights[support] / scaled_design_weights(design_weights, support)
