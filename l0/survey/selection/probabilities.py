"""Inclusion probabilities proportional to size, certainties found."""

import numpy as np

from l0.errors import InputError
from l0.inputs import numbers, refuse, vector, whole
from l0.survey.problem import Vector

# a probability this near to 1 is 1 but for rounding
_ROUNDING = 1e-12


def inclusion_probabilities(size_measure: object, size: int) -> Vector:  # (records,)
    """Probabilities proportional to a measure of size, which add up to ``size``.

    A record whose share would be 1 or more is certain: its probability is exactly 1 and the
    others share the places that are left, again until no share reaches 1 (Särndal, Swensson and
    Wretman, 1992, section 3.6.2). A measure of zero means never drawn.

    Args:
        size_measure: (records,), none below zero.
        size: how many records are to be drawn.

    Raises:
        InputError: a measure that is negative or no finite number, a size that the records of
            positive measure cannot give, or certain records that fill every place while
            others have a positive measure.
    """
    given = numbers("size_measure", size_measure)
    measure = vector("size_measure", given, given.size, "records")
    refuse("size_measure", measure < 0, "negative", "Use 0 for records that are never drawn.")
    places = whole("size", size, least=0)
    positive = int((measure > 0).sum())
    if places > positive:
        raise InputError(
            f"size is {size:,}, but only {positive:,} of {len(measure):,} records have a positive "
            f"size_measure. Choose a size up to {positive:,}."
        )
    probability = np.zeros(len(measure))
    sharing = measure > 0
    while places:
        share = places * (measure / measure[sharing].sum())
        certain = sharing & (share >= 1 - _ROUNDING)
        if not certain.any():
            probability[sharing] = share[sharing]
            return probability
        probability[certain] = 1.0
        sharing &= ~certain
        places -= int(certain.sum())
    if size and sharing.any():
        raise InputError(
            f"all {size:,} places go to records that are certain, and the size_measure of "
            f"{int(sharing.sum()):,} others is too small beside theirs to give them a chance. "
            "Set theirs to 0, or bring the measures nearer to each other."
        )
    return probability
