"""Laws of the findings: what no weights can meet is told, and nothing else is said to be so."""

import re
import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import scipy.sparse as sp
from toy import one_out_of_reach, random_survey, signed_totals, two_households, two_states

from l0.survey import CalibrationProblem, InputError
from l0.survey.diagnostics import TargetError, TargetGroup, diagnose, worst_targets


def problem_of(constraints, values, design_weights=None, **options):
    records = np.shape(constraints)[1]
    design = np.ones(records) if design_weights is None else design_weights
    return CalibrationProblem(constraints, values, design, **options)


def group_rows(groups):
    return [group.rows for group in groups]


@pytest.mark.parametrize("problem", [two_households(), two_states()])
def test_a_sound_problem_has_no_findings_and_nothing_to_describe(problem):
    found = diagnose(problem)
    assert not found.has_findings
    assert found.describe() == []
    assert found.cannot_be_met.tolist() == []


def test_targets_without_a_record_are_told_apart_by_whether_their_value_is_zero():
    found = diagnose(problem_of([[0, 0], [1, 2], [0, 0], [0, 0]], [0.0, 3.0, 7.0, -2.0]))
    assert found.empty_met.tolist() == [0]
    assert found.empty_unmet.tolist() == [2, 3]
    assert found.empty_targets.tolist() == [0, 2, 3]
    assert found.cannot_be_met.tolist() == [2, 3]


def test_empty_targets_are_told_once_and_not_as_of_the_same_coefficients_or_out_of_sign():
    found = diagnose(problem_of([[0, 0], [0, 0], [1, 2]], [-1.0, 2.0, 3.0]))
    assert found.empty_unmet.tolist() == [0, 1]
    assert len(found.out_of_sign) == 0
    assert found.contradictions == found.duplicates == ()


def test_a_problem_of_empty_targets_alone_is_told_whole():
    found = diagnose(problem_of(np.zeros((2, 3)), [1.0, 0.0]))
    assert found.empty_targets.tolist() == [0, 1]
    assert found.empty_records.tolist() == [0, 1, 2]


def test_a_record_of_design_weight_zero_cannot_serve_a_target():
    found = diagnose(problem_of([[1, 0], [0, 1]], [1.0, 1.0], [0.0, 1.0]))
    assert found.empty_unmet.tolist() == [0]
    assert len(found.empty_records) == 0


def test_a_difference_on_a_record_of_design_weight_zero_is_no_difference():
    constraints, values = [[5, 1, 1], [7, 1, 1]], [1.0, 2.0]
    assert diagnose(problem_of(constraints, values)).contradictions == ()
    found = diagnose(problem_of(constraints, values, [0.0, 1.0, 1.0]))
    assert group_rows(found.contradictions) == [(0, 1)]


def test_a_sign_is_looked_for_on_records_of_positive_design_weight_alone():
    found = diagnose(problem_of([[-1, 1]], [-1.0], [0.0, 1.0]))
    assert found.out_of_sign.tolist() == [0]


def test_records_that_no_target_counts_are_told():
    found = diagnose(problem_of([[0, 1, 0, -1], [0, 1, 0, 1]], [1.0, 2.0]))
    assert found.empty_records.tolist() == [0, 2]
    assert found.has_findings
    assert len(found.cannot_be_met) == 0


def test_the_same_coefficients_with_two_values_contradict_each_other():
    found = diagnose(one_out_of_reach())
    assert found.contradictions == (TargetGroup(rows=(0, 1), implied_values=(100.0, 1000.0)),)
    assert found.duplicates == ()
    assert found.cannot_be_met.tolist() == [0, 1]


def test_the_same_coefficients_with_one_value_are_duplicates_and_can_be_met():
    found = diagnose(problem_of([[1, 2], [2, 1], [1, 2]], [5.0, 4.0, 5.0]))
    assert found.duplicates == (TargetGroup(rows=(0, 2), implied_values=(5.0, 5.0)),)
    assert found.contradictions == ()
    assert len(found.cannot_be_met) == 0


