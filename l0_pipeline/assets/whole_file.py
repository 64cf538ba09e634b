"""All households calibrated, none left out, and what the tax model says of them."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import MODEL_TOTAL_COLUMNS, WHOLE_FILE_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import FIRST, MINIMUM_SUPPORT, OWNERS


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="calibration",
    op_tags=FIRST,
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(WHOLE_FILE_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("whole_file_weights", "household_id"),
        checks.blocking(
            "whole_file_weights", "weights_are_sound", "Every weight is finite and not negative."
        ),
    ],
)
def whole_file_weights(
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    training_run: TrainingRun,
    compute_device: ComputeDevice,
) -> dg.MaterializeResult:
    """Weights of all households on the same targets: what the sparse file is to stand for.

    The refit without a selection: every household is kept. A model that is run on all of them
    with these weights gives the answers that the sparse file is compared with. Never published.
    """
    from l0.survey import refit
    from l0.survey.device import choose_device
    from l0.survey.weights import effective_sample_size
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.calibration import problem_of
    from l0_pipeline.logic.design import population, scaled_design_weights

    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()
    problem = {
        role: problem_of(role, constraint_matrix, target_accounting, design_weights=design)
        for role in ("fitted", "held_out")
        if (target_accounting["role"] == role).any()
    }
    weights = refit(
        problem["fitted"],
        np.arange(len(design)),
        loss=training_run.loss,
        settings=training_run.refit(penalty=training_run.whole_file_penalty),
        device=choose_device(compute_device.device),
    ).weights
    table = pl.DataFrame({"household_id": households["household_id"], "weight": weights})
    return dg.MaterializeResult(
        value=table,
        metadata={
            "households": len(table),
            "effective_sample_size": effective_sample_size(weights),
            **{
                f"{role}_median_error": float(np.median(np.abs(of_role.relative_errors(weights))))
                for role, of_role in problem.items()
            },
            "weights": evidence.plot(
                plots.histogram(
                    table["weight"],
                    title="Weights of all households",
                    xlabel="households that one household stands for",
                )
            ),
            provenance.MADE_WITH: provenance.made_with(training_run=training_run),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, WHOLE_FILE_COLUMNS, "household_id"),
                checks.judge_weights(weights),
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="calibration",
    op_tags=FIRST,
    kinds={"polars", "parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(MODEL_TOTAL_COLUMNS)},
    check_specs=[checks.schema_and_keys("model_totals", "total_id")],
)
def model_totals(
    whole_file_weights: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    tax_responses: pl.DataFrame,
) -> dg.MaterializeResult:
    """What the tax model says of the whole file: in all, by income class, status and children.

    Totals of incomes, taxes and credits under `whole_file_weights`, and of taxes and credits had
    all amounts of money been a tenth lower or higher. The refit of the kept households holds them
    (`selection_plan.model_weight`), so that a model answers a reform alike on both; where the
    whole file misses a published total, so do the kept. No reform is among them: `reform_study`
    judges the kept households by reforms that were not fitted.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic.model_totals import model_totals as totals_of
    from l0_pipeline.logic.model_totals import with_responses

    of_households = households.select("household_id").with_columns(whole_file_weights["weight"])
    weights = tax_units.select("household_id").join(
        of_households, on="household_id", how="left", maintain_order="left"
    )
    table = totals_of(
        tax_units,
        with_responses(tax_outputs, tax_responses),
        unit_weights=weights["weight"].to_numpy(),
        minimum_support=MINIMUM_SUPPORT,
    )
    by_income = table.filter(grouping="income").pivot(
        "variable", index=["agi_above", "agi_upto"], values="whole_estimate"
    )
    shown = ("agi_above", "agi_upto", "tax_units", "c00100", "iitax", "payrolltax", "eitc")
    return dg.MaterializeResult(
        value=table,
        metadata={
            "totals": len(table),
            "by_income": evidence.table(
                by_income.select(name for name in shown if name in by_income.columns)
            ),
        },
        check_results=checks.told([checks.judge_table(table, MODEL_TOTAL_COLUMNS, "total_id")]),
    )
