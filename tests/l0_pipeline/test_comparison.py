"""Laws of comparison: what changed between two releases of one year, counted once and signed."""

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.columns_evidence import (
    COMPARISON_COLUMNS,
    DRIFT_COLUMNS,
    SUMMARY_COLUMNS,
)
from l0_pipeline.logic.release.comparison import compare
from l0_pipeline.logic.release.dictionary import TableDescription, data_dictionary
from tests.l0_pipeline.release_of_three import KEPT, release

Tables = dict[str, pl.DataFrame]


def _fit(before: Tables, **columns: pl.Expr) -> Tables:
    return before | {"target_fit": before["target_fit"].with_columns(**columns)}


def _for(target: str, column: str, value: object) -> pl.Expr:
    return pl.when(pl.col("target_id") == target).then(pl.lit(value)).otherwise(column)


def _summary(before: Tables, now: Tables, *, points: float = 1.0) -> dict[str, object]:
    return compare(before, now, points=points).summary.row(0, named=True)


def test_two_equal_releases_differ_in_nothing():
    found = compare(release(), release(), points=0.0)
    summary = found.summary.row(0, named=True)
    counts = (
        "targets_better", "targets_worse", "held_out_worse", "targets_added", "targets_removed",
        "values_revised", "roles_changed",
    )  # fmt: skip
    assert [summary[name] for name in counts] == [0] * len(counts)
    assert summary["targets_alike"] == 9
    shares = ("support_overlap", "common_weight_before", "common_weight_now")
    assert [summary[name] for name in shares] == [1.0] * 3
    assert summary["fitted_median_before"] == summary["fitted_median_now"]
    assert found.targets["change"].to_list() == [0.0] * 10
    assert set(found.drift["relative_change"]) == {0.0}


def test_a_target_is_worse_or_better_beyond_the_points_and_alike_up_to_them():
    before = _fit(release(), released_error=pl.lit(0.05))
    now = _fit(
        release(),
        released_error=pl.col("target_id").replace_strict(
            {"wages": -0.0625, "people": 0.0375, "aged": -0.059, "agi": 0.041}, default=0.05
        ),
    )
    changes = compare(before, now, points=1.0).targets
    status = dict(changes.select("target_id", "status").rows())
    assert (status.pop("wages"), status.pop("people")) == ("worse", "better")
    assert set(status.values()) == {"alike"}
    change = dict(changes.select("target_id", "change").rows())
    assert change["wages"] == pytest.approx(1.25)
    assert change["people"] == pytest.approx(-1.25)
    counted = _summary(before, now)
    assert [counted[f"targets_{name}"] for name in ("worse", "better", "alike")] == [1, 1, 7]


def test_only_targets_that_both_fit_or_hold_out_are_counted_as_better_or_worse():
    now = _fit(release(), released_error=pl.lit(9.0))
    found = compare(release(), now, points=1.0)
    assert (found.targets["status"] == "worse").sum() == 10
    summary = found.summary.row(0, named=True)
    assert summary["targets_worse"] == 9
    assert summary["held_out_worse"] == 1


def test_a_target_held_out_in_one_release_only_does_not_count_as_held_out():
    before = _fit(release(), role=_for("charity", "role", "fitted"))
    now = _fit(release(), released_error=pl.lit(9.0), role=_for("joint", "role", "fitted"))
    summary = _summary(before, now)
    assert summary["targets_worse"] == 9
    assert summary["held_out_worse"] == 0
    assert summary["roles_changed"] == 2


def test_targets_of_one_release_alone_are_added_or_removed_and_have_no_change():
    before, now = release(), release()
    before["target_fit"] = before["target_fit"].filter(pl.col("target_id") != "wages")
    now["target_fit"] = now["target_fit"].filter(pl.col("target_id") != "snap")
    found = compare(before, now, points=1.0)
    rows = {row["target_id"]: row for row in found.targets.iter_rows(named=True)}
    assert (rows["wages"]["status"], rows["snap"]["status"]) == ("added", "removed")
    assert rows["wages"]["error_before"] is rows["wages"]["change"] is None
    assert rows["snap"]["variable"] == "snap_benefit"
    assert rows["snap"]["value_now"] is None
    assert not rows["wages"]["value_revised"]
    summary = found.summary.row(0, named=True)
    assert (summary["targets_added"], summary["targets_removed"]) == (1, 1)
    assert summary["roles_changed"] == summary["values_revised"] == 0
    assert len(rows) == 10


def test_revised_values_and_changed_roles_are_counted():
    now = _fit(
        release(), value=_for("joint", "value", 12.0), role=_for("charity", "role", "fitted")
    )
    found = compare(release(), now, points=1.0)
    assert found.targets.filter("value_revised")["target_id"].to_list() == ["joint"]
    summary = found.summary.row(0, named=True)
    assert (summary["values_revised"], summary["roles_changed"]) == (1, 1)
    assert summary["held_out_median_before"] is not None
    assert summary["held_out_median_now"] is None


