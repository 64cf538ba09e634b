"""Laws of classical calibration: known solutions, bounds, targets that exclude each other."""

import numpy as np
import pytest
from scipy.special import xlogy
from toy import one_out_of_reach, random_survey, two_states

from l0.survey import CalibrationProblem, InputError, certified_gap
from l0.survey.classical import calibrate_classical
from l0.survey.classical import calibration as classical_calibration
from l0.survey.classical.distances import distance_of

METHODS = {"linear": None, "raking": None, "logit": (0.2, 4.0)}
BOUNDED = {"linear": (0.8, 1.3), "raking": (0.8, 1.3), "logit": (0.8, 1.3)}

every_method = pytest.mark.parametrize(("method", "bounds"), METHODS.items())
every_bounded_method = pytest.mark.parametrize(("method", "bounds"), BOUNDED.items())


def survey(records=2_000, targets=12, *, seed=0, spread=0.2):
    """Totals of the design's weights moved by up to a fifth each, in directions of the targets."""
    draw = np.random.default_rng(seed)
    constraints = draw.gamma(2.0, 1.0, (targets, records)) * (draw.random((targets, records)) < 0.4)
    constraints = constraints.astype(np.float32).astype(np.float64)
    design = draw.gamma(2.0, 50.0, records)
    moved = draw.normal(size=targets) @ constraints
    ratios = 1 + spread * np.tanh(moved - moved.mean())
    return CalibrationProblem(constraints, constraints @ (design * ratios), design)


def dense(problem):
    return problem.constraints.toarray().astype(np.float64)


@every_method
def test_all_targets_are_met(method, bounds):
    problem = survey()
    result = calibrate_classical(problem, method=method, bounds=bounds)
    assert result.converged
    assert result.conflicts == ()
    np.testing.assert_allclose(problem.estimates(result.weights), problem.values, rtol=1e-9)
    np.testing.assert_array_equal(result.weights, problem.design_weights * result.g_weights)


@every_method
def test_g_weights_follow_from_the_multipliers_by_the_distance(method, bounds):
    problem = survey()
    result = calibrate_classical(problem, method=method, bounds=bounds)
    u = dense(problem).T @ result.multipliers
    expected, _ = distance_of(method, bounds).g_weights(u)
    np.testing.assert_allclose(result.g_weights, expected, rtol=1e-9)


def test_linear_weights_are_those_of_the_regression_estimator():
    problem = survey()
    rows, design = dense(problem), problem.design_weights
    short = problem.values - rows @ design
    multipliers = np.linalg.solve((rows * design) @ rows.T, short)
    expected = design * (1 + rows.T @ multipliers)
    np.testing.assert_allclose(calibrate_classical(problem).weights, expected, rtol=1e-7)


def test_raking_two_margins_is_iterative_proportional_fitting():
    draw = np.random.default_rng(3)
    design = draw.gamma(3.0, 10.0, 600)
    cells = draw.integers(0, 3, 600), draw.integers(0, 4, 600)
    rows = [(cells[0] == k) * 1.0 for k in range(3)] + [(cells[1] == k) * 1.0 for k in range(4)]
    values = np.array(rows) @ (design * draw.uniform(0.5, 1.5, 600))
    expected = design.copy()
    for _ in range(200):
        for row, value in zip(rows, values, strict=True):
            expected[row > 0] *= value / expected[row > 0].sum()
    result = calibrate_classical(CalibrationProblem(rows, values, design), method="raking")
    # the last row follows from the others
    assert result.converged
    np.testing.assert_allclose(result.weights, expected, rtol=1e-8)


@every_bounded_method
def test_g_weights_stay_within_bounds_that_others_cross(method, bounds):
    problem = survey(spread=0.24)
    free = calibrate_classical(problem, method="raking").g_weights
    assert free.min() < bounds[0]
    assert free.max() > bounds[1]
    result = calibrate_classical(problem, method=method, bounds=bounds)
    assert result.converged
    assert bounds[0] <= result.g_weights.min()
    assert result.g_weights.max() <= bounds[1]


def distance_between(g_weights, method, bounds):
    """G of Deville and Särndal (1992), table 1."""
    g = g_weights
    if method == "linear":
        return (g - 1) ** 2 / 2
    if method == "raking":
        return g * np.log(g) - g + 1
    least, greatest = bounds
    steepness = (greatest - least) / ((1 - least) * (greatest - 1))
    low, high = g - least, greatest - g
    return (xlogy(low, low / (1 - least)) + xlogy(high, high / (greatest - 1))) / steepness


@every_bounded_method
def test_no_other_weights_that_meet_the_targets_within_the_bounds_are_nearer(method, bounds):
    problem = survey(spread=0.24)
    rows, design = dense(problem), problem.design_weights
    found = calibrate_classical(problem, method=method, bounds=bounds).g_weights
    least = float(design @ distance_between(found, method, bounds))
    inside = (found > bounds[0] + 1e-3) & (found < bounds[1] - 1e-3)
    for seed in range(20):
        move = np.random.default_rng(seed).normal(size=len(design)) * inside
        weighted = rows[:, inside] * design[inside]
        move[inside] -= np.linalg.lstsq(weighted, weighted @ move[inside], rcond=None)[0]
        other = found + move * 1e-3 / np.abs(move).max()
        assert design @ distance_between(other, method, bounds) > least


