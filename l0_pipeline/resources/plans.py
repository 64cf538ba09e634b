"""What is fitted, how the households are drawn, and what a release must reach.

Choices of the statistician, as typed settings of a run. How gates are trained is in
``training_run``.
"""

from typing import Annotated

import dagster as dg
from pydantic import Field

from l0_pipeline import settings


class TargetPlan(dg.ConfigurableResource["TargetPlan"]):
    """Which published figures are fitted and which judge the fit."""

    held_out_share: float = Field(
        default=settings.HELD_OUT_SHARE,
        ge=0,
        lt=1,
        description="Share of every family's targets kept from the fit and scored.",
    )
    fold: int = Field(
        default=0,
        ge=0,
        description=(
            "Which rotation of the lot is held out: 0 to 6 with the default share; each target "
            "is held out in one of them."
        ),
    )
    minimum_support: int = Field(
        default=settings.MINIMUM_SUPPORT,
        ge=1,
        description="Targets that fewer households contribute to are rejected.",
    )
    implausible_factor: float = Field(
        default=settings.IMPLAUSIBLE_FACTOR,
        gt=1,
        description="Targets that many times away from the survey's own estimate are rejected.",
    )
    seed: int = Field(
        default=settings.SEED, ge=0, description="Seed of the lot that holds targets out."
    )


class ConflictPlan(dg.ConfigurableResource["ConflictPlan"]):
    """How long targets that exclude each other are looked for."""

    tolerance: float = Field(
        default=settings.CONFLICT_TOLERANCE,
        gt=0,
        description="Targets that can all come this near, as a share of their scale, are fine.",
    )
    most: int = Field(
        default=settings.CONFLICTS_MOST, ge=1, description="How many conflicts are looked for."
    )
    seconds: float = Field(
        default=settings.CONFLICT_SECONDS,
        ge=0,
        description="When the search ends; areas it has not come to are told as undecided.",
    )


class SelectionPlan(dg.ConfigurableResource["SelectionPlan"]):
    """How the released households come in."""

    gate_share: float = Field(
        default=settings.GATE_SHARE,
        ge=0,
        le=1,
        description="Share chosen by gates; the rest is a simple random sample of what is left.",
    )
    seed: int = Field(default=settings.SEED, ge=0, description="Seed of the random draws.")


class FrontierPlan(dg.ConfigurableResource["FrontierPlan"]):
    """Which sizes are compared, and how much worse than the best the suggested one may be."""

    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[0.25, 0.18, 0.10, 0.08, 0.05, 0.03, 0.02, 0.01],
        min_length=2,
        description="Sizes, as shares of the survey's households.",
    )
    tolerance: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description=(
            "The smallest size is suggested whose held-out error is worse than the best by no "
            "more than this share."
        ),
    )


class CheckLimits(dg.ConfigurableResource["CheckLimits"]):
    """What a release must reach; beyond a limit nothing is published."""

    fitted_median_error: float = Field(
        default=settings.LIMIT_FITTED_MEDIAN_ERROR,
        ge=0,
        description="Largest median absolute relative error of the fitted targets.",
    )
    held_out_median_error: float = Field(
        default=settings.LIMIT_HELD_OUT_MEDIAN_ERROR,
        ge=0,
        description="Largest median absolute relative error of the held-out targets.",
    )
    share_within_10pct: float = Field(
        default=settings.LIMIT_SHARE_WITHIN_10PCT,
        ge=0,
        le=1,
        description="Smallest share of fitted targets within 10 % of their value.",
    )
    family_median_error: float = Field(
        default=settings.LIMIT_FAMILY_MEDIAN_ERROR,
        ge=0,
        description="Largest median error of the fitted targets of any judged family.",
    )
    family_share_within_10pct: float = Field(
        default=settings.LIMIT_FAMILY_SHARE_WITHIN_10PCT,
        ge=0,
        le=1,
        description="Smallest share within 10 % of the fitted targets of any judged family.",
    )
    family_targets: int = Field(
        default=settings.LIMIT_FAMILY_TARGETS,
        ge=1,
        description="Fitted targets from which on a family is judged.",
    )
    population_error: float = Field(
        default=settings.LIMIT_POPULATION_ERROR,
        ge=0,
        description="Largest relative error of the number of persons.",
    )
    households_error: float = Field(
        default=settings.LIMIT_HOUSEHOLDS_ERROR,
        ge=0,
        description="Largest relative difference from the design's number of households.",
    )
    effective_share: float = Field(
        default=settings.LIMIT_EFFECTIVE_SHARE,
        ge=0,
        le=1,
        description="Smallest effective sample size as a share of the households kept.",
    )
    weight_ratio: float = Field(
        default=settings.LIMIT_WEIGHT_RATIO,
        ge=1,
        description="Largest weight over scaled design weight.",
    )
    accepted_findings: list[str] = Field(
        default=[],
        description="Errors of target_findings that were looked at and are right, by finding_id.",
    )
    held_out_targets: int = Field(
        default=settings.LIMIT_HELD_OUT_TARGETS,
        ge=0,
        description="Fewest held-out targets.",
    )