@pytest.mark.parametrize("factor", [2.0, 0.25, -1.0, -3.0])
def test_a_multiple_is_held_to_the_same_multiple_of_the_value(factor):
    row = np.array([1.0, 0.0, -2.0, 5.0])
    rows = [row, factor * row]
    consistent = diagnose(problem_of(rows, [12.0, factor * 12.0]))
    assert consistent.duplicates == (TargetGroup(rows=(0, 1), implied_values=(12.0, 12.0)),)
    opposed = diagnose(problem_of(rows, [12.0, factor * 15.0]))
    assert opposed.contradictions == (TargetGroup(rows=(0, 1), implied_values=(12.0, 15.0)),)


def test_one_value_that_differs_makes_the_whole_group_a_contradiction():
    found = diagnose(problem_of([[1, 1]] * 3, [4.0, 4.0, 5.0]))
    assert found.contradictions == (TargetGroup((0, 1, 2), (4.0, 4.0, 5.0)),)
    assert found.duplicates == ()


def test_the_same_records_with_other_coefficients_are_no_group():
    # the last two have the coefficients of the first in another order, or with another sign
    found = diagnose(problem_of([[1, 2, 3], [1, 3, 2], [1, -2, 3]], [6.0, 9.0, 2.0]))
    assert not found.has_findings


def test_the_same_coefficients_on_other_records_are_no_group():
    assert not diagnose(problem_of([[1, 2, 0], [0, 1, 2]], [1.0, 2.0])).has_findings


def test_rows_of_like_size_and_unlike_signs_are_grouped_by_their_signs():
    found = diagnose(problem_of([[1, 2], [1, -2], [-1, -2], [-3, 6]], [4.0, 1.0, -4.0, 9.0]))
    assert group_rows(found.duplicates) == [(0, 2)]
    assert found.contradictions == (TargetGroup((1, 3), (1.0, -3.0)),)


@pytest.mark.parametrize(("off", "agree"), [(0.9e-9, True), (4e-9, False)])
@pytest.mark.parametrize("value", [1e12, 1.0])
def test_values_exclude_each_other_beyond_a_billionth_of_the_scale(value, off, agree):
    found = diagnose(problem_of([[1, 3], [1, 3]], [value, value * (1 + off)]))
    assert bool(found.duplicates) is agree
    assert bool(found.contradictions) is not agree


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        # an estimate of a billionth is near enough to zero, and to 1e-3 after a million times
        ([[1.0], [2.0**20]], [0.0, 1e-3]),
        ([[2.0**20], [1.0]], [1e-3, 0.0]),
        # 5e-4 meets the first, and a millionth of it is near enough to zero
        ([[1.0], [2.0**-20]], [5e-4, 0.0]),
    ],
)
def test_values_agree_where_one_estimate_is_a_billionth_of_each_scale_from_each_value(rows, values):
    assert group_rows(diagnose(problem_of(rows, values)).duplicates) == [(0, 1)]
    assert group_rows(diagnose(problem_of([[1.0], [1.0]], values)).contradictions) == [(0, 1)]


def test_multiples_are_found_among_thousands_of_rounded_coefficients():
    draw = np.random.default_rng(1)
    row = draw.lognormal(5.0, 3.0, 5_000)
    others = draw.lognormal(5.0, 3.0, (3, 5_000))
    found = diagnose(problem_of([row, *others, row / 7.0], [7.0, 1.0, 2.0, 3.0, 1.0]))
    assert group_rows(found.duplicates) == [(0, 4)]
    assert found.contradictions == ()


def test_a_rounded_multiple_of_one_coefficient_is_not_said_to_contradict():
    found = diagnose(problem_of([[0.1], [0.7]], [10.0, 70.0]))
    assert group_rows(found.duplicates) == [(0, 1)]


