"""What no weights can satisfy, told before a fit, and which targets came out worst, told after.

Nothing is refused, mended or left out here: a finding is a position with its reason, and the next
move is the caller's. What cannot be read as a problem is refused in ``problem``, and so is a
budget of too few records.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from l0.inputs import whole
from l0.survey.problem import CalibrationProblem, Vector

Positions = NDArray[np.intp]

# in units of a target's scale: closer than this is met, for a sum of 200,000 products in float64
# is itself not known much better
MET = 1e-9
# coefficients that agree to 12 significant digits are multiples of each other, or, where they are
# stored in fewer, to four units of the last one
SAME = 1e-12
# how many names a sentence gives
NAMED = 5


@dataclass(frozen=True)
class TargetGroup:
    """Targets of proportional coefficients: the estimate of the first one sets all others."""

    rows: tuple[int, ...]  # ascending
    implied_values: tuple[float, ...]  # what each of them asks the first row's estimate to be


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Findings as positions, ascending. A target that counts no record is told as that alone."""

    empty_met: Positions  # targets that count no record of positive design weight, value zero
    empty_unmet: Positions  # the same, but the value is not zero
    out_of_sign: Positions  # targets whose estimate cannot have the sign of their value
    contradictions: tuple[TargetGroup, ...]  # the same coefficients, values that exclude each other
    duplicates: tuple[TargetGroup, ...]  # the same coefficients, the same values
    empty_records: Positions  # records that no target counts
    target_names: tuple[str, ...] = field(repr=False)

    @property
    def empty_targets(self) -> Positions:
        """Targets without any coefficient on a record of positive design weight."""
        return _union(self.empty_met, self.empty_unmet)

    @property
    def cannot_be_met(self) -> Positions:
        """Targets that no weights meet, be it alone or together with the others of their group."""
        opposed = [group.rows for group in self.contradictions]
        return _union(self.empty_unmet, self.out_of_sign, *opposed)

    @property
    def has_findings(self) -> bool:
        """Whether there is anything to tell, harmless or not."""
        return bool(self.describe())

    def describe(self) -> list[str]:
        """One sentence and the next move for each kind of finding, worst first; none without."""
        told = []
        if len(self.empty_unmet):
            told.append(
                f"No weights can meet {_counted(self.empty_unmet, 'target')} of a value other than "
                "zero that count no record of positive design weight: "
                f"{self._names(self.empty_unmet)}. Mend the columns they are computed from, or "
                "leave them out."
            )
        if len(self.out_of_sign):
            told.append(
                f"No weights of zero or more can meet {_counted(self.out_of_sign, 'target')} whose "
                f"coefficients all have the other sign: {self._names(self.out_of_sign)}. Mend the "
                "sign of the value or of the column, or leave them out."
            )
        if self.contradictions:
            first = self.contradictions[0]
            asked = (
                f"{self.target_names[row]} {value:,.12g}"
                for row, value in zip(first.rows, first.implied_values, strict=True)
            )
            told.append(
                f"No weights can meet all of {_counted(self.contradictions, 'group')} of targets "
                "with the same coefficients up to a factor but values that exclude each other; "
                f"the first, told as values of {self.target_names[first.rows[0]]}: "
                f"{_listed(asked)}. Keep one target of each group, or reconcile their sources."
            )
        if self.duplicates:
            first = self.duplicates[0]
            told.append(
                f"Targets count more than once in {_counted(self.duplicates, 'group')} of the same "
                f"coefficients and values up to a factor; the first: {self._names(first.rows)}. "
                "Keep one target of each group, unless it is meant to weigh more."
            )
        if len(self.empty_met):
            told.append(
                f"Any weights meet {_counted(self.empty_met, 'target')} of the value zero that "
                f"count no record of positive design weight: {self._names(self.empty_met)}. Leave "
                "them out, or they flatter the fit."
            )
        if len(self.empty_records):
            told.append(
                f"No target counts {_counted(self.empty_records, 'record')}, at positions "
                f"{_listed(str(column) for column in self.empty_records)}. Leave them out, or add "
                "a target that counts them."
            )
        return told

    def _names(self, rows: Iterable[int]) -> str:
        return _listed(self.target_names[row] for row in rows)


