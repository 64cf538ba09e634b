"""Systematic sampling proportional to size, in the order of the file, from a random start.

Probabilities are laid end to end; a record is drawn where one of u, u + 1, u + 2, ... falls on
it (Madow, 1949). Wrapped around a circle of circumference 1, each record covers an arc and is drawn
when its arc holds u: two records come together as often as their arcs overlap. Records far apart
in the file may never come together.
"""

import numpy as np
from numpy.typing import NDArray

from l0.survey.problem import Vector
from l0.survey.selection.sample import Matrix


def draw(probability: Vector, rng: np.random.Generator) -> NDArray[np.intp]:
    """The records on which the points of a random start fall, one point a unit."""
    ends = np.cumsum(probability)
    size = round(ends[-1])
    ends[-1] = size
    return np.searchsorted(ends, np.arange(size) + rng.random(), side="right")


def joint_probability(probability: Vector, drawn: NDArray[np.intp]) -> Matrix:
    """The length on which two records' arcs overlap; zero for two that exclude each other."""
    length = probability[drawn]
    start = (np.cumsum(probability) - probability)[drawn]
    ahead = (start[None, :] - start[:, None]) % 1.0  # of the row's start, to the column's
    matrix: Matrix = np.maximum(np.minimum(length[:, None] - ahead, length), 0.0)
    matrix += np.maximum(np.minimum(ahead + length - 1.0, length[:, None]), 0.0)
    np.fill_diagonal(matrix, length)
    return matrix
