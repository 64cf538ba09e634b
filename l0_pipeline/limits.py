"""What a release must reach, judged where the numbers are made and again before publishing.

The same verdicts guard `selected_households` and `target_fit`, and `published_dataset` asks them
once more of the tables in its hands, since any asset can be materialized alone.
"""

from collections.abc import Sequence

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks
from l0_pipeline.logic import fit
from l0_pipeline.logic.release.comparison import Comparison
from l0_pipeline.resources.comparison_plan import ComparisonPlan
from l0_pipeline.resources.plans import CheckLimits

SELECTION_CHECKS = {
    "effective_sample_size": "Effective sample size as a share of the households kept.",
    "largest_weight_ratio": "Largest weight over the design weight, raised to the same total.",
    "households_total": "Weighted number of households against the design's, in scale.",
}
COMPARISON_CHECKS = {
    "few_targets_got_worse": "Share of targets whose error grew since the release before it.",
    "totals_hold": "Largest change of a total of the whole since the release before it.",
}
HELD_TOTALS = 6  # the first of a comparison's drift: households to individual income tax
FIT_CHECKS = {
    "fitted_median_error": "Median absolute error of the fitted targets.",
    "held_out_median_error": "Median absolute error of the held-out targets.",
    "share_within_10pct": "Share of fitted targets within 10 %.",
    "family_median_error": "Largest median error of the fitted targets of any judged family.",
    "family_share_within_10pct": "Smallest share within 10 % of the fitted targets of any "
    "judged family.",
    "population_total": "Weighted persons against the published population.",
}


def judge_selection(
    *,
    weights: np.ndarray,  # (households kept,)
    ratios: np.ndarray,  # (households kept,)
    design_total: float,
    limits: CheckLimits,
) -> list[dg.AssetCheckResult]:
    """The verdicts of ``SELECTION_CHECKS``."""
    from l0.survey.weights import effective_sample_size

    return [
        checks.judge_limit(
            "effective_sample_size",
            effective_sample_size(weights) / len(weights),
            at_least=limits.effective_share,
            setting="effective_share",
        ),
        checks.judge_limit(
            "largest_weight_ratio",
            float(ratios.max()),
            at_most=limits.weight_ratio,
            setting="weight_ratio",
        ),
        checks.judge_limit(
            "households_total",
            float(weights.sum()) / design_total - 1,
            at_most=limits.households_error,
            setting="households_error",
        ),
    ]


def judge_fit(
    target_fit: pl.DataFrame, *, population_error: float | None, limits: CheckLimits
) -> list[dg.AssetCheckResult]:
    """The verdicts of ``FIT_CHECKS`` on the released weights."""
    judged = judged_families(target_fit, limits=limits)
    return [
        checks.judge_limit(
            "fitted_median_error",
            fit.median_error(target_fit, weights="released", role="fitted"),
            at_most=limits.fitted_median_error,
            setting="fitted_median_error",
        ),
        checks.judge_limit(
            "held_out_median_error",
            fit.median_error(target_fit, weights="released", role="held_out"),
            at_most=limits.held_out_median_error,
            setting="held_out_median_error",
        ),
        checks.judge_limit(
            "share_within_10pct",
            fit.share_close(target_fit, weights="released", role="fitted"),
            at_least=limits.share_within_10pct,
            setting="share_within_10pct",
        ),
        checks.judge_limit(
            "family_median_error",
            _number(judged["fitted_median_error"].max()),
            at_most=limits.family_median_error,
            setting="family_median_error",
        ),
        checks.judge_limit(
            "family_share_within_10pct",
            _number(judged["fitted_within_10pct"].min()),
            at_least=limits.family_share_within_10pct,
            setting="family_share_within_10pct",
        ),
        checks.judge_limit(
            "population_total",
            population_error,
            at_most=limits.population_error,
            setting="population_error",
            may_be_unknown=True,
        ),
    ]


def judge_reforms(reform_study: pl.DataFrame, *, limits: CheckLimits) -> dg.AssetCheckResult:
    """The verdict on the largest error of a reform's revenue effect."""
    # a reform without effect on either file is answered alike; any other must have an error
    told = reform_study.filter((pl.col("effect_whole") != 0) | (pl.col("effect_sparse") != 0))
    sizes = told["error"].fill_null(float("nan")).abs()
    return checks.judge_limit(
        "reforms_agree",
        None if sizes.is_nan().any() else _number(sizes.max()),
        at_most=limits.reform_error,
        setting="reform_error",
    )


def judge_comparison(
    comparison: Comparison | None, *, plan: ComparisonPlan
) -> list[dg.AssetCheckResult]:
    """The verdicts of ``COMPARISON_CHECKS``; nothing to compare with passes, and says so."""
    if comparison is None:
        return [
            dg.AssetCheckResult(
                check_name=name,
                passed=True,
                metadata={"compared_with": "nothing: the first release of its year"},
            )
            for name in COMPARISON_CHECKS
        ]
    counts = comparison.summary.row(0, named=True)
    judged = sum(counts[f"targets_{status}"] for status in ("better", "worse", "alike"))
    drifts = comparison.drift.head(HELD_TOTALS)["relative_change"]
    return [
        checks.judge_limit(
            name,
            value,
            at_most=limit,
            setting=setting,
            resource="comparison_plan",
            may_block=plan.blocks,
        )
        for name, value, limit, setting in (
            (
                "few_targets_got_worse",
                counts["targets_worse"] / judged if judged else None,
                plan.worse_share,
                "worse_share",
            ),
            (
                "totals_hold",
                None if drifts.null_count() else _number(drifts.abs().max()),
                plan.drift,
                "drift",
            ),
        )
    ]


def judged_families(target_fit: pl.DataFrame, *, limits: CheckLimits) -> pl.DataFrame:
    """The families with enough fitted targets to be judged alone."""
    families = fit.by_family(target_fit, weights="released")
    return families.filter(pl.col("fitted") >= limits.family_targets)


def refuse_beyond_limits(results: Sequence[dg.AssetCheckResult]) -> None:
    """Stop, with no retry, when any verdict is a failure that blocks."""
    failed = [
        result
        for result in checks.told(results)
        if not result.passed and result.severity == dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        names = ", ".join(str(result.check_name) for result in failed)
        raise dg.Failure(
            f"Nothing was published: {names} beyond the limits that the log names above. "
            "Earlier releases are as they were.",
            allow_retries=False,
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
