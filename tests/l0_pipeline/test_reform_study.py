"""Laws of the comparison of reforms between the whole file and the kept households."""

import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.reform_study import File, compare_reforms
from l0_pipeline.logic.reforms import Reform
from l0_pipeline.logic.tables import REFORM_COLUMNS, REFORM_GROUP_COLUMNS

REFORMS = {
    "flat": Reform("everybody pays ten dollars more", "X", "plus", 10),
    "rich": Reform("the richest gain", "X", "plus", 1),
    "nothing": Reform("no change", "X", "plus", 0),
}
INCOME = np.arange(20.0) * 1_000
CHANGES = pl.DataFrame(
    {
        "unit_id": range(20),
        "c00100": INCOME,
        "flat": [10.0] * 20,
        "rich": [0.0] * 18 + [-100.0, -300.0],
        "nothing": [0.0] * 20,
    }
)
WHOLE = File(CHANGES, np.repeat([1, 2], 10), np.ones(20))
HALF = np.arange(1, 20, 2)
SPARSE = File(CHANGES[HALF], np.repeat([1, 2], 5), np.full(10, 2.0))


def studied(sparse=SPARSE, replicates=None):
    weights = sparse.weights[:, None] if replicates is None else replicates
    return compare_reforms(WHOLE, sparse, REFORMS, replicates=weights, scale=0.5)


def row(table, name):
    (found,) = table.filter(reform=name).to_dicts()
    return found


def test_effects_are_weighted_sums_and_the_error_is_relative_to_the_whole_file():
    table, _ = studied()
    assert row(table, "flat")["effect_whole"] == 200
    assert row(table, "flat")["error"] == 0
    rich = row(table, "rich")
    assert (rich["effect_whole"], rich["effect_sparse"]) == (-400, -600)
    assert rich["error"] == pytest.approx(0.5)


def test_winners_pay_less_and_losers_more_by_over_a_dollar():
    table, _ = studied()
    assert row(table, "rich")["winners_whole"] == pytest.approx(2 / 20)
    assert row(table, "rich")["winners_sparse"] == pytest.approx(2 / 20)
    assert row(table, "flat")["losers_sparse"] == 1
    assert row(table, "flat")["units_affected_share"] == 1


def test_groups_add_up_to_the_effect_and_their_errors_are_shares_of_it():
    table, groups = studied()
    for name in REFORMS:
        for grouping in ("decile", "state"):
            chosen = groups.filter(reform=name, grouping=grouping)
            assert chosen["effect_whole"].sum() == row(table, name)["effect_whole"]
            assert chosen["effect_sparse"].sum() == row(table, name)["effect_sparse"]
    rich = groups.filter(reform="rich", grouping="decile")
    assert rich["group"].to_list() == list(range(1, 11))
    assert rich["error"].to_list()[-1] == pytest.approx(-200 / 400)
    assert row(table, "rich")["largest_decile_error"] == pytest.approx(0.5)


def test_each_file_forms_tenths_of_its_own_with_equal_incomes_together():
    same = File(
        CHANGES.with_columns(c00100=pl.Series([0.0] * 15 + [1.0, 2.0, 3.0, 4.0, 5.0])),
        WHOLE.states,
        WHOLE.weights,
    )
    assert same.classes().tolist() == [1] * 15 + [8, 9, 9, 10, 10]
    assert SPARSE.classes().tolist() == list(range(1, 11))


def test_a_reform_without_effect_has_no_relative_error():
    table, groups = studied()
    nothing = row(table, "nothing")
    assert nothing["error"] is None
    assert nothing["standard_error"] is None
    assert groups.filter(reform="nothing")["error"].null_count() == 12


def test_the_standard_error_is_that_of_the_replicates():
    moved = np.column_stack([SPARSE.weights * 1.1, SPARSE.weights * 0.9])
    table, _ = studied(replicates=moved)
    assert row(table, "flat")["standard_error"] == pytest.approx(np.sqrt(0.5 * 2 * 20**2) / 200)


def test_tables_have_the_described_columns():
    for table, columns in zip(studied(), (REFORM_COLUMNS, REFORM_GROUP_COLUMNS), strict=True):
        assert dict(table.schema) == {column.name: column.dtype for column in columns}
