"""What each check asks: its name, its sentence, whether it blocks, and the verdict.

A check judges the number that its asset shows, in the step that computed it. Those that guard the
release block it: when one fails nothing downstream of its asset is built or published.
"""

from collections.abc import Sequence

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline.logic.microdata.columns import Column


def blocking(asset: str, name: str, sentence: str) -> dg.AssetCheckSpec:
    """A check that stops everything downstream when it fails."""
    return dg.AssetCheckSpec(name, asset=asset, description=sentence, blocking=True)


def schema_and_keys(asset: str, *keys: str) -> dg.AssetCheckSpec:
    """The check of a table's columns, types and keys."""
    return blocking(
        asset,
        "schema_and_keys",
        f"Every described column is there with its type; {', '.join(keys)} names each row once.",
    )


def told(
    results: Sequence[dg.AssetCheckResult], *, asset: str | None = None
) -> list[dg.AssetCheckResult]:
    """The same verdicts, after a line in the log for each that failed, with its numbers.

    A step that makes several assets names the one that is judged.
    """
    log = dg.AssetExecutionContext.get().log
    for result in results:
        if not result.passed:
            numbers = ", ".join(f"{name} {value.value}" for name, value in result.metadata.items())
            log.error(f"check {result.check_name} failed: {numbers}. {result.description or ''}")
    key = None if asset is None else dg.AssetKey(asset)
    return [result._replace(asset_key=key) for result in results]


def judge_table(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    *keys: str,
    required: Sequence[str] | None = None,
    may_be_empty: bool = False,
) -> dg.AssetCheckResult:
    """Judge ``schema_and_keys``: types of all columns, and that those ``required`` are there.

    All are required unless named: a source may lack what another has, but nothing may have
    another type than described. A table has rows, unless it ``may_be_empty``.
    """
    expected = {column.name: column.dtype for column in columns}
    absent = [
        name for name in (expected if required is None else required) if name not in frame.columns
    ]
    unknown = [name for name in frame.columns if name not in expected]
    mistyped = [
        f"{name} is {frame.schema[name]}, not {kind}"
        for name, kind in expected.items()
        if name in frame.columns and frame.schema[name] != kind
    ]
    no_key = [key for key in keys if key not in frame.columns]
    repeated = 0 if no_key else len(frame) - frame.select(keys).n_unique()
    nulls = 0 if no_key else int(frame.select(keys).null_count().sum_horizontal().sum())
    return dg.AssetCheckResult(
        check_name="schema_and_keys",
        passed=not (absent or unknown or mistyped or no_key or repeated or nulls)
        and (len(frame) > 0 or may_be_empty),
        metadata={
            "rows": len(frame),
            "absent_columns": ", ".join(absent) or "none",
            "unknown_columns": ", ".join(unknown) or "none",
            "mistyped_columns": "; ".join(mistyped) or "none",
            "repeated_keys": repeated,
            "empty_keys": nulls,
        },
    )


def judge_weights(weights: np.ndarray, *, name: str = "weights_are_sound") -> dg.AssetCheckResult:
    """Every weight is a finite number and none is negative."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0),
        metadata={
            "not_finite": int((~np.isfinite(weights)).sum()),
            "negative": int((weights < 0).sum()),
            "total": float(weights.sum()),
        },
    )


def judge_equal(name: str, *, value: int, wanted: int) -> dg.AssetCheckResult:
    """Two counts agree exactly."""
    return dg.AssetCheckResult(
        check_name=name, passed=value == wanted, metadata={"value": value, "wanted": wanted}
    )


def judge_complete(name: str, table: pl.DataFrame, key: str) -> dg.AssetCheckResult:
    """Every column but the key holds finite numbers alone."""
    numbers = table.select(pl.exclude(key))
    missing = int(numbers.select((~pl.all().is_finite()).sum()).sum_horizontal().sum())
    return judge_equal(name, value=missing, wanted=0)


def judge_limit(
    name: str,
    value: float | None,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    setting: str,
    resource: str = "check_limits",
    may_be_unknown: bool = False,
    may_block: bool = True,
) -> dg.AssetCheckResult:
    """A number lies within its limit; one that does not exist fails.

    Where it ``may_be_unknown``, since nothing was published to compare with, the failure is a
    warning and does not block; so is that of one that is not ``may_block``.
    """
    unknown = value is None and may_be_unknown
    finite = value is not None and np.isfinite(value)
    passed = (
        finite
        and (at_most is None or abs(value or 0.0) <= at_most)
        and (at_least is None or (value or 0.0) >= at_least)
    )
    limit = at_most if at_most is not None else at_least
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.WARN
        if unknown or not may_block
        else dg.AssetCheckSeverity.ERROR,
        description="Nothing was published to compare with."
        if unknown
        else f"The limit is the setting {setting} of the resource {resource}.",
        metadata={
            "value": float("nan") if value is None else float(value),
            "limit": float("nan") if limit is None else float(limit),
        },
    )
