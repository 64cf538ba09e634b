"""Gates choose households and weigh them; as many drawn at random show what that is worth."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import (
    CALIBRATED_WEIGHT_COLUMNS,
    HISTORY_COLUMNS,
    RANDOM_COLUMNS,
    VALIDATION_COLUMNS,
    descriptions,
)
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import FIRST, OWNERS

LOG_EVERY = 100  # epochs between two lines in the log


@dg.multi_asset(
    partitions_def=years,
    group_name="calibration",
    op_tags=FIRST,
    pool="gpu",
    can_subset=True,
    outs={
        "calibrated_weights": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"torch", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(CALIBRATED_WEIGHT_COLUMNS)},
            description=(
                "The weight of every household, calibrated to exactly the budget by gates.\n\n"
                "Hard Concrete gates (Louizos, Welling and Kingma 2018) and log-weights are "
                "trained together on the fitted targets while the expected number of open gates "
                "falls to the budget; then gates are removed and weights refitted. Households "
                "outside the support have weight zero. `log_alpha` orders all of them."
            ),
        ),
        "training_history": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"torch", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(HISTORY_COLUMNS)},
            description=(
                "Loss, expected number of open gates and temperature, every tenth epoch of the "
                "training run and of the refit."
            ),
        ),
        "refit_validation": dg.AssetOut(
            dagster_type=TABLE,
            is_required=False,
            kinds={"torch", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(VALIDATION_COLUMNS)},
            description=(
                "How strongly the refit holds weights near the reference: the design's, or, with "
                "many targets, those fitted to what most households carry.\n\n"
                "Each strength with the loss of fitted targets that were set aside for this "
                "choice alone, from a short selection and its refits; targets that are held out "
                "are never looked at. The chosen strength is used by every refit of the year."
            ),
        ),
    },
    check_specs=[
        checks.schema_and_keys("training_history", "stage", "epoch"),
        checks.schema_and_keys("refit_validation", "penalty"),
        checks.schema_and_keys("calibrated_weights", "household_id"),
        checks.blocking(
            "calibrated_weights",
            "weights_are_sound",
            "Every calibrated weight is finite and not negative.",
        ),
        checks.blocking(
            "calibrated_weights",
            "support_is_the_budget",
            "Exactly the budget of households is kept.",
        ),
    ],
)
def train_gates(
    context: dg.AssetExecutionContext,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    training_run: TrainingRun,
    compute_device: ComputeDevice,
) -> Iterator[dg.MaterializeResult]:
    """Train gates to the budget, refit, and keep the history."""
    from l0.survey.history import EpochRecord
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.calibration import (
        fitted_problem,
        history_table,
        known_locations,
        validation_table,
        worst_table,
    )

    def log(record: EpochRecord) -> None:
        if record.epoch % LOG_EVERY == 0 or record.epoch == record.epochs - 1:
            open_gates = (
                ""
                if record.expected_count is None
                else (f", {record.expected_count:,.0f} gates open")
            )
            context.log.info(
                f"{record.stage}: epoch {record.epoch + 1} of {record.epochs}, "
                f"loss {record.loss:.4f}{open_gates}, {record.records:,} households"
            )

    context.log.info(f"training on {compute_device.describe()}")
    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()
    result = compute_device.calibrate(
        fitted_problem(constraint_matrix, target_accounting, design_weights=design),
        budget=training_run.budget,
        method=training_run.method,
        loss=training_run.loss,
        max_weight_ratio=training_run.max_weight_ratio,
        total=training_run.total,
        seed=training_run.seed,
        settings=training_run.selection(),
        refit_settings=training_run.refit(),
        on_progress=log,
    )
    for finding in result.diagnosis.describe():
        context.log.warning(finding)
    weights = pl.DataFrame(
        {
            "household_id": households["household_id"],
            "scaled_design_weight": design,
            "log_alpha": known_locations(result.log_alpha),
            "open_probability": result.open_probability,
            "calibrated_weight": result.weights,
        }
    )
    history = history_table(result.history)
    if "calibrated_weights" in context.op_execution_context.selected_output_names:
        yield dg.MaterializeResult(
            asset_key="calibrated_weights",
            value=weights,
            metadata={
                "budget": training_run.budget,
                "support": len(result.support),
                "training_loss": result.loss,
                "converged": result.converged,
                "refit_gap": result.gap,
                "refit_penalty": result.penalty,
                "worst_targets": evidence.table(worst_table(result.worst_targets)),
                "findings": len(result.diagnosis.describe()),
                "effective_sample_size": result.effective_sample_size,
                "largest_weight_ratio": result.realized_max_weight_ratio,
                "device": compute_device.describe(),
                provenance.MADE_WITH: provenance.made_with(training_run=training_run),
                "training": evidence.plot(plots.training(history)),
                "weights": evidence.plot(
                    plots.histogram(
                        pl.Series(result.weights[result.support]),
                        title="Calibrated weights of the support",
                        xlabel="households that one household stands for",
                    )
                ),
            },
            check_results=checks.told(
                [
                    checks.judge_table(weights, CALIBRATED_WEIGHT_COLUMNS, "household_id"),
                    checks.judge_weights(result.weights),
                    checks.judge_equal(
                        "support_is_the_budget",
                        value=int((result.weights > 0).sum()),
                        wanted=training_run.budget,
                    ),
                ],
                asset="calibrated_weights",
            ),
        )
    if "refit_validation" in context.op_execution_context.selected_output_names:
        validation = validation_table(result.validation, chosen=result.penalty)
        yield dg.MaterializeResult(
            asset_key="refit_validation",
            value=validation,
            metadata={"strengths": evidence.table(validation)},
            check_results=checks.told(
                [checks.judge_table(validation, VALIDATION_COLUMNS, "penalty")],
                asset="refit_validation",
            ),
        )
    if "training_history" in context.op_execution_context.selected_output_names:
        yield dg.MaterializeResult(
            asset_key="training_history",
            value=history,
            metadata={"training": evidence.plot(plots.training(history))},
            check_results=checks.told(
                [checks.judge_table(history, HISTORY_COLUMNS, "stage", "epoch")],
                asset="training_history",
            ),
        )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="calibration",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(RANDOM_COLUMNS)},
    check_specs=[checks.schema_and_keys("random_households", "household_id")],
)
def random_households(
    refit_validation: pl.DataFrame,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    training_run: TrainingRun,
    selection_plan: SelectionPlan,
    compute_device: ComputeDevice,
) -> dg.MaterializeResult:
    """As many households drawn at random, refitted alike: what gates are measured against.

    A simple random sample without replacement from all households, of the budget's size, whose
    weights get the same refit as the others. Never published.
    """
    from l0.survey import refit, select_random
    from l0.survey.device import choose_device
    from l0_pipeline.logic.calibration import chosen_penalty, fitted_problem

    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()
    problem = fitted_problem(constraint_matrix, target_accounting, design_weights=design)
    drawn = select_random(design, size=training_run.budget, seed=selection_plan.seed)
    weights = refit(
        problem,
        drawn.indices,
        loss=training_run.loss,
        settings=training_run.refit(penalty=chosen_penalty(refit_validation)),
        device=choose_device(compute_device.device),
    ).weights
    table = pl.DataFrame(
        {
            "household_id": households["household_id"].gather(drawn.indices),
            "inclusion_probability": drawn.inclusion_probability,
            "weight": weights[drawn.indices],
        }
    )
    return dg.MaterializeResult(
        value=table,
        metadata={
            "households": len(table),
            "seed": selection_plan.seed,
            provenance.MADE_WITH: provenance.made_with(
                training_run=training_run, selection_plan=selection_plan
            ),
        },
        check_results=checks.told([checks.judge_table(table, RANDOM_COLUMNS, "household_id")]),
    )
