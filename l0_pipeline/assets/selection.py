"""The households that are released: most chosen by their gates, the rest drawn at random."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, limits, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic import fit
from l0_pipeline.logic.design import population, relative_difference
from l0_pipeline.logic.matrix import ConstraintMatrix, in_matrix_order
from l0_pipeline.logic.tables import SELECTED_COLUMNS, TARGET_FIT_COLUMNS, descriptions, names
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import CheckLimits, SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS


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
            "Every inclusion probability lies in (0, 1], and is 1 where a gate chose.",
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
    training_run: TrainingRun,
    selection_plan: SelectionPlan,
    compute_device: ComputeDevice,
    check_limits: CheckLimits,
) -> dg.MaterializeResult:
    """The hybrid: households chosen by gates and households drawn at random, refitted together.

    The best by their gates enter with certainty, given the training run. The others are a simple
    random sample of what is left, each with the same known chance, and keep something of what no
    target mentions. Sizes are exact. Weights start from the design's, not from the inverse of
    these chances, and are refitted on the fitted targets.
    """
    from l0.survey import refit, select_hybrid
    from l0.survey.device import choose_device
    from l0.survey.weights import effective_sample_size, weight_ratios
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.calibration import chosen_penalty, fitted_problem

    design = calibrated_weights["scaled_design_weight"].to_numpy()
    chosen = select_hybrid(
        calibrated_weights["log_alpha"].fill_null(-np.inf).to_numpy(),
        design,
        size=training_run.budget,
        gate_share=selection_plan.gate_share,
        seed=selection_plan.seed,
    )
    weights = refit(
        fitted_problem(constraint_matrix, target_accounting, design_weights=design),
        chosen.support,
        loss=training_run.loss,
        settings=training_run.refit(penalty=chosen_penalty(refit_validation)),
        device=choose_device(compute_device.device),
    ).weights
    ratios = weight_ratios(weights, design)
    table = pl.DataFrame(
        {
            "household_id": calibrated_weights["household_id"].gather(chosen.support),
            "kind": chosen.kind,
            "inclusion_probability": chosen.inclusion_probability,
            "scaled_design_weight": design[chosen.support],
            "weight": weights[chosen.support],
            "weight_ratio": ratios,
        }
    )
    effective = effective_sample_size(weights)
    by_state = (
        table.join(households.select("household_id", "state_fips"), on="household_id")
        .group_by("state_fips")
        .agg(l0=(pl.col("kind") == "l0").sum(), random=(pl.col("kind") == "random").sum())
        .sort("state_fips")
    )
    chance = table["inclusion_probability"].to_numpy()
    certain = chance[(table["kind"] == "l0").to_numpy()]
    return dg.MaterializeResult(
        value=table,
        metadata={
            "households": len(table),
            "chosen_by_gates": len(certain),
            "drawn_at_random": len(table) - len(certain),
            "sampling_share": float(chance.min()),
            "effective_sample_size": effective,
            "largest_weight_ratio": float(ratios.max()),
            "weighted_households": float(weights.sum()),
            "households_total": float(weights.sum() / design.sum() - 1),
            provenance.MADE_WITH: provenance.made_with(
                training_run=training_run, selection_plan=selection_plan
            ),
            "by_state": evidence.plot(
                plots.bars(
                    by_state,
                    names="state_fips",
                    values={"l0": "chosen by gates", "random": "drawn at random"},
                    title="Households kept, by state (FIPS code), in numbers",
                )
            ),
            "weight_ratios": evidence.plot(
                plots.histogram(
                    pl.Series(ratios),
                    title="Weight ratios",
                    xlabel="weight over scaled design weight",
                )
            ),
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
                        (chance > 0).all() and (chance <= 1).all() and (certain == 1).all()
                    ),
                    metadata={"smallest": float(chance.min()), "largest": float(chance.max())},
                ),
                *limits.judge_selection(
                    weights=weights[chosen.support],
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
    kinds={"duckdb"},
    owners=OWNERS,
    io_manager_key="warehouse_io_manager",
    check_specs=[
        checks.schema_and_keys("target_fit", "year", "target_id"),
        *(
            checks.blocking("target_fit", name, sentence)
            for name, sentence in limits.FIT_CHECKS.items()
        ),
    ],
)
def target_fit(
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
    random_households: pl.DataFrame,
    selected_households: pl.DataFrame,
    check_limits: CheckLimits,
) -> dg.MaterializeResult:
    """Every target beside its estimate, under the released weights and three others.

    The others are the design weights of all households, the weights of as many households
    chosen by gates alone, and of as many drawn at random; these two are refitted like the
    released ones. Errors are signed and relative, `(estimate - value) / max(|value|, floor)`.
    Benchmarks are compared, never fitted.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots

    ids = households["household_id"]
    coefficients = constraint_matrix.coefficients
    weights = {
        "design": calibrated_weights["scaled_design_weight"].to_numpy(),
        "gates": calibrated_weights["calibrated_weight"].to_numpy(),
        "random": fit.of_all(random_households, ids),
        "released": fit.of_all(selected_households, ids),
    }
    kept = coefficients.copy()
    kept.data = np.ones_like(kept.data)
    rows = in_matrix_order(target_accounting, constraint_matrix)
    table = fit.add_errors(
        rows.with_columns(kept_support=(kept @ (weights["released"] > 0)).astype(np.int64)),
        estimates={name: coefficients @ values for name, values in weights.items()},
    ).select(names(TARGET_FIT_COLUMNS))
    families = fit.by_family(table, weights="released")
    judged = limits.judged_families(table, limits=check_limits)
    population_error = relative_difference(
        households, weights["released"], population(target_accounting)
    )
    verdicts = limits.judge_fit(table, population_error=population_error, limits=check_limits)
    return dg.MaterializeResult(
        value=table,
        metadata={
            "targets": len(table),
            **{str(verdict.check_name): verdict.metadata["value"] for verdict in verdicts},
            "families_judged": len(judged),
            "families_too_small_to_judge": len(families) - len(judged),
            "comparison": evidence.table(
                fit.comparison(table, ("gates", "released", "random", "design"))
            ),
            "worst_fitted": evidence.table(
                fit.worst(table, weights="released").select(
                    "variable",
                    "released_error",
                    "geography",
                    "value",
                    "released_estimate",
                    "kept_support",
                    "condition",
                    "target_id",
                )
            ),
            "errors": evidence.plot(
                plots.errors(
                    table,
                    {
                        "design": "design weights",
                        "random": "random",
                        "gates": "gates alone",
                        "released": "released",
                    },
                )
            ),
            "families": evidence.table(families),
            "errors_by_family": evidence.plot(plots.family_errors(families)),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, TARGET_FIT_COLUMNS, "year", "target_id"),
                *verdicts,
            ]
        ),
    )
