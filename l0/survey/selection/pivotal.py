"""The pivotal method: two undecided records fight until one is decided; nothing is ever redrawn.

The probabilities a and b of two records become, where a + b < 1, a + b and 0, or, where not, 1 and
a + b - 1, with chances that keep each one's expectation (Deville and Tillé, 1998). Here the
records meet in random order. Joint probabilities are not known.
"""

import numpy as np
from numpy.typing import NDArray

from l0.survey.problem import Vector


def draw(probability: Vector, rng: np.random.Generator) -> NDArray[np.intp]:
    """The records that are left with probability 1; as many as the probabilities add up to."""
    order = rng.permutation(len(probability))
    left = probability[order].tolist()
    chances = rng.random(len(order)).tolist()
    drawn: list[int] = []
    standing, carried = 0, left[0]
    for record in range(1, len(left)):
        met, chance = left[record], chances[record]
        together = carried + met
        if together < 1:
            if chance * together < met:
                standing = record
            carried = together
        else:
            if chance * (2 - together) < 1 - carried:
                drawn.append(record)
            else:
                drawn.append(standing)
                standing = record
            carried = together - 1
    # the probabilities add up to a whole number: the last record carries 0 or 1, but for rounding
    if carried > 0.5:
        drawn.append(standing)
    return order[drawn]
