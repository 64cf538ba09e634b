"""The tables of a release: what is kept of the households, with their weights.

Only the rows of kept households are published. Every table of units or persons carries its
household's weight, so that it can be used alone.
"""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic.measures import amounts_a_person
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.microdata.columns import Column
from l0_pipeline.logic.release.columns_evidence import (
    CONTRIBUTION_COLUMNS,
    PUBLISHED_TARGET_COLUMNS,
    REASON_COLUMNS,
)
from l0_pipeline.logic.release.dictionary import TableDescription
from l0_pipeline.logic.release.recomputation import published_targets
from l0_pipeline.logic.tables import (
    FRONTIER_COLUMNS,
    HISTORY_COLUMNS,
    MODEL_TOTAL_COLUMNS,
    REFORM_COLUMNS,
    REFORM_GROUP_COLUMNS,
    REPLICATE_DESIGN_COLUMNS,
    SELECTED_COLUMNS,
    SELECTION_DESIGN_COLUMNS,
    STANDARD_ERROR_COLUMNS,
    TARGET_COLUMNS,
    TARGET_FIT_COLUMNS,
    TAX_OUTPUT_COLUMNS,
    UNTARGETED_COLUMNS,
    VALIDATION_COLUMNS,
    replicate_weight_columns,
)

SURVEY_WEIGHTS = ("s006",)  # the weight before calibration; `weight` takes its place
WEIGHT = next(column for column in SELECTED_COLUMNS if column.name == "weight")


# what a release takes over without a change
AS_THEY_ARE = (
    "selection_design", "replicate_weights", "replicate_design", "target_fit",
    "target_standard_errors", "target_accounting", "untargeted", "household_reasons",
    "household_contributions", "reform_study", "reform_groups", "model_totals",
    "training_history", "refit_validation",
)  # fmt: skip


def release_tables(
    tables: Mapping[str, pl.DataFrame], *, persons: pl.DataFrame | None
) -> dict[str, pl.DataFrame]:
    """Every published table by its name.

    Args:
        tables: the pipeline's, by the names of their assets; ``size_frontier`` may be absent.
        persons: of the survey, where the source has them.
    """
    weights = tables["selected_households"].select("household_id", "weight")
    units = (
        tables["tax_units"]
        .drop(SURVEY_WEIGHTS, strict=False)
        .join(weights, on="household_id", how="inner", maintain_order="left")
    )
    return {
        "households": tables["selected_households"].join(
            tables["households"], on="household_id", how="inner", maintain_order="left"
        ),
        "tax_units": units,
        "tax_outputs": units.select("unit_id", "household_id", "weight").join(
            tables["tax_outputs"], on="unit_id", how="inner", maintain_order="left"
        ),
        # only where the source has them
        **(
            {}
            if persons is None
            else {
                "persons": persons.join(
                    weights, on="household_id", how="inner", maintain_order="left"
                )
            }
        ),
        "targets": published_targets(
            tables["targets"],
            tables["target_fit"],
            amounts=amounts_a_person(tables["tax_outputs"]),
        ),
        **{name: tables[name] for name in (*AS_THEY_ARE, "size_frontier") if name in tables},
    }


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
        "targets": TableDescription(
            columns=PUBLISHED_TARGET_COLUMNS,
            source="published figures",
            column_sources={"amount_a_person": "Tax-Calculator"},
        ),
        "untargeted": TableDescription(columns=UNTARGETED_COLUMNS, source="calibration"),
        "household_reasons": TableDescription(
            columns=REASON_COLUMNS, source="calibration", column_sources={"household_id": survey}
        ),
        "household_contributions": TableDescription(
            columns=CONTRIBUTION_COLUMNS,
            source="calibration",
            column_sources={"household_id": survey},
        ),
        "reform_study": TableDescription(
            columns=REFORM_COLUMNS, source="Tax-Calculator and calibration"
        ),
        "reform_groups": TableDescription(
            columns=REFORM_GROUP_COLUMNS, source="Tax-Calculator and calibration"
        ),
        "model_totals": TableDescription(
            columns=MODEL_TOTAL_COLUMNS, source="Tax-Calculator and calibration"
        ),
        "training_history": TableDescription(columns=HISTORY_COLUMNS, source="calibration"),
        "refit_validation": TableDescription(columns=VALIDATION_COLUMNS, source="calibration"),
        "size_frontier": TableDescription(columns=FRONTIER_COLUMNS, source="calibration"),
    }


def _distinct(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple({column.name: column for column in reversed(columns)}.values())[::-1]
