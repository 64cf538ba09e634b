"""Published figures become targets, targets become coefficients, and every one is accounted for."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, provenance, settings
from l0_pipeline.io_managers import MATRIX, TABLE, MatrixIOManager
from l0_pipeline.logic import fit
from l0_pipeline.logic import targets as target_logic
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.matrix import (
    ConstraintMatrix,
    digest_of,
    in_matrix_order,
    one_household,
    support,
)
from l0_pipeline.logic.tables import DECLARED_TARGET_COLUMNS, TARGET_COLUMNS, names
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import CheckLimits, TargetPlan
from l0_pipeline.resources.variables import VariableDictionary

# what a target's coefficients depend on, and what names its row
COMPILED_FROM = (
    "target_id", "variable", "measure", "unit", "geography", "filters", "value", "records",
    "microdata_column",
)  # fmt: skip


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="targets",
    kinds={"duckdb"},
    owners=settings.OWNERS,
    io_manager_key="warehouse_io_manager",
    deps=["target_findings"],  # its blocking check: nothing is made of figures with faults
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
        fold=target_plan.fold,
    )
    counts = dict(declared.group_by("role").len().rows())
    return dg.MaterializeResult(
        value=declared,
        metadata={
            "declared": len(declared),
            "folds": target_logic.folds(target_plan.held_out_share),
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
    dagster_type=MATRIX,
    group_name="targets",
    kinds={"numpy", "parquet"},
    owners=settings.OWNERS,
    io_manager_key="matrix_io_manager",
    check_specs=[
        checks.blocking("constraint_matrix", "coefficients_are_finite", "No entry is NaN or inf.")
    ],
)
def constraint_matrix(
    context: dg.AssetExecutionContext,
    targets: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    matrix_io_manager: dg.ResourceParam[MatrixIOManager],
) -> dg.MaterializeResult:
    """What one unit of each household's weight adds to each target: a sparse matrix.

    One row a target that the survey can show, one column a household. An entry is the sum of the
    measure, or the number of units where it is not zero, over the household's tax units that the
    target's universe, state and filters let in. Kept as an npz, with what its rows and columns are
    in two Parquet files beside it. Targets, records and code of the last compile are known by their
    digest; where nothing changed, its matrix is taken again.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.constraints import compile_constraints
    from l0_pipeline.logic.measures import unit_measures

    shown = targets.filter(pl.col("role") != "rejected").select(COMPILED_FROM)
    columns = households.select("household_id", "state_fips", "design_weight")
    digest = digest_of(shown, columns, tax_units, tax_outputs, code=provenance.code_version())
    stored = matrix_io_manager.unchanged("constraint_matrix", context.partition_key, digest=digest)
    matrix = stored or ConstraintMatrix(
        coefficients=compile_constraints(
            shown, unit_measures(tax_units, tax_outputs), household_ids=columns["household_id"]
        ),
        targets=shown,
        households=columns,
        digest=digest,
    )
    compiled = matrix.coefficients
    carried = pl.Series("support", np.diff(compiled.indptr))
    return dg.MaterializeResult(
        value=matrix,
        metadata={
            "targets": compiled.shape[0],
            "households": compiled.shape[1],
            "non_zeros": int(compiled.nnz),
            "digest": digest,
            "compiled": stored is None,
            "median_support": float(carried.median() or 0.0),  # type: ignore[arg-type]
            "support": evidence.plot(
                plots.histogram(
                    carried, title="Households that contribute to a target", xlabel="households"
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
    kinds={"duckdb"},
    owners=settings.OWNERS,
    io_manager_key="warehouse_io_manager",
    check_specs=[
        checks.schema_and_keys("target_accounting", "year", "target_id"),
        checks.blocking(
            "target_accounting", "roles_add_up", "No figure was dropped: the four roles add up."
        ),
        checks.blocking(
            "target_accounting", "enough_held_out", "Enough targets are held out to judge the fit."
        ),
    ],
)
def target_accounting(
    context: dg.AssetExecutionContext,
    targets: pl.DataFrame,
    constraint_matrix: ConstraintMatrix,
    households: pl.DataFrame,
    target_plan: TargetPlan,
    check_limits: CheckLimits,
) -> dg.MaterializeResult:
    """Where every declared target ended, once the matrix shows how many households carry it.

    A target without support, or carried by fewer households than the plan asks for, is rejected
    with that reason, and so is one that the survey's own estimate is hundreds of times away from.
    The four roles add up to the figures declared. Beside each: the smallest and the largest error
    that leaving out one household causes. The table `target_roles` of the warehouse.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots

    carried = support(constraint_matrix)
    settled = target_logic.settle_roles(
        targets, carried, minimum_support=target_plan.minimum_support
    )
    contradicting = target_logic.contradictions(settled, carried)
    scaled = settled.with_columns(fit.scales(settled, floors=settings.SCALE_FLOORS))
    design = scaled_design_weights(households, residents=population(scaled)).to_numpy()
    estimates = constraint_matrix.targets.select("target_id").with_columns(
        estimate=constraint_matrix.coefficients @ design
    )
    plausible = target_logic.reject_implausible(
        scaled,
        estimates,
        factor=target_plan.implausible_factor,
        floors=settings.SCALE_FLOORS,
    )
    refused = len(scaled) - int((plausible["role"] == scaled["role"]).sum())
    if refused:
        context.log.warning(
            f"{refused} targets are rejected as hundreds of times away from the survey's estimate; "
            "their reason in target_roles begins with 'implausible'"
        )
    rows = in_matrix_order(plausible, constraint_matrix)
    steps = one_household(constraint_matrix, design_weights=design, scales=rows["scale"].to_numpy())
    table = plausible.join(steps, on="target_id", how="left", maintain_order="left").select(
        names(TARGET_COLUMNS)
    )
    by_family = fit.accounting(table)
    counts = dict(table.group_by("role").len().rows())
    initial = fit.add_errors(rows, estimates={"design": estimates["estimate"].to_numpy()})
    initial_error = fit.median_error(initial, weights="design", role="fitted")
    initial_by_family = fit.by_family(initial, weights="design")
    coarse = table.filter(
        pl.col("role").is_in(["fitted", "held_out"]) & (pl.col("one_household_most") > fit.CLOSE)
    )
    return dg.MaterializeResult(
        value=table,
        metadata={
            "declared": len(table),
            provenance.MADE_WITH: provenance.made_with(target_plan=target_plan),
            **{role: counts.get(role, 0) for role in target_logic.ROLES},
            "families_fitted": len(initial_by_family),
            "one_household_alone_moves_a_tenth": len(coarse),
            "implausible": refused,
            **({} if initial_error is None else {"initial_median_error": initial_error}),
            "roles_by_family": evidence.plot(
                plots.bars(
                    by_family,
                    names="family",
                    values={role: role.replace("_", " ") for role in target_logic.ROLES},
                    title="Figures declared, by role",
                )
            ),
            "accounting": evidence.table(by_family),
            "contradictions": len(contradicting),
            "worst_contradictions": evidence.table(contradicting.head(15)),
            "initial_errors_by_family": evidence.plot(
                plots.family_errors(initial_by_family, title="Under the scaled design weights")
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, TARGET_COLUMNS, "year", "target_id"),
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