@dataclass(frozen=True)
class TargetError:
    """How far one target is off."""

    name: str
    row: int
    value: float
    estimate: float
    relative_error: float  # signed
    loss_contribution: float  # loss weight x |relative error|, without the loss's cap


def diagnose(problem: CalibrationProblem) -> Diagnosis:
    """Find what no weights of zero or more can satisfy, and what serves nothing.

    All targets are looked at, also those that do not count in the loss. Records of design weight
    zero are never kept: two targets that differ on such records alone have the same coefficients.
    Each row is compared with its likes only, so that time grows with the coefficients and not
    with pairs of targets; a matrix that is not stored by rows is copied once.
    """
    by_target = _by_target(problem)
    empty = np.diff(by_target.indptr) == 0
    groups = [_judged(problem, by_target, rows) for rows in _groups(by_target)]
    return Diagnosis(
        empty_met=np.flatnonzero(empty & (problem.values == 0)),
        empty_unmet=np.flatnonzero(empty & (problem.values != 0)),
        out_of_sign=_out_of_sign(by_target, problem.values),
        contradictions=tuple(group for group, agree in groups if not agree),
        duplicates=tuple(group for group, agree in groups if agree),
        empty_records=np.flatnonzero(problem.constraints.count_nonzero(axis=0) == 0),
        target_names=problem.target_names,
    )


def worst_targets(
    problem: CalibrationProblem,
    weights: ArrayLike,  # (records,)
    count: int = 10,
) -> tuple[TargetError, ...]:
    """The targets that count in the loss and are furthest off, worst first, ties in row order.

    Raises:
        InputError: weights that do not fit the problem, or a count below one.
    """
    count = int(whole("count", count, least=1))
    estimates = problem.estimates(weights)
    errors = problem.relative_errors(weights)
    counted = np.flatnonzero(problem.loss_weights > 0)
    worst = counted[np.argsort(-np.abs(errors[counted]), kind="stable")[:count]]
    return tuple(
        TargetError(
            name=problem.target_names[row],
            row=int(row),
            value=float(problem.values[row]),
            estimate=float(estimates[row]),
            relative_error=float(errors[row]),
            loss_contribution=float(problem.loss_weights[row] * abs(errors[row])),
        )
        for row in worst
    )


def _by_target(problem: CalibrationProblem) -> sp.csr_array:  # (targets, records kept)
    """The constraints by rows, without the records of design weight zero."""
    kept = problem.design_weights > 0
    matrix = problem.constraints if kept.all() else problem.constraints[:, kept]
    return matrix.tocsr()


def _out_of_sign(by_target: sp.csr_array, values: Vector) -> Positions:
    """Targets of coefficients that all have the sign that the value has not."""
    filled = np.flatnonzero(np.diff(by_target.indptr))
    starts = by_target.indptr[filled]
    lowest = np.minimum.reduceat(by_target.data, starts) if len(filled) else np.empty(0)
    highest = np.maximum.reduceat(by_target.data, starts) if len(filled) else np.empty(0)
    asked = values[filled]
    return filled[((lowest > 0) & (asked < 0)) | ((highest < 0) & (asked > 0))]


def _groups(by_target: sp.csr_array) -> list[list[int]]:
    """Every group of two or more proportional rows, in the order of their first rows."""
    return sorted(
        rows
        for same_records in _of_same_records(by_target)
        for candidates in _of_like_profile(by_target, same_records)
        for rows in _proportional(by_target, candidates)
    )


