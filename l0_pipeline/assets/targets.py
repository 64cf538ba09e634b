"""Published figures become targets, targets become coefficients, and every one is accounted for."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, provenance, settings
from l0_pipeline.io_managers import ARRAYS, TABLE
from l0_pipeline.logic import fit, matrix
from l0_pipeline.logic import targets as target_logic
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.tables import DECLARED_TARGET_COLUMNS, TARGET_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import CheckLimits, TargetPlan
from l0_pipeline.resources.variables import VariableDictionary


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="targets",
    kinds={"duckdb"},
    owners=settings.OWNERS,
    io_manager_key="warehouse_io_manager",
    pool="warehouse",
    check_specs=[
        checks.schema_and_keys("targets", "year", "target_id"),
        checks.blocking(
            "targets", "roles_add_up", "Fitted, held out, benchmark and rejected are all figures."
        ),
    ],
)
def targets(
    published_figures: pl.DataFrame,
    target_plan: TargetPlan,
    variable_dictionary: VariableDictionary,
) -> dg.MaterializeResult:
    """Every published figure with its role and the reason for it, a table of the warehouse.

    *Fitted* targets are what weights must reproduce. *Held-out* ones are drawn by seed within
    each family and judge the fit. *Benchmarks* mean something else than the survey's column, or
    are printed twice. *Rejected* ones cannot be seen in the survey at all. These are the roles that
    the figures alone decide; `target_accounting` settles them once the constraint matrix shows
    how many households carry each target.
    """
    declared = target_logic.declare_targets(
        published_figures,
        variable_dictionary.read(),
        held_out_share=target_plan.held_out_share,
        seed=target_plan.seed,
    )
    counts = dict(declared.group_by("role").len().rows())
    return dg.MaterializeResult(
        value=declared,
        metadata={
            "declared": len(declared),
            **{f"declared_{role}": counts.get(role, 0) for role in target_logic.ROLES},
            provenance.MADE_WITH: provenance.made_with(target_plan=target_plan),
        },
        check_results=checks.told(
            [
                checks.judge_table(declared, DECLARED_TARGET_COLUMNS, "year", "target_id"),
                checks.judge_equal(
                    "roles_add_up",
                    value=sum(counts.get(role, 0) for role in target_logic.ROLES),
                    wanted=len(published_figures),
                ),
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=ARRAYS,
    group_name="targets",
    kinds={"numpy", "python"},
    owners=settings.OWNERS,
    io_manager_key="npz_io_manager",
    pool="warehouse",
    check_specs=[
        checks.blocking("constraint_matrix", "coefficients_are_finite", "No entry is NaN or inf.")
    ],
)
def constraint_matrix(
    targets: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
) -> dg.MaterializeResult:
    """What one unit of each household's weight adds to each target: a sparse matrix.

    One row a target that the survey can show, one column a household. An entry is the sum of the
    measure, or the number of units where it is not zero, over the household's tax units that the
    target's universe, state and filters let in.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.constraints import compile_constraints
    from l0_pipeline.logic.measures import unit_measures

    shown = targets.filter(pl.col("role") != "rejected")
    compiled = compile_constraints(
        shown, unit_measures(tax_units, tax_outputs), household_ids=households["household_id"]
    )
    support = pl.Series("support", np.diff(compiled.indptr))
    return dg.MaterializeResult(
        value=matrix.to_arrays(
            compiled, target_ids=shown["target_id"], household_ids=households["household_id"]
        ),
        metadata={
            "targets": compiled.shape[0],
            "households": compiled.shape[1],
            "non_zeros": int(compiled.nnz),
            "median_support": float(support.median() or 0.0),  # type: ignore[arg-type]
            "support": evidence.plot(
                plots.histogram(
                    support, title="Households that contribute to a target", xlabel="households"
                )
            ),
        },
        check_results=checks.told(
            [
                checks.judge_equal(
                    "coefficients_are_finite",
                    value=int(np.isfinite(compiled.data).sum()),
                    wanted=max(int(compiled.nnz), 1),
                )
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="targets",
    kinds={"polars", "parquet"},
    owners=settings.OWNERS,
    pool="warehouse",
    metadata={"descriptions": descriptions(TARGET_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("target_accounting", "target_id"),
        checks.blocking(
            "target_accounting", "roles_add_up", "No figure was dropped: the four roles add up."
        ),
        checks.blocking(
            "target_accounting", "enough_held_out", "Enough targets are held out to judge the fit."
        ),
    ],
)
def target_accounting(
    targets: pl.DataFrame,
    constraint_matrix: matrix.Arrays,
    households: pl.DataFrame,
    target_plan: TargetPlan,
    check_limits: CheckLimits,
) -> dg.MaterializeResult:
    """Where every declared target ended, once the matrix shows how many households carry it.

    A target without support, or carried by fewer households than the plan asks for, is rejected
    with that reason. The four roles add up to the figures declared.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots

    settled = target_logic.settle_roles(
        targets, matrix.support(constraint_matrix), minimum_support=target_plan.minimum_support
    )
    table = settled.with_columns(fit.scales(settled, floors=settings.SCALE_FLOORS)).select(
        column.name for column in TARGET_COLUMNS
    )
    by_family = fit.accounting(table)
    counts = dict(table.group_by("role").len().rows())
    rows = matrix.in_matrix_order(table, constraint_matrix)
    design = scaled_design_weights(households, residents=population(table)).to_numpy()
    initial = fit.add_errors(
        rows, estimates={"design": matrix.from_arrays(constraint_matrix) @ design}
    )
    initial_error = fit.median_error(initial, weights="design", role="fitted")
    fittable = by_family.filter(pl.col("fitted") + pl.col("held_out") > 0)
    return dg.MaterializeResult(
        value=table,
        metadata={
            "declared": len(table),
            provenance.MADE_WITH: provenance.made_with(target_plan=target_plan),
            **{role: counts.get(role, 0) for role in target_logic.ROLES},
            "families_fitted": len(fittable),
            **({} if initial_error is None else {"initial_median_error": initial_error}),
            "roles_by_family": evidence.plot(
                plots.bars(
                    by_family,
                    names="family",
                    values={role: role.replace("_", " ") for role in target_logic.ROLES},
                    title="Figures declared, by role",
                )
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, TARGET_COLUMNS, "target_id"),
                checks.judge_equal(
                    "roles_add_up",
                    value=sum(counts.get(role, 0) for role in target_logic.ROLES),
                    wanted=len(targets),
                ),
                checks.judge_limit(
                    "enough_held_out",
                    float(counts.get("held_out", 0)),
                    at_least=float(check_limits.held_out_targets),
                    setting="held_out_targets",
                ),
            ]
        ),
    )
