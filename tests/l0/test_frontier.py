"""Laws of the frontier: exact sizes along one path, its evidence, and the point it suggests."""

import numpy as np
import pytest
from interruption import Interrupted, bytes_of, interrupted_at
from toy import few_carry_all, random_survey

from l0.survey import (
    CalibrationProblem,
    Checkpoint,
    GatedFitSettings,
    GradualPruningSettings,
    InputError,
    RefitSettings,
    calibrate,
    frontier,
)
from l0.survey.losses import mean_loss

PROBLEM = random_survey(200, 12)
QUICK = {
    "settings": GatedFitSettings(epochs=80),
    "refit_settings": RefitSettings(epochs=40, penalty=0.01),
    "device": "cpu",
}


def test_every_size_is_exact_from_the_largest_to_the_smallest_each_named_once():
    found = frontier(PROBLEM, [20, 80, 40, 80], **QUICK)
    assert [point.budget for point in found.points] == [80, 40, 20]
    for point in found.points:
        assert np.count_nonzero(point.result.weights) == len(point.result.support) == point.budget


def test_the_largest_size_is_what_calibrate_makes_of_it():
    largest = frontier(PROBLEM, [30, 60], seed=3, **QUICK).points[0]
    alone = calibrate(PROBLEM, budget=60, seed=3, **QUICK)
    assert largest.result.weights.tobytes() == alone.weights.tobytes()


def test_a_point_tells_the_losses_of_its_own_weights():
    held_out = CalibrationProblem(
        PROBLEM.constraints[:4] * 2, PROBLEM.values[:4] * 3, PROBLEM.design_weights
    )
    for point in frontier(PROBLEM, [30, 60], held_out=held_out, **QUICK).points:
        for problem, told in ((PROBLEM, point.loss), (held_out, point.held_out_error)):
            errors = problem.relative_errors(point.result.weights)
            assert told == mean_loss("capped_relative", errors, problem.loss_weights)
        assert point.effective_sample_size == point.result.effective_sample_size


def test_without_held_out_targets_their_error_is_told_as_unknown():
    assert all(
        np.isnan(point.held_out_error) for point in frontier(PROBLEM, [30, 60], **QUICK).points
    )


@pytest.mark.parametrize("tolerance", [0.0, 0.2, 1e9])
def test_the_smallest_size_that_is_nearly_as_good_as_the_best_is_suggested(tolerance):
    found = frontier(PROBLEM, [10, 30, 60], tolerance=tolerance, **QUICK)
    least = min(point.loss for point in found.points)
    near = [point.budget for point in found.points if point.loss <= (1 + tolerance) * least]
    assert found.suggested.budget == min(near)


@pytest.mark.parametrize(
    ("budgets", "changed", "message"),
    [
        ([5], {}, "at least two different ones"),
        ([10, 500], {}, "budget is 500, but 200 records have a positive design weight"),
        ([10.5, 20], {}, "budget is 10.5, but must be a whole number"),
        ([10, 20], {"loss": "median"}, "loss is 'median', but must be one of capped_relative"),
        ([10, 20], {"held_out": few_carry_all()}, "held_out has 124 records, but the problem has"),
        ([10, 20], {"tolerance": -0.1}, "tolerance is -0.1, but must be a finite number of 0"),
        ([10, 20], {"tolerance": np.nan}, "tolerance is nan"),
        ([10, 20], {"seed": -1}, "seed is -1, but must be a whole number of at least 0"),
        ([10, 20], {"checkpoint": "path.npz"}, r"checkpoint is a str.*Write Checkpoint\("),
        (
            [10, 20],
            {"held_out": random_survey(200, 12, seed=9)},
            "held_out has other design weights than the problem",
        ),
        (30, {}, "budgets is 30, but must be a list"),
        ([10, 20], {"settings": GradualPruningSettings()}, "must be a GatedFitSettings"),
        ([10, 20], {"refit_settings": {}}, "refit_settings is a dict, but must be a RefitSettings"),
    ],
    ids=str,
)
def test_what_no_path_can_have_is_refused(budgets, changed, message):
    with pytest.raises(InputError, match=message):
        frontier(PROBLEM, budgets, **(QUICK | changed))


@pytest.mark.parametrize("judged", [False, True], ids=["nothing held out", "held out"])
def test_the_plot_shows_every_size_and_the_one_suggested(judged):
    held_out = PROBLEM if judged else None
    found = frontier(PROBLEM, [10, 30, 60], held_out=held_out, **QUICK)
    errors, effective, ratio = found.plot().axes
    drawn = [line.get_xydata() for line in errors.get_lines()]
    assert drawn[0].tolist() == [[point.budget, point.loss] for point in found.points]
    assert len(drawn) == 3 if judged else 2
    assert drawn[-1][:, 0].tolist() == [found.suggested.budget] * 2
    shown = effective.get_lines()[0].get_ydata()
    assert shown.tolist() == [point.effective_sample_size for point in found.points]
    assert ratio.get_lines()[0].get_ydata()[0] == found.points[0].max_weight_ratio


def test_findings_about_targets_are_told(caplog):
    problem = CalibrationProblem([[0.0] * 30, [1.0] * 30], [5.0, 30.0], np.ones(30))
    frontier(problem, [5, 10], **QUICK)
    assert "1 target" in caplog.text


@pytest.fixture(scope="module")
def whole_path():
    return frontier(PROBLEM, [80, 40, 20], **QUICK)


# the first size: selection 9, refit 4; each further one: selection 3, refit 4
@pytest.mark.parametrize("count", [1, 11, 14, 19, 27])
def test_a_path_stopped_at_any_moment_goes_on_to_the_same_points(tmp_path, whole_path, count):
    checkpoint = Checkpoint(tmp_path / "path.npz", every_seconds=0)
    with pytest.raises(Interrupted):
        frontier(
            PROBLEM,
            [80, 40, 20],
            checkpoint=checkpoint,
            on_progress=interrupted_at(count),
            **QUICK,
        )
    again = frontier(PROBLEM, [80, 40, 20], checkpoint=checkpoint, **QUICK)
    assert [bytes_of(point.result) for point in again.points] == [
        bytes_of(point.result) for point in whole_path.points
    ]
    assert list(tmp_path.iterdir()) == []
    stages = {record.stage for record in whole_path.points[-1].result.history}
    assert stages == {"selection of 20", "refit of 20"}


def test_a_checkpoint_of_another_path_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "path.npz", every_seconds=0)
    with pytest.raises(Interrupted):
        frontier(PROBLEM, [80, 40], checkpoint=checkpoint, on_progress=interrupted_at(5), **QUICK)
    with pytest.raises(InputError, match="is of another calibration"):
        frontier(PROBLEM, [80, 30], checkpoint=checkpoint, **QUICK)