@pytest.mark.parametrize(("method", "bounds"), [*METHODS.items(), ("linear", (0.2, 4.0))])
def test_the_derivative_is_that_of_the_g_weights_and_both_are_one_at_zero(method, bounds):
    distance = distance_of(method, bounds)
    u, step = np.linspace(-0.7, 2.0, 41), 1e-6
    rise = (distance.g_weights(u + step)[0] - distance.g_weights(u - step)[0]) / (2 * step)
    np.testing.assert_allclose(rise, distance.g_weights(u)[1], rtol=1e-8)
    np.testing.assert_allclose(distance.g_weights(np.zeros(1)), 1.0, rtol=1e-12)


@pytest.mark.parametrize("method", ["linear", "raking"])
def test_wide_bounds_of_truncated_distances_change_nothing(method):
    problem = survey()
    free = calibrate_classical(problem, method=method).weights
    wide = calibrate_classical(problem, method=method, bounds=(0.01, 100.0)).weights
    np.testing.assert_array_equal(wide, free)


@every_method
def test_records_of_design_weight_zero_stay_at_zero(method, bounds):
    problem = random_survey(without_weight=5)
    result = calibrate_classical(problem, method=method, bounds=bounds)
    assert result.converged
    np.testing.assert_array_equal(result.weights[-5:], 0.0)
    np.testing.assert_array_equal(result.g_weights[-5:], 1.0)


@every_method
def test_targets_that_follow_from_others_and_agree_change_nothing(method, bounds):
    problem = survey()
    rows, values = dense(problem), problem.values
    combined = CalibrationProblem(
        np.vstack([rows, rows[0] + rows[1], 3 * rows[2]]),
        np.concatenate([values, [values[0] + values[1], 3 * values[2]]]),
        problem.design_weights,
    )
    result = calibrate_classical(combined, method=method, bounds=bounds)
    assert result.converged
    expected = calibrate_classical(problem, method=method, bounds=bounds).weights
    np.testing.assert_allclose(result.weights, expected, rtol=1e-6)


def test_a_sum_of_another_value_than_its_parts_is_unmet_and_told_with_them():
    problem = survey()
    rows, values = dense(problem), problem.values
    contradictory = CalibrationProblem(
        np.vstack([rows, rows[0] + rows[1]]),
        np.append(values, 1.1 * (values[0] + values[1])),
        problem.design_weights,
    )
    result = calibrate_classical(contradictory)
    assert not result.converged
    [unmet] = result.unmet
    [conflict] = result.conflicts
    assert sorted(conflict.rows) == [0, 1, 12]
    assert unmet.name in conflict.names
    # each target would have to give way by what the values differ
    np.testing.assert_allclose(conflict.gaps, 0.1 * (values[0] + values[1]), rtol=1e-4)
    errors = np.abs(contradictory.relative_errors(result.weights))
    assert (np.delete(errors, unmet.row) < 1e-9).all()
    assert "with weights of -inf to inf times the design's" in conflict.describe()


@every_bounded_method
def test_a_target_out_of_reach_is_told_and_all_others_are_met(method, bounds):
    problem = survey(spread=0.1)
    values = problem.values.copy()
    values[4] *= 2
    asked = CalibrationProblem(problem.constraints, values, problem.design_weights)
    result = calibrate_classical(asked, method=method, bounds=bounds)
    [unmet] = result.unmet
    assert unmet.row == 4
    assert unmet.value == values[4]
    others = np.delete(asked.relative_errors(result.weights), 4)
    assert np.abs(others).max() < 1e-9
    [conflict] = result.conflicts
    assert conflict.rows == (4,)


@every_bounded_method
def test_conflicts_are_proved_for_all_weights_within_the_bounds(method, bounds):
    problem = random_survey(400, 8, seed=4)
    rows = np.vstack([dense(problem), dense(problem)[1] - dense(problem)[0]])
    estimates = rows @ problem.design_weights
    # the two move together, and apart by far less than is asked of the third
    estimates[-1] = 0.6 * estimates[1]
    asked = CalibrationProblem(rows, estimates, problem.design_weights)
    result = calibrate_classical(asked, method=method, bounds=bounds)
    assert result.unmet
    for conflict in result.conflicts:
        gap = certified_gap(
            asked,
            conflict.rows,
            conflict.multipliers,
            min_weight_ratio=bounds[0],
            max_weight_ratio=bounds[1],
        )
        assert gap > 0


def test_raking_tells_a_negative_total_of_a_positive_column():
    problem = survey()
    values = problem.values.copy()
    values[2] *= -1
    asked = CalibrationProblem(problem.constraints, values, problem.design_weights)
    result = calibrate_classical(asked, method="raking")
    assert [target.row for target in result.unmet] == [2]
    # the regression estimator's weights may be below zero
    assert calibrate_classical(asked).converged


