"""Which records stay: some by their gates, others drawn from what is left, sizes always exact.

The gates' records come in with certainty, given the fit, or with a probability taken from theirs of
being open; the others by a design. Every chance is returned, so that the sparse file remains a
sample whose inclusion probabilities are known.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import numbers, refuse, vector, whole
from l0.survey.problem import Vector
from l0.survey.selection.allocation import Labels, Minimum, minima, share_out
from l0.survey.selection.designs import Design, Indices, by_stratum, select, stratum_codes
from l0.survey.selection.probabilities import inclusion_probabilities
from l0.survey.selection.sample import Matrix, Sample

GATES, RANDOM = "l0", "random"

Mask = NDArray[np.bool_]


def select_hybrid(
    log_alpha: Vector,
    design_weights: Vector,
    *,
    size: int,
    gate_share: float | None = None,
    gate_count: int | None = None,
    open_probability: ArrayLike | None = None,
    design: Design = "simple_random",
    size_measure: ArrayLike | None = None,
    coordinates: ArrayLike | None = None,
    balance: ArrayLike | None = None,
    areas: ArrayLike | None = None,
    minimum: Minimum = 0,
    seed: int,
) -> Sample:
    """The best records by their gates, and a sample of what is left.

    With ``open_probability`` the gates' part is drawn too: by Sampford's design within areas,
    from all records trained to the end, with probabilities proportional to theirs of being open,
    none taken as less than the share of the others that is drawn at random. The random part then
    comes from the records that were not trained to the end.

    As long as anything is drawn, of either part, at least one record is from every area with
    records of that part, so that none of these is without a chance. Records are without one only
    where nothing is drawn at random, or where their size measure is zero.

    Args:
        log_alpha: (records,) log-odds of each gate; the higher, the sooner kept; -inf for records
            that left training before its end.
        design_weights: (records,); a record of weight zero is never kept.
        size: how many records to keep in all.
        gate_share: share of them chosen by gates, 0 to 1; ``round(size * gate_share)`` records.
        gate_count: their number, in place of the share.
        open_probability: (records,), 0 to 1; without, the gates' choice is certain.
        design: of the others, one of ``select``'s.
        size_measure: (records,) to which their probabilities are proportional; equal without.
        coordinates: (records, dimensions), of "pivotal" alone.
        balance: (records, columns), of "cube" alone.
        areas: (records,) labels; the others are stratified by them, in proportion to the records
            left in each.
        minimum: records that each area keeps at least, of both parts, or each by its label.
        seed: of the draws.

    Returns:
        The sample, of kind "l0" or "random". Strata are the areas; those of a gates' part that is
        drawn follow them, in the same order.

    Raises:
        InputError: both or none of share and count, a size or an area's minimum that the
            records cannot give, or arrays of different lengths.
    """
    available, trained = _available(log_alpha, design_weights)
    _refuse_size(size, available)
    by_gates = _gate_count(size, gate_share, gate_count)
    if by_gates > trained.sum():
        raise InputError(
            f"{by_gates:,} records were to be chosen by gates, but only {int(trained.sum()):,} "
            "were trained to the end. Train to a larger budget, or lower gate_share."
        )
    codes, labels = stratum_codes(areas, len(available))
    if open_probability is None:
        # equal log-odds fall in the order of the records
        order = np.argsort(-np.where(trained, log_alpha, -np.inf), kind="stable")
        chosen_by_gates = np.zeros(len(available))
        chosen_by_gates[order[:by_gates]] = 1.0
        left = available & (chosen_by_gates == 0)
    else:
        left = available & ~trained
        _refuse_without_chance(by_gates, size - by_gates, trained, left)
        openness = _openness(open_probability, trained, floor=_share(size - by_gates, left))
        chosen_by_gates = _within_areas(
            openness,
            codes,
            labels,
            size=by_gates,
            lower=(np.bincount(codes[trained], minlength=len(labels)) > 0).astype(np.intp),
            by=openness,
        )
    seeds = np.random.SeedSequence(seed).generate_state(2)
    gates = select(chosen_by_gates, design="sampford", strata=codes, seed=int(seeds[0]))
    there = np.bincount(codes[gates.indices], minlength=len(labels))
    measure = _measure(size_measure, left)
    lower = _least_drawn(
        minimum if areas is not None else _no_minimum(minimum),
        labels,
        there=there,
        left=np.bincount(codes[measure > 0], minlength=len(labels)),
        size=size - by_gates,
    )
    at_random = _within_areas(
        measure,
        codes,
        labels,
        size=size - by_gates,
        lower=lower,
        by=(measure > 0).astype(np.float64),
    )
    rest = select(
        at_random,
        design=design,
        strata=codes,
        coordinates=coordinates,
        balance=balance,
        seed=int(seeds[1]),
    )
    of_gates = codes if open_probability is None else codes + len(labels)
    return _together(gates, rest, of_gates)


def select_random(design_weights: Vector, *, size: int, seed: int) -> Sample:
    """A simple random sample of ``size`` records: what any other choice is measured against.

    Raises:
        InputError: a size that the records cannot give.
    """
    nobody = np.full(len(design_weights), -np.inf)
    return select_hybrid(nobody, design_weights, size=size, gate_count=0, seed=seed)


def _available(log_alpha: Vector, design_weights: Vector) -> tuple[Mask, Mask]:
    """The records that may be kept, and those of them that were trained to the end."""
    weights = vector("design_weights", design_weights, np.size(log_alpha), "records")
    locations = numbers("log_alpha", log_alpha)
    if locations.ndim != 1:
        raise InputError(f"log_alpha has shape {locations.shape}, but must be (records,).")
    refuse(
        "log_alpha", np.isnan(locations), "not a number", "Use -inf for records that left early."
    )
    refuse("design_weights", weights < 0, "negative", "Set it to zero to leave a record out.")
    available = weights > 0
    return available, available & (locations > -np.inf)


def _refuse_size(size: int, available: Mask) -> None:
    most = int(available.sum())
    if whole("size", size, least=1) > most:
        raise InputError(
            f"size is {size:,}, but {most:,} records have a positive design weight. Choose a size "
            f"from 1 to {most:,}."
        )


def _gate_count(size: int, share: float | None, count: int | None) -> int:
    if count is not None and share is None:
        if whole("gate_count", count, least=0) > size:
            raise InputError(
                f"gate_count is {count:,}, but only {size:,} records are kept in all. Choose a "
                f"count up to {size:,}."
            )
        return count
    if share is None or count is not None:
        raise InputError(
            f"gate_share is {share} and gate_count is {count}. Give one of them: how much of the "
            "sample the gates choose."
        )
    if not 0 <= share <= 1:
        raise InputError(
            f"gate_share is {share}, but must lie between 0 (all at random) and 1 (all by gates)."
        )
    return round(size * share)


def _refuse_without_chance(by_gates: int, at_random: int, trained: Mask, left: Mask) -> None:
    """Both parts are drawn from where both have records: else half of these has no chance."""
    for part, count, there in (("gates", by_gates, trained), ("chance", at_random, left)):
        if count == 0 and there.any():
            raise InputError(
                f"with open_probability every record is to have a chance, but none is drawn by "
                f"{part}, from which {int(there.sum()):,} would come. Give both parts a share, or "
                "leave out open_probability."
            )


def _share(count: int, left: Mask) -> float:
    """The share of the records left that is drawn at random."""
    if count > left.sum():
        raise InputError(
            f"{count:,} records were to be drawn from those that were not trained to the end, but "
            f"only {int(left.sum()):,} are left. Raise gate_share, or give no open_probability."
        )
    return count / max(int(left.sum()), 1)


def _openness(given: ArrayLike, trained: Mask, *, floor: float) -> Vector:
    """What the gates' inclusion probabilities are proportional to."""
    chance = vector("open_probability", given, len(trained), "records")
    move = "A probability is from 0 to 1."
    refuse("open_probability", (chance < 0) | (chance > 1), "outside [0, 1]", move)
    return np.where(trained, np.maximum(chance, floor), 0.0)


