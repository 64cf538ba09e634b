"""Every target scored unseen: the fit repeated, each time with another fold kept from it."""

import dagster as dg
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import UNSEEN_COLUMNS, descriptions, names
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="calibration",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(UNSEEN_COLUMNS)},
    check_specs=[checks.schema_and_keys("unseen_errors", "target_id")],
)
def unseen_errors(
    context: dg.AssetExecutionContext,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    training_run: TrainingRun,
    compute_device: ComputeDevice,
) -> dg.MaterializeResult:
    """The error of every target under weights that have not seen it, by rotating folds.

    One training run a fold, by gates alone, with the refit that the run itself chooses: all targets
    but the fold's are fitted, the fold's are scored. So every family that is fitted is scored
    unseen, the families too small for one fold included. Made on demand: seven runs.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import fit, plots
    from l0_pipeline.logic.calibration import problem_of
    from l0_pipeline.logic.targets import hold_out_fold

    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()
    scored = []
    for fold in target_accounting["fold"].drop_nulls().unique().sort():
        turned = hold_out_fold(target_accounting, fold)
        fitted, unseen = (
            problem_of(role, constraint_matrix, turned, design_weights=design)
            for role in ("fitted", "held_out")
        )
        result = compute_device.calibrate(
            fitted,
            budget=training_run.budget,
            method=training_run.method,
            loss=training_run.loss,
            max_weight_ratio=training_run.max_weight_ratio,
            total=training_run.total,
            seed=training_run.seed,
            settings=training_run.selection(),
            refit_settings=training_run.refit(),
        )
        errors = fit.add_errors(
            pl.DataFrame({"target_id": unseen.target_names}).join(
                turned, on="target_id", how="left", maintain_order="left"
            ),
            estimates={"unseen": unseen.estimates(result.weights)},
        )
        median = fit.median_error(errors, weights="unseen", role="held_out")
        context.log.info(f"fold {fold}: {len(errors):,} targets unseen, median error {median:.1%}")
        scored.append(errors)
    table = pl.concat(scored).sort("target_id").select(names(UNSEEN_COLUMNS))
    families = fit.unseen_by_family(table)
    return dg.MaterializeResult(
        value=table,
        metadata={
            "targets": len(table),
            "folds": len(scored),
            "families": len(families),
            "median_error": float(table["unseen_error"].abs().median()),  # type: ignore[arg-type]
            "by_family": evidence.table(families),
            "errors_by_family": evidence.plot(plots.unseen_errors(families)),
            provenance.MADE_WITH: provenance.made_with(training_run=training_run),
        },
        check_results=checks.told(
            [checks.judge_table(table, UNSEEN_COLUMNS, "target_id")], asset="unseen_errors"
        ),
    )
