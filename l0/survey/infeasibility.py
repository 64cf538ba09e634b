"""Sets of targets that no weights within their bounds can meet together, each with its proof.

The proof of a conflict is a multiplier y for each of its targets (Farkas's lemma): whatever
weights l <= w <= u are chosen, y'(b - A w) >= gap = y'b - sum_j max(u_j (A'y)_j, l_j (A'y)_j).
Linear programs look for y and may be as inexact as they like; what is told is the gap of y on all
records, with its rounding taken off. The same coefficients with other values are found without a
search, and without bounds, in ``diagnostics``.
"""

import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from l0.errors import InputError
from l0.inputs import not_negative, of_type, positive, vector, whole
from l0.survey.problem import CalibrationProblem, Vector

Positions = NDArray[np.intp]

# the proof needs a finite bound of every weight: this one where none was asked for
UNBOUNDED_RATIO = 1e4
# how many names a sentence gives
NAMED = 5
# a conflict is taken up once its least error is this share of the worst seen so far
_SHARE = 0.5
# and what is told of it is at least this share of the worst error that it proves
_SHARP = 0.95
# smaller multipliers, of sizes that sum to one, are rounding
_ROUNDING = 1e-14
_ROUNDS = 200
# how many targets the first program has, and how many of those most off each later one adds
_TARGETS = 25
# of what the proof loses within groups of records, the share that is mended at a time
_MENDED = 0.98


@dataclass(frozen=True)
class Conflict:
    """Targets that exclude each other, none of which can be left out of the set."""

    rows: tuple[int, ...]  # most blamed first
    names: tuple[str, ...]
    values: tuple[float, ...]
    # one a target, per unit of it: above zero where the value is too high for the others
    multipliers: tuple[float, ...]
    gaps: tuple[float, ...]  # by how much each is off at least, in its units, were the others met
    least_error: float  # of the target that is most off, relative to its scale
    area: str
    weight_ratios: tuple[float, float]  # least and greatest of the weights that were allowed

    def describe(self) -> str:
        """One sentence with the names, and numbers in the targets' units."""
        name, value = self.names[0], self.values[0]
        limit = value - math.copysign(self.gaps[0], self.multipliers[0])
        side = "most" if limit < value else "least"
        # five digits: the last ones of a proof are the solver's
        reach = (
            f"{name} is at {side} {float(f'{limit:.5g}'):,.12g} with weights of "
            f"{self.weight_ratios[0]:g} to {self.weight_ratios[1]:g} times the design's, but "
            f"{value:,.12g} is asked"
        )
        others = [
            f"{name} = {value:,.12g}"
            for name, value in zip(self.names[1:], self.values[1:], strict=True)
        ]
        if not others:
            return f"Alone, all other targets given up: {reach}."
        more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
        return (
            f"With {', '.join(others[:NAMED])}{more} met, {reach}: one of these {len(self.rows)} "
            f"targets is off by at least {self.least_error:.1%} of its scale."
        )


@dataclass(frozen=True)
class Conflicts:
    """What was found, and where the search ended before it was known that no more is there."""

    found: tuple[Conflict, ...]  # greatest least error first
    undecided: tuple[str, ...]  # areas; "" is the only one where none were given
    # targets without which no conflict found within an area is left; the others of an area that
    # is not undecided can all be met within the tolerance
    set_aside: tuple[int, ...] = field(repr=False)


