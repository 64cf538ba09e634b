"""The local pivotal method: neighbours fight, so that the sample spreads over the space.

A record taken at random among the undecided meets its nearest undecided neighbour, by the rule
of ``pivotal`` (Grafström, Lundström and Schelin, 2012, their second method). Distances are
Euclidean: bringing coordinates to like scales is the caller's business.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from l0.survey.problem import Vector
from l0.survey.selection.sample import Matrix

# neighbours known of each record until the next look-up
_NEIGHBOURS = 12
# neighbours at equal distance are put in random order by a shift this small, of the spread
_SHIFT = 1e-9


def draw(
    probability: Vector,
    coordinates: Matrix,  # (records, dimensions)
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """The records that are left with probability 1; as many as the probabilities add up to."""
    centred = coordinates - coordinates.mean(axis=0)
    spread = np.abs(centred).max() or 1.0
    points = centred + rng.normal(size=centred.shape) * (_SHIFT * spread)
    values = probability.copy()
    # in the order of a tree, neighbours lie side by side in memory and are found sooner
    undecided = np.asarray(cKDTree(points).indices)
    while len(undecided) > 1:
        values[undecided] = _fight(values[undecided].tolist(), points[undecided], rng)
        undecided = undecided[(values[undecided] > 0) & (values[undecided] < 1)]
    # the probabilities add up to a whole number: each is 0 or 1, the last one but for rounding
    return np.flatnonzero(values > 0.5)


def _fight(values: list[float], points: Matrix, rng: np.random.Generator) -> list[float]:
    """The values once half of the records are decided, or one has lost sight of the others."""
    records = len(values)
    known = min(_NEIGHBOURS + 1, records)  # a record is the nearest to itself
    nearest = cKDTree(points).query(points, k=known)[1]
    standing = list(range(records))
    place = list(range(records))  # of a record among the standing; -1 when decided
    for pick, chance in rng.random((records, 2)).tolist():
        record = standing[int(pick * len(standing))]
        for other in nearest[record].tolist():
            if other != record and place[other] >= 0:
                break
        else:
            break
        a, b = values[record], values[other]
        together = a + b
        if together < 1:
            stays = chance * together < a
            values[record], values[other] = (together, 0.0) if stays else (0.0, together)
        else:
            wins = chance * (2 - together) < 1 - b
            left = together - 1
            values[record], values[other] = (1.0, left) if wins else (left, 1.0)
        for fighter in (record, other):
            if not 0 < values[fighter] < 1:
                last = standing.pop()
                if last != fighter:
                    standing[place[fighter]] = last
                    place[last] = place[fighter]
                place[fighter] = -1
        if 2 * len(standing) < records:
            break
    return values
