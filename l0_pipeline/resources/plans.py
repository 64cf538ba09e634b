"""What is fitted, how the households are drawn, and what a release must reach.

Choices of the statistician, as typed settings of a run. How gates are trained is in
``training_run``.
"""

from typing import Annotated, Any, Literal

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
    """How the released households come in, and what their weights are held near."""

    gate_share: float = Field(
        default=settings.GATE_SHARE,
        ge=0,
        le=1,
        description="Share chosen by gates; the rest is drawn at random from what is left.",
    )
    gates_enter: Literal["certainly", "by_open_probability"] = Field(
        default="certainly",
        description=(
            "certainly: the best by their gates. by_open_probability: a Sampford sample of all "
            "households trained to the end, by the probability that their gate is open."
        ),
    )
    design: Literal["simple_random", "systematic", "sampford", "pivotal", "cube"] = Field(
        default="sampford",
        description=(
            "How the random part is drawn within each state. cube: balanced on the numbers of "
            "persons, tax units and anchored categories."
        ),
    )
    size_measure: Literal["open_probability", "equal", "design_weight"] = Field(
        default="open_probability",
        description=(
            "What the chances of the random part are proportional to, in each state. "
            "open_probability: that of the household's gate, none taken as less than 0.05."
        ),
    )
    least_state_share: float = Field(
        default=settings.LEAST_STATE_SHARE,
        ge=0,
        le=1,
        description="Least share of a state's proportional part of the budget that it keeps.",
    )
    expansion: float = Field(
        default=settings.EXPANSION,
        ge=0,
        le=1,
        description=(
            "Weights start from, and are held near, design weight over inclusion probability to "
            "this power: 1 is the inverse probability, 0 the design weight alone."
        ),
    )
    anchored: list[str] = Field(
        default=settings.ANCHORED,
        description=(
            "Columns of `households` that no target mentions; the survey's shares of their "
            "values within each state are held softly."
        ),
    )
    anchor_weight: float = Field(
        default=settings.ANCHOR_WEIGHT,
        ge=0,
        le=10,
        description="Loss weight of all these shares together; that of all targets is 1.",
    )
    model_weight: float = Field(
        default=settings.MODEL_WEIGHT,
        ge=0,
        le=10,
        description=(
            "Loss weight of the tax model's totals of the whole file, in all and class by class."
        ),
    )
    seed: int = Field(default=settings.SEED, ge=0, description="Seed of the random draws.")

    def draw(self) -> dict[str, Any]:
        """The settings of the draw alone, as ``logic.hybrid.draw_hybrid`` takes them."""
        names = (
            *("gate_share", "gates_enter", "design", "size_measure", "least_state_share"),
            "seed",
        )
        return {name: getattr(self, name) for name in names}

    def held(self) -> dict[str, float]:
        """How strongly kept weights are held, as ``logic.hybrid.HeldNear`` takes it."""
        return {"anchor_weight": self.anchor_weight, "model_weight": self.model_weight}

    def describe(self) -> str:
        """The design in words, with the reason for each of its parts."""
        gates = {
            "certainly": "with certainty: these households carry the published totals",
            "by_open_probability": "by the probability that their gate is open, as a Sampford "
            "sample: no household is sure to be kept",
        }[self.gates_enter]
        chances = {
            "open_probability": "chances follow the probability that a household's gate was open, "
            "since these do more for the totals, and none is left without",
            "equal": "every household of a state has the same chance",
            "design_weight": "chances follow the design weight, so that kept households stand "
            "for as many",
        }[self.size_measure]
        return (
            f"{self.gate_share:.0%} are chosen by gates and enter {gates}. The rest is drawn "
            f"within each state by the design {self.design}; {chances}. Strata are states, since "
            f"most published totals are of states, and none keeps less than "
            f"{self.least_state_share:.0%} of its proportional part."
        )


class ReplicatePlan(dg.ConfigurableResource["ReplicatePlan"]):
    """Which replicate weights are made, and of what they measure the variance."""

    method: Literal["bootstrap", "jackknife"] = Field(
        default="bootstrap",
        description="bootstrap: random factors. jackknife: random groups left out in turn.",
    )
    replicates: int = Field(
        default=settings.REPLICATES, ge=2, le=2_000, description="How many replicates are made."
    )
    variance_of: Literal["thinning", "survey"] = Field(
        default="thinning",
        description=(
            "thinning: of drawing these households from the survey. survey: of drawing the "
            "survey too, as if its households were independent draws."
        ),
    )
    seed: int = Field(default=settings.SEED, ge=0, description="Seed of the factors or groups.")


class StudyPlan(dg.ConfigurableResource["StudyPlan"]):
    """Which mixes of gates and chance are compared, and what a mix may cost to be supported."""

    gate_shares: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.0, 0.25, 0.5, 0.75, 0.8, 0.9, 1.0],
        min_length=1,
        description="Shares chosen by gates; 1 is always made, to compare with.",
    )
    most_error: float = Field(
        default=1.03,
        ge=1,
        description="Largest held-out error of a supported mix, as a multiple of gates alone.",
    )
    most_distortion: float = Field(
        default=0.6,
        ge=0,
        description="Largest distortion of what no target mentions, as a multiple of the same.",
    )
    least_effective: float = Field(
        default=0.8,
        ge=0,
        description="Smallest effective sample size, as a multiple of the same.",
    )
    watched: list[str] = Field(
        default=["tax_units"],
        description="Columns of `households` whose shares are compared, but held by nothing.",
    )
    amounts: list[str] = Field(
        default=["housing_ben", "tanf_ben", "vet_ben", "wic_ben", "other_ben"],
        description="Amounts of `households` that no target mentions, whose means are compared.",
    )


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
    reform_error: float = Field(
        default=settings.LIMIT_REFORM_ERROR,
        ge=0,
        description="Largest relative difference of any reform's revenue effect to the whole file.",
    )
    reform_decile_error: float = Field(
        default=settings.LIMIT_REFORM_DECILE_ERROR,
        ge=0,
        description="Largest difference of any tenth's effect, over the whole effect; a warning.",
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
