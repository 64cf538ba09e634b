"""Laws of recomputation: a release's rows and weights alone give all that it states."""

import re

import duckdb
import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import parse_filters
from l0_pipeline.logic.measures import amounts_a_person, unit_measures
from l0_pipeline.logic.release.columns_evidence import PUBLISHED_TARGET_COLUMNS
from l0_pipeline.logic.release.dictionary import TableDescription, data_dictionary
from l0_pipeline.logic.release.recomputation import (
    published_targets,
    released_matrix,
    released_quality,
)
from l0_pipeline.logic.release.recomputation_faults import estimate_faults, quality_faults
from tests.conftest import YEAR, Build
from tests.l0_pipeline.release_of_three import DECLARED, KEPT, MATRIX, release, target_fit
from tests.l0_pipeline.twelve_units import HOUSEHOLD_IDS, TAX_OUTPUTS, TAX_UNITS

Tables = dict[str, pl.DataFrame]


def _changed(table: str, column: str, value: object, *, row: int = 0) -> Tables:
    """The release with another value in one cell."""
    tables = release()
    changed = tables[table].with_columns(
        pl.when(pl.int_range(pl.len()) == row)
        .then(pl.lit(value, tables[table].schema[column]))
        .otherwise(column)
        .alias(column)
    )
    return tables | {table: changed}


def test_a_release_as_published_has_no_fault():
    assert estimate_faults(release()) == []


def test_the_kept_rows_give_the_columns_of_the_whole_matrix():
    kept = [HOUSEHOLD_IDS.index_of(number) for number in KEPT]
    expected = MATRIX.coefficients[:, kept].toarray()
    np.testing.assert_array_equal(released_matrix(release()).coefficients.toarray(), expected)


def test_persons_covered_do_not_depend_on_which_rows_are_there():
    whole = unit_measures(TAX_UNITS, TAX_OUTPUTS)
    amounts = amounts_a_person(TAX_OUTPUTS)
    for unit in TAX_UNITS["unit_id"]:
        alone = TAX_UNITS.filter(unit_id=unit), TAX_OUTPUTS.filter(unit_id=unit)
        assert unit_measures(*alone, amounts=amounts).equals(whole.filter(unit_id=unit))
    kept = release()
    assert unit_measures(kept["tax_units"], kept["tax_outputs"])["medicaid_persons"].max() == 1
    assert whole.filter(household_id=40)["medicaid_persons"].max() == 3


def test_a_file_in_which_nobody_is_covered_has_no_amount_a_person():
    assert amounts_a_person(TAX_OUTPUTS.with_columns(mcaid_ben=pl.lit(0.0))) == {}


def test_published_targets_are_in_the_order_of_the_fit_with_filters_as_text():
    fit = target_fit(KEPT).reverse().head(4)
    targets = published_targets(DECLARED, fit, amounts={})
    assert targets["target_id"].equals(fit["target_id"])
    declared = dict(DECLARED.select("target_id", "filters").rows())
    for name, text in targets.select("target_id", "filters").rows():
        assert [vars(clause) for clause in parse_filters(text, where=name)] == declared[name]


def test_published_targets_are_described():
    targets = release()["targets"]
    described = {"targets": TableDescription(PUBLISHED_TARGET_COLUMNS, "published figures")}
    dictionary = data_dictionary({"targets": targets}, descriptions=described)
    assert dictionary["column"].to_list() == [column.name for column in PUBLISHED_TARGET_COLUMNS]


def test_a_fitted_target_that_was_never_declared_is_refused():
    with pytest.raises(InputError, match=r"1 rows of target_fit are no declared target.*wages"):
        published_targets(DECLARED.tail(-1), target_fit(KEPT), amounts={})


def test_the_order_of_the_released_households_does_not_matter():
    tables = release()
    for name in ("households", "replicate_weights"):
        tables[name] = tables[name].reverse()
    assert estimate_faults(tables) == []


