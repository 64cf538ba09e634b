"""Laws of what no target mentions: shares within areas, distortion, anchors, drift."""

import numpy as np
import polars as pl
import pytest

from l0.survey import CalibrationProblem, refit
from l0.survey.refit import RefitSettings
from l0_pipeline.logic.anchors import anchored
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.tables import UNTARGETED_COLUMNS
from l0_pipeline.logic.untargeted import drift, shares_table, within_area_shares

HOUSEHOLDS = pl.DataFrame(
    {
        "state_fips": [1, 1, 1, 1, 2, 2, 2, 2],
        "persons": [1, 1, 2, 2, 1, 1, 1, 2],
        "vet_ben": [0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0],
    }
)
DESIGN = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def shares():
    return within_area_shares(HOUSEHOLDS, ["persons"], design_weights=DESIGN)


def test_shares_are_those_of_the_design_within_each_state():
    cells = shares().cells
    assert cells.select("area", "category", "design_share").rows() == [
        (1, "1", 0.5),
        (1, "2", 0.5),
        (2, "1", 0.75),
        (2, "2", 0.25),
    ]
    assert cells["design_total"].to_list() == [4.0] * 4


def test_the_design_is_not_distorted_whatever_the_totals_of_the_states():
    scaled = DESIGN * np.array([3.0] * 4 + [0.5] * 4)
    assert shares().distortion(scaled) == {"persons": pytest.approx(0.0, abs=1e-15)}


def test_distortion_is_total_variation_averaged_over_states():
    weights = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    # the first state has lost one category of two, the second nothing
    assert shares().distortion(weights) == {"persons": pytest.approx((0.5 + 0.0) / 2)}


def test_a_state_without_weight_is_wholly_distorted():
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert shares().distortion(weights) == {"persons": pytest.approx(0.5)}


def test_rare_values_are_one_category():
    many = pl.DataFrame({"state_fips": [1] * 300, "persons": [1] * 297 + [7, 8, 9]})
    found = within_area_shares(many, ["persons"], design_weights=np.ones(300))
    assert found.cells["category"].to_list() == ["1", "other"]


def test_anchored_weights_return_to_the_surveys_shares_where_targets_leave_them_free():
    households = np.ones((1, 8))
    problem = CalibrationProblem(households, [16.0], DESIGN)
    skewed = np.array([4.0, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0])
    settings = RefitSettings(penalty=1e-3)

    def fitted(weight):
        held = anchored(problem, (shares().anchors(), weight))
        return refit(held, range(8), reference=skewed, settings=settings).weights

    free, held = fitted(0.0), fitted(0.5)
    assert shares().distortion(free)["persons"] > 0.1
    assert shares().distortion(held)["persons"] < 1e-3
    assert held.sum() == pytest.approx(16.0, rel=1e-3)


def test_anchors_ask_for_shares_and_count_as_much_as_their_weight_says():
    problem = CalibrationProblem(np.ones((1, 8)), [16.0], DESIGN)
    held = anchored(problem, (shares().anchors(), 0.25))
    assert held.n_targets == 1 + 4
    assert held.target_names[1] == "persons=1 in 1"
    assert held.loss_weights[0] == pytest.approx(1 / 1.25)
    weights = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    # half of the first state's two remaining households, over its four of the design
    assert held.relative_errors(weights)[1:] == pytest.approx([0.25, -0.25, 0.0, 0.0])


def test_a_variable_that_never_varies_anchors_nothing():
    same = HOUSEHOLDS.with_columns(persons=pl.lit(1, pl.Int64))
    problem = CalibrationProblem(np.ones((1, 8)), [16.0], DESIGN)
    found = within_area_shares(same, ["persons"], design_weights=DESIGN)
    assert anchored(problem, (found.anchors(), 0.1)) is problem


@pytest.mark.parametrize("variable", ["race", "vet_ben"])
def test_a_variable_that_is_no_whole_number_column_is_refused(variable):
    with pytest.raises(InputError, match=f"'{variable}' is no column of whole numbers"):
        within_area_shares(HOUSEHOLDS, [variable], design_weights=DESIGN)


def test_drift_is_the_change_of_the_mean_a_household():
    weights = np.array([2.0, 4.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    moved = drift(HOUSEHOLDS, ["vet_ben"], weights=weights, design_weights=DESIGN)
    assert moved.rows() == [("vet_ben", pytest.approx((20 / 8) / 1.0 - 1))]
    zeros = HOUSEHOLDS.with_columns(vet_ben=0.0)
    assert drift(zeros, ["vet_ben"], weights=weights, design_weights=DESIGN).rows() == [
        ("vet_ben", None)
    ]
    with pytest.raises(InputError, match="no column housing_ben"):
        drift(HOUSEHOLDS, ["housing_ben"], weights=weights, design_weights=DESIGN)


def test_without_variables_there_is_nothing_to_anchor_or_to_distort():
    nothing = within_area_shares(HOUSEHOLDS, [], design_weights=DESIGN)
    problem = CalibrationProblem(np.ones((1, 8)), [16.0], DESIGN)
    assert nothing.distortion(DESIGN) == {}
    assert anchored(problem, (nothing.anchors(), 0.1)) is problem


def test_a_table_of_shares_has_each_state_and_the_nation_in_survey_and_release():
    weights = np.array([2.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    table = shares_table(shares(), weights, held=["persons"])
    assert dict(table.schema) == {column.name: column.dtype for column in UNTARGETED_COLUMNS}
    found = {(row["area"], row["category"]): row for row in table.iter_rows(named=True)}
    assert found["01", "1"]["share_pool"] == 0.5
    assert found["01", "1"]["share_released"] == 0.5
    assert found["US", "1"]["share_pool"] == pytest.approx(5 / 8)
    assert found["US", "1"]["difference"] == pytest.approx(0.5 - 5 / 8)
    assert found["02", "1"]["share_released"] is None
    assert table["held"].all()
