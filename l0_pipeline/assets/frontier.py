"""What a smaller file would cost: many sizes beside each other, to choose a budget from."""

import dagster as dg
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import FRONTIER_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import FrontierPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="calibration",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(FRONTIER_COLUMNS)},
    check_specs=[checks.schema_and_keys("size_frontier", "budget")],
)
def size_frontier(
    context: dg.AssetExecutionContext,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    training_run: TrainingRun,
    frontier_plan: FrontierPlan,
    compute_device: ComputeDevice,
) -> dg.MaterializeResult:
    """Error, effective sample size and largest ratio at several budgets, with one suggested.

    Gates go on from each size to the next smaller one, so that eight sizes take less than two
    runs of the largest. Always by gates, in one process, whatever the training run's method and
    the device's processes. Made on demand: a rebuild leaves it out, and a release holds
    it where it is there and of the same settings.
    """
    from l0.survey import CalibrationProblem, frontier
    from l0.survey.history import EpochRecord
    from l0_pipeline import evidence
    from l0_pipeline.logic.calibration import frontier_table, problem_of

    def log(record: EpochRecord) -> None:
        if record.epoch == record.epochs - 1:
            context.log.info(f"{record.stage}: loss {record.loss:.4f}")

    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()

    def problem(role: str) -> CalibrationProblem:
        return problem_of(role, constraint_matrix, target_accounting, design_weights=design)

    fitted = problem("fitted")
    judged = (target_accounting["role"] == "held_out").any()
    found = frontier(
        fitted,
        [max(1, round(share * fitted.n_records)) for share in frontier_plan.shares],
        held_out=problem("held_out") if judged else None,
        tolerance=frontier_plan.tolerance,
        loss=training_run.loss,
        seed=training_run.seed,
        device=compute_device.device,
        settings=training_run.gates(),
        refit_settings=training_run.refit(),
        on_progress=log,
        checkpoint=compute_device.checkpoint(),
    )
    table = frontier_table(found)
    return dg.MaterializeResult(
        value=table,
        metadata={
            "suggested_budget": found.suggested.budget,
            "frontier": evidence.plot(found.plot()),
            "sizes": evidence.table(table),
            provenance.MADE_WITH: provenance.made_with(
                training_run=training_run, frontier_plan=frontier_plan
            ),
        },
        check_results=checks.told(
            [checks.judge_table(table, FRONTIER_COLUMNS, "budget")], asset="size_frontier"
        ),
    )