@pytest.mark.parametrize(
    ("table", "column", "value", "told"),
    [
        ("households", "weight", 3.5, "target_fit.released_estimate: 4 of 10 rows"),
        ("households", "weight", 3.5, "tax_units.weight: 2 of 7 rows"),
        ("households", "weight", -1.0, "households.weight: 1 weights are not positive"),
        ("households", "weight", None, "households.weight: 1 weights are not positive"),
        ("households", "persons", 9, "households.persons: 1 of 3 rows"),
        ("households", "tax_units", 9, "households.tax_units: 1 of 3 rows"),
        ("tax_units", "weight", 3.5, "tax_units.weight: 1 of 7 rows"),
        ("tax_outputs", "weight", 3.5, "tax_outputs.weight: 1 of 7 rows"),
        ("tax_outputs", "e00200", 1.0, "target_fit.released_estimate: 1 of 10 rows"),
        ("targets", "geography", "06", "the first of target wages"),
        ("targets", "filters", "agi < 1", "the first of target wages"),
        ("targets", "filters", "agi << 1", "targets.parquet, filters of wages"),
        ("targets", "target_id", "other", "do not have the target_id of the 10 rows of target_fit"),
        ("target_fit", "released_estimate", 1.0, "target_fit.released_estimate: 1 of 10 rows"),
        ("target_fit", "released_error", 0.0, "target_fit.released_error: 1 of 10 rows"),
        ("target_fit", "gates_error", 0.0, "target_fit.gates_error: 1 of 10 rows"),
        ("target_fit", "kept_support", 1, "target_fit.kept_support: 1 of 10 rows"),
        ("target_fit", "value", 2.0, "target_fit.value: 1 of 10 rows"),
        ("target_fit", "role", "benchmark", "target_fit.role: 1 of 10 rows"),
        ("target_standard_errors", "standard_error", 1.0, "standard_error: 1 of 10 rows"),
        ("target_standard_errors", "relative_standard_error", 1.0, "relative_standard_error: 1 of"),
        ("target_standard_errors", "released_estimate", 1.0, "released_estimate: 1 of 10 rows"),
        (
            "replicate_weights",
            "replicate_002",
            99.0,
            "target_standard_errors.standard_error: 4 of 10",
        ),
        ("replicate_weights", "household_id", 11, "do not have the household_id of the 3 rows"),
        ("replicate_design", "scale", 0.6, "target_standard_errors.standard_error: 9 of 10"),
        ("tax_units", "household_id", 11, "1 rows are of no household of the release.*11"),
        ("households", "household_id", 40, "households: 2 rows share their household_id"),
    ],
)
def test_what_does_not_follow_from_the_release_is_told(
    table: str, column: str, value: object, told: str
):
    faults = estimate_faults(_changed(table, column, value))
    assert any(re.search(told, fault) for fault in faults), faults
    assert len(faults) <= 12


def test_what_the_last_digits_of_a_sum_do_is_no_fault():
    fit = release()["target_fit"]
    nearly = fit.with_columns(pl.col("released_estimate") * (1 + 1e-12))
    assert estimate_faults(release() | {"target_fit": nearly}) == []


def test_persons_carry_the_weight_of_their_household():
    persons = release()["tax_units"].select("household_id", "weight")
    assert estimate_faults(release() | {"persons": persons}) == []
    faults = estimate_faults(release() | {"persons": persons.with_columns(weight=1.0)})
    assert [fault[:30] for fault in faults] == ["persons.weight: 7 of 7 rows do"]


def test_a_release_without_a_table_says_which_and_what_to_do():
    tables = {name: table for name, table in release().items() if name != "targets"}
    (fault,) = estimate_faults(tables)
    assert "has no table targets" in fault
    assert "publish the year again" in fault
    with pytest.raises(InputError, match="has no table targets"):
        released_matrix(tables)


def test_the_quality_of_a_release_follows_from_its_tables():
    quality = released_quality(release())
    fit = target_fit(KEPT).filter(role="fitted")
    weights = np.array(list(KEPT.values()))
    assert quality.households_pool == 5
    assert (quality.targets_fitted, quality.targets_held_out, quality.targets_benchmark) == (
        8,
        1,
        1,
    )
    assert quality.released.fitted_median_error == fit["released_error"].abs().median()
    assert quality.released.effective_sample_size == weights.sum() ** 2 / (weights @ weights)
    assert quality.released.largest_weight_ratio == 1.5


def test_a_stated_quality_that_the_tables_do_not_give_is_told():
    stated = released_quality(release()).numbers()
    assert quality_faults(release(), stated) == []
    (fault,) = quality_faults(release(), stated | {"largest_weight_ratio": 1.4})
    assert fault == (
        "manifest.json, quality.largest_weight_ratio: 1.4 is stated, but the tables give 1.5."
    )
    del stated["effective_sample_size"]
    assert "None is stated" in quality_faults(release(), stated)[0]
    assert "has no table households" in quality_faults({}, stated)[0]


@pytest.mark.xdist_group("build")
def test_every_estimate_of_a_built_release_follows_from_its_own_rows(built: Build):
    (folder,) = [path for path in built.releases.iterdir() if path.name == "latest"]
    tables = {path.stem: pl.read_parquet(path) for path in folder.glob("*.parquet")}
    with duckdb.connect(str(built.folder / "data" / "warehouse.duckdb"), read_only=True) as opened:
        declared = opened.sql("select * from targets").pl()
    outputs = pl.read_parquet(built.folder / "data" / "tables" / "tax_outputs" / f"{YEAR}.parquet")
    tables["targets"] = published_targets(
        declared, tables["target_fit"], amounts=amounts_a_person(outputs)
    )
    assert len(tables["targets"]) > 500
    assert estimate_faults(tables) == []
    faults = estimate_faults(
        tables | {"households": tables["households"].with_columns(pl.col("weight") * 1.001)}
    )
    assert any(fault.startswith("target_fit.released_estimate") for fault in faults)