def find_conflicts(
    problem: CalibrationProblem,
    *,
    max_weight_ratio: float | None,
    min_weight_ratio: float | None = None,
    areas: Sequence[str] | None = None,
    sums: Sequence[tuple[int, Sequence[int]]] = (),
    tolerance: float = 0.01,
    most: int = 50,
    seconds: float | None = None,
) -> Conflicts:
    """Look for targets that exclude each other, about the worst first.

    Targets out of reach alone come first. Then the targets of each area are taken together: a
    linear program seeks the weights whose worst error is least, and its dual says which targets
    keep it from being less. Those that the others do not need are left out until none can be. A
    few targets that break all sets found are set aside (greedily), and the rest is searched again.

    A program has few targets, to which those most off are added, and takes records in groups of
    one weight ratio, which are split where the dual rates their records differently. What the
    groups reach is possible; that no weights reach more is proved on all records.

    Args:
        problem: the targets, the records and their design weights.
        max_weight_ratio: greatest weight over design weight; None takes ``UNBOUNDED_RATIO``.
        min_weight_ratio: least weight over design weight; None takes zero.
        areas: (targets,) a name each. Conflicts across areas are looked for in ``sums`` alone.
        sums: a target and the targets that add up to it, as positions. Nothing is taken on trust:
            of rows that do not add up, nothing can be proved and nothing is told.
        tolerance: the error, relative to a target's scale, up to which it is met.
        most: how many conflicts are told.
        seconds: when to end the search, at the latest within the proof at work.

    Raises:
        InputError: an argument is of the wrong kind, length or order.
    """
    of_type("problem", problem, CalibrationProblem)
    bounds = _bounds(max_weight_ratio, min_weight_ratio)
    names = _area_names(areas, problem.n_targets)
    totals = _totals(sums, problem.n_targets)
    most = whole("most", most, least=1)
    end = math.inf if seconds is None else time.monotonic() + not_negative("seconds", seconds)
    space = _Space(
        problem, problem.constraints.tocsr(), bounds, names, positive("tolerance", tolerance), end
    )
    alone = list(_out_of_reach(space))
    out = {conflict.rows[0] for conflict in alone}
    found = _worst_first([*alone, *_apart(space, totals)])[:most]
    searches = [_Search(space, area, out) for area in dict.fromkeys(names)]
    waiting = [(-math.inf, place) for place in range(len(searches))]
    while waiting and len(found) < most and time.monotonic() < end:
        _, place = heapq.heappop(waiting)
        search = searches[place]
        found += search.take()
        search.go_on()
        if search.candidate is not None:
            heapq.heappush(waiting, (-search.candidate.proved, place))
    return Conflicts(
        found=tuple(_worst_first(found)),
        undecided=tuple(search.area for search in searches if not search.decided),
        set_aside=tuple(sorted(set().union(*(search.aside for search in searches)))),
    )


def certified_gap(
    problem: CalibrationProblem,
    rows: Sequence[int],
    multipliers: ArrayLike,  # (rows,)
    *,
    max_weight_ratio: float | None,
    min_weight_ratio: float | None = None,
) -> float:
    """How far these multipliers keep the targets from being met, whatever the weights.

    For all weights within the ratios of the design weights, the sum of
    ``multiplier x (value - estimate)`` is at least the gap. Where it is above zero the rows
    exclude each other: one of them is off by ``gap / sum(|multipliers| x scales)`` of its scale,
    and each by ``gap / |multiplier|`` in its units if the others are met.

    The products are made in float64 from the coefficients as they are stored and the multipliers
    relative to the largest. The most that rounding can amount to (its unit x terms x the sum of
    all sizes, and the least number x all that it could be multiplied by) is taken off.

    Raises:
        InputError: ratios out of order, positions that are not distinct targets, multipliers that
            do not fit them, or a gap beyond float64.
    """
    of_type("problem", problem, CalibrationProblem)
    bounds = _bounds(max_weight_ratio, min_weight_ratio)
    places = _positions("rows", rows, problem.n_targets)
    given = vector("multipliers", multipliers, len(places), "rows")
    members = problem.constraints.tocsr()[places]
    largest = float(np.abs(given).max()) or 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        relative = _gap(
            members, problem.values[places], given / largest, bounds, problem.design_weights
        )
    gap = relative * largest
    if not math.isfinite(gap):
        raise InputError(
            f"The gap of multipliers up to {largest:g} on values up to "
            f"{np.abs(problem.values[places]).max():g} with weight ratios up to {bounds[1]:g} is "
            f"beyond float64. Only the proportions of multipliers matter: give smaller ones, or "
            f"values in a larger unit."
        )
    return gap


def _gap(
    members: sp.csr_array,  # (rows, records)
    values: Vector,
    multipliers: Vector,
    bounds: tuple[float, float],
    design_weights: Vector,
) -> float:
    exact = members.astype(np.float64)
    rates = exact.T @ multipliers
    sizes = abs(exact).T @ np.abs(multipliers)
    asked = values * multipliers
    reach = (np.maximum(bounds[0] * rates, bounds[1] * rates) * design_weights).sum()
    terms = len(multipliers) + np.count_nonzero(sizes) + 8
    total = np.abs(asked).sum() + bounds[1] * (sizes @ design_weights)
    # a product too small for float64 is off by less than the least number, and so are multipliers
    factors = 1.0 + np.abs(values).sum()
    factors += bounds[1] * ((1.0 + abs(exact).sum(axis=0)) @ design_weights)
    unit = np.finfo(np.float64)
    lost = terms * (unit.eps * total + unit.smallest_subnormal * factors)
    return float(asked.sum() - reach - lost)


