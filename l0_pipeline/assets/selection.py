"""The households that are released: most chosen by their gates, the rest drawn at random."""

import dagster as dg
import polars as pl

from l0_pipeline import checks, limits, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import (
    SELECTED_COLUMNS,
    SELECTION_DESIGN_COLUMNS,
    descriptions,
)
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import CheckLimits, SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS

# far beyond what chance does to an unbiased estimate, skewed amounts included
FARTHEST = 5.0  # standard errors


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="selection",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(SELECTED_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("selected_households", "household_id"),
        checks.blocking(
            "selected_households", "weights_are_sound", "Every weight is finite and not negative."
        ),
        checks.blocking(
            "selected_households", "support_is_the_budget", "Exactly the budget of households."
        ),
        checks.blocking(
            "selected_households",
            "probabilities_are_known",
            "Every inclusion probability lies in (0, 1], and is 1 where a gate was sure.",
        ),
        *(
            checks.blocking("selected_households", name, sentence)
            for name, sentence in limits.SELECTION_CHECKS.items()
        ),
    ],
)
def selected_households(
    calibrated_weights: pl.DataFrame,
    refit_validation: pl.DataFrame,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    tax_responses: pl.DataFrame,
    model_totals: pl.DataFrame,
    training_run: TrainingRun,
    selection_plan: SelectionPlan,
    compute_device: ComputeDevice,
    check_limits: CheckLimits,
) -> dg.MaterializeResult:
    """The hybrid: households chosen by gates and households drawn at random, refitted together.

    The best by their gates enter with certainty, given the training run. The others are drawn
    from what is left of each state, each with a known chance. Sizes are exact. Weights are
    refitted on the fitted targets, and held near the survey's own shares of what no target
    mentions and near what the tax model says of the whole file, in all and class by class.
    """
    from l0.survey.weights import effective_sample_size, weight_ratios
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.calibration import chosen_penalty, fitted_problem
    from l0_pipeline.logic.hybrid import HeldNear, draw_hybrid, refit_hybrid, selected_table
    from l0_pipeline.logic.model_totals import with_responses
    from l0_pipeline.logic.untargeted import within_area_shares

    design = calibrated_weights["scaled_design_weight"].to_numpy()
    shares = within_area_shares(households, selection_plan.anchored, design_weights=design)
    sample = draw_hybrid(
        calibrated_weights,
        households,
        shares,
        size=training_run.budget,
        **selection_plan.draw(),
    )
    held = HeldNear(
        shares,
        model_totals,
        tax_units,
        with_responses(tax_outputs, tax_responses),
        households["household_id"],
        **selection_plan.held(),
    )
    weights = refit_hybrid(
        held.problem(
            fitted_problem(constraint_matrix, target_accounting, design_weights=design), sample
        ),
        sample,
        expansion=selection_plan.expansion,
        loss=training_run.loss,
        settings=training_run.refit(penalty=chosen_penalty(refit_validation)),
        device=compute_device.device,
    )
    ratios = weight_ratios(weights, design)
    table = selected_table(
        sample,
        household_ids=households["household_id"],
        design_weights=design,
        weights=weights,
        weight_ratios=ratios,
    )
    chance = sample.inclusion_probability
    by_gates = int((sample.kind == "l0").sum())
    return dg.MaterializeResult(
        value=table,
        metadata={
            "households": len(table),
            "chosen_by_gates": by_gates,
            "drawn_at_random": len(table) - by_gates,
            "smallest_inclusion_probability": float(chance.min()),
            "effective_sample_size": effective_sample_size(weights),
            "largest_weight_ratio": float(ratios.max()),
            "weighted_households": float(weights.sum()),
            "households_total": float(weights.sum() / design.sum() - 1),
            **{
                f"distortion_of_{name}": distortion
                for name, distortion in shares.distortion(weights).items()
            },
            provenance.MADE_WITH: provenance.made_with(
                training_run=training_run, selection_plan=selection_plan
            ),
            "weight_ratios": evidence.plot(
                plots.histogram(
                    pl.Series(ratios),
                    title="Weight ratios",
                    xlabel="weight over scaled design weight",
                    quantiles=True,
                )
            ),
            "weights": evidence.plot(plots.lorenz({"released weights": table["weight"]})),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, SELECTED_COLUMNS, "household_id"),
                checks.judge_weights(table["weight"].to_numpy()),
                checks.judge_equal(
                    "support_is_the_budget",
                    value=int((table["weight"] > 0).sum()),
                    wanted=training_run.budget,
                ),
                dg.AssetCheckResult(
                    check_name="probabilities_are_known",
                    passed=bool(
                        (chance > 0).all()
                        and (chance <= 1).all()
                        and (
                            selection_plan.gates_enter != "certainly"
                            or (chance[sample.kind == "l0"] == 1).all()
                        )
                    ),
                    metadata={"smallest": float(chance.min()), "largest": float(chance.max())},
                ),
                *limits.judge_selection(
                    weights=weights[sample.indices],
                    ratios=ratios,
                    design_total=float(design.sum()),
                    limits=check_limits,
                ),
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="selection",
    kinds={"parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(SELECTION_DESIGN_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("selection_design", "state_fips"),
        checks.blocking(
            "selection_design",
            "every_state_keeps_its_minimum",
            "No state keeps fewer households than the plan says.",
        ),
        checks.blocking(
            "selection_design",
            "inverse_probabilities_expand_to_the_pool",
            "Horvitz-Thompson estimates of what the whole file says are within five standard "
            "errors of it, where 20 or more households drawn at random can tell.",
        ),
    ],
)
def selection_design(
    selected_households: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
    households: pl.DataFrame,
    selection_plan: SelectionPlan,
) -> dg.MaterializeResult:
    """Which design drew the households, why, and what each state kept.

    Before any refit the kept households are a sample: design weights over inclusion
    probabilities estimate, without bias, every total of the whole file. The table of expanded
    totals compares them, and would show a wrong probability.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.hybrid import design_table, expanded_totals

    table = design_table(
        selected_households, households, least_state_share=selection_plan.least_state_share
    )
    totals = expanded_totals(
        selected_households,
        households,
        design_weights=calibrated_weights["scaled_design_weight"].to_numpy(),
    )
    chance = selected_households["inclusion_probability"]
    short = table.filter(pl.col("by_gates") + pl.col("at_random") < pl.col("minimum"))
    return dg.MaterializeResult(
        value=table,
        metadata={
            "design": selection_plan.describe(),
            "expanded_totals": evidence.table(totals),
            "kept_by_state": evidence.plot(
                plots.tile_map(
                    dict(
                        table.select("state_fips", pl.col("by_gates") + pl.col("at_random")).rows()
                    ),
                    title="Households kept",
                )
            ),
            "by_state": evidence.plot(plots.kept_by_state(table)),
            "inclusion_probabilities": evidence.plot(
                plots.histogram(chance, title="Inclusion probabilities", xlabel="probability")
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, SELECTION_DESIGN_COLUMNS, "state_fips"),
                checks.judge_equal("every_state_keeps_its_minimum", value=len(short), wanted=0),
                judge_expansion(totals),
            ]
        ),
    )


def judge_expansion(totals: pl.DataFrame) -> dg.AssetCheckResult:
    """Estimates by inverse probabilities agree with the whole file; a warning where none can be."""
    told = totals["distance"].is_not_null().any()
    farthest = float(totals["distance"].abs().max() or 0.0)  # type: ignore[arg-type]
    return dg.AssetCheckResult(
        check_name="inverse_probabilities_expand_to_the_pool",
        passed=told and farthest <= FARTHEST,
        severity=dg.AssetCheckSeverity.ERROR if told else dg.AssetCheckSeverity.WARN,
        description=None
        if told
        else "Too few households were drawn at random to tell anything of the probabilities.",
        metadata={"value": farthest, "limit": FARTHEST},
    )
