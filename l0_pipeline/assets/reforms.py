"""Reforms on the whole file and on the kept households: does a model give the same answers?"""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, limits, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.reform_study import NOTICED
from l0_pipeline.logic.reforms import REFORMS, Reform
from l0_pipeline.logic.tables import (
    CREDIT_DRAW_COLUMNS,
    REFORM_COLUMNS,
    REFORM_COST_COLUMNS,
    REFORM_GROUP_COLUMNS,
    aged_unit_columns,
    descriptions,
    reform_outcome_columns,
)
from l0_pipeline.partitions import years
from l0_pipeline.resources.model_cost import model_cost
from l0_pipeline.resources.plans import CheckLimits
from l0_pipeline.resources.reform_plan import ReformPlan
from l0_pipeline.settings import FIRST, OWNERS

TIMED = 3  # calculations of each file that a median is of


@dg.multi_asset(
    partitions_def=years,
    group_name="microdata",
    outs={
        "reform_outcomes": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(reform_outcome_columns(REFORMS))},
            description=(
                "How each reform changes the tax of every unit of the survey, in dollars.\n\n"
                "Tax-Calculator is run on the whole file, once for current law and once for each "
                "reform. Income tax and payroll tax, of employers too; nobody changes what they "
                "do. Weights play no part."
            ),
        ),
        "credit_draws": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(CREDIT_DRAW_COLUMNS)},
            description=(
                "Which random numbers give each unit the credits that it has.\n\n"
                "Tax-Calculator draws by row who claims the earned income and the additional child "
                "tax credit. A file of some of the units must give each of them a like number, or "
                "others would claim than those whom the weights were fitted to."
            ),
        ),
    },
    check_specs=[
        checks.schema_and_keys("reform_outcomes", "unit_id"),
        checks.blocking("reform_outcomes", "no_missing_results", "The tax model answered for all."),
        checks.schema_and_keys("credit_draws", "unit_id"),
    ],
)
def run_reforms(
    context: dg.AssetExecutionContext,
    raw_cps_extract: pl.DataFrame,
    tax_units: pl.DataFrame,
    reform_plan: ReformPlan,
) -> Iterator[dg.MaterializeResult]:
    """The tax model on the whole file, under current law and under each reform."""
    from l0_pipeline import evidence
    from l0_pipeline.logic.reforms import tax_changes
    from l0_pipeline.logic.tax_model import age_tax_units
    from l0_pipeline.logic.tax_model import credit_draws as draws_of

    year, income_year = int(context.partition_key), schema.income_year(raw_cps_extract)
    reforms = reform_plan.chosen()
    aged = age_tax_units(tax_units, income_year=income_year, target_year=year)
    table = tax_changes(aged, reforms, year=year)
    yield dg.MaterializeResult(
        asset_key="reform_outcomes",
        value=table,
        metadata={
            "reforms": evidence.table(_described(reforms, table)),
            provenance.MADE_WITH: provenance.made_with(reform_plan=reform_plan),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, reform_outcome_columns(reforms), "unit_id"),
                checks.judge_complete("no_missing_results", table, "unit_id"),
            ],
            asset="reform_outcomes",
        ),
    )
    draws = draws_of(tax_units, table, income_year=income_year, target_year=year)
    yield dg.MaterializeResult(
        asset_key="credit_draws",
        value=draws,
        metadata={
            "units_that_may_claim": len(draws.filter((pl.col("least") > 0) | (pl.col("most") < 1)))
        },
        check_results=checks.told(
            [checks.judge_table(draws, CREDIT_DRAW_COLUMNS, "unit_id")], asset="credit_draws"
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="release",
    op_tags=FIRST,
    kinds={"python", "parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(aged_unit_columns(schema.TAX_UNIT_COLUMNS))},
    check_specs=[checks.schema_and_keys("aged_tax_units", "unit_id")],
)
def aged_tax_units(
    context: dg.AssetExecutionContext,
    raw_cps_extract: pl.DataFrame,
    tax_units: pl.DataFrame,
    selected_households: pl.DataFrame,
) -> dg.MaterializeResult:
    """The kept tax units with incomes of the target year and their weights, as models read them.

    The same inputs from which `tax_outputs` was computed: Tax-Calculator's ageing, no taxes.
    """
    from l0_pipeline.logic.tax_model import age_tax_units

    kept = tax_units.join(
        selected_households.select("household_id", "weight"),
        on="household_id",
        how="inner",
        maintain_order="left",
    )
    table = age_tax_units(
        kept,
        income_year=schema.income_year(raw_cps_extract),
        target_year=int(context.partition_key),
    )
    return dg.MaterializeResult(
        value=table,
        metadata={"tax_units": len(table)},
        check_results=checks.told(
            [
                checks.judge_table(
                    table,
                    aged_unit_columns(schema.TAX_UNIT_COLUMNS),
                    "unit_id",
                    required=("unit_id", "household_id", "weight"),
                )
            ]
        ),
    )


@dg.multi_asset(
    partitions_def=years,
    group_name="release",
    op_tags=FIRST,
    outs={
        "reform_study": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(REFORM_COLUMNS)},
            description=(
                "What reforms change, on the whole file and on the kept households alone.\n\n"
                "The whole file has all households, calibrated with none left out; the sparse one "
                "is what will be published. Tax-Calculator is run on both. None of the pipeline's "
                "own reforms is among what the kept households were fitted to or held near, and "
                "none is a multiple of it."
            ),
        ),
        "reform_groups": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(REFORM_GROUP_COLUMNS)},
            description=(
                "The same effects by tenth of income and by state. Each file forms its own tenths "
                "of tax units by adjusted gross income; units of equal income are in one class."
            ),
        ),
        "reform_cost": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(REFORM_COST_COLUMNS)},
            description=(
                "Seconds and memory of the model on either file, measured side by side in one "
                "process after compilation. They differ from run to run."
            ),
        ),
    },
    check_specs=[
        checks.schema_and_keys("reform_study", "reform"),
        checks.schema_and_keys("reform_groups", "reform", "grouping", "group"),
        checks.schema_and_keys("reform_cost", "file"),
        checks.blocking(
            "reform_study",
            "reforms_agree",
            "No reform's revenue effect differs more from the whole file's than the limit.",
        ),
        dg.AssetCheckSpec(
            "deciles_agree",
            asset="reform_study",
            description="The effect on no tenth of incomes differs by more than the limit.",
        ),
    ],
)
def study_reforms(
    context: dg.AssetExecutionContext,
    raw_cps_extract: pl.DataFrame,
    tax_units: pl.DataFrame,
    reform_outcomes: pl.DataFrame,
    credit_draws: pl.DataFrame,
    whole_file_weights: pl.DataFrame,
    aged_tax_units: pl.DataFrame,
    replicate_weights: pl.DataFrame,
    replicate_design: pl.DataFrame,
    reform_plan: ReformPlan,
    check_limits: CheckLimits,
) -> Iterator[dg.MaterializeResult]:
    """Run the model on the kept households, and compare."""
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.reform_study import compare_reforms, sparse_file, whole_file
    from l0_pipeline.logic.reforms import tax_changes
    from l0_pipeline.logic.release.taxcalc_files import taxcalc_records
    from l0_pipeline.logic.tax_model import age_tax_units

    year = int(context.partition_key)
    reforms = reform_plan.chosen()
    provenance.refuse_changed_settings(context, asset="reform_outcomes", reform_plan=reform_plan)
    # the very rows that a release holds for Tax-Calculator
    records = taxcalc_records(aged_tax_units, aged_tax_units["weight"], credit_draws, year=year)
    whole_records = age_tax_units(
        tax_units, income_year=schema.income_year(raw_cps_extract), target_year=year
    )
    cost = model_cost(
        {"sparse": records, "whole": whole_records},
        next(iter(reforms.values())),
        year=year,
        runs=TIMED,
    )
    sparse = sparse_file(tax_changes(records, reforms, year=year), aged_tax_units)
    replicates = aged_tax_units.select("household_id").join(
        replicate_weights, on="household_id", how="left", maintain_order="left"
    )
    table, groups = compare_reforms(
        whole_file(reform_outcomes, tax_units, whole_file_weights),
        sparse,
        reforms,
        replicates=replicates.select(pl.exclude("household_id")).to_numpy(),
        scale=float(replicate_design["scale"].item()),
    )
    made_with = provenance.made_with(reform_plan=reform_plan)
    yield dg.MaterializeResult(
        asset_key="reform_study",
        value=table,
        metadata={
            "largest_error": _told_number(_largest(table, "error")),
            "largest_decile_error": _told_number(_largest(table, "largest_decile_error")),
            "reforms": evidence.table(table),
            "errors": evidence.plot(plots.reform_errors(table)),
            provenance.MADE_WITH: made_with,
        },
        check_results=checks.told(
            [
                checks.judge_table(table, REFORM_COLUMNS, "reform"),
                limits.judge_reforms(table, limits=check_limits),
                checks.judge_limit(
                    "deciles_agree",
                    _largest(table, "largest_decile_error"),
                    at_most=check_limits.reform_decile_error,
                    setting="reform_decile_error",
                    may_block=False,
                ),
            ],
            asset="reform_study",
        ),
    )
    yield dg.MaterializeResult(
        asset_key="reform_groups",
        value=groups,
        metadata={
            "deciles_of_the_least_alike": evidence.plot(
                plots.reform_deciles(groups, reform=_least_alike(table))
            ),
            provenance.MADE_WITH: made_with,
        },
        check_results=checks.told(
            [checks.judge_table(groups, REFORM_GROUP_COLUMNS, "reform", "grouping", "group")],
            asset="reform_groups",
        ),
    )
    yield dg.MaterializeResult(
        asset_key="reform_cost",
        value=cost,
        metadata={"cost": evidence.table(cost)},
        check_results=checks.told(
            [checks.judge_table(cost, REFORM_COST_COLUMNS, "file")], asset="reform_cost"
        ),
    )


def _described(reforms: dict[str, Reform], table: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "reform": list(reforms),
            "description": [reform.description for reform in reforms.values()],
            "units_with_change": [int((table[name].abs() > NOTICED).sum()) for name in reforms],
        }
    )


def _least_alike(table: pl.DataFrame) -> str:
    """The reform whose tenths differ most between the files."""
    return str(table.sort("largest_decile_error", descending=True, nulls_last=True)["reform"][0])


def _largest(table: pl.DataFrame, column: str) -> float | None:
    """The largest absolute number; None where there is none."""
    found = table[column].abs().max()
    return float(found) if isinstance(found, (int, float)) and np.isfinite(found) else None


def _told_number(number: float | None) -> float:
    """A number as metadata: nan, not zero, where there is none."""
    return float("nan") if number is None else number