def _measure(given: ArrayLike | None, left: Mask) -> Vector:
    """What the random part's probabilities are proportional to; zero for records not left."""
    if given is None:
        return left.astype(np.float64)
    measure = vector("size_measure", given, len(left), "records")
    refuse("size_measure", measure < 0, "negative", "Use 0 for records that are never drawn.")
    return np.where(left, measure, 0.0)


def _no_minimum(minimum: Minimum) -> int:
    if minimum != 0:
        raise InputError(
            f"minimum is {minimum!r}, but no areas were given that could keep as many. Give areas."
        )
    return 0


def _least_drawn(
    minimum: Minimum,
    labels: Labels,
    *,
    there: Indices,  # (areas,) records by gates
    left: Indices,  # (areas,) records that may be drawn
    size: int,
) -> Indices:  # (areas,)
    """The fewest records that each area must get at random: its minimum, and a chance for all."""
    lacking = np.maximum(minima(minimum, labels) - there, 0)
    least: Indices = np.maximum(lacking, (left > 0) & (size > 0))
    if least.sum() > size:
        first = int(lacking.argmax())
        raise InputError(
            f"{size:,} records are drawn at random, but {int(least.sum()):,} would be needed: "
            f"each of {int((left > 0).sum())} areas with records left gives at least one, and "
            f"{int((lacking > 0).sum())} areas lack {int(lacking.sum()):,} of their minimum, most "
            f"of all {labels[first]} with {there[first]:,} by gates. Lower the minimum or the "
            "gates' share, raise the size, or join areas."
        )
    return least