def test_a_hundred_thousandth_in_one_coefficient_is_a_difference():
    row = np.ones(1_000)
    other = row.copy()
    other[500] += 1e-5
    assert not diagnose(problem_of([row, other], [1.0, 2.0])).has_findings


def test_all_groups_are_told_in_the_order_of_their_first_rows():
    found = diagnose(
        problem_of([[1, 1], [1, 0], [0, 1], [2, 0], [0, 2], [2, 2]], [1.0, 2.0, 3.0, 5.0, 7.0, 9.0])
    )
    assert group_rows(found.contradictions) == [(0, 5), (1, 3), (2, 4)]


def test_groups_are_those_that_a_comparison_of_all_pairs_finds():
    draw = np.random.default_rng(3)
    constraints = draw.integers(-1, 3, (60, 3)).astype(float)
    values = draw.integers(-3, 4, 60).astype(float)
    found = diagnose(problem_of(constraints, values))
    told = {row: group for group in found.contradictions + found.duplicates for row in group.rows}
    filled = np.flatnonzero(constraints.any(axis=1))
    for one in filled:
        for other in filled[filled > one]:
            proportional = np.linalg.matrix_rank(constraints[[one, other]]) == 1
            assert proportional == (one in told and told.get(other) is told[one])
    for group in found.duplicates:
        assert len(set(group.implied_values)) == 1
    for group in found.contradictions:
        assert len(set(group.implied_values)) > 1


@pytest.mark.parametrize(
    ("coefficients", "value", "told"),
    [
        ([1, 2], -1.0, True),
        ([-1, -2], 1.0, True),
        ([0, -2], 1.0, True),
        ([1, 2], 1.0, False),
        ([-1, -2], -1.0, False),
        ([1, -2], -1.0, False),
        ([1, -2], 1.0, False),
        ([1, 2], 0.0, False),
        ([-1, -2], 0.0, False),
    ],
)
def test_a_value_of_the_sign_that_no_coefficient_has_cannot_be_met(coefficients, value, told):
    found = diagnose(problem_of([coefficients, [3, 1]], [value, 10.0]))
    assert found.out_of_sign.tolist() == ([0] if told else [])
    assert found.cannot_be_met.tolist() == ([0] if told else [])


def test_what_cannot_be_met_is_each_row_once_and_ascending():
    found = diagnose(problem_of([[2, 2], [0, 0], [1, 1], [0, 1]], [-2.0, 4.0, 3.0, 1.0]))
    assert found.out_of_sign.tolist() == [0]
    assert group_rows(found.contradictions) == [(0, 2)]
    assert found.cannot_be_met.tolist() == [0, 1, 2]
    assert found.cannot_be_met.dtype == np.intp


def test_a_target_that_does_not_count_in_the_loss_is_looked_at_too():
    found = diagnose(problem_of([[1, 1], [0, 0]], [1.0, 5.0], loss_weights=[1.0, 0.0]))
    assert found.empty_unmet.tolist() == [1]


def test_findings_leave_the_problem_as_it_was_and_cannot_be_changed():
    problem = one_out_of_reach()
    before = problem.constraints.toarray()
    found = diagnose(problem)
    assert np.array_equal(problem.constraints.toarray(), before)
    with pytest.raises(FrozenInstanceError):
        found.contradictions = ()


def one_of_each_kind():
    return problem_of(
        [[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0], [1, 1, 0], [3, 3, 0]],
        [4.0, 0.0, -1.0, 100.0, 2400.0, 5.0, 15.0],
        target_names=["void", "nil", "debt", "people", "pairs", "sum", "thrice"],
    )


def test_each_kind_of_finding_is_one_sentence_with_its_count_its_names_and_the_next_move():
    void, debt, people, summed, nil, records = diagnose(one_of_each_kind()).describe()
    assert "1 target of a value other than zero" in void
    assert ": void. Mend" in void
    assert "1 target whose coefficients" in debt
    assert ": debt. Mend" in debt
    assert "1 group of targets" in people
    assert "told as values of people: people 100, pairs 1,200. Keep one" in people
    assert "1 group of the same" in summed
    assert ": sum, thrice. Keep one" in summed
    assert "1 target of the value zero" in nil
    assert ": nil. Leave them out" in nil
    assert "1 record, at positions 2. Leave them out" in records


