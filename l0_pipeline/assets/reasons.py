"""Why each household is in the release, and what became of what no target mentions."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.figures import NATION
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.release.columns_evidence import CONTRIBUTION_COLUMNS, REASON_COLUMNS
from l0_pipeline.logic.tables import UNTARGETED_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import SelectionPlan, StudyPlan
from l0_pipeline.settings import OWNERS

SHOWN = 15


@dg.multi_asset(
    partitions_def=years,
    group_name="release",
    outs={
        "household_reasons": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(REASON_COLUMNS)},
            description=(
                "How each household came in, and what the fit would lose without it.\n\n"
                "`make why HOUSEHOLD=<id>` tells it of one household, target by target."
            ),
        ),
        "household_contributions": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(CONTRIBUTION_COLUMNS)},
            description="The five fitted targets that need each household most.",
        ),
    },
    check_specs=[
        checks.schema_and_keys("household_reasons", "household_id"),
        checks.schema_and_keys("household_contributions", "household_id", "rank"),
    ],
)
def reasons(
    constraint_matrix: ConstraintMatrix,
    selected_households: pl.DataFrame,
    target_fit: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
) -> Iterator[dg.MaterializeResult]:
    """What each kept household gives to the fit."""
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.release.contributions import household_contributions, household_reasons

    why = household_reasons(
        constraint_matrix, selected_households, target_fit, calibrated_weights=calibrated_weights
    )
    parts = household_contributions(constraint_matrix, selected_households, target_fit)
    yield dg.MaterializeResult(
        asset_key="household_reasons",
        value=why,
        metadata={
            "needed_most": evidence.table(why.sort("loss_without", descending=True).head(SHOWN)),
            "carriers": evidence.plot(plots.carriers(why)),
        },
        check_results=checks.told(
            [checks.judge_table(why, REASON_COLUMNS, "household_id")], asset="household_reasons"
        ),
    )
    yield dg.MaterializeResult(
        asset_key="household_contributions",
        value=parts,
        metadata={
            "largest_shares": evidence.table(parts.sort("share", descending=True).head(SHOWN))
        },
        check_results=checks.told(
            [checks.judge_table(parts, CONTRIBUTION_COLUMNS, "household_id", "rank")],
            asset="household_contributions",
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="selection",
    kinds={"parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(UNTARGETED_COLUMNS)},
    check_specs=[checks.schema_and_keys("untargeted", "variable", "area", "category")],
)
def untargeted(
    households: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
    selected_households: pl.DataFrame,
    selection_plan: SelectionPlan,
    study_plan: StudyPlan,
) -> dg.MaterializeResult:
    """Shares within states of what no target mentions: the kept households and the survey.

    Columns that the refit holds near the survey, and columns that nothing holds.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import fit, plots
    from l0_pipeline.logic.report.sections.untargeted import named_shares
    from l0_pipeline.logic.untargeted import shares_table, within_area_shares

    design = calibrated_weights["scaled_design_weight"].to_numpy()
    kept = fit.of_all(selected_households, households["household_id"])
    columns = dict.fromkeys(selection_plan.anchored, True) | {
        name: False for name in study_plan.watched if name not in selection_plan.anchored
    }
    shares = within_area_shares(households, list(columns), design_weights=design)
    table = shares_table(shares, kept, held=[name for name, held in columns.items() if held])
    nation = table.filter(area=NATION)
    return dg.MaterializeResult(
        value=table,
        metadata={
            provenance.MADE_WITH: provenance.made_with(
                selection_plan=selection_plan, study_plan=study_plan
            ),
            **{f"distortion_of_{name}": moved for name, moved in shares.distortion(kept).items()},
            **(
                {"shares": evidence.plot(plots.untargeted(named_shares(nation)))}
                if len(nation)
                else {}
            ),
            "furthest": evidence.table(
                table.sort(pl.col("difference").abs(), descending=True).head(SHOWN)
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(
                    table, UNTARGETED_COLUMNS, "variable", "area", "category", may_be_empty=True
                )
            ]
        ),
    )
