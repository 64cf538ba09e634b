"""Laws of the totals that a tax model says of the whole file, and of rows that hold them."""

import numpy as np
import polars as pl
import pytest

from l0.survey import CalibrationProblem, refit
from l0.survey.refit import RefitSettings
from l0_pipeline.logic.anchors import anchored
from l0_pipeline.logic.model_totals import (
    MAIN,
    RESPONSES,
    UNITS,
    model_anchors,
    model_totals,
    with_responses,
)
from l0_pipeline.logic.tables import MODEL_TOTAL_COLUMNS, TAX_OUTPUT_COLUMNS, names

UNITS_OF_SURVEY = 400
IDS = pl.Series("household_id", range(200))
RNG = np.random.default_rng(5)
INCOME = np.round(RNG.lognormal(10, 1, UNITS_OF_SURVEY), 2)
TAX_UNITS = pl.DataFrame(
    {
        "household_id": np.repeat(IDS.to_numpy(), 2),
        "unit_id": range(UNITS_OF_SURVEY),
        "MARS": RNG.integers(1, 5, UNITS_OF_SURVEY),
        "EIC": RNG.integers(0, 4, UNITS_OF_SURVEY),
        "persons": np.random.default_rng(3).integers(1, 6, UNITS_OF_SURVEY),
    }
)
TAX_OUTPUTS = pl.DataFrame(
    {
        name: TAX_UNITS["unit_id"] if name == "unit_id" else RNG.random(UNITS_OF_SURVEY) * INCOME
        for name in names(TAX_OUTPUT_COLUMNS)
    }
).with_columns(
    pl.Series(name, np.random.default_rng(7).random(UNITS_OF_SURVEY) * INCOME) for name in RESPONSES
)
TAX_OUTPUTS = TAX_OUTPUTS.with_columns(c00100=pl.Series(INCOME))
WEIGHTS = RNG.uniform(1, 3, len(IDS))
OF_UNITS = TAX_OUTPUTS.with_columns(TAX_UNITS["persons"], tax_units=1.0)
UNIT_WEIGHTS = np.repeat(WEIGHTS, 2)


def totals(**changed):
    settings = {"unit_weights": UNIT_WEIGHTS, "minimum_support": 1} | changed
    return model_totals(TAX_UNITS, TAX_OUTPUTS, **settings)


def test_each_grouping_adds_up_to_the_whole_file():
    found = totals().group_by("grouping", "variable").agg(pl.col("whole_estimate").sum())
    for grouping, variable, total in found.rows():
        values = OF_UNITS[variable].to_numpy()
        assert total == pytest.approx(values @ UNIT_WEIGHTS), (grouping, variable)
    assert set(found.filter(grouping="income and children")["variable"]) == {*MAIN, *RESPONSES}


def test_answers_at_other_incomes_stand_beside_each_units_own():
    others = TAX_OUTPUTS.select("unit_id", *RESPONSES).sample(fraction=1, shuffle=True, seed=1)
    assert with_responses(TAX_OUTPUTS.drop(RESPONSES), others).equals(TAX_OUTPUTS)


def test_tenths_of_units_by_income_hold_a_tenth_of_the_weight_each():
    shares = totals().filter(grouping="income", variable=UNITS).sort("agi_above", nulls_last=False)
    below = shares["whole_estimate"][:8] / UNIT_WEIGHTS.sum()
    assert below.to_list() == pytest.approx([0.1] * 8, abs=0.015)


def test_every_described_column_is_there_and_every_total_has_one_name():
    found = totals()
    assert dict(found.schema) == {column.name: column.dtype for column in MODEL_TOTAL_COLUMNS}
    assert found["total_id"].n_unique() == len(found)


def test_rows_give_the_whole_files_totals_back_under_its_weights():
    table = totals(minimum_support=12)
    rows = model_anchors(table, TAX_UNITS, TAX_OUTPUTS, household_ids=IDS)
    assert len(table) < len(totals())
    assert rows.constraints @ WEIGHTS == pytest.approx(rows.values, rel=1e-12)


