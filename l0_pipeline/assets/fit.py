"""Every target beside its estimate, under the released weights and three others."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, limits
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic import fit
from l0_pipeline.logic.design import population, relative_difference
from l0_pipeline.logic.matrix import ConstraintMatrix, in_matrix_order
from l0_pipeline.logic.tables import TARGET_FIT_COLUMNS, names
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import CheckLimits
from l0_pipeline.settings import OWNERS


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
    from l0_pipeline.logic.report.sections.states import state_errors

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
            "estimates_before": evidence.plot(
                plots.estimates(
                    table, weights="design", role="fitted", title="Fitted, design weights"
                )
            ),
            "estimates_after": evidence.plot(
                plots.estimates(
                    table, weights="released", role="fitted", title="Fitted, released weights"
                )
            ),
            "errors_by_state": evidence.plot(
                plots.tile_map(
                    dict(state_errors(table).select("fips", "fitted").drop_nulls().rows()),
                    title="Fitted targets: median error",
                    percent=True,
                )
            ),
            "errors_by_level": evidence.plot(plots.errors_by_level(table)),
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
