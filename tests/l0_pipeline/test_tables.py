"""Laws of the column descriptions: each table has one, and a release's dictionary is complete."""

from collections.abc import Iterable
from dataclasses import fields

import polars as pl
import pytest

from l0_pipeline.logic import fit, tables, tax_model
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.microdata.columns import Column
from l0_pipeline.logic.release.columns_evidence import CONTRIBUTION_COLUMNS, REASON_COLUMNS
from l0_pipeline.logic.release.dictionary import data_dictionary, refuse_incomplete_dictionary
from l0_pipeline.logic.release.tables import AS_THEY_ARE, release_descriptions, release_tables
from l0_pipeline.logic.targets import FILTERS, settle_roles
from l0_pipeline.resources.cps_source import CpsSource

DESCRIBED = {
    "tax_outputs": tables.TAX_OUTPUT_COLUMNS,
    "target_accounting": tables.TARGET_COLUMNS,
    "target_fit": tables.TARGET_FIT_COLUMNS,
    "published_figures": tables.FIGURE_COLUMNS,
    "targets": tables.DECLARED_TARGET_COLUMNS,
    "target_findings": tables.FINDING_COLUMNS,
    "target_conflicts": tables.CONFLICT_COLUMNS,
    "unseen_errors": tables.UNSEEN_COLUMNS,
    "calibrated_weights": tables.CALIBRATED_WEIGHT_COLUMNS,
    "training_history": tables.HISTORY_COLUMNS,
    "refit_validation": tables.VALIDATION_COLUMNS,
    "size_frontier": tables.FRONTIER_COLUMNS,
    "selected_households": tables.SELECTED_COLUMNS,
    "selection_design": tables.SELECTION_DESIGN_COLUMNS,
    "selection_study": tables.STUDY_COLUMNS,
    "replicate_weights": tables.replicate_weight_columns(2),
    "replicate_design": tables.REPLICATE_DESIGN_COLUMNS,
    "target_standard_errors": tables.STANDARD_ERROR_COLUMNS,
    "random_households": tables.RANDOM_COLUMNS,
    "whole_file_weights": tables.WHOLE_FILE_COLUMNS,
    "model_totals": tables.MODEL_TOTAL_COLUMNS,
    "untargeted": tables.UNTARGETED_COLUMNS,
    "reform_outcomes": tables.reform_outcome_columns(["a_reform"]),
    "credit_draws": tables.CREDIT_DRAW_COLUMNS,
    "reform_study": tables.REFORM_COLUMNS,
    "reform_groups": tables.REFORM_GROUP_COLUMNS,
    "reform_cost": tables.REFORM_COST_COLUMNS,
    "household_reasons": REASON_COLUMNS,
    "household_contributions": CONTRIBUTION_COLUMNS,
    "households": schema.HOUSEHOLD_COLUMNS,
    "tax_units": schema.TAX_UNIT_COLUMNS,
    "persons": schema.PERSON_COLUMNS,
}
KEPT = (12, 15)


def _tiny(columns: Iterable[Column], **given: list[object]) -> pl.DataFrame:
    """A frame with all of ``columns``: what is given, and ones or texts in the others."""
    rows = len(next(iter(given.values())))
    return pl.DataFrame(
        {
            column.name: given.get(
                column.name,
                ["x" if column.dtype == pl.String else True if column.dtype == pl.Boolean else 1]
                * rows,
            )
            for column in columns
        },
        schema={column.name: column.dtype for column in columns},
    )


def _two(column: Column) -> list[object]:
    """Two values of the column's type."""
    return ["a", "b"] if column.dtype == pl.String else [1, 2]


HOUSEHOLDS = _tiny(schema.HOUSEHOLD_COLUMNS, household_id=[11, 12, 15])
TAX_UNITS = _tiny(schema.TAX_UNIT_COLUMNS, household_id=[11, 12, 12, 15], unit_id=[1, 2, 3, 4])
TAX_OUTPUTS = _tiny(tables.TAX_OUTPUT_COLUMNS, unit_id=[1, 2, 3, 4])
PERSONS = _tiny(schema.PERSON_COLUMNS, household_id=[11, 12, 15], unit_id=[1, 2, 4])
SELECTED = _tiny(tables.SELECTED_COLUMNS, household_id=list(KEPT), weight=[250.0, 4.5])
TARGET_FIT = _tiny(tables.TARGET_FIT_COLUMNS, target_id=["a", "b"])


def _release(*, persons: pl.DataFrame | None = PERSONS) -> dict[str, pl.DataFrame]:
    declared = _tiny(
        [column for column in tables.DECLARED_TARGET_COLUMNS if column.name != "filters"],
        target_id=["a", "b", "c"],
    )
    made = {
        "households": HOUSEHOLDS,
        "tax_units": TAX_UNITS,
        "tax_outputs": TAX_OUTPUTS,
        "selected_households": SELECTED,
        "targets": declared.with_columns(filters=pl.Series([[], [], []], dtype=FILTERS)),
        "target_fit": TARGET_FIT,
    }
    others = {
        name: _tiny(DESCRIBED[name], **{DESCRIBED[name][0].name: _two(DESCRIBED[name][0])})
        for name in AS_THEY_ARE
        if name != "target_fit"
    }
    return release_tables(made | others, persons=persons)


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_column_has_a_name_of_its_own_a_unit_and_a_meaning(name: str):
    columns = DESCRIBED[name]
    names = [column.name for column in columns]
    assert len(names) == len(set(names))
    assert all(column.unit.strip() and len(column.description) > 3 for column in columns)
    shown = tables.descriptions(columns)
    assert list(shown) == names
    assert all(column.unit in shown[column.name] for column in columns)


