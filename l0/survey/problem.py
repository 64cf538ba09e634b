"""A calibration problem: what must be reproduced, by whom, from which design. Checked once.

The relative error of a target is signed, ``(estimate - value) / scale``, and its scale is
``max(|value|, floor)``: a target of zero or below zero has one too. How errors become a loss is
in ``losses``; which weights are sought is in ``gated_fit`` and ``refit``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import Matrix, csr_matrix, refuse, vector

Vector = NDArray[np.float64]


@dataclass(frozen=True, init=False, eq=False)
class CalibrationProblem:
    """Constraints (targets, records), their values, and the design weights of the records."""

    constraints: sp.csr_array  # (targets, records), float64
    values: Vector  # (targets,)
    design_weights: Vector  # (records,)
    scales: Vector  # (targets,), > 0
    loss_weights: Vector  # (targets,), sum 1
    target_names: tuple[str, ...]

    def __init__(
        self,
        constraints: Matrix,
        values: ArrayLike,
        design_weights: ArrayLike,
        *,
        target_names: Sequence[str] | None = None,
        loss_weights: ArrayLike | None = None,
        scales: ArrayLike | None = None,
    ) -> None:
        """Check and copy everything once; nothing is changed afterwards.

        Args:
            constraints: one row a target, one column a record: scipy sparse, numpy or torch.
            values: the published totals.
            design_weights: weights of the sampling design, finite and not negative. A record of
                weight zero has no chance to be kept.
            target_names: one a target, used in messages; ``target 0`` and so on without.
            loss_weights: how much each target's error counts, at least 0; equal without.
            scales: what an error is divided by; ``max(|value|, 1)`` without.

        Raises:
            InputError: lengths that do not fit, or numbers that are not finite.
        """
        matrix = csr_matrix("constraints", constraints)
        targets, records = matrix.shape
        values_ = _vector("values", values, targets, "targets")
        design = _vector("design_weights", design_weights, records, "records")
        names = _names(target_names, targets)
        refuse("design_weights", design < 0, "negative", "Set it to zero to leave a record out.")
        if not design.any():
            raise InputError("all design weights are zero: no record can be kept.")
        if scales is None:
            scales_ = np.maximum(np.abs(values_), 1.0)
        else:
            scales_ = _vector("scales", scales, targets, "targets")
        refuse("scales", scales_ <= 0, "not above zero", "Give every target a floor.")
        if loss_weights is None:
            importance = np.ones(targets)
        else:
            importance = _vector("loss_weights", loss_weights, targets, "targets")
        refuse("loss_weights", importance < 0, "negative", "Use zero to leave a target out.")
        if not importance.any():
            raise InputError("all loss weights are zero: nothing would be fitted.")
        for name, value in (
            ("constraints", matrix),
            ("values", values_),
            ("design_weights", design),
            ("scales", scales_),
            ("loss_weights", importance / importance.sum()),
            ("target_names", names),
        ):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def n_targets(self) -> int:
        """How many totals are to be reproduced."""
        return len(self.values)

    @property
    def n_records(self) -> int:
        """How many records could be kept."""
        return len(self.design_weights)

    def estimates(self, weights: ArrayLike) -> Vector:  # (records,) -> (targets,)
        """The weighted total of every target, in float64."""
        return np.asarray(self.constraints @ _vector("weights", weights, self.n_records, "records"))

    def relative_errors(self, weights: ArrayLike) -> Vector:  # (records,) -> (targets,)
        """(estimate - value) / scale of every target, signed, in float64."""
        return (self.estimates(weights) - self.values) / self.scales

    def fewest_records(self) -> int:
        """A number of records below which some target's estimate must be zero.

        Targets that share no record need one each. They are picked greedily, those of fewest
        records first, so the number is a lower bound and need not be the largest one. Targets
        that do not count in the loss and records of design weight zero are left out.
        """
        counted = (self.values != 0) & (self.loss_weights > 0)
        rows = self.constraints[counted][:, self.design_weights > 0]
        taken = np.zeros(rows.shape[1], dtype=bool)
        count = 0
        for row in np.argsort(np.diff(rows.indptr), kind="stable"):
            members = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
            if len(members) and not taken[members].any():
                taken[members] = True
                count += 1
        return count

    def check_budget(self, budget: int) -> None:
        """Refuse a number of records that is none, more than there are, or too few to fit."""
        available = int((self.design_weights > 0).sum())
        if not isinstance(budget, Integral):
            raise InputError(f"budget is {budget!r}, but must be a whole number.")
        if not 1 <= budget <= available:
            raise InputError(
                f"budget is {budget:,}, but {available:,} records have a positive design weight. "
                f"Choose a budget from 1 to {available:,}."
            )
        fewest = self.fewest_records()
        if budget < fewest:
            raise InputError(
                f"budget is {budget:,}, but {fewest:,} targets share no record, so that fewer "
                f"than {fewest:,} records leave some target without any. Raise the budget, or "
                "fit fewer targets."
            )


def _vector(name: str, values: ArrayLike, length: int, of: str) -> Vector:
    hint = " Constraints are (targets, records): transpose them if rows are records."
    return vector(name, values, length, of, hint=hint)


def _names(names: Sequence[str] | None, targets: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"target {row}" for row in range(targets))
    if len(names) != targets or len(set(names)) != targets:
        raise InputError(
            f"target_names has {len(names)} names, {len(set(names))} of them distinct, for "
            f"{targets} targets. Give each target one name of its own."
        )
    return tuple(names)
