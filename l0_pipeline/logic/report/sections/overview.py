"""The ten numbers of a release, with what would be good, and its errors in one picture."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import fit, plots
from l0_pipeline.logic.report.content import (
    Card,
    Cards,
    Plate,
    Prose,
    Section,
    Shown,
    table,
)
from l0_pipeline.logic.report.given import WEIGHTS
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import (
    Words,
    count,
    limit_percent,
    number,
    percent,
    ratio,
)

ROLES = ("fitted", "held_out", "benchmark", "rejected")
LABELS = {
    "design": "whole survey, design weights",
    "random": "drawn at random",
    "gates": "gates alone",
    "released": "released",
}


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """How good the release is, for somebody who sees one for the first time."""
    target_fit = tables["target_fit"]
    roles = [role for role in plots.ROLES if (target_fit["role"] == role).any()]
    methods = fit.comparison(target_fit, ("released", "gates", "random", "design")).with_columns(
        pl.col("weights").replace(LABELS)
    )
    return Section(
        anchor="overview",
        title="The release in ten numbers",
        lead=(
            "A sparse survey: a few households of a large one, with weights under which they "
            "reproduce totals that agencies published. A published total that the weights were "
            "made to reproduce is fitted; one that was kept apart to judge them is held out. "
            "An error is the estimate less the published value, over the value."
        ),
        blocks=(
            Cards(_cards(heading)),
            Plate(
                pictures=tuple(
                    picture(plots.errors(target_fit, LABELS, (role,)), _alt(target_fit, role))
                    for role in roles
                ),
                caption=(
                    "Share of targets whose error is at most the one on the horizontal axis: the "
                    "further up and left, the better. The grey line is an error of 10 %. Gates "
                    "alone and random are as many households, chosen otherwise and "
                    "refitted on the targets alone; the release is held near other totals too; "
                    "design weights are those of the whole survey before any fit."
                ),
                tables=("target_fit",),
            ),
            table(
                methods,
                [
                    Shown("weights", "Households and weights"),
                    Shown("held_out_median", "Held out: median error", percent),
                    Shown("held_out_close", "Held out: within 10 %", percent),
                    Shown("fitted_median", "Fitted: median error", percent),
                    Shown("fitted_close", "Fitted: within 10 %", percent),
                ],
                caption="The released weights beside three others",
                tables=("target_fit",),
            ),
            Prose(
                "Read the held-out columns: with nearly as many weights as fitted targets, fitted "
                "errors are small by construction. Neighbours of a held-out total (the other "
                "classes, the nation) are fitted, so its error tells of unseen cells, not of "
                "unseen subjects."
            ),
        ),
    )


def _cards(heading: ReportHeading) -> tuple[Card, ...]:
    quality, limits = heading.quality, heading.limits
    kept, pool = quality.get("households_kept"), quality.get("households_pool")
    share = kept / pool if kept and pool else None
    budget = number(heading.settings.get("training", {}).get("budget"))
    effective = quality.get("effective_sample_size")
    return (
        Card(
            "Households kept",
            count(kept),
            f"of {count(pool)} in the survey, {percent(share, digits=1)}",
            _good("asked for:", budget, count),
            None if budget is None else kept == budget,
        ),
        Card(
            "Published figures",
            count(quality.get("figures_declared")),
            f"each with a role: fitted, held out, compared only "
            f"({count(quality.get('targets_benchmark'))}) or rejected "
            f"({count(quality.get('targets_rejected'))})",
            "the four roles add up to it",
            _adds_up(quality),
        ),
        Card(
            "Fitted targets",
            count(quality.get("targets_fitted")),
            "totals that the weights were made to reproduce",
            "no limit is set",
            None,
        ),
        Card(
            "Held-out targets",
            count(quality.get("targets_held_out")),
            "totals kept apart, to judge the weights",
            _good("at least", limits.get("held_out_targets"), count),
            _reached(quality.get("targets_held_out"), at_least=limits.get("held_out_targets")),
        ),
        Card(
            "Population",
            percent(quality.get("population_error"), signed=True),
            "weighted persons against the published number",
            _good("at most ±", limits.get("population_error"), limit_percent),
            _reached(quality.get("population_error"), at_most=limits.get("population_error")),
        ),
        Card(
            "Median fitted error",
            percent(quality.get("fitted_median_error")),
            "half of the fitted targets are nearer to their value than this",
            _good("at most", limits.get("fitted_median_error"), limit_percent),
            _reached(quality.get("fitted_median_error"), at_most=limits.get("fitted_median_error")),
        ),
        Card(
            "Median held-out error",
            percent(quality.get("held_out_median_error")),
            "half of the held-out targets are nearer than this",
            _good("at most", limits.get("held_out_median_error"), limit_percent),
            _reached(
                quality.get("held_out_median_error"), at_most=limits.get("held_out_median_error")
            ),
        ),
        Card(
            "Fitted within 10 %",
            percent(quality.get("share_within_10pct")),
            "share of the fitted targets with an error of at most 10 %",
            _good("at least", limits.get("share_within_10pct"), limit_percent),
            _reached(quality.get("share_within_10pct"), at_least=limits.get("share_within_10pct")),
        ),
        Card(
            "Effective sample size",
            count(effective),
            "equally weighted households that would be as precise",
            _good("at least", _times(limits.get("effective_share"), kept), count),
            _reached(effective, at_least=_times(limits.get("effective_share"), kept)),
        ),
        Card(
            "Largest weight ratio",
            ratio(quality.get("largest_weight_ratio")),
            "a weight over what thinning the survey alone would have made of it",
            _good("at most", limits.get("weight_ratio"), ratio),
            _reached(quality.get("largest_weight_ratio"), at_most=limits.get("weight_ratio")),
        ),
    )


def _adds_up(quality: Mapping[str, float]) -> bool | None:
    parts = [quality.get(f"targets_{role}") for role in ROLES]
    declared = quality.get("figures_declared")
    if declared is None or None in parts:
        return None
    return sum(part for part in parts if part is not None) == declared


def _times(share: object, whole: object) -> float | None:
    first, second = number(share), number(whole)
    return None if first is None or second is None else first * second


def _good(side: str, limit: object, words: Words) -> str:
    return "no limit is set" if number(limit) is None else f"{side} {words(limit)}"


def _reached(found: object, *, at_most: object = None, at_least: object = None) -> bool | None:
    value, most, least = number(found), number(at_most), number(at_least)
    if value is None or (most is None and least is None):
        return None
    return (most is None or abs(value) <= most) and (least is None or value >= least)


def _alt(target_fit: pl.DataFrame, role: str) -> str:
    numbers = fit.comparison(target_fit, WEIGHTS)
    told = [
        f"{LABELS[row['weights']]}: median {percent(row[f'{role}_median'])}, "
        f"{percent(row[f'{role}_close'], digits=0)} within 10 %"
        for row in numbers.iter_rows(named=True)
    ]
    return f"{plots.ROLES[role]}, four rising lines. {'; '.join(told)}."
