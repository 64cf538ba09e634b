"""Groups of targets that count alike in a loss, however many targets each has."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError
from l0.inputs import not_negative

_SHOWN = 20


def group_factors(
    targets: int,
    groups: ArrayLike | None,
    *,
    multipliers: Mapping[Any, float] | None,
    normalize: bool = True,
    loss_weights: NDArray[np.float64] | None = None,
    names: tuple[str, str] = ("groups", "group_multipliers"),
) -> NDArray[np.float64]:  # (targets,)
    """What each target's loss is multiplied by, so that groups count by their multipliers.

    Args:
        targets: how many targets there are.
        groups: (targets,) a number or a name each; one factor of 1 for all without.
        multipliers: a factor for some groups, 1 for the others.
        normalize: let each group count as one target: its loss is the mean over its targets.
        loss_weights: (targets,) the weights of that mean; equal without.
        names: what the caller calls groups and multipliers, for messages.

    Raises:
        InputError: groups of another length or unknown, or factors below zero.
    """
    group_name, multiplier_name = names
    if groups is None:
        if multipliers is not None:
            raise InputError(f"{multiplier_name} requires {group_name} to be set.")
        return np.ones(targets)
    try:
        given = np.asarray(groups)
        known, member = np.unique(given, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{group_name} must be one number or one name a target, all of a kind: {error}."
        ) from error
    if given.shape != (targets,):
        raise InputError(
            f"{group_name} has shape {given.shape}, but {targets} targets need ({targets},)."
        )
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise InputError(f"{group_name} has entries that are not finite: name every group.")
    if multipliers is not None and not isinstance(multipliers, Mapping):
        raise InputError(f"{multiplier_name} must map groups to factors, as {{0: 2.0}} does.")
    factors = np.ones(targets)
    if normalize:
        weights = np.ones(targets) if loss_weights is None else loss_weights
        shares = np.bincount(member, weights=weights, minlength=len(known))
        # a group whose targets all weigh nothing stays without weight
        factors /= np.where(shares > 0, shares, 1.0)[member]
    for group, factor in (multipliers or {}).items():
        if group not in known:
            raise InputError(
                f"{multiplier_name} key {group} not found in {group_name}, which has "
                f"{known.tolist()[:_SHOWN]}."
            )
        factors[given == group] *= not_negative(f"{multiplier_name}[{group}]", factor)
    return factors
