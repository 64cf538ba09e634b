"""The same estimate for every part of a population: each state, each class."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.survey.estimation.estimate import Estimate

AnyEstimate = TypeVar("AnyEstimate", bound=Estimate)


def by_domain(
    labels: ArrayLike,  # (size,)
    estimator: Callable[[NDArray[np.bool_]], AnyEstimate],
) -> dict[Any, AnyEstimate]:
    """One estimate a label, in the order of labels.

    ``by_domain(states, lambda state: mean(income, sample, domain=state))``. A domain of which no
    record was drawn has no label, and so no estimate.

    Args:
        labels: of the records drawn, in the order of ``sample.indices``.
        estimator: from the mask of a domain, its estimate.

    Raises:
        InputError: whatever the estimator refuses, with the label: a mean of a domain of one
            record, labels of another number.
    """
    given = np.asarray(labels)
    return {label: _named(label, estimator, given) for label in np.unique(given).tolist()}


def _named(
    label: object, estimator: Callable[[NDArray[np.bool_]], AnyEstimate], given: NDArray[Any]
) -> AnyEstimate:
    try:
        return estimator(given == label)
    except InputError as error:
        raise InputError(f"domain {label!r}: {error}") from error