def test_overlap_is_of_households_and_of_the_weight_they_carry():
    now = release()
    now["households"] = now["households"].with_columns(
        household_id=pl.Series([10, 41, 50]), weight=pl.Series([1.0, 7.0, 2.0])
    )
    summary = _summary(release(), now)
    counted = [summary[f"households_{name}"] for name in ("before", "now", "in_both")]
    assert counted == [3, 3, 2]
    assert summary["support_overlap"] == 2 / 4
    assert summary["common_weight_before"] == 8 / 10
    assert summary["common_weight_now"] == 3 / 10


def test_drift_is_of_totals_under_the_released_weights():
    now = release()
    for name in ("households", "tax_units", "tax_outputs"):
        now[name] = now[name].with_columns(pl.col("weight") * 1.5)
    drift = compare(release(), now, points=1.0).drift
    totals = {row["total"]: row for row in drift.iter_rows(named=True)}
    assert totals["households"]["before"] == sum(KEPT.values())
    assert totals["tax units"]["before"] == 2 * 3 + 2 * 2 + 3 * 5
    assert totals["adjusted gross income"]["now"] == 1.5 * _weighted_agi()
    changes = {row["relative_change"] for row in totals.values()}
    assert changes == {0.5}


def _weighted_agi() -> float:
    """Weighted AGI of the three households, added up by hand from the twelve units."""
    return 3 * 250_000 + 2 * (25_000 + 25_000) + 5 * (85_000 - 1_000 + 25_000)


def test_a_column_that_one_release_has_alone_is_shown_without_a_change():
    now = release()
    now["households"] = now["households"].with_columns(tanf_ben=pl.Series([0.0, 10.0, 1.0]))
    for before, later, values in ((release(), now, (None, 25.0)), (now, release(), (25.0, None))):
        drift = compare(before, later, points=1.0).drift.filter(total="tanf_ben")
        assert drift.select("before", "now", "relative_change").rows() == [(*values, None)]
    assert "snap_ben" not in compare(release(), now, points=1.0).drift["total"]


def test_a_negative_total_that_falls_has_a_negative_change():
    before, now = release(), release()
    for tables, amount in ((before, -10.0), (now, -15.0)):
        tables["tax_outputs"] = tables["tax_outputs"].with_columns(iitax=pl.lit(amount))
    drift = compare(before, now, points=1.0).drift.filter(total="individual income tax")
    assert drift["relative_change"].to_list() == [-0.5]


def test_a_total_that_rises_from_nothing_has_no_relative_change():
    before, now = release(), release()
    before["households"] = before["households"].with_columns(tanf_ben=pl.lit(0.0))
    now["households"] = now["households"].with_columns(tanf_ben=pl.lit(1.0))
    drift = compare(before, now, points=1.0).drift.filter(total="tanf_ben")
    assert drift["relative_change"].to_list() == [None]


def test_the_tables_are_described():
    found = compare(release(), release(), points=1.0)
    tables = {"summary": found.summary, "targets": found.targets, "drift": found.drift}
    columns = (SUMMARY_COLUMNS, COMPARISON_COLUMNS, DRIFT_COLUMNS)
    described = {
        name: TableDescription(of_it, "comparison")
        for name, of_it in zip(tables, columns, strict=True)
    }
    assert len(data_dictionary(tables, descriptions=described)) == sum(map(len, columns))


def test_releases_of_different_years_are_refused():
    with pytest.raises(InputError, match=r"earlier release is of 2021, the later of 2022"):
        compare(_fit(release(), year=pl.lit(2021)), release(), points=1.0)


def test_a_release_of_more_than_one_year_is_refused():
    mixed = _fit(release(), year=_for("agi", "year", 2021))
    with pytest.raises(InputError, match=r"later release is of the years \[2021, 2022\]"):
        compare(release(), mixed, points=1.0)


@pytest.mark.parametrize("table", ["households", "tax_units", "tax_outputs", "target_fit"])
def test_a_release_without_a_table_says_which_release_and_table(table: str):
    less = {name: kept for name, kept in release().items() if name != table}
    with pytest.raises(InputError, match=rf"earlier release has no table {table}"):
        compare(less, release(), points=1.0)


def test_a_release_of_an_earlier_version_says_which_column_is_missing():
    less = release()
    less["target_fit"] = less["target_fit"].drop("year", "condition")
    with pytest.raises(InputError, match=r"target_fit of the later release has no column year, c"):
        compare(release(), less, points=1.0)


@pytest.mark.parametrize("points", [-1.0, float("nan")])
def test_points_below_zero_are_refused(points: float):
    with pytest.raises(InputError, match=r"points is .*, but must be zero or more"):
        compare(release(), release(), points=points)