def _within_areas(
    measure: Vector,
    codes: Indices,
    labels: Labels,
    *,
    size: int,
    lower: Indices,  # (areas,)
    by: Vector,  # (records,) what the size is shared out over the areas by
) -> Vector:
    """Inclusion probabilities in proportion to a measure within each area."""
    there = np.bincount(codes[measure > 0], minlength=len(labels))
    total = np.bincount(codes, weights=by, minlength=len(labels)).astype(np.float64)
    sizes = share_out(size, total, lower=lower, upper=there, labels=labels)
    probability = np.zeros(len(measure))
    for group in by_stratum(np.flatnonzero(measure > 0), codes):
        probability[group] = inclusion_probabilities(measure[group], int(sizes[codes[group[0]]]))
    return probability


def _together(gates: Sample, rest: Sample, gate_strata: Indices) -> Sample:
    """Two parts drawn independently of each other, in the order of the records."""
    order = np.argsort(np.concatenate([gates.indices, rest.indices]))
    joint = None if rest.joint is None else partial(_joint_probability, gates, rest, order)
    return Sample(
        indices=np.concatenate([gates.indices, rest.indices])[order],
        kind=np.repeat([GATES, RANDOM], [len(gates.indices), len(rest.indices)])[order],
        inclusion_probability=_both_probabilities(gates, rest)[order],
        strata=np.concatenate([gate_strata[gates.indices], rest.strata])[order],
        joint=joint,
        balance=rest.balance,
        measurable=rest.measurable,
    )


def _joint_probability(gates: Sample, rest: Sample, order: Indices) -> Matrix:
    chance = _both_probabilities(gates, rest)
    matrix = np.outer(chance, chance)
    first = len(gates.indices)
    matrix[:first, :first] = gates.joint_probability()
    matrix[first:, first:] = rest.joint_probability()
    return matrix[np.ix_(order, order)]


def _both_probabilities(gates: Sample, rest: Sample) -> Vector:
    return np.concatenate([gates.inclusion_probability, rest.inclusion_probability])
