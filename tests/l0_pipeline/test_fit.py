"""Laws of the errors: signed, relative to a floored scale, and summed up by hand."""

import numpy as np
import polars as pl
import pytest

from l0_pipeline import settings
from l0_pipeline.logic import fit
from l0_pipeline.logic.figures import UNITS_OF_MEASURE

FLOORS = {"dollars": 1e6, "returns": 1e3}
TARGETS = pl.DataFrame(
    {
        "target_id": ["a", "b", "c", "d", "e"],
        "family": ["x", "x", "y", "y", "y"],
        "role": ["fitted", "fitted", "fitted", "held_out", "benchmark"],
        "unit": ["dollars", "returns", "dollars", "returns", "dollars"],
        "value": [4e6, 9e3, -1.6e7, 0.0, 5.0],
    }
).with_columns(scale=pl.Series([4e6, 9e3, 1.6e7, 1e3, 1e6]))
ESTIMATES = {
    "design": np.array([2e6, 9e3, -2.4e7, 100.0, 5.0]),  # errors -0.5, 0, -0.5, 0.1, 0
    "released": np.array([4.4e6, 9.9e3, -1.2e7, -200.0, 5.0]),  # errors 0.1, 0.1, 0.25, -0.2, 0
}
FIT = fit.add_errors(TARGETS, estimates=ESTIMATES)


def test_a_scale_is_the_size_of_the_value_or_the_floor_of_its_unit():
    assert fit.scales(TARGETS, floors=FLOORS).to_list() == TARGETS["scale"].to_list()


def test_every_unit_of_a_figure_has_a_floor():
    units = {unit for units in UNITS_OF_MEASURE.values() for unit in units}
    assert set(settings.SCALE_FLOORS) == units


def test_a_unit_without_a_floor_is_an_error():
    with pytest.raises(pl.exceptions.InvalidOperationError, match="incomplete mapping"):
        fit.scales(TARGETS, floors={"dollars": 1.0})


def test_errors_are_signed_also_where_the_value_is_negative_or_zero():
    assert FIT["design_error"].to_list() == pytest.approx([-0.5, 0, -0.5, 0.1, 0])
    assert FIT["released_error"].to_list() == pytest.approx([0.1, 0.1, 0.25, -0.2, 0])


def test_estimates_stand_beside_their_errors_and_targets_stay_as_they_are():
    assert FIT["design_estimate"].to_list() == ESTIMATES["design"].tolist()
    assert FIT.select(TARGETS.columns).equals(TARGETS)


def test_a_target_counts_in_the_loss_by_the_square_root_of_its_scale():
    importance = fit.importance(TARGETS)
    assert importance[[0, 2, 4]] == pytest.approx(np.array([2, 4, 1]) / 7)
    assert importance[3] / importance[1] == pytest.approx(1 / 3)


def test_amounts_and_counts_share_the_loss_in_halves():
    importance = fit.importance(TARGETS)
    amounts = (TARGETS["unit"] == "dollars").to_numpy()
    assert importance[amounts].sum() == pytest.approx(1)
    assert importance[~amounts].sum() == pytest.approx(1)


def test_counts_alone_share_the_whole():
    assert fit.importance(TARGETS.filter(unit="returns")).sum() == pytest.approx(1)


def test_medians_and_shares_are_of_absolute_errors_of_one_role():
    assert fit.median_error(FIT, weights="design", role="fitted") == pytest.approx(0.5)
    assert fit.median_error(FIT, weights="released", role="held_out") == pytest.approx(0.2)
    assert fit.share_close(FIT, weights="design", role="fitted") == pytest.approx(1 / 3)


def test_an_error_of_exactly_a_tenth_is_close_and_more_is_not():
    errors = pl.DataFrame({"role": ["fitted"] * 3, "w_error": [0.1, -0.1, 0.1001]})
    assert fit.share_close(errors, weights="w", role="fitted") == pytest.approx(2 / 3)


def test_a_role_without_targets_has_no_median_and_no_share():
    none = FIT.filter(role="fitted")
    assert fit.median_error(none, weights="design", role="held_out") is None
    assert fit.share_close(none, weights="design", role="held_out") is None


def test_an_error_that_is_not_a_number_is_not_hidden_by_the_median():
    lost = pl.DataFrame({"role": ["fitted"] * 3, "w_error": [0.1, float("nan"), 0.2]})
    assert np.isnan(fit.median_error(lost, weights="w", role="fitted"))


def test_weights_of_all_households_are_zero_for_those_not_kept():
    kept = pl.DataFrame({"household_id": [9, 4], "weight": [2.5, 7.0], "kind": ["l0", "random"]})
    everyone = pl.Series("id", [4, 5, 9, 12])
    assert fit.of_all(kept, everyone).tolist() == [7.0, 0.0, 2.5, 0.0]


def test_the_comparison_has_a_row_for_each_set_of_weights():
    compared = fit.comparison(FIT, ["design", "released"])
    assert compared.columns == [
        "weights", "held_out_median", "fitted_median", "held_out_close", "fitted_close",
    ]  # fmt: skip
    assert compared.row(0) == ("design", pytest.approx(0.1), 0.5, 1.0, pytest.approx(1 / 3))
    assert compared.row(1)[2] == pytest.approx(0.1)


def test_families_are_summed_up_by_role():
    families = fit.by_family(FIT, weights="released")
    assert families.row(0, named=True) == {
        "family": "x", "fitted": 2, "held_out": 0, "fitted_median_error": pytest.approx(0.1),
        "held_out_median_error": None, "fitted_within_10pct": pytest.approx(1.0),
    }  # fmt: skip
    assert families.row(1, named=True) == {
        "family": "y", "fitted": 1, "held_out": 1, "fitted_median_error": pytest.approx(0.25),
        "held_out_median_error": pytest.approx(0.2), "fitted_within_10pct": 0.0,
    }  # fmt: skip


def test_a_family_that_is_neither_fitted_nor_held_out_is_left_out():
    benchmarks = FIT.with_columns(family=pl.col("target_id"))
    assert fit.by_family(benchmarks, weights="design")["family"].to_list() == ["a", "b", "c", "d"]


def test_the_worst_are_fitted_targets_by_the_size_of_their_error():
    assert fit.worst(FIT, weights="design")["target_id"].to_list() == ["a", "c", "b"]
    assert fit.worst(FIT, weights="released", rows=1)["target_id"].to_list() == ["c"]


def test_the_account_adds_up_in_every_family():
    account = fit.accounting(TARGETS)
    assert account.rows() == [("x", 2, 2, 0, 0, 0), ("y", 3, 1, 1, 1, 0)]
    roles = account.select("fitted", "held_out", "benchmark", "rejected").sum_horizontal()
    assert roles.to_list() == account["declared"].to_list()
