"""Which records stay: chosen by their gates, drawn at random, or both, sizes always exact.

A record chosen by its gate is in with certainty, given the fit; a record drawn at random had the
same chance as every other that was left. Both chances are returned, so that the sparse file
remains a sample whose inclusion probabilities are known.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector

GATES, RANDOM = "l0", "random"


@dataclass(frozen=True)
class HybridSelection:
    """The records kept, ascending, with the way and the probability by which each came in."""

    support: NDArray[np.intp]  # (size,)
    kind: NDArray[np.str_]  # (size,), "l0" or "random"
    inclusion_probability: Vector  # (size,), in (0, 1]


def select_hybrid(
    log_alpha: Vector, design_weights: Vector, *, size: int, gate_share: float, seed: int
) -> HybridSelection:
    """The best records by their gates, and a simple random sample of what is left.

    Args:
        log_alpha: (records,) log-odds of each gate; the higher, the sooner kept.
        design_weights: (records,); a record of weight zero is never kept.
        size: how many records to keep in all.
        gate_share: share of them chosen by gates, 0 to 1; ``round(size * gate_share)`` records.
        seed: of the draw.

    Raises:
        InputError: a share outside [0, 1], a size that the records cannot give, or
            arrays of different lengths.
    """
    if np.ndim(log_alpha) != 1 or np.shape(log_alpha) != np.shape(design_weights):
        raise InputError(
            f"log_alpha has shape {np.shape(log_alpha)} and design_weights has "
            f"{np.shape(design_weights)}, but both must be (records,)."
        )
    if np.isnan(log_alpha).any():
        raise InputError(
            f"{int(np.isnan(log_alpha).sum())} entries of log_alpha are not a number. Use -inf "
            "for records that left before the end."
        )
    if not 0 <= gate_share <= 1:
        raise InputError(
            f"gate_share is {gate_share}, but must lie between 0 (all at random) and 1 (all by "
            "gates)."
        )
    available = design_weights > 0
    if not isinstance(size, Integral) or not 1 <= size <= available.sum():
        raise InputError(
            f"size is {size}, but {int(available.sum()):,} records have a positive design "
            f"weight. Choose a whole size from 1 to {int(available.sum()):,}."
        )
    by_gates = round(size * gate_share)
    trained = available & np.isfinite(log_alpha)
    if by_gates > trained.sum():
        raise InputError(
            f"{by_gates:,} records were to be chosen by gates, but only {int(trained.sum()):,} "
            "were trained to the end. Train to a larger budget, or lower gate_share."
        )
    # equal log-odds fall in the order of the records
    order = np.argsort(-np.where(trained, log_alpha, -np.inf), kind="stable")
    chosen = order[:by_gates]
    left = np.setdiff1d(np.flatnonzero(available), chosen)
    drawn_size = size - by_gates
    drawn = np.random.default_rng(seed).choice(left, size=drawn_size, replace=False)
    support = np.concatenate([chosen, drawn])
    kind = np.repeat([GATES, RANDOM], [by_gates, drawn_size])
    chance = np.repeat([1.0, drawn_size / max(len(left), 1)], [by_gates, drawn_size])
    ascending = np.argsort(support)
    return HybridSelection(
        support=support[ascending],
        kind=kind[ascending],
        inclusion_probability=chance[ascending],
    )


def select_random(design_weights: Vector, *, size: int, seed: int) -> HybridSelection:
    """A simple random sample of ``size`` records: what any other choice is measured against."""
    nobody = np.full(len(design_weights), -np.inf)
    return select_hybrid(nobody, design_weights, size=size, gate_share=0.0, seed=seed)