def test_two_values_of_the_same_households_are_told():
    result = calibrate_classical(one_out_of_reach(), method="raking")
    [unmet] = result.unmet
    [conflict] = result.conflicts
    assert sorted(conflict.rows) == [0, 1]
    assert unmet.row in conflict.rows


def test_a_target_that_counts_no_record_is_unmet_alone():
    problem = CalibrationProblem([[1.0, 1.0], [0.0, 0.0]], [12.0, 5.0], [5.0, 5.0])
    result = calibrate_classical(problem)
    assert [(target.row, target.estimate) for target in result.unmet] == [(1, 0.0)]
    np.testing.assert_allclose(result.weights, [6.0, 6.0])
    [conflict] = result.conflicts
    assert conflict.rows == (1,)


@every_method
def test_targets_that_do_not_count_are_left_alone(method, bounds):
    problem = survey()
    hidden = np.arange(12) >= 9
    result = calibrate_classical(problem.without(hidden), method=method, bounds=bounds)
    assert result.converged
    errors = np.abs(problem.relative_errors(result.weights))
    assert errors[~hidden].max() < 1e-9
    assert errors[hidden].min() > 1e-9
    assert not result.multipliers[hidden].any()


@every_method
def test_the_unit_of_a_target_does_not_matter(method, bounds):
    problem = survey()
    units = 10.0 ** np.arange(-4, 8)
    scaled = CalibrationProblem(
        dense(problem) * units[:, None], problem.values * units, problem.design_weights
    )
    expected = calibrate_classical(problem, method=method, bounds=bounds)
    result = calibrate_classical(scaled, method=method, bounds=bounds)
    np.testing.assert_allclose(result.weights, expected.weights, rtol=1e-5)


def test_a_total_of_gains_and_losses_that_cancel_is_met():
    draw = np.random.default_rng(1)
    gains = draw.normal(0.0, 1e6, 5_000)
    problem = CalibrationProblem([np.ones(5_000), gains], [5e5, 0.0], np.full(5_000, 90.0))
    result = calibrate_classical(problem, method="raking")
    assert result.converged


def test_weights_that_targets_fix_at_all_bounds_are_found():
    problem = survey()
    ends = np.where(np.arange(12) % 2, 1.0, -1.0) @ dense(problem)
    ratios = np.where(ends > np.median(ends), 2.0, 0.5)
    rows, design = dense(problem), problem.design_weights
    asked = CalibrationProblem(rows, rows @ (design * (1 + 0.99 * (ratios - 1))), design)
    result = calibrate_classical(asked, method="linear", bounds=(0.5, 2.0))
    assert result.converged


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "newton"}, "must be one of linear, raking, logit"),
        ({"method": "logit"}, "give the least and the greatest g-weight"),
        ({"bounds": (1.0, 2.0)}, "from 0 to below 1"),
        ({"bounds": (0.5, 1.0)}, "above 1"),
        ({"bounds": (-0.5, 2.0)}, "from 0 to below 1"),
        ({"bounds": (np.nan, 2.0)}, "from 0 to below 1"),
        ({"bounds": (0.5, 2.0, 3.0)}, "the least g-weight"),
        ({"bounds": 2.0}, "the least g-weight"),
        ({"bounds": "wide"}, "bounds must be real numbers"),
        ({"method": "logit", "bounds": (0.5, np.inf)}, "finite"),
    ],
)
def test_options_that_cannot_be_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        calibrate_classical(two_states(), **options)


def test_arrays_in_place_of_a_problem_are_refused():
    with pytest.raises(InputError, match="must be a CalibrationProblem"):
        calibrate_classical(np.ones((2, 3)))


def test_more_targets_than_a_dense_matrix_holds_are_refused_with_the_alternative(monkeypatch):
    monkeypatch.setattr(classical_calibration, "MOST_TARGETS", 1)
    with pytest.raises(InputError, match=r"calibrate\(problem, budget=None\)"):
        calibrate_classical(two_states())


def test_targets_of_which_none_counts_a_record_are_refused():
    with pytest.raises(InputError, match="nothing to calibrate to"):
        calibrate_classical(CalibrationProblem([[0.0, 0.0]], [1.0], [1.0, 1.0]))


def test_bounds_that_let_no_target_be_met_are_refused_with_the_first_conflicts():
    problem = CalibrationProblem([[1.0, 1.0]], [50.0], [10.0, 10.0], target_names=["people"])
    with pytest.raises(InputError, match="people is at most 40"):
        calibrate_classical(problem, bounds=(0.5, 2.0))


def test_bounds_too_tight_for_most_targets_are_refused_with_three_of_the_conflicts():
    draw = np.random.default_rng(5)
    constraints = draw.gamma(1.0, 1.0, (40, 300))
    design = np.full(300, 10.0)
    asked = CalibrationProblem(constraints, constraints @ design * 1.2, design)
    with pytest.raises(InputError, match="21 conflicts of targets were found") as refused:
        calibrate_classical(asked, bounds=(0.95, 1.05))
    assert str(refused.value).count("Alone, all other targets given up") == 3
