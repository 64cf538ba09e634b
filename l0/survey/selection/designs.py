"""A sample by a design: what every design is asked for, stratum by stratum.

How each design draws, with its source, is in the file of its name.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import numbers, refuse, vector
from l0.survey.problem import Vector
from l0.survey.selection import (
    cube,
    local_pivotal,
    pivotal,
    sampford,
    simple_random,
    systematic,
)
from l0.survey.selection.allocation import Labels
from l0.survey.selection.sample import Balance, Matrix, Sample

Design = Literal["simple_random", "systematic", "sampford", "pivotal", "cube"]
Indices = NDArray[np.intp]

CERTAIN, RANDOM = "certain", "random"

# how far a sum of probabilities may miss a whole number by rounding
_ROUNDING = 1e-6

_DRAW: Mapping[str, Callable[[Vector, np.random.Generator], Indices]] = {
    "simple_random": simple_random.draw,
    "systematic": systematic.draw,
    "sampford": sampford.draw,
    "pivotal": pivotal.draw,
}
JOINT: Mapping[str, Callable[[Vector, Indices], Matrix]] = {
    "simple_random": simple_random.joint_probability,
    "systematic": systematic.joint_probability,
    "sampford": sampford.joint_probability,
}


def select(
    probability: ArrayLike,
    *,
    design: Design = "sampford",
    strata: ArrayLike | None = None,
    coordinates: ArrayLike | None = None,
    balance: ArrayLike | None = None,
    seed: int,
) -> Sample:
    """Draw a sample of exact size, each record with the probability stated.

    Strata are drawn independently of each other, but by the cube method all at once. Records of
    probability 1 are in, records of probability 0 never are.

    Args:
        probability: (records,), from 0 to 1, adding up to a whole number in each stratum; equal
            among the uncertain records of a stratum for "simple_random".
        design: "simple_random", "systematic", "sampford", "pivotal" or "cube".
        strata: (records,) the label of each record's stratum; one stratum without.
        coordinates: (records, dimensions), on like scales; with "pivotal" alone, which then
            spreads the sample over them.
        balance: (records, columns) whose Horvitz-Thompson totals are to be those of all records
            of positive probability; with "cube" alone, and needed there.
        seed: of the draw.

    Raises:
        InputError: an unknown design, probabilities that the design cannot give, an option
            that the design does not use, or arrays of other lengths.
    """
    if design not in get_args(Design):
        raise InputError(
            f"design is {design!r}, but must be one of {', '.join(map(repr, get_args(Design)))}."
        )
    chance = _probabilities(probability)
    codes, labels = stratum_codes(strata, len(chance))
    _refuse_broken_sums(chance, codes, labels)
    points = _columns("coordinates", coordinates, len(chance), used=design == "pivotal")
    columns = _columns("balance", balance, len(chance), used=design == "cube")
    if design == "cube":
        _refuse_unbalanceable(columns)
    rng = np.random.default_rng(seed)
    undecided = np.flatnonzero((chance > 0) & (chance < 1))
    groups = by_stratum(undecided, codes)
    left_out = np.empty(0, dtype=np.intp)
    if columns is not None and len(undecided):
        drawn, left_out = cube.draw(chance[undecided], columns[undecided], codes[undecided], rng)
        parts = [undecided[drawn]]
    elif points is not None:
        parts = [group[local_pivotal.draw(chance[group], points[group], rng)] for group in groups]
    else:
        parts = [group[_DRAW[design](chance[group], rng)] for group in groups]
    indices = np.sort(np.concatenate([np.flatnonzero(chance == 1), *parts]))
    pair = JOINT.get(design)
    return Sample(
        indices=indices,
        kind=np.where(chance[indices] == 1, CERTAIN, RANDOM),
        inclusion_probability=chance[indices],
        strata=codes[indices],
        joint=partial(_joint_probability, pair, chance, groups, indices) if pair else None,
        measurable=design != "systematic",
        balance=None if columns is None else _balance(columns, chance, indices, left_out),
    )


def stratum_codes(strata: ArrayLike | None, records: int) -> tuple[Indices, Labels]:
    """A whole number for each record's stratum, and the labels in their order.

    Raises:
        InputError: another number of labels than of records.
    """
    if strata is None:
        return np.zeros(records, dtype=np.intp), np.array(["(all records)"])
    given = np.asarray(strata)
    if given.shape != (records,):
        raise InputError(
            f"strata has shape {given.shape}, but {records:,} records need ({records},): a label "
            "for each."
        )
    unlabelled = np.array([label is None or label != label for label in given.tolist()])
    refuse("strata", unlabelled, "no label", "Give each record's stratum a label.")
    labels, codes = np.unique(given, return_inverse=True)
    return codes, labels


def by_stratum(records: Indices, codes: Indices) -> list[Indices]:
    """The records of each stratum, in the order of the file; none of empty strata."""
    order = records[np.argsort(codes[records], kind="stable")]
    return [
        group for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(group)
    ]


def _probabilities(probability: ArrayLike) -> Vector:
    given = numbers("probability", probability)
    chance = vector("probability", given, given.size, "records")
    move = "A probability is from 0 (never) to 1 (certain); see inclusion_probabilities."
    refuse("probability", (chance < 0) | (chance > 1), "outside [0, 1]", move)
    return chance


def _refuse_broken_sums(chance: Vector, codes: Indices, labels: Labels) -> None:
    sums = np.bincount(codes, weights=chance, minlength=len(labels))
    broken = (np.abs(sums - np.round(sums)) > _ROUNDING) | ((sums > 0) & (np.round(sums) == 0))
    if broken.any():
        first = int(broken.argmax())
        raise InputError(
            f"probabilities add up to no whole number in {int(broken.sum())} of {len(labels)} "
            f"strata, the first {labels[first]}: {sums[first]:.10g}. A sample of exact size "
            "needs one: allocate whole sizes and make the probabilities of each stratum with "
            "inclusion_probabilities."
        )


def _columns(name: str, given: ArrayLike | None, records: int, *, used: bool) -> Matrix | None:
    """A finite matrix of a row for each record, once the design uses it."""
    if given is None:
        return None
    if not used:
        raise InputError(
            f"{name} was given to a design that does not use it. coordinates go with 'pivotal' "
            "and balance with 'cube'."
        )
    columns = numbers(name, given)
    if columns.ndim != 2 or len(columns) != records or columns.shape[1] == 0:
        raise InputError(
            f"{name} has shape {columns.shape}, but must be ({records}, columns): a row for each "
            "record."
        )
    bad = np.asarray(~np.isfinite(columns).all(axis=1))
    refuse(name, bad, "rows with a number that is not finite", "Mend them.")
    return columns


def _refuse_unbalanceable(columns: Matrix | None) -> None:
    if columns is None:
        raise InputError(
            "the design 'cube' needs balance, (records, columns). Give the columns whose totals "
            "the sample is to meet, or use another design."
        )
    empty = np.asarray((columns == 0).all(axis=0))
    refuse("balance", empty, "columns of zeros", "Leave out columns that say nothing.")


def _joint_probability(
    pair: Callable[[Vector, Indices], Matrix],
    chance: Vector,
    groups: Sequence[Indices],
    indices: Indices,
) -> Matrix:
    """Strata, and records that are certain, are independent of all others."""
    matrix: Matrix = np.outer(chance[indices], chance[indices])
    for group in groups:
        drawn = np.flatnonzero(np.isin(group, indices, assume_unique=True))
        places = np.searchsorted(indices, group[drawn])
        matrix[np.ix_(places, places)] = pair(chance[group], drawn)
    return matrix


def _balance(columns: Matrix, chance: Vector, indices: Indices, left_out: Indices) -> Balance:
    estimates = (columns[indices] / chance[indices, None]).sum(axis=0)
    reachable = columns[chance > 0]
    sizes = np.abs(reachable).sum(axis=0)
    missed = estimates - reachable.sum(axis=0)
    imbalance = np.divide(missed, sizes, out=np.zeros_like(missed), where=sizes > 0)
    return Balance(imbalance=imbalance, left_out=left_out)
