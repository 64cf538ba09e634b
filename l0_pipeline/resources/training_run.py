"""The hyperparameters of a training run, with their bounds; what they do is in ``l0.survey``."""

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from l0_pipeline.settings import (
    BUDGET,
    COARSE_SHARE,
    FIRMNESS_POWER,
    MAX_WEIGHT_RATIO,
    REFIT_LEAK,
    SEED,
    SELECTION_LEAK,
    WHOLE_FILE_PENALTY,
)

if TYPE_CHECKING:
    from l0.survey import GatedFitSettings, GradualPruningSettings, RefitSettings


class TrainingRun(dg.ConfigurableResource["TrainingRun"]):
    """How many households are kept, and how gates and weights are trained to get there."""

    budget: int = Field(default=BUDGET, ge=1, description="Households to keep, exactly.")
    seed: int = Field(default=SEED, ge=0, description="Seed of the gates' noise.")
    method: Literal["hard_concrete", "gradual_pruning"] = Field(
        default="hard_concrete",
        description="hard_concrete: by gates. gradual_pruning: the lightest leave in steps.",
    )
    loss: Literal["capped_relative", "absolute", "squared", "huber"] = Field(
        default="capped_relative",
        description="How relative errors are judged; capped at 100 % unless another is chosen.",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Epochs of the selection; if null 750, and 1,000 for gradual pruning.",
    )
    weight_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description=(
            "Adam's rate on log-weights, which falls as a cosine to zero; if null 0.05, and 0.15 "
            "for gradual pruning."
        ),
    )
    gate_rate: float = Field(
        default=0.1, gt=0, le=1, description="Adam's rate on the gates' locations."
    )
    initial_temperature: float = Field(
        default=1.0, gt=0, le=5, description="Temperature of the Hard Concrete gates at the start."
    )
    final_temperature: float = Field(
        default=0.5, gt=0, le=5, description="Temperature at the end of annealing."
    )
    initial_focus: float = Field(
        default=4.0,
        gt=0,
        le=100,
        description="How strongly log-odds follow a household's contribution.",
    )
    final_focus: float = Field(
        default=16.0, gt=0, le=100, description="The same at the end of annealing."
    )
    annealing_share: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Share of the epochs over which temperature and focus move.",
    )
    budget_share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Share of the epochs after which the budget is reached.",
    )
    budget_power: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description=(
            "Above 1 households leave slowly at first; if null 1.5, and 1 for gradual pruning."
        ),
    )
    noise_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Share of the epochs with random gates; then without noise.",
    )
    leak: float = Field(
        default=SELECTION_LEAK,
        ge=0,
        le=1,
        description="Share of the pull left to targets off by more than 100 % in the selection.",
    )
    smoothing: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Errors below it pull in proportion to their size in the selection.",
    )
    penalty: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description=(
            "Kullback-Leibler penalty towards the design weights in the selection; if null the "
            "share of households kept tells: 0.1 at a tenth, less for fewer and for more."
        ),
    )
    refit_epochs: int = Field(default=300, ge=1, le=100_000, description="Epochs without gates.")
    refit_rate: float = Field(default=0.1, gt=0, le=1, description="Adam's rate in the refit.")
    refit_penalty: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description=(
            "Kullback-Leibler penalty of the refit; chosen on fitted targets set aside if null."
        ),
    )
    refit_leak: float = Field(
        default=REFIT_LEAK,
        ge=0,
        le=1,
        description="Share of the pull left to targets off by more than 100 % in the refit.",
    )
    firmness_power: float = Field(
        default=FIRMNESS_POWER,
        ge=0,
        le=2,
        description=(
            "How much more firmly the refit holds households that carry much: the power of what "
            "they carry; 0 holds all alike."
        ),
    )
    coarse_share: float = Field(
        default=COARSE_SHARE,
        ge=0,
        le=1,
        description=(
            "Share of the targets, those carried by the most households, that what the refit holds "
            "weights near meets first, where there are more than 1,000; then four times as many, "
            "and so on; 0 leaves it the design's."
        ),
    )

    whole_file_penalty: float = Field(
        default=WHOLE_FILE_PENALTY,
        ge=0,
        le=100,
        description="Kullback-Leibler penalty when all households are calibrated, none left out.",
    )

    max_weight_ratio: float | None = Field(
        default=MAX_WEIGHT_RATIO,
        ge=1,
        description="Largest weight over scaled design weight that the refit allows; any if null.",
    )

    total: Literal["free", "fixed"] = Field(
        default="free",
        description="fixed: weights add up to the survey's number of households, exactly.",
    )

    def selection(self) -> "GatedFitSettings | GradualPruningSettings":
        """The settings of the selection."""
        from l0.survey import GradualPruningSettings

        if self.method == "hard_concrete":
            return self.gates()
        return GradualPruningSettings(**self._given(GradualPruningSettings))

    def gates(self) -> "GatedFitSettings":
        """The settings of a selection by gates."""
        from l0.survey import GatedFitSettings

        return GatedFitSettings(**self._given(GatedFitSettings))

    def refit(self, *, penalty: float | None = None) -> "RefitSettings":
        """The settings of the refit, at a strength that was chosen or the one of this run."""
        from l0.survey import RefitSettings

        return RefitSettings(
            epochs=self.refit_epochs,
            rate=self.refit_rate,
            penalty=self.refit_penalty if penalty is None else penalty,
            firmness_power=self.firmness_power,
            leak=self.refit_leak,
            coarse_share=self.coarse_share,
            max_weight_ratio=self.max_weight_ratio,
            total=self.total,
        )

    def resolved(self) -> dict[str, Any]:
        """Every setting; where one is null and the method has a default, that default."""
        of_method = vars(self.selection())
        return {name: of_method.get(name, value) for name, value in self.model_dump().items()}

    def _given(self, settings: type) -> dict[str, Any]:
        """What this run says of a method's settings; what is null is the method's own to say."""
        from dataclasses import fields

        known = {field.name for field in fields(settings)} & set(type(self).model_fields)
        given = {name: getattr(self, name) for name in known}
        return {name: value for name, value in given.items() if value is not None}
