"""Poisson samples of a fixed size, drawn without rejection.

Each record comes in by a coin of its own, and only outcomes of the given size count (Hájek, 1964).
A binary tree over the records holds, for each node, the distribution of how many of its records
come in: that of two nodes together is the convolution of theirs. A sample is the root's count
split from the top downwards, the counts of a whole level at once. Time and memory grow with
N log N.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from l0.survey.problem import Vector
from l0.survey.selection.sample import Matrix

Levels = list[Matrix]  # of each level (nodes, records of a node + 1), the records first

# nodes of more records are convolved by Fourier transforms
_SHORT = 32
# transforms know a probability to about 1e-16: what is not above this is taken for impossible
_NOISE = 1e-15


def count_levels(probability: Vector) -> Levels:
    """The distribution of every node's count, from the records to the root."""
    width = 1 << max(len(probability) - 1, 0).bit_length()
    padded = np.zeros(width)
    padded[: len(probability)] = probability
    levels = [np.stack([1 - padded, padded], axis=1)]
    while len(levels[-1]) > 1:
        levels.append(_convolved(levels[-1][0::2], levels[-1][1::2]))
    return levels


def draw(levels: Levels, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The records of one sample, ascending; its size must be possible."""
    counts = np.array([size])
    for level in reversed(levels[:-1]):
        left = _left_counts(level[0::2], level[1::2], counts, rng)
        counts = np.stack([left, counts - left], axis=1).ravel()
    return np.flatnonzero(counts)


def _convolved(left: Matrix, right: Matrix) -> Matrix:
    nodes, entries = left.shape
    if entries - 1 > _SHORT:
        length = next_fast_len(2 * entries - 1, real=True)
        both = irfft(rfft(left, length) * rfft(right, length), length)[:, : 2 * entries - 1]
        return np.where(both > _NOISE, both, 0.0)
    both = np.zeros((nodes, 2 * entries - 1))
    for count in range(entries):
        both[:, count : count + entries] += left[:, count, None] * right
    return both


def _left_counts(
    left: Matrix, right: Matrix, counts: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:  # (nodes,)
    """How many of each node's count lie in its left half."""
    entries = left.shape[1]
    others = counts[:, None] - np.arange(entries)
    possible = (others >= 0) & (others < entries)
    beside = np.take_along_axis(right, np.where(possible, others, 0), axis=1)
    chances = np.cumsum(np.where(possible, left * beside, 0.0), axis=1)
    points = rng.random(len(counts)) * chances[:, -1]
    # the last entry is what is left when no other was met
    found: NDArray[np.intp] = (chances[:, :-1] <= points[:, None]).sum(axis=1)
    return found
