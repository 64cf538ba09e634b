"""How many records each stratum gets: whole numbers that add up, within each stratum's bounds."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import refuse, vector, whole
from l0.survey.problem import Vector

Counts = NDArray[np.intp]
Labels = NDArray[Any]
Rule = Literal["proportional", "neyman"] | Mapping[Any, int]
Minimum = int | Mapping[Any, int]  # of every stratum, or of each by its label


def allocate(
    strata: ArrayLike,
    size: int,
    *,
    rule: Rule = "proportional",
    spread: ArrayLike | None = None,
    minimum: Minimum = 0,
) -> Counts:  # (strata,)
    """Records to draw from each stratum, in the order of ``np.unique(strata)``.

    Proportional to a stratum's records N, or to N times its spread (Neyman, 1934). A stratum
    whose share lies outside its bounds gets the bound, and the others share what is left. Shares
    are rounded by largest remainders; equal ones fall in the order of the strata.

    Args:
        strata: (records,) the label of each record's stratum.
        size: records to draw in all.
        rule: "proportional", "neyman", or the number of each stratum by its label.
        spread: (strata,) standard deviation of what is studied in each stratum; of "neyman" alone.
        minimum: least number from each stratum, or of each by its label.

    Raises:
        InputError: an unknown rule, a spread that is missing, unused, negative or zero where it
            is needed, or numbers that the strata cannot give.
    """
    labels, sizes = np.unique(np.asarray(strata), return_counts=True)
    size = whole("size", size, least=0)
    lower = minima(minimum, labels)
    if (spread is not None) != (rule == "neyman"):
        raise InputError(
            f"spread {'was given' if spread is not None else 'is missing'}, and rule is {rule!r}. "
            "Give the spread of each stratum with the rule 'neyman', and with it alone."
        )
    if isinstance(rule, Mapping):
        given = _by_label("rule", rule, labels)
        if given.sum() != size:
            raise InputError(
                f"the numbers of rule add up to {int(given.sum()):,}, but size is {size:,}."
            )
        _refuse_crossed(lower, given, labels)
        _refuse_crossed(given, sizes, labels)
        return given
    if rule not in ("proportional", "neyman"):
        raise InputError(
            f"rule is {rule!r}, but must be 'proportional', 'neyman', or the number of each "
            "stratum by its label."
        )
    measure = sizes.astype(np.float64)
    if spread is not None:
        deviations = vector("spread", spread, len(labels), "strata")
        refuse("spread", deviations < 0, "negative", "A standard deviation is 0 or more.")
        measure *= deviations
    return share_out(size, measure, lower=lower, upper=sizes, labels=labels)


def share_out(
    size: int,
    measure: Vector,  # (strata,)
    *,
    lower: Counts,  # (strata,)
    upper: Counts,  # (strata,)
    labels: Labels,
) -> Counts:  # (strata,)
    """Whole numbers in proportion to a measure, between bounds, that add up to ``size``.

    Raises:
        InputError: bounds that exclude each other, or that do not leave room for ``size``.
    """
    _refuse_crossed(lower, upper, labels)
    most = int(np.where(measure > 0, upper, lower).sum())
    if not lower.sum() <= size <= most:
        raise InputError(
            f"size is {size:,}, but the {len(labels)} strata give from {int(lower.sum()):,} "
            f"(their minima) to {most:,} (all records of strata with a positive measure). Change "
            "the size or the minimum."
        )
    shares = _bounded_shares(size, measure, lower=lower, upper=upper)
    # shares that differ by rounding alone are equal, and whole where they are so but for it
    counts = np.floor(shares + 1e-9).astype(np.intp)
    by_remainder = np.argsort(-np.round(shares - counts, 9), kind="stable")
    counts[by_remainder[: size - counts.sum()]] += 1
    return counts


def minima(minimum: Minimum, labels: Labels) -> Counts:  # (strata,)
    """The minimum of each stratum, given as one number or by label.

    Raises:
        InputError: numbers that are not whole, or other labels than the strata's.
    """
    if isinstance(minimum, Mapping):
        return _by_label("minimum", minimum, labels)
    return np.full(len(labels), whole("minimum", minimum, least=0))


def _by_label(name: str, given: Mapping[Any, int], labels: Labels) -> Counts:
    named = labels.tolist()
    missing, unknown = (
        ", ".join(sorted(map(repr, labels))) or "none"
        for labels in (set(named) - set(given), set(given) - set(named))
    )
    if set(given) != set(named):
        raise InputError(
            f"{name} must give a number for each of the {len(named)} strata and for nothing else. "
            f"Missing: {missing}; unknown: {unknown}."
        )
    return np.array([whole(f"{name}[{label!r}]", given[label], least=0) for label in named])


def _refuse_crossed(lower: Counts, upper: Counts, labels: Labels) -> None:
    crossed = np.flatnonzero(lower > upper)
    if len(crossed):
        first = crossed[0]
        raise InputError(
            f"{len(crossed)} strata cannot give as many records as they must, the first "
            f"{labels[first]}: {lower[first]:,} of {upper[first]:,}. Lower its number or the "
            "minimum, or join it to another stratum."
        )


def _bounded_shares(size: int, measure: Vector, *, lower: Counts, upper: Counts) -> Vector:
    """The one factor by which the measure, cut off at its bounds, adds up to the size."""
    shared = measure > 0
    slopes = measure[shared]
    factors = np.unique(np.concatenate([lower[shared] / slopes, upper[shared] / slopes, [0.0]]))
    totals = [np.clip(factor * measure, lower, upper).sum() for factor in factors]
    factor = float(np.interp(size, totals, factors))
    shares: Vector = np.clip(factor * measure, lower, upper)
    return shares
