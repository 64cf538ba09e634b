"""How sure the sparse file's estimates are: replicate weights, and standard errors from them."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix, in_matrix_order
from l0_pipeline.logic.tables import (
    REPLICATE_DESIGN_COLUMNS,
    STANDARD_ERROR_COLUMNS,
    descriptions,
    replicate_names,
    replicate_weight_columns,
)
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import ReplicatePlan, SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import FIRST, OWNERS, REPLICATES


@dg.multi_asset(
    partitions_def=years,
    group_name="selection",
    op_tags=FIRST,
    pool="gpu",
    can_subset=True,
    outs={
        "replicate_weights": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"torch", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(replicate_weight_columns(REPLICATES))},
            description=(
                "The weight of every kept household in each replicate.\n\n"
                "Each replicate is the sample as it might have been drawn, refitted to the same "
                "targets. The variance of any estimate is `scale`, which `replicate_design` has, "
                "times the sum of the replicates' squared differences from the estimate under the "
                "released weights."
            ),
        ),
        "replicate_design": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(REPLICATE_DESIGN_COLUMNS)},
            description="How the replicates were made, and the scale of their differences.",
        ),
        "target_standard_errors": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(STANDARD_ERROR_COLUMNS)},
            description=(
                "How sure the released estimate of each target is, from the replicate weights.\n\n"
                "By default how much it would move had other households been drawn at random, the "
                "choice of the gates held fixed. What choosing by gates shifts is not in it: "
                "`target_fit` shows that as the error. What the fit met, every replicate meets, "
                "so that it varies little."
            ),
        ),
    },
    check_specs=[
        checks.schema_and_keys("replicate_weights", "household_id"),
        checks.schema_and_keys("replicate_design", "method"),
        checks.schema_and_keys("target_standard_errors", "year", "target_id"),
        checks.blocking(
            "replicate_weights",
            "weights_are_sound",
            "Every replicate weight is finite and not negative.",
        ),
    ],
)
def replicate(
    context: dg.AssetExecutionContext,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    tax_responses: pl.DataFrame,
    model_totals: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
    selected_households: pl.DataFrame,
    training_run: TrainingRun,
    selection_plan: SelectionPlan,
    replicate_plan: ReplicatePlan,
) -> Iterator[dg.MaterializeResult]:
    """Replicate weights of the released households, and what they say of each target."""
    from l0_pipeline import evidence
    from l0_pipeline.logic import fit, plots
    from l0_pipeline.logic.calibration import fitted_problem
    from l0_pipeline.logic.hybrid import HeldNear, replicates_of, sample_of, shortened
    from l0_pipeline.logic.model_totals import with_responses
    from l0_pipeline.logic.untargeted import within_area_shares

    made_with = provenance.made_with(
        training_run=training_run, selection_plan=selection_plan, replicate_plan=replicate_plan
    )
    made_now = context.op_execution_context.selected_output_names
    ids = households["household_id"]
    design = calibrated_weights["scaled_design_weight"].to_numpy()
    sample = sample_of(selected_households, ids)
    if replicate_plan.variance_of == "thinning" and (sample.inclusion_probability == 1).all():
        raise InputError(
            "nothing was drawn at random, so that thinning has no standard error. Set "
            "variance_of of the resource replicate_plan to survey, or gate_share of "
            "selection_plan below 1."
        )
    problem = HeldNear(
        within_area_shares(households, selection_plan.anchored, design_weights=design),
        model_totals,
        tax_units,
        with_responses(tax_outputs, tax_responses),
        ids,
        **selection_plan.held(),
    ).problem(fitted_problem(constraint_matrix, target_accounting, design_weights=design), sample)
    weight = selected_households["weight"].to_numpy()
    made = replicates_of(
        problem, sample, weight, total=training_run.total, **replicate_plan.model_dump()
    )
    made = replace(made, weights=shortened(made.weights))
    names = replicate_names(replicate_plan.replicates)
    weights = pl.DataFrame(made.weights.astype(np.float32), schema=names).insert_column(
        0, selected_households["household_id"]
    )
    how = pl.DataFrame(replicate_plan.model_dump() | {"scale": made.scale})
    kept = constraint_matrix.coefficients[:, sample.indices].astype(np.float64)
    rows = in_matrix_order(target_accounting, constraint_matrix)
    errors = (
        rows.select("year", "target_id", "family", "role", "scale")
        .with_columns(
            released_estimate=kept @ weight,
            standard_error=made.standard_error(lambda given: kept @ given),
        )
        .with_columns(relative_standard_error=pl.col("standard_error") / pl.col("scale"))
    )
    table = errors.select(column.name for column in STANDARD_ERROR_COLUMNS)
    if "replicate_weights" in made_now:
        yield dg.MaterializeResult(
            asset_key="replicate_weights",
            value=weights,
            metadata={
                "replicates": len(names),
                "method": replicate_plan.method,
                "variance_of": replicate_plan.variance_of,
                provenance.MADE_WITH: made_with,
            },
            check_results=checks.told(
                [
                    checks.judge_table(
                        weights, replicate_weight_columns(len(names)), "household_id"
                    ),
                    checks.judge_weights(made.weights),
                ],
                asset="replicate_weights",
            ),
        )
    if "replicate_design" in made_now:
        yield dg.MaterializeResult(
            asset_key="replicate_design",
            value=how,
            metadata={provenance.MADE_WITH: made_with},
            check_results=checks.told(
                [checks.judge_table(how, REPLICATE_DESIGN_COLUMNS, "method")],
                asset="replicate_design",
            ),
        )
    if "target_standard_errors" in made_now:
        yield dg.MaterializeResult(
            asset_key="target_standard_errors",
            value=table,
            metadata={
                provenance.MADE_WITH: made_with,
                "by_family": evidence.table(fit.standard_errors_by_family(errors)),
                "errors_by_family": evidence.plot(
                    plots.standard_errors(fit.standard_errors_by_family(errors))
                ),
                "held_out": evidence.plot(
                    plots.histogram(
                        errors.filter(role="held_out")["relative_standard_error"],
                        title="Standard errors of held-out targets",
                        xlabel="standard error over scale",
                    )
                ),
            },
            check_results=checks.told(
                [checks.judge_table(table, STANDARD_ERROR_COLUMNS, "year", "target_id")],
                asset="target_standard_errors",
            ),
        )