def test_a_sentence_names_five_and_counts_the_others():
    (empty,) = diagnose(problem_of([[0]] * 1_205 + [[1]], np.ones(1_206))).describe()
    assert "1,205 targets" in empty
    assert ": target 0, target 1, target 2, target 3, target 4 and 1,200 more." in empty
    assert "target 5" not in empty


def test_a_contradiction_of_many_targets_names_five():
    (told,) = diagnose(problem_of([[1.0]] * 7, np.arange(1.0, 8.0))).describe()
    assert re.search(r"target 0 1, target 1 2, .* target 4 5 and 2 more\. Keep", told)


def test_time_grows_with_the_coefficients_and_not_with_pairs_of_targets():
    targets = 20_000
    draw = np.random.default_rng(0)
    # all count the same two records, with other coefficients each
    constraints = sp.csr_array(np.column_stack([np.ones(targets), 1 + draw.random(targets)]))
    start = time.perf_counter()
    found = diagnose(problem_of(constraints, np.ones(targets)))
    # all pairs would be 200 million comparisons, minutes rather than seconds
    assert time.perf_counter() - start < 20.0
    assert len(found.empty_targets) == len(found.out_of_sign) == 0


def test_the_worst_targets_are_those_furthest_off_with_their_sign():
    # errors of 4 on 10, -2 on 4 and 0.5 on a floor of 1
    second, third = worst_targets(signed_totals(), [1.0, 2.0], count=2)
    assert (second.row, second.relative_error) == (1, -0.5)
    assert (third.row, third.relative_error) == (2, 0.5)
    told = worst_targets(signed_totals(), [1.0, 2.0])
    assert told[:2] == (second, third)
    assert told[2] == TargetError(
        name="target 0",
        row=0,
        value=10.0,
        estimate=14.0,
        relative_error=0.4,
        loss_contribution=pytest.approx(0.4 / 3),
    )


def test_ties_of_the_worst_keep_the_order_of_the_rows():
    problem = problem_of(np.eye(4), [2.0, 2.0, 4.0, 2.0])
    told = worst_targets(problem, [1.0, 3.0, 4.0, 1.0])
    assert [target.row for target in told] == [0, 1, 3, 2]


def test_targets_that_do_not_count_in_the_loss_are_never_the_worst():
    problem = problem_of(np.eye(2), [100.0, 2.0], loss_weights=[0.0, 1.0])
    assert [target.row for target in worst_targets(problem, [0.0, 1.0])] == [1]


def test_the_contribution_of_a_hopeless_target_is_not_capped():
    problem = problem_of(np.eye(2), [1.0, 1.0], loss_weights=[1.0, 3.0])
    worst, _ = worst_targets(problem, [1.0, 9.0])
    assert worst.relative_error == 8.0
    assert worst.loss_contribution == 6.0


def test_all_contributions_add_up_to_the_uncapped_loss():
    problem = random_survey()
    told = worst_targets(problem, problem.design_weights * 3, count=100)
    assert len(told) == problem.n_targets
    errors = np.abs(problem.relative_errors(problem.design_weights * 3))
    total = sum(target.loss_contribution for target in told)
    assert total == pytest.approx(problem.loss_weights @ errors)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "ten"])
def test_a_count_that_is_no_number_of_targets_is_refused(count):
    with pytest.raises(InputError, match="count is"):
        worst_targets(two_households(), [1.0, 1.0], count=count)


@pytest.mark.parametrize("weights", [[1.0], [1.0, np.nan], "no"])
def test_weights_that_do_not_fit_the_problem_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        worst_targets(two_households(), weights)