def test_a_total_of_all_incomes_counts_as_ten_of_a_class_and_one_person_as_many_dollars():
    table = totals()
    rows = model_anchors(table, TAX_UNITS, TAX_OUTPUTS, household_ids=IDS)
    a_count = pl.when(pl.col("variable").is_in(["tax_units", "persons"])).then(10_000).otherwise(1)
    size = (a_count * pl.col("whole_estimate").abs()).sqrt()
    each = table.with_columns(share=pl.Series(rows.importance) / size)
    of_all = each.filter(grouping="all")
    assert of_all["variable"].is_unique().all()
    assert of_all.select(pl.col("agi_above", "agi_upto").is_null().all()).row(0) == (True, True)
    assert of_all["share"].to_list() == pytest.approx([10] * len(of_all))
    of_classes = each.filter(pl.col("grouping") != "all")
    assert of_classes["share"].to_list() == pytest.approx([1] * len(of_classes))


def test_rows_of_some_households_are_those_of_all_without_the_others():
    table = totals()
    some = TAX_UNITS["household_id"].is_in([3, 7, 150])
    of_all = model_anchors(table, TAX_UNITS, TAX_OUTPUTS, household_ids=IDS)
    of_some = model_anchors(
        table, TAX_UNITS.filter(some), TAX_OUTPUTS.filter(some), household_ids=IDS
    )
    expected = of_all.constraints.toarray()
    expected[:, [n for n in range(len(IDS)) if n not in (3, 7, 150)]] = 0
    assert np.array_equal(of_some.constraints.toarray(), expected)


def test_a_survey_without_filing_status_or_children_is_grouped_by_income_alone():
    bare = TAX_UNITS.drop("MARS", "EIC")
    found = model_totals(bare, TAX_OUTPUTS, unit_weights=UNIT_WEIGHTS, minimum_support=1)
    assert found["grouping"].unique(maintain_order=True).to_list() == ["all", "income"]
    assert found.equals(totals().filter(pl.col("grouping").is_in(["all", "income"])))


def test_no_total_with_enough_units_holds_nothing():
    table = totals(minimum_support=UNITS_OF_SURVEY + 1)
    problem = CalibrationProblem(np.ones((1, len(IDS))), np.array([len(IDS)]), np.ones(len(IDS)))
    rows = model_anchors(table, TAX_UNITS, TAX_OUTPUTS, household_ids=IDS)
    assert anchored(problem, (rows, 1.0)) is problem


def test_kept_households_answer_changes_of_the_law_more_as_the_whole_file_does():
    """Changes that are not among the totals: taxes on income above some amounts."""
    kept = np.arange(0, len(IDS), 2)
    household_income = np.add.reduceat(INCOME, np.arange(0, UNITS_OF_SURVEY, 2))
    problem = CalibrationProblem(
        np.vstack([np.ones(len(IDS)), household_income]),
        np.array([WEIGHTS.sum(), household_income @ WEIGHTS]),
        np.ones(len(IDS)),
    )
    incomes = TAX_OUTPUTS.with_columns(pl.exclude("unit_id", "c00100") * 0)
    table = model_totals(TAX_UNITS, incomes, unit_weights=UNIT_WEIGHTS, minimum_support=1)
    rows = model_anchors(table.filter(grouping="income"), TAX_UNITS, incomes, household_ids=IDS)
    above = np.maximum(INCOME[:, None] - np.arange(10_000, 60_000, 10_000), 0)
    changes = above.reshape(len(IDS), 2, -1).sum(axis=1).T
    settings = RefitSettings(epochs=400, rate=0.1, penalty=0.01)

    def error(weight: float) -> float:
        weights = refit(anchored(problem, (rows, weight)), kept, settings=settings).weights
        return float(np.abs(changes @ weights / (changes @ WEIGHTS) - 1).mean())

    assert error(1.0) < error(0.0) / 2
