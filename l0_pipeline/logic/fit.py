"""How close estimates come to targets: one row a target, and the numbers that sum it up.

Errors are signed and relative, ``(estimate - value) / scale`` with
``scale = max(|value|, floor of the unit)``. Shares and medians are of absolute errors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

CLOSE = 0.10


def scales(targets: pl.DataFrame, *, floors: Mapping[str, float]) -> pl.Series:
    """What each target's error is divided by."""
    floor = pl.col("unit").replace_strict(floors, return_dtype=pl.Float64)
    return targets.select(scale=pl.max_horizontal(pl.col("value").abs(), floor)).to_series()


def importance(targets: pl.DataFrame) -> np.ndarray:  # (targets,)
    """Weights in the loss: the square root of a target's scale; amounts and counts share alike."""
    root = targets["scale"].sqrt()
    of_amounts = targets["unit"] == "dollars"
    total = root.to_frame("root").with_columns(amount=of_amounts)
    return total.select(pl.col("root") / pl.col("root").sum().over("amount")).to_series().to_numpy()


def add_errors(targets: pl.DataFrame, *, estimates: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Two columns for each set of weights: ``<name>_estimate`` and ``<name>_error``."""
    added = targets.with_columns(
        pl.Series(f"{name}_estimate", values) for name, values in estimates.items()
    )
    return added.with_columns(
        ((pl.col(f"{name}_estimate") - pl.col("value")) / pl.col("scale")).alias(f"{name}_error")
        for name in estimates
    )


def median_error(fit: pl.DataFrame, *, weights: str, role: str) -> float | None:
    """The median absolute error of a role's targets; None where there is none."""
    errors = fit.filter(pl.col("role") == role)[f"{weights}_error"].abs()
    return float(np.median(errors)) if len(errors) else None


def share_close(fit: pl.DataFrame, *, weights: str, role: str) -> float | None:
    """The share of a role's targets within 10 % of their value."""
    errors = fit.filter(pl.col("role") == role)[f"{weights}_error"].abs()
    return float((errors <= CLOSE).cast(pl.Float64).sum()) / len(errors) if len(errors) else None


def of_all(kept: pl.DataFrame, household_ids: pl.Series) -> np.ndarray:  # (households,)
    """The weights of all households, zero for those not kept."""
    everyone = household_ids.to_frame("household_id")
    joined = everyone.join(
        kept.select("household_id", "weight"), on="household_id", how="left", maintain_order="left"
    )
    return joined["weight"].fill_null(0.0).to_numpy()


def comparison(fit: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Median errors and shares within 10 %, fitted and held out, one row a set of weights."""
    return pl.DataFrame(
        [
            {"weights": name}
            | {
                f"{role}_{label}": number(fit, weights=name, role=role)
                for label, number in (("median", median_error), ("close", share_close))
                for role in ("held_out", "fitted")
            }
            for name in names
        ]
    )


def by_family(fit: pl.DataFrame, *, weights: str) -> pl.DataFrame:
    """Targets, median absolute error and share within 10 % by family, fitted and held out."""
    error = pl.col(f"{weights}_error").abs()
    fitted, held_out = pl.col("role") == "fitted", pl.col("role") == "held_out"
    return (
        fit.filter(fitted | held_out)
        .group_by("family")
        .agg(
            fitted=fitted.sum(),
            held_out=held_out.sum(),
            fitted_median_error=error.filter(fitted).median(),
            held_out_median_error=error.filter(held_out).median(),
            fitted_within_10pct=(error <= CLOSE).filter(fitted).mean(),
        )
        .sort("family")
    )


def unseen_by_family(unseen: pl.DataFrame) -> pl.DataFrame:
    """Targets, median absolute error and share within 10 % by family, each target unseen."""
    error = pl.col("unseen_error").abs()
    return (
        unseen.group_by("family")
        .agg(
            targets=pl.len(),
            unseen_median_error=error.median(),
            unseen_within_10pct=(error <= CLOSE).mean(),
        )
        .sort("family")
    )


def standard_errors_by_family(errors: pl.DataFrame) -> pl.DataFrame:
    """Targets and median relative standard error by family, fitted and held out."""
    return (
        errors.group_by("family")
        .agg(
            targets=pl.len(),
            **{
                f"{role}_median": pl.col("relative_standard_error").filter(role=role).median()
                for role in ("fitted", "held_out")
            },
        )
        .sort("family")
    )


def worst(fit: pl.DataFrame, *, weights: str, rows: int = 15) -> pl.DataFrame:
    """The fitted targets furthest from their value."""
    return (
        fit.filter(pl.col("role") == "fitted")
        .sort(pl.col(f"{weights}_error").abs(), "target_id", descending=[True, False])
        .head(rows)
    )


def accounting(targets: pl.DataFrame) -> pl.DataFrame:
    """How many targets of each family have each role; the rows add up to the figures declared."""
    return (
        targets.group_by("family")
        .agg(
            declared=pl.len(),
            **{
                role: (pl.col("role") == role).sum()
                for role in ("fitted", "held_out", "benchmark", "rejected")
            },
        )
        .sort("family")
    )
