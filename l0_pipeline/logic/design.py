"""The starting weights: the sampling design, raised to the published number of residents."""

import polars as pl

from l0_pipeline.logic.errors import InputError


def population(targets: pl.DataFrame) -> float | None:
    """The published number of residents of the nation, all ages; None where it is not at hand.

    Args:
        targets: with ``variable``, ``geography``, ``condition``, ``role`` and ``value``.
    """
    printed = targets.filter(
        (pl.col("variable") == "population")
        & (pl.col("geography") == "US")
        & (pl.col("condition") == "")
        & pl.col("role").is_in(["fitted", "benchmark"])
    ).sort("target_id")
    return float(printed["value"][0]) if len(printed) else None


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
