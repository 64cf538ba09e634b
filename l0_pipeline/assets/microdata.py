"""From raw records to households, tax units and their taxes at the target year."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from l0_pipeline import checks
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.measures import AGE_BANDS
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.tables import (
    RESPONSE_COLUMNS,
    TAX_OUTPUT_COLUMNS,
    descriptions,
    names,
)
from l0_pipeline.partitions import years
from l0_pipeline.settings import OWNERS

# what every source has; benefits and incomes differ between them
REQUIRED_OF_HOUSEHOLDS = (
    "household_id", "state_fips", "income_year", "persons", "tax_units", "design_weight",
)  # fmt: skip
REQUIRED_OF_TAX_UNITS = (
    "household_id", "unit_id", "state_fips", "persons", *AGE_BANDS.values(), "MARS", "XTOT",
    "age_head",
)  # fmt: skip


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="microdata",
    kinds={"polars", "parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(schema.HOUSEHOLD_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("households", "household_id"),
        checks.blocking(
            "households", "weights_are_sound", "Every design weight is finite and not negative."
        ),
    ],
)
def households(raw_cps_extract: pl.DataFrame) -> dg.MaterializeResult:
    """One row a household, with its state, size and design weight.

    Households of the CPS file are rebuilt by income year and household number; the number alone
    is no key. Where tax units of one household carry different weights, the household's is their
    mean weighted by persons, so that the weighted number of persons is kept. Benefits that the
    file repeats on every tax unit of a household are counted once.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots

    table = schema.households(raw_cps_extract)
    weighted = (table["design_weight"] * table["persons"]).sum()
    return dg.MaterializeResult(
        value=table,
        metadata={
            "households": len(table),
            "weighted_households": float(table["design_weight"].sum()),
            "weighted_persons": float(weighted),
            "states": table["state_fips"].n_unique(),
            "design_weights": evidence.plot(
                plots.histogram(
                    table["design_weight"],
                    title="Design weights",
                    xlabel="households that one household stands for",
                )
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(
                    table, schema.HOUSEHOLD_COLUMNS, "household_id", required=REQUIRED_OF_HOUSEHOLDS
                ),
                checks.judge_weights(table["design_weight"].to_numpy()),
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="microdata",
    kinds={"polars", "parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(schema.TAX_UNIT_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("tax_units", "unit_id"),
        checks.blocking(
            "tax_units", "every_unit_has_its_household", "No tax unit is without a household."
        ),
    ],
)
def tax_units(raw_cps_extract: pl.DataFrame, households: pl.DataFrame) -> dg.MaterializeResult:
    """One row a tax unit: who would file one return together, with incomes by their IRS names.

    Columns carry Tax-Calculator's input names (`e00200` wages, `MARS` filing status, ...), in
    dollars of the survey's income year, beside counts of persons by age band.
    """
    table = schema.tax_units(raw_cps_extract)
    orphans = table.join(households, on="household_id", how="anti")
    return dg.MaterializeResult(
        value=table,
        metadata={
            "tax_units": len(table),
            "units_per_household": len(table) / max(len(households), 1),
        },
        check_results=checks.told(
            [
                checks.judge_table(
                    table, schema.TAX_UNIT_COLUMNS, "unit_id", required=REQUIRED_OF_TAX_UNITS
                ),
                checks.judge_equal("every_unit_has_its_household", value=len(orphans), wanted=0),
            ]
        ),
    )


@dg.multi_asset(
    partitions_def=years,
    group_name="microdata",
    outs={
        "tax_outputs": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(TAX_OUTPUT_COLUMNS)},
            description=(
                "Taxes, credits and aged incomes of every tax unit under the law of the target "
                "year.\n\n"
                "Tax-Calculator ages the records by its growth factors from the survey's income "
                "year and applies current law. Weights play no part. Takes about half a minute, "
                "most of it compilation."
            ),
        ),
        "tax_responses": dg.AssetOut(
            dagster_type=TABLE,
            kinds={"python", "parquet"},
            owners=OWNERS,
            metadata={"descriptions": descriptions(RESPONSE_COLUMNS)},
            description=(
                "The main taxes and credits had all amounts of money been a tenth lower or "
                "higher.\n\n"
                "Who stands close to a threshold of the law shows on its other side. Totals of "
                "these are held beside those of `tax_outputs` (`model_totals`)."
            ),
        ),
    },
    check_specs=[
        checks.schema_and_keys("tax_outputs", "unit_id"),
        checks.blocking("tax_outputs", "no_missing_results", "The tax model answered for all."),
        checks.schema_and_keys("tax_responses", "unit_id"),
        checks.blocking("tax_responses", "no_missing_results", "The tax model answered for all."),
    ],
)
def compute_taxes(
    context: dg.AssetExecutionContext, raw_cps_extract: pl.DataFrame, tax_units: pl.DataFrame
) -> Iterator[dg.MaterializeResult]:
    """The tax model on every unit, at its incomes and at others."""
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.tax_model import run_tax_model
    from l0_pipeline.logic.tax_model import tax_responses as responses_of

    income_year, year = schema.income_year(raw_cps_extract), int(context.partition_key)
    table = run_tax_model(tax_units, income_year=income_year, target_year=year)
    yield dg.MaterializeResult(
        asset_key="tax_outputs",
        value=table,
        metadata={
            "tax_units": len(table),
            "income_year": income_year,
            "units_with_income_tax": int((table["iitax"] > 0).sum()),
            "adjusted_gross_income": evidence.plot(
                plots.histogram(
                    table["c00100"], title="Adjusted gross income above zero", xlabel="dollars"
                )
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, TAX_OUTPUT_COLUMNS, "unit_id"),
                checks.judge_complete("no_missing_results", table, "unit_id"),
            ],
            asset="tax_outputs",
        ),
    )
    responses = responses_of(tax_units, income_year=income_year, target_year=year)
    yield dg.MaterializeResult(
        asset_key="tax_responses",
        value=responses,
        metadata={
            name: float((responses[name] - table[name.rsplit("_", 1)[0]]).to_numpy().mean())
            for name in names(RESPONSE_COLUMNS)[1:]
        },
        check_results=checks.told(
            [
                checks.judge_table(responses, RESPONSE_COLUMNS, "unit_id"),
                checks.judge_complete("no_missing_results", responses, "unit_id"),
            ],
            asset="tax_responses",
        ),
    )
