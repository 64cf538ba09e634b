"""The tables of a release: what is kept of the households, with their weights.

Only the rows of kept households are published. Every table of units or persons carries its
household's weight, so that it can be used alone.
"""

import polars as pl

from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.microdata.columns import Column
from l0_pipeline.logic.release.dictionary import TableDescription
from l0_pipeline.logic.tables import (
    REPLICATE_DESIGN_COLUMNS,
    SELECTED_COLUMNS,
    SELECTION_DESIGN_COLUMNS,
    STANDARD_ERROR_COLUMNS,
    TARGET_COLUMNS,
    TARGET_FIT_COLUMNS,
    TAX_OUTPUT_COLUMNS,
    replicate_weight_columns,
)

SURVEY_WEIGHTS = ("s006",)  # the weight before calibration; `weight` takes its place
WEIGHT = next(column for column in SELECTED_COLUMNS if column.name == "weight")


def release_tables(
    *,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    persons: pl.DataFrame | None,
    selected_households: pl.DataFrame,
    selection_design: pl.DataFrame,
    replicate_weights: pl.DataFrame,
    replicate_design: pl.DataFrame,
    target_standard_errors: pl.DataFrame,
    target_fit: pl.DataFrame,
    target_accounting: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    """Every published table by its name; ``persons`` only where the source has them."""
    weights = selected_households.select("household_id", "weight")
    units = tax_units.drop(SURVEY_WEIGHTS, strict=False).join(
        weights, on="household_id", how="inner", maintain_order="left"
    )
    tables = {
        "households": selected_households.join(
            households, on="household_id", how="inner", maintain_order="left"
        ),
        "tax_units": units,
        "tax_outputs": units.select("unit_id", "household_id", "weight").join(
            tax_outputs, on="unit_id", how="inner", maintain_order="left"
        ),
        "selection_design": selection_design,
        "replicate_weights": replicate_weights,
        "replicate_design": replicate_design,
        "target_fit": target_fit,
        "target_standard_errors": target_standard_errors,
        "target_accounting": target_accounting,
    }
    if persons is not None:
        tables["persons"] = persons.join(
            weights, on="household_id", how="inner", maintain_order="left"
        )
    return tables


def release_descriptions(source: str, *, replicates: int) -> dict[str, TableDescription]:
    """What every published column means, and where it comes from."""
    household_id = next(c for c in SELECTED_COLUMNS if c.name == "household_id")
    survey = f"survey ({source})"
    return {
        "households": TableDescription(
            columns=_distinct((*SELECTED_COLUMNS, *schema.HOUSEHOLD_COLUMNS)),
            source=survey,
            column_sources={
                column.name: "calibration"
                for column in SELECTED_COLUMNS
                if column.name != "household_id"
            },
        ),
        "tax_units": TableDescription(
            columns=(*schema.TAX_UNIT_COLUMNS, WEIGHT),
            source=survey,
            column_sources={"weight": "calibration"},
        ),
        "tax_outputs": TableDescription(
            columns=(*TAX_OUTPUT_COLUMNS, household_id, WEIGHT),
            source="Tax-Calculator",
            column_sources={"weight": "calibration", "unit_id": survey, "household_id": survey},
        ),
        "persons": TableDescription(
            columns=(*schema.PERSON_COLUMNS, WEIGHT),
            source=survey,
            column_sources={"weight": "calibration"},
        ),
        "selection_design": TableDescription(columns=SELECTION_DESIGN_COLUMNS, source="selection"),
        "replicate_weights": TableDescription(
            columns=replicate_weight_columns(replicates),
            source="calibration",
            column_sources={"household_id": survey},
        ),
        "replicate_design": TableDescription(
            columns=REPLICATE_DESIGN_COLUMNS, source="calibration"
        ),
        "target_standard_errors": TableDescription(
            columns=STANDARD_ERROR_COLUMNS, source="published figures and calibration"
        ),
        "target_fit": TableDescription(
            columns=TARGET_FIT_COLUMNS,
            source="published figures and calibration",
        ),
        "target_accounting": TableDescription(columns=TARGET_COLUMNS, source="published figures"),
    }


def _distinct(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple({column.name: column for column in reversed(columns)}.values())[::-1]
