"""The starting weights: the sampling design, raised to the published number of residents."""

import numpy as np
import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import NATION, STATES


def population(targets: pl.DataFrame) -> float | None:
    """The published number of residents of all ages: the nation's, else the sum of all states'.

    None where neither is at hand. A held-out figure is not looked at: it judges the fit.

    Args:
        targets: with ``target_id``, ``variable``, ``geography``, ``condition``, ``role`` and
            ``value``.
    """
    printed = targets.filter(
        (pl.col("variable") == "population")
        & (pl.col("condition") == "")
        & pl.col("role").is_in(["fitted", "benchmark"])
    ).sort("target_id")
    nation = printed.filter(geography=NATION)
    if len(nation):
        return float(nation["value"][0])
    states = printed.unique("geography", keep="first").filter(pl.col("geography").is_in(STATES))
    return float(states["value"].sum()) if len(states) == len(STATES) else None


def scaled_design_weights(households: pl.DataFrame, *, residents: float | None) -> pl.Series:
    """Design weights of all households times one factor, so that persons add up to residents.

    Without a published number the design weights stay as they are.
    """
    weights = households["design_weight"]
    persons = float((weights * households["persons"]).sum())
    if persons <= 0:
        raise InputError(
            "households: design weights times persons add up to zero. Check `design_weight` and "
            "`persons` in the source."
        )
    return weights * (1.0 if residents is None else residents / persons)


def relative_difference(
    households: pl.DataFrame,
    weights: np.ndarray,  # (households,)
    residents: float | None,
) -> float | None:
    """(weighted persons - residents) / residents; None where nothing was published."""
    if residents is None:
        return None
    return float((households["persons"].to_numpy() * weights).sum()) / residents - 1
