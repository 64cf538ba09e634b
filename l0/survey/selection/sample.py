"""A sample with its design: which records, how each came in, and with what probability."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """How well the cube method met its balancing columns."""

    # (columns,), Horvitz-Thompson total less the true one, over the sum of all absolute values
    imbalance: Vector
    left_out: NDArray[np.intp]  # columns that depend linearly on others or on the strata


@dataclass(frozen=True)
class Sample:
    """Records drawn by a design, with how and with what probability each came in."""

    indices: NDArray[np.intp]  # (size,), ascending
    kind: NDArray[np.str_]  # (size,), "certain" or "random"; of a hybrid "l0" or "random"
    inclusion_probability: Vector  # (size,), in (0, 1]
    strata: NDArray[np.intp]  # (size,), code of each record's stratum; all 0 without strata
    joint: Callable[[], Matrix] | None  # the design's own, of the records drawn, where it has them
    balance: Balance | None = None  # of the cube method alone
    measurable: bool = True  # whether every pair of records has a chance, as systematic has not

    def joint_probability(self) -> Matrix:  # (size, size)
        """P(both records are drawn), symmetric; the diagonal is ``inclusion_probability``.

        Time and memory grow with the square of the sample's size.

        Raises:
            InputError: the design has none that can be computed.
        """
        if self.joint is None:
            raise InputError(
                "joint inclusion probabilities of the pivotal and the cube method are not known. "
                "Use the Hajek-Deville variance, which needs the first-order ones alone, or draw "
                "by simple_random, systematic or sampford."
            )
        return self.joint()