@dataclass(frozen=True, eq=False)
class _Space:
    """The targets, the weights that are allowed, and when to end."""

    problem: CalibrationProblem
    by_target: sp.csr_array  # (targets, records)
    bounds: tuple[float, float]  # of weight over design weight
    areas: list[str]
    tolerance: float
    end: float  # of the monotonic clock

    def conflict(self, rows: Positions, blame: Vector) -> Conflict | None:
        """What multipliers relative to scales prove beyond the tolerance, if anything."""
        problem = self.problem
        order = np.argsort(-np.abs(blame), kind="stable")
        rows, blame = rows[order], blame[order] / np.abs(blame).sum()
        multipliers = blame / problem.scales[rows]
        values = problem.values[rows]
        gap = _gap(self.by_target[rows], values, multipliers, self.bounds, problem.design_weights)
        if gap <= self.tolerance:
            return None
        return Conflict(
            rows=tuple(rows.tolist()),
            names=tuple(problem.target_names[row] for row in rows),
            values=tuple(values.tolist()),
            multipliers=tuple(multipliers.tolist()),
            gaps=tuple((gap / np.abs(multipliers)).tolist()),
            least_error=gap,
            area=self.areas[rows[0]],
            weight_ratios=self.bounds,
        )


def _out_of_reach(space: _Space) -> Iterator[Conflict]:
    """Targets that no weights bring near their values, be the others met or not."""
    problem, (least, greatest) = space.problem, space.bounds
    above = space.by_target.maximum(0) @ problem.design_weights
    below = space.by_target.minimum(0) @ problem.design_weights
    short = problem.values - (greatest * above + least * below)
    over = (least * above + greatest * below) - problem.values
    for row in np.flatnonzero(np.maximum(short, over) > space.tolerance * problem.scales):
        side = 1.0 if short[row] > over[row] else -1.0
        conflict = space.conflict(np.array([row]), np.array([side]))
        if conflict is not None:
            yield conflict


def _apart(space: _Space, totals: list[Positions]) -> Iterator[Conflict]:
    """Totals, first of their rows, whose values are not those of their parts."""
    for rows in totals:
        signs = np.append(1.0, np.full(len(rows) - 1, -1.0))
        for side in (signs, -signs):
            conflict = space.conflict(rows, side * space.problem.scales[rows])
            if conflict is not None:
                yield conflict


def _worst_first(conflicts: list[Conflict]) -> list[Conflict]:
    return sorted(conflicts, key=lambda conflict: -conflict.least_error)


@dataclass(frozen=True, eq=False)
class _Candidate:
    rows: Positions
    blame: Vector  # (rows,) multipliers relative to scales; their sizes sum to one
    proved: float  # no weights bring all these rows nearer, relative to scales


class _Search:
    """How far the search of one area has come."""

    def __init__(self, space: _Space, area: str, out_of_reach: set[int]) -> None:
        self.area = area
        self.decided = False
        self.candidate: _Candidate | None = None
        self._space = space
        self._rows = np.flatnonzero(np.array(space.areas) == area)
        self._out = out_of_reach.intersection(self._rows.tolist())
        self._sets: list[tuple[int, ...]] = []
        self._program: _Program | None = None

    @property
    def aside(self) -> set[int]:
        """Targets out of reach, and those that break the sets found."""
        return self._out | _breaking(self._sets)

    def take(self) -> list[Conflict]:
        """The candidate as a conflict that can do without none of its targets."""
        if self.candidate is None:
            return []
        conflict = _irreducible(self._space, self.candidate)
        if time.monotonic() >= self._space.end:  # it may be one that can do without some
            return []
        if conflict is None:  # its proof is within rounding of the tolerance
            self._out |= set(self.candidate.rows.tolist())
            return []
        self._sets.append(conflict.rows)
        return [conflict]

    def go_on(self) -> None:
        """Look for the next candidate among the targets that are not set aside."""
        if self._program is None:
            self._program = _Program(self._space, self._rows)
        kept = ~np.isin(self._rows, list(self.aside))
        self.candidate, reached = self._program.worst(kept, share=_SHARE)
        self.decided = reached <= self._space.tolerance