def _of_same_records(by_target: sp.csr_array) -> list[list[int]]:
    """Rows that count the same records, wherever two or more do."""
    found = defaultdict(list)
    for row in np.flatnonzero(np.diff(by_target.indptr)).tolist():
        records = by_target.indices[slice(*by_target.indptr[row : row + 2])]
        found[hashlib.blake2b(records, digest_size=16).digest()].append(row)
    return [alike for alike in found.values() if len(alike) > 1]


def _of_like_profile(by_target: sp.csr_array, rows: list[int]) -> list[list[int]]:
    """The rows by a number that proportional ones share, wherever two or more do.

    Rounded coefficients would not do as a key: of thousands, some lie where two neighbours round
    apart. So the numbers are sorted and cut at the gaps, and the rows compared afterwards.
    """
    profiles = np.array([_profile(_coefficients(by_target, row)) for row in rows])
    order = np.argsort(profiles, kind="stable")
    # a coefficient and the largest may both be off
    gaps = np.diff(profiles[order]) > 4 * _rounding(by_target) * profiles[order][1:]
    parts = np.split(np.array(rows)[order], np.flatnonzero(gaps) + 1)
    return [sorted(part.tolist()) for part in parts if len(part) > 1]


def _profile(coefficients: Vector) -> float:
    """A weighted sum of the sizes over the largest: the same for every multiple of a row."""
    sizes = np.abs(coefficients)
    # roots of places: sums of them hardly coincide, as sums of whole numbers would
    return float((sizes / sizes.max()) @ np.sqrt(np.arange(1.0, len(sizes) + 1.0)))


def _proportional(by_target: sp.csr_array, rows: list[int]) -> list[list[int]]:
    """Groups of two or more rows that are multiples of their first one."""
    groups = []
    while len(rows) > 1:
        first = _coefficients(by_target, rows[0])
        expected = first / first[0]
        alike = []
        for row in rows:
            found = _coefficients(by_target, row)
            off = np.abs(found - expected * found[0])
            if (off <= _rounding(by_target) * np.abs(found)).all():
                alike.append(row)
        if len(alike) > 1:
            groups.append(alike)
        rows = sorted(set(rows[1:]).difference(alike))
    return groups


def _judged(
    problem: CalibrationProblem, by_target: sp.csr_array, rows: list[int]
) -> tuple[TargetGroup, bool]:
    """The group, and whether some estimate of its first row meets the values of all."""
    first = _coefficients(by_target, rows[0])
    implied, slack = np.empty(len(rows)), np.empty(len(rows))
    for place, row in enumerate(rows):
        found = _coefficients(by_target, row)
        factor = found[0] / first[0]
        # any other factor may have been rounded, and with it what the value implies
        exact = abs(factor) == 1 and np.array_equal(found, factor * first)
        unknown = 0.0 if exact else _rounding(by_target) * abs(problem.values[row])
        implied[place] = problem.values[row] / factor
        slack[place] = (MET * problem.scales[row] + unknown) / abs(factor)
    group = TargetGroup(rows=tuple(rows), implied_values=tuple(implied.tolist()))
    return group, bool((implied - slack).max() <= (implied + slack).min())


def _coefficients(by_target: sp.csr_array, row: int) -> Vector:
    """What a target counts of each of its records, in float64."""
    coefficients = by_target.data[slice(*by_target.indptr[row : row + 2])]
    return np.asarray(coefficients, dtype=np.float64)


def _rounding(by_target: sp.csr_array) -> float:
    """By what share of itself a coefficient may differ from the multiple that it stands for."""
    return max(SAME, 4 * float(np.finfo(by_target.dtype).eps))


def _union(*rows: Sequence[int] | Positions) -> Positions:
    return np.unique(np.concatenate([np.asarray(some, dtype=np.intp) for some in rows]))


def _counted(things: Sequence[object] | Positions, name: str) -> str:
    return f"{len(things):,} {name}" + ("s" if len(things) != 1 else "")


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED:,} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