def test_the_tax_models_columns_are_described_in_its_order():
    names = [column.name for column in tables.TAX_OUTPUT_COLUMNS]
    assert names == ["unit_id", *tax_model.TAX_OUTPUT_COLUMNS]


def test_history_is_described_as_the_library_records_it():
    from l0.survey.history import EpochRecord

    names = [column.name for column in tables.HISTORY_COLUMNS]
    assert names == [field.name for field in fields(EpochRecord)]


def test_recorded_epochs_become_the_described_table_also_where_the_refit_leaves_blanks():
    from l0.survey.history import EpochRecord
    from l0_pipeline.logic.calibration import history_table

    gates = EpochRecord(
        stage="gates", epoch=0, epochs=9, loss=0.5, penalty=0.1, records=7, budget=3.0,
        expected_count=3.5, temperature=0.5,
    )  # fmt: skip
    refit = EpochRecord(
        stage="refit", epoch=0, epochs=9, loss=0.5, penalty=0.1, records=3, budget=None,
        expected_count=None, temperature=None,
    )  # fmt: skip
    described = {column.name: column.dtype for column in tables.HISTORY_COLUMNS}
    assert dict(history_table([gates, refit]).schema) == described
    assert dict(history_table([refit] * 200 + [gates]).schema) == described


def test_settled_targets_with_their_scale_are_the_described_table():
    steps = ("one_household_least", "one_household_most")
    added = {"support", "scale", "condition", *steps}
    declared = {column.name: column for column in tables.TARGET_COLUMNS}
    frame = _tiny(
        [c for c in declared.values() if c.name not in added],
        target_id=["a", "b"],
        role=["fitted", "rejected"],
        unit=["dollars", "persons"],
    ).with_columns(
        closeness=pl.lit("same"),
        filters=pl.Series([[], []], dtype=FILTERS),
        aged_from=pl.lit(None, pl.Int64),
    )
    support = pl.DataFrame({"target_id": ["a"], "support": [40], "row_digest": ["d"]})
    settled = settle_roles(frame, support, minimum_support=30)
    scaled = settled.with_columns(fit.scales(settled, floors={"dollars": 1e6, "persons": 1e3}))
    table = scaled.with_columns(pl.lit(0.1).alias(step) for step in steps).select(*declared)
    assert dict(table.schema) == {name: column.dtype for name, column in declared.items()}


def test_errors_of_the_published_weights_have_described_names():
    columns = {column.name for column in tables.TARGET_FIT_COLUMNS}
    names = [name.removesuffix("_error") for name in columns if name.endswith("_error")]
    assert sorted(names) == ["design", "gates", "random", "released"]
    assert {f"{name}_estimate" for name in names} <= columns


@pytest.mark.parametrize("source", CpsSource.model_fields["source"].annotation.__args__)
def test_the_dictionary_of_a_release_describes_every_published_column(source: str):
    published = _release()
    dictionary = data_dictionary(published, descriptions=release_descriptions(source, replicates=2))
    refuse_incomplete_dictionary(dictionary, tables=published)
    assert len(dictionary) == sum(table.width for table in published.values())
    assert (dictionary["description"].str.len_chars() > 3).all()
    survey = dictionary.filter(table="tax_units", column="e00200")
    assert source in survey["source"].item()
    weights = dictionary.filter(pl.col("column") == "weight")
    assert set(weights["table"]) == {"households", "tax_units", "tax_outputs", "persons"}
    assert set(weights["source"]) == {"calibration"}


def test_a_column_that_nobody_described_is_not_published():
    published = _release() | {"target_fit": TARGET_FIT.with_columns(secret=pl.lit(1))}
    with pytest.raises(InputError, match="secret"):
        data_dictionary(published, descriptions=release_descriptions("taxcalc", replicates=2))


def test_only_kept_households_are_published_in_every_table():
    published = _release()
    for name in ("households", "tax_units", "tax_outputs", "persons"):
        assert set(published[name]["household_id"]) == set(KEPT), name
    assert published["tax_outputs"]["unit_id"].to_list() == [2, 3, 4]


def test_every_unit_and_person_carries_the_weight_of_its_household():
    published = _release()
    weight = dict(SELECTED.select("household_id", "weight").rows())
    for name in ("households", "tax_units", "tax_outputs", "persons"):
        rows = published[name].select("household_id", "weight").rows()
        assert all(carried == weight[household] for household, carried in rows), name
        assert published[name].select("weight").null_count().item() == 0


def test_the_surveys_own_unit_weight_is_not_published_beside_the_calibrated_one():
    assert "s006" in TAX_UNITS.columns
    assert "s006" not in _release()["tax_units"].columns


def test_sources_without_persons_publish_none():
    assert "persons" not in _release(persons=None)
