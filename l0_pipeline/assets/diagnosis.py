"""What is wrong with the figures, and what no weights can reach."""

import dagster as dg
import polars as pl

from l0_pipeline import checks
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import CONFLICT_COLUMNS, FINDING_COLUMNS
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import CheckLimits, ConflictPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import LAST, OWNERS

SHOWN = 15  # rows of a table in the UI


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="targets",
    kinds={"duckdb", "polars"},
    owners=OWNERS,
    io_manager_key="warehouse_io_manager",
    check_specs=[
        checks.schema_and_keys("target_findings", "year", "finding_id"),
        checks.blocking(
            "target_findings",
            "figures_without_faults",
            "No figure has a fault that was not accepted: wrong units or signs, swapped or missing "
            "states, totals against their parts, overlapping age bands, two values for one thing.",
        ),
    ],
)
def target_findings(
    context: dg.AssetExecutionContext, published_figures: pl.DataFrame, check_limits: CheckLimits
) -> dg.MaterializeResult:
    """Where published figures contradict each other, by figure, file and line.

    Classes are added up to totals, states to the nation with its territories, parts of an age range
    to the range; amounts are compared with counts, and states and classes with their like. An
    *error* is a figure that cannot be right beside the others, and stops the build; a *warning* is
    worth a look; a *note* is a known difference between publications. Nothing is mended. An error
    that turns out to be right is accepted by its `finding_id` (`accepted_findings` of
    `check_limits`).
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic.figure_findings import find
    from l0_pipeline.logic.figure_relations import sums, with_axes

    # aged figures were judged when they were read, among those they were printed with
    printed = published_figures.filter(pl.col("aged_from").is_null())
    findings = find(printed)
    by_kind = findings.group_by("severity", "kind").len("findings").sort("severity", "kind")
    accepted = pl.col("finding_id").is_in(check_limits.accepted_findings)
    faults = findings.filter(~accepted, severity="error")
    for fault in faults.head(SHOWN).iter_rows(named=True):
        context.log.error("{file}, line {line}: {detail} [{finding_id}]".format_map(fault))
    unknown = set(check_limits.accepted_findings).difference(findings["finding_id"])
    if unknown:
        context.log.warning(f"accepted, but not found (any more): {', '.join(sorted(unknown))}")
    return dg.MaterializeResult(
        value=findings,
        metadata={
            "sums_checked": sums(with_axes(printed))["sum"].n_unique(),
            "findings": len(findings),
            "by_kind": evidence.table(by_kind),
            "first": evidence.table(
                findings.select(
                    "severity", "kind", "detail", "file", "line", "related", "finding_id"
                ).head(SHOWN)
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(
                    findings, FINDING_COLUMNS, "year", "finding_id", may_be_empty=True
                ),
                checks.judge_equal("figures_without_faults", value=len(faults), wanted=0),
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    op_tags=LAST,
    group_name="targets",
    kinds={"duckdb", "scipy"},
    owners=OWNERS,
    io_manager_key="warehouse_io_manager",
    check_specs=[
        checks.schema_and_keys("target_conflicts", "year", "conflict_id", "target_id"),
        dg.AssetCheckSpec(
            "conflicts_are_proved",
            asset="target_conflicts",
            description="The multipliers of each conflict prove the error that the table states, "
            "computed again on all households.",
        ),
    ],
)
def target_conflicts(
    context: dg.AssetExecutionContext,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    conflict_plan: ConflictPlan,
    training_run: TrainingRun,
) -> dg.MaterializeResult:
    """Small sets of fitted targets that no weights within their bounds can meet together.

    Each is proved by linear programming duality: the `multiplier` of its targets add up to a total
    that no admissible weights reach. `gap` is by how much a target misses at least, in its own
    unit, were the others of the set met; `least_error` what the worst of them misses in any case,
    as a share of its scale. Weights may be up to the `max_weight_ratio` of the training run times
    the scaled design weights. Also counted: targets that are linear combinations of others.
    """
    from l0.survey.dependencies import linear_dependencies
    from l0.survey.infeasibility import find_conflicts
    from l0_pipeline import evidence
    from l0_pipeline.logic.calibration import fitted_problem
    from l0_pipeline.logic.conflicts import conflict_table, largest_gaps, proved, state_sums

    design = scaled_design_weights(households, residents=population(target_accounting)).to_numpy()
    problem = fitted_problem(constraint_matrix, target_accounting, design_weights=design)
    fitted = pl.DataFrame({"target_id": problem.target_names}).join(
        target_accounting, on="target_id", how="left", maintain_order="left"
    )
    areas = fitted["geography"].to_list()
    bound = training_run.max_weight_ratio
    dependencies = linear_dependencies(problem, areas=areas)
    conflicts = find_conflicts(
        problem,
        max_weight_ratio=bound,
        areas=areas,
        sums=state_sums(fitted),
        tolerance=conflict_plan.tolerance,
        most=conflict_plan.most,
        seconds=conflict_plan.seconds,
    )
    table = conflict_table(
        conflicts, fitted, year=int(context.partition_key), max_weight_ratio=bound
    )
    worst = largest_gaps(table, fitted, rows=SHOWN)
    context.log.info(
        f"{len(conflicts.found)} sets of targets exclude each other"
        + (f"; the worst: {conflicts.found[0].describe()}" if conflicts.found else "")
    )
    return dg.MaterializeResult(
        value=table,
        metadata={
            "conflicts": len(conflicts.found),
            "areas_not_searched_to_the_end": f"{len(conflicts.undecided)} of {len(set(areas))}",
            "largest_error": conflicts.found[0].least_error if conflicts.found else 0.0,
            "worst": evidence.table(worst),
            "fitted_targets": len(fitted),
            "rank": dependencies.rank,
            "linearly_dependent": len(dependencies.dependent),
        },
        check_results=checks.told(
            [
                checks.judge_table(
                    table,
                    CONFLICT_COLUMNS,
                    *("year", "conflict_id", "target_id"),
                    may_be_empty=True,
                ),
                checks.judge_equal(
                    "conflicts_are_proved",
                    value=proved(table, problem, max_weight_ratio=bound),
                    wanted=len(conflicts.found),
                ),
            ]
        ),
    )
