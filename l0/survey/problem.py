"""A calibration problem: what must be reproduced, by whom, from which design. Checked once.

The relative error of a target is signed, ``(estimate - value) / scale``, and its scale is
``max(|value|, floor)``: a target of zero or below zero has one too. How errors become a loss is
in ``losses``; which weights are sought is in ``gated_fit``, ``gradual_pruning`` and ``refit``.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import Matrix, csr_matrix, positive, refuse, vector
from l0.survey.compressed import run_of
from l0.survey.groups import group_factors

Vector = NDArray[np.float64]

# coefficients turned to float64 at a time, so that exact estimates need no second matrix
_BLOCK = 2_000_000
_MOST_COEFFICIENTS = 2**31 - 1
# products of weights and coefficients are made in float32
_SMALLEST_WEIGHT, _LARGEST_WEIGHT = 1e-20, 1e20


@dataclass(frozen=True, init=False, eq=False)
class CalibrationProblem:
    """Constraints (targets, records), their values, and the design weights of the records."""

    # (targets, records); float32 carries a coefficient to 6e-8 of itself, int32 its place
    constraints: sp.csc_array
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
        groups: ArrayLike | None = None,
        group_multipliers: Mapping[Any, float] | None = None,
        loss_weights: ArrayLike | None = None,
        scales: ArrayLike | None = None,
        scale_floor: float | None = None,
    ) -> None:
        """Check and copy everything once; nothing is changed afterwards.

        Args:
            constraints: one row a target, one column a record: scipy sparse, numpy or torch.
            values: the published totals.
            design_weights: weights of the sampling design, finite and not negative. A record of
                weight zero has no chance to be kept.
            target_names: one a target, used in messages; ``target 0`` and so on without.
            groups: (targets,) a number or a name; every group then counts the same in the loss,
                shared by its targets in proportion to their loss weights.
            group_multipliers: a factor for the loss of some groups.
            loss_weights: how much each target's error counts, at least 0; equal without.
            scales: what an error is divided by; ``max(|value|, scale_floor)`` without.
            scale_floor: the least scale, in the unit of the values; 1 without.

        Raises:
            InputError: lengths that do not fit, or numbers that are not finite.
        """
        by_target = csr_matrix("constraints", constraints, dtype=np.float32)
        if by_target.nnz > _MOST_COEFFICIENTS:
            raise InputError(
                f"constraints has {by_target.nnz:,} coefficients, but at most "
                f"{_MOST_COEFFICIENTS:,} have a place in 32 bits. Split the records."
            )
        targets, records = by_target.shape
        values_ = _vector("values", values, targets, "targets")
        design = _vector("design_weights", design_weights, records, "records")
        names = _names(target_names, targets)
        refuse("design_weights", design < 0, "negative", "Set it to zero to leave a record out.")
        lost = (design > 0) & ~((design > _SMALLEST_WEIGHT) & (design < _LARGEST_WEIGHT))
        refuse("design_weights", lost, "beyond float32", "Give weights in another unit.")
        if not design.any():
            raise InputError("all design weights are zero: no record can be kept.")
        if scales is None:
            floor = 1.0 if scale_floor is None else positive("scale_floor", scale_floor)
            scales_ = np.maximum(np.abs(values_), floor)
        elif scale_floor is not None:
            raise InputError("scales and scale_floor were both given: scales are their own floor.")
        else:
            scales_ = _vector("scales", scales, targets, "targets")
        refuse("scales", scales_ <= 0, "not above zero", "Give every target a floor.")
        if loss_weights is None:
            importance = np.ones(targets)
        else:
            importance = _vector("loss_weights", loss_weights, targets, "targets")
        refuse("loss_weights", importance < 0, "negative", "Use zero to leave a target out.")
        importance = importance * group_factors(
            targets, groups, multipliers=group_multipliers, loss_weights=importance
        )
        if not importance.any():
            raise InputError("all loss weights are zero: nothing would be fitted.")
        matrix = sp.csc_array(by_target)
        matrix.indices = matrix.indices.astype(np.int32, copy=False)
        matrix.indptr = matrix.indptr.astype(np.int32, copy=False)
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.setflags(write=False)
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
        given = _vector("weights", weights, self.n_records, "records")
        total = np.zeros(self.n_targets)
        for columns, block in _blocks(self.constraints):
            if given[columns].any():
                total += block @ given[columns]
        return total

    def relative_errors(self, weights: ArrayLike) -> Vector:  # (records,) -> (targets,)
        """(estimate - value) / scale of every target, signed, in float64."""
        return (self.estimates(weights) - self.values) / self.scales

    def digest(self) -> str:
        """SHA-256 of everything that a fit depends on, in hexadecimal."""
        hashed = hashlib.sha256()
        matrix = self.constraints
        for array in (
            np.array(matrix.shape, dtype=np.int64),
            *(matrix.data, matrix.indices, matrix.indptr),
            *(self.values, self.design_weights, self.scales, self.loss_weights),
        ):
            hashed.update(np.asarray(array).data)
        return hashed.hexdigest()

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one npz file of plain arrays."""
        matrix = self.constraints
        np.savez(
            path,
            allow_pickle=False,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            values=self.values,
            design_weights=self.design_weights,
            scales=self.scales,
            loss_weights=self.loss_weights,
            target_names=np.array(self.target_names, dtype=str),
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "CalibrationProblem":
        """Read what ``save`` wrote, and check it again."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        parts = tuple(arrays.pop(name) for name in ("data", "indices", "indptr"))
        shape = (len(arrays["values"]), len(arrays["design_weights"]))
        problem = cls(
            sp.csc_array(parts, shape=shape),
            arrays.pop("values"),
            arrays.pop("design_weights"),
            target_names=[str(name) for name in arrays.pop("target_names")],
            **arrays,
        )
        # they sum to one already; dividing once more could move their last digits
        loss_weights = arrays["loss_weights"]
        loss_weights.setflags(write=False)
        object.__setattr__(problem, "loss_weights", loss_weights)
        return problem

    def without(self, targets: NDArray[np.bool_]) -> "CalibrationProblem":
        """The same problem in which these targets do not count in the loss.

        Raises:
            InputError: no other target counts.
        """
        mask = np.asarray(targets)
        if mask.dtype != bool or mask.shape != (self.n_targets,):
            raise InputError(
                f"targets is {mask.dtype} of shape {mask.shape}, but must be a mask: bool, "
                f"({self.n_targets},)."
            )
        left = np.where(mask, 0.0, self.loss_weights)
        if not left.any():
            raise InputError("no target would count in the loss: leave some in.")
        other = object.__new__(CalibrationProblem)
        for name, value in vars(self).items():
            object.__setattr__(other, name, value)
        left /= left.sum()
        left.setflags(write=False)
        object.__setattr__(other, "loss_weights", left)
        return other

    def fewest_records(self) -> int:
        """A number of records below which some target's estimate must be zero.

        Targets that share no record need one each. They are picked greedily, those of fewest
        records first, so the number is a lower bound and need not be the largest one. Targets
        that do not count in the loss and records of design weight zero are left out.
        """
        counted = (self.values != 0) & (self.loss_weights > 0)
        rows = self.constraints.tocsr()
        taken = self.design_weights == 0
        count = 0
        for row in np.argsort(np.diff(rows.indptr), kind="stable"):
            members = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
            members = members[self.design_weights[members] > 0]
            if counted[row] and len(members) and not taken[members].any():
                taken[members] = True
                count += 1
        return count

    def check_budget(self, budget: int) -> None:
        """Refuse a number of records that is none, more than there are, or too few to fit."""
        available = int((self.design_weights > 0).sum())
        if not isinstance(budget, Integral) or isinstance(budget, bool):
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


def _blocks(matrix: sp.csc_array) -> Iterator[tuple[slice, sp.csc_array]]:
    """Runs of columns of a bounded number of coefficients, sharing the matrix's memory."""
    first = 0
    while first < matrix.shape[1]:
        start = matrix.indptr[first]
        last = int(np.searchsorted(matrix.indptr, start + _BLOCK, side="right")) - 1
        last = min(max(last, first + 1), matrix.shape[1])
        lines = slice(first, last)
        yield lines, run_of(matrix, lines)
        first = last


def _vector(name: str, values: ArrayLike, length: int, of: str) -> Vector:
    hint = " Constraints are (targets, records): transpose them if rows are records."
    return vector(name, values, length, of, hint=hint)


def _names(names: Sequence[str] | None, targets: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"target {row}" for row in range(targets))
    if isinstance(names, str):
        raise InputError(f"target_names is the one name {names!r}, but must be a list of names.")
    if len(names) != targets or len(set(names)) != targets:
        seen: set[str] = set()
        twice = next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
        repeated = "" if twice is None else f" {twice!r} is given twice."
        raise InputError(
            f"target_names has {len(names)} names, {len(set(names))} of them distinct, for "
            f"{targets} targets.{repeated} Give each target one name of its own."
        )
    return tuple(names)
