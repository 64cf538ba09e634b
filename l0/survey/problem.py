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
import torch
from numpy.typing import ArrayLike, NDArray

from l0.survey.errors import CalibrationInputError

Vector = NDArray[np.float64]
# numpy's kinds of numbers that are real, and objects that may be
REAL = "biufO"


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
        constraints: sp.sparray | sp.spmatrix | ArrayLike | torch.Tensor,
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
            CalibrationInputError: lengths that do not fit, or numbers that are not finite.
        """
        matrix = _as_csr(constraints)
        targets, records = matrix.shape
        values_ = _vector("values", values, targets, "targets")
        design = _vector("design_weights", design_weights, records, "records")
        names = _names(target_names, targets)
        _refuse("design_weights", design < 0, "negative", "Set it to zero to leave a record out.")
        if not design.any():
            raise CalibrationInputError("all design weights are zero: no record can be kept.")
        if scales is None:
            scales_ = np.maximum(np.abs(values_), 1.0)
        else:
            scales_ = _vector("scales", scales, targets, "targets")
        _refuse("scales", scales_ <= 0, "not above zero", "Give every target a floor.")
        if loss_weights is None:
            importance = np.ones(targets)
        else:
            importance = _vector("loss_weights", loss_weights, targets, "targets")
        _refuse("loss_weights", importance < 0, "negative", "Use zero to leave a target out.")
        if not importance.any():
            raise CalibrationInputError("all loss weights are zero: nothing would be fitted.")
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
            raise CalibrationInputError(f"budget is {budget!r}, but must be a whole number.")
        if not 1 <= budget <= available:
            raise CalibrationInputError(
                f"budget is {budget:,}, but {available:,} records have a positive design weight. "
                f"Choose a budget from 1 to {available:,}."
            )
        fewest = self.fewest_records()
        if budget < fewest:
            raise CalibrationInputError(
                f"budget is {budget:,}, but {fewest:,} targets share no record, so that fewer "
                f"than {fewest:,} records leave some target without any. Raise the budget, or "
                "fit fewer targets."
            )


def _as_csr(constraints: object) -> sp.csr_array:
    if isinstance(constraints, torch.Tensor):
        constraints = _from_torch(constraints)
    given: sp.sparray = constraints
    if not sp.issparse(given):
        given = _numbers("constraints", constraints)
    if given.ndim != 2 or 0 in given.shape:
        raise CalibrationInputError(
            f"constraints must have the shape (targets, records), but got {given.shape}."
        )
    if given.dtype.kind not in REAL:
        raise CalibrationInputError(f"constraints must be real numbers, but got {given.dtype}.")
    # a copy: the caller's matrix may change later, and is not put in order here
    matrix = sp.csr_array(given, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    bad = ~np.isfinite(matrix.data)
    if bad.any():
        row = int(np.searchsorted(matrix.indptr, bad.argmax(), side="right")) - 1
        raise CalibrationInputError(
            f"{int(bad.sum())} constraints are not finite, the first in target {row}, record "
            f"{matrix.indices[bad.argmax()]}. Mend the column it was computed from."
        )
    return matrix


def _from_torch(tensor: torch.Tensor) -> sp.coo_array | NDArray[np.float64]:
    tensor = tensor.detach().cpu().double()
    if tensor.layout == torch.strided:
        return tensor.numpy()
    # never dense in between: most coefficients of a survey are zero
    entries = tensor.to_sparse().coalesce()
    return sp.coo_array(
        (entries.values().numpy(), tuple(entries.indices().numpy())), shape=tuple(entries.shape)
    )


def _numbers(name: str, values: object) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values)
        numbers = array.astype(np.float64) if array.dtype.kind in REAL else None
    except (TypeError, ValueError) as error:
        raise CalibrationInputError(f"{name} must be real numbers: {error}.") from error
    if numbers is None:
        raise CalibrationInputError(f"{name} must be real numbers, but got {array.dtype}.")
    return numbers


def _vector(name: str, values: ArrayLike, length: int, of: str) -> Vector:
    vector = _numbers(name, values)
    if vector.shape != (length,):
        raise CalibrationInputError(
            f"{name} has shape {vector.shape}, but {length} {of} need ({length},). "
            "Constraints are (targets, records): transpose them if rows are records."
        )
    _refuse(name, ~np.isfinite(vector), "not finite", "Mend or leave out these entries.")
    return vector


def _refuse(name: str, bad: NDArray[np.bool_], fault: str, move: str) -> None:
    if bad.any():
        places = ", ".join(str(place) for place in np.flatnonzero(bad)[:5])
        raise CalibrationInputError(
            f"{int(bad.sum())} entries of {name} are {fault}, at positions {places}. {move}"
        )


def _names(names: Sequence[str] | None, targets: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"target {row}" for row in range(targets))
    if len(names) != targets or len(set(names)) != targets:
        raise CalibrationInputError(
            f"target_names has {len(names)} names, {len(set(names))} of them distinct, for "
            f"{targets} targets. Give each target one name of its own."
        )
    return tuple(names)