def _breaking(sets: list[tuple[int, ...]]) -> set[int]:
    """Few targets, one of each set at least: of those in most sets, the first named."""
    chosen: set[int] = set()
    left = sets
    while left:
        [(row, _)] = Counter(row for rows in left for row in rows).most_common(1)
        chosen.add(row)
        left = [rows for rows in left if row not in rows]
    return chosen


def _irreducible(space: _Space, candidate: _Candidate) -> Conflict | None:
    """A conflict among these rows that is none beyond the tolerance without any of its targets.

    The less blamed half is left out first, then halves of it, down to single targets.
    """
    needed: list[int] = []
    left = _least_blamed_first(candidate)
    size = len(left)
    while left:
        size = max(min(size, len(left)) // 2, 1)
        others = np.array(left[size:] + needed, dtype=np.intp)
        smaller, _ = _Program(space, others).worst(share=0.0)
        if smaller is not None:
            candidate = smaller
            left = [row for row in _least_blamed_first(smaller) if row not in needed]
            size = len(left)
        elif size == 1:
            needed.append(left.pop(0))
    sharp, _ = _Program(space, candidate.rows).worst(share=_SHARP)
    proofs = [space.conflict(proof.rows, proof.blame) for proof in (sharp, candidate) if proof]
    return next((proof for proof in proofs if proof is not None), None)


def _least_blamed_first(candidate: _Candidate) -> list[int]:
    order = np.argsort(np.abs(candidate.blame), kind="stable")
    return [int(row) for row in candidate.rows[order]]


class _Program:
    """Some targets in units of their scales, by weight ratios of the records they count."""

    def __init__(self, space: _Space, rows: Positions) -> None:
        problem = space.problem
        part = space.by_target[rows].astype(np.float64)
        part.data *= problem.design_weights[part.indices]
        part.data /= np.repeat(problem.scales[rows], np.diff(part.indptr))
        counted = np.zeros(problem.n_records, dtype=bool)
        counted[part.indices] = True
        places = (np.cumsum(counted) - 1)[part.indices]
        shape = (len(rows), max(int(counted.sum()), 1))
        self._space = space
        self._rows = rows
        self._scaled = sp.csr_array((part.data, places, part.indptr), shape=shape)
        self._asked = problem.values[rows] / problem.scales[rows]

    def worst(
        self, kept: NDArray[np.bool_] | None = None, *, share: float
    ) -> tuple[_Candidate | None, float]:
        """Who keeps the worst error of the kept rows from being less, and the worst once reached.

        It ends with rows that prove more than the tolerance and this share of the worst seen, or
        with weights that bring all within the tolerance.
        """
        rows, scaled, asked = self._rows, self._scaled, self._asked
        if kept is not None:
            rows, scaled, asked = rows[kept], scaled[kept], asked[kept]
        if not len(rows):
            return None, 0.0
        tolerance, bounds = self._space.tolerance, self._space.bounds
        groups = np.arange(scaled.shape[1]) % (2 * _TARGETS)
        best, reached = None, math.inf
        off = np.abs(scaled.sum(axis=1) - asked)
        active = np.argsort(-off, kind="stable")[:_TARGETS]
        for _ in range(_ROUNDS):
            part = scaled[active]
            solved = _solved(_grouped(part, groups), asked[active], bounds, self._space.end)
            if solved is None:
                break
            error, ratios, blame = solved
            rates = part.T @ blame
            proved = float(asked[active] @ blame - _most(rates, bounds))
            if proved > (tolerance if best is None else best.proved):
                some = np.abs(blame) > _ROUNDING
                best = _Candidate(rows[active[some]], blame[some], proved)
            off = np.abs(scaled @ ratios[groups] - asked)
            reached = min(reached, float(off.max()))
            if reached <= tolerance or (best is not None and best.proved >= share * error):
                break
            further = np.argsort(-off, kind="stable")[:_TARGETS]
            active = np.union1d(active, further[off[further] > error])
            groups = _split(groups, rates)
        return best, reached


def _most(rates: Vector, bounds: tuple[float, float]) -> float:
    return float(np.maximum(bounds[0] * rates, bounds[1] * rates).sum())


def _grouped(
    scaled: sp.csr_array,  # (targets, records)
    groups: Positions,  # (records,)
) -> Vector:  # (targets, groups)
    """The coefficients of a ratio that all records of a group share."""
    records = len(groups)
    member = sp.csr_array((np.ones(records), groups, np.arange(records + 1)))
    return np.asarray((scaled @ member).toarray())


def _solved(
    grouped: Vector,  # (targets, groups)
    asked: Vector,  # (targets,)
    bounds: tuple[float, float],
    end: float,
) -> tuple[float, Vector, Vector] | None:
    """The least worst error, the ratios of the groups, and the multipliers of the targets."""
    left = end - time.monotonic()
    if left <= 0:
        return None
    targets, groups = grouped.shape
    error = np.ones((targets, 1))
    solution = linprog(
        np.append(np.zeros(groups), 1.0),
        A_ub=np.block([[grouped, -error], [-grouped, -error]]),
        b_ub=np.append(asked, -asked),
        bounds=[bounds] * groups + [(0.0, None)],
        method="highs-ds",
        options={"time_limit": left},
    )
    if solution.status != 0:
        return None
    over, short = solution.ineqlin.marginals.reshape(2, targets)
    blame = over - short
    ratios = np.clip(solution.x[:-1], *bounds)
    return float(solution.fun), ratios, blame / max(np.abs(blame).sum(), _ROUNDING)


def _split(
    groups: Positions,  # (records,)
    rates: Vector,  # (records,)
) -> Positions:
    """Groups cut in two where rates of both signs hide each other most."""
    hidden = np.minimum(
        np.bincount(groups, np.maximum(rates, 0.0)), np.bincount(groups, np.maximum(-rates, 0.0))
    )
    order = np.argsort(-hidden, kind="stable")
    mended = np.cumsum(hidden[order])
    cut = np.zeros(len(hidden), dtype=bool)
    cut[order[: np.searchsorted(mended, _MENDED * mended[-1]) + 1]] = True
    halves = 2 * groups + (cut[groups] & (rates > 0))
    return np.asarray(np.unique(halves, return_inverse=True)[1])


def _bounds(greatest: float | None, least: float | None) -> tuple[float, float]:
    for name, ratio in (("max_weight_ratio", greatest), ("min_weight_ratio", least)):
        if isinstance(ratio, bool) or not (ratio is None or isinstance(ratio, Real)):
            raise InputError(f"{name} is {ratio!r}, but must be a number or None.")
    high = UNBOUNDED_RATIO if greatest is None else float(positive("max_weight_ratio", greatest))
    low = 0.0 if least is None else float(not_negative("min_weight_ratio", least))
    if low > high:
        raise InputError(
            f"min_weight_ratio is {low:g}, above max_weight_ratio, {high:g}: no weight is "
            "allowed. Lower the one or raise the other."
        )
    return low, high


def _area_names(areas: Sequence[str] | None, targets: int) -> list[str]:
    if areas is None:
        return [""] * targets
    if isinstance(areas, str) or not all(isinstance(name, str) for name in areas):
        raise InputError(f"areas is {areas!r:.80}, but must be a list of names, one a target.")
    if len(areas) != targets:
        raise InputError(f"areas has {len(areas):,} names for {targets:,} targets: give one each.")
    return list(areas)


def _totals(sums: Sequence[tuple[int, Sequence[int]]], targets: int) -> list[Positions]:
    totals = []
    for place, pair in enumerate(sums):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not np.size(pair[1]):
            raise InputError(
                f"sums has {pair!r:.80} at position {place}, but must be pairs: the position of a "
                "target, and a list of those of its parts."
            )
        totals.append(_positions("sums", [pair[0], *pair[1]], targets))
    return totals


def _positions(name: str, given: Sequence[int], targets: int) -> Positions:
    places = np.asarray(given)
    if places.ndim != 1 or not len(places) or places.dtype.kind not in "iu":
        raise InputError(f"{name} has {given!r:.80}, but must be a list of positions of targets.")
    if places.min() < 0 or places.max() >= targets or len(np.unique(places)) != len(places):
        raise InputError(
            f"{name} has {places.tolist()!r:.80}, but must be distinct positions from 0 to "
            f"{targets - 1}."
        )
    return places.astype(np.intp)
