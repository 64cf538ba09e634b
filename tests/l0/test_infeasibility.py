"""Laws of conflicts: each is proved for all weights that are allowed, and none can be smaller."""

from itertools import combinations, product

import numpy as np
import pytest
from toy import one_out_of_reach, random_survey, two_households

from l0.survey import CalibrationProblem, InputError
from l0.survey.infeasibility import UNBOUNDED_RATIO, certified_gap, find_conflicts


def problem_of(constraints, values, design_weights=None, **options):
    records = np.shape(constraints)[1]
    design = np.full(records, 20.0) if design_weights is None else design_weights
    return CalibrationProblem(constraints, values, design, **options)


def conflicts_of(problem, **options):
    return find_conflicts(problem, **{"max_weight_ratio": 30.0, **options})


def found_rows(conflicts):
    return [tuple(sorted(conflict.rows)) for conflict in conflicts.found]


def planted(records: int = 500, targets: int = 57) -> CalibrationProblem:
    """Totals that the design meets, but the last three: two parts, and a whole 30 % above them."""
    draw = np.random.default_rng(3)
    rows = draw.gamma(1.0, 1.0, (targets + 3, records)) * (
        draw.random((targets + 3, records)) < 0.2
    )
    rows[-1] = rows[-2] + rows[-3]
    design = draw.gamma(2.0, 50.0, records)
    values = rows @ (design * draw.uniform(0.5, 2.0, records))
    values[-1] *= 1.3
    return CalibrationProblem(rows, values, design)


def test_a_count_and_a_sum_that_exclude_each_other_are_told_with_the_error_that_must_remain():
    # all weight on the second household: 120 of them are a fifth too many and a fifth too few
    problem = problem_of([[1, 1], [10, 20]], [100.0, 3000.0], target_names=["people", "income"])
    [conflict] = conflicts_of(problem).found
    assert sorted(conflict.rows) == [0, 1]
    assert conflict.least_error == pytest.approx(0.2, rel=1e-6)
    # 100 people have an income of 2000 at most, and an income of 3000 needs 150
    gaps = dict(zip(conflict.names, conflict.gaps, strict=True))
    assert gaps == pytest.approx({"people": 50.0, "income": 1000.0}, rel=1e-6)
    assert conflict.describe() == (
        "With people = 100 met, income is at most 2,000 with weights of 0 to 30 times the "
        "design's, but 3,000 is asked: one of these 2 targets is off by at least 20.0% of its "
        "scale."
    )


@pytest.mark.parametrize(
    ("value", "told", "error"), [(100.0, "at most 60", 0.4), (4.0, "at least 10", 1.5)]
)
def test_one_target_out_of_reach_is_told_with_what_the_weights_reach(value, told, error):
    problem = problem_of([[1, 1]], [value], [10.0, 10.0], target_names=["people"])
    found = conflicts_of(problem, min_weight_ratio=0.5, max_weight_ratio=3.0)
    [conflict] = found.found
    assert conflict.least_error == pytest.approx(error, rel=1e-9)
    assert conflict.describe().startswith(
        f"Alone, all other targets given up: people is {told} with"
    )
    assert found.set_aside == (0,)
    assert found.undecided == ()


def test_three_targets_fine_in_pairs_and_impossible_together_are_one_conflict():
    rows, values = [[1, 1, 0], [0, 1, 1], [1, 0, 1]], [10.0, 10.0, 50.0]
    [conflict] = conflicts_of(problem_of(rows, values)).found
    assert sorted(conflict.rows) == [0, 1, 2]
    # the third is the first and the second without twice the middle household: 20 at most
    assert conflict.gaps == pytest.approx([30.0] * 3, rel=1e-6)
    for pair in map(list, combinations(range(3), 2)):
        part = problem_of(np.array(rows)[pair], np.array(values)[pair])
        assert conflicts_of(part).found == ()


@pytest.mark.parametrize("problem", [two_households(), random_survey(), random_survey(seed=1)])
def test_a_problem_that_can_be_met_has_no_conflict_and_is_decided(problem):
    found = conflicts_of(problem)
    assert (found.found, found.undecided, found.set_aside) == ((), (), ())


def test_a_conflict_planted_among_sixty_targets_is_found_with_exactly_its_members():
    found = conflicts_of(planted())
    assert found_rows(found) == [(57, 58, 59)]
    assert found.undecided == ()
    # parts and whole share the miss of 0.3 (p + q) in proportion to their scales, p + q = 1
    assert found.found[0].least_error == pytest.approx(0.3 / 2.3, rel=0.06)


def test_no_member_of_a_conflict_can_be_left_out():
    draw = np.random.default_rng(5)
    rows, values = draw.random((12, 8)), draw.uniform(50.0, 1000.0, 12)
    found = conflicts_of(problem_of(rows, values), tolerance=0.05).found
    assert len(found) > 1
    for conflict in found:
        assert conflict.least_error > 0.05
        for out in conflict.rows:
            left = [row for row in conflict.rows if row != out]
            if left:
                part = problem_of(rows[left], values[left])
                assert conflicts_of(part, tolerance=0.05).found == ()


def test_the_targets_that_are_not_set_aside_have_no_conflict():
    draw = np.random.default_rng(5)
    rows, values = draw.random((12, 8)), draw.uniform(50.0, 1000.0, 12)
    aside = conflicts_of(problem_of(rows, values)).set_aside
    left = np.setdiff1d(np.arange(12), aside)
    assert 0 < len(left) < 12
    assert conflicts_of(problem_of(rows[left], values[left])).found == ()


@pytest.mark.parametrize("least", [None, 0.3])
def test_no_admissible_weights_come_nearer_than_a_conflict_says(least):
    draw = np.random.default_rng(7)
    rows, design = draw.normal(size=(6, 5)), draw.uniform(1.0, 5.0, 5)
    problem = problem_of(rows, draw.normal(size=6) * 20.0, design)
    found = conflicts_of(problem, min_weight_ratio=least, max_weight_ratio=4.0).found
    assert found
    ends = (least or 0.0, 4.0)
    corners = [design * ratios for ratios in product(ends, repeat=5)]
    inside = [design * draw.uniform(*ends, 5) for _ in range(200)]
    for conflict in found:
        members = list(conflict.rows)
        proved = conflict.least_error * (np.abs(conflict.multipliers) @ problem.scales[members])
        for weights in corners + inside:
            short = (problem.values - problem.estimates(weights))[members]
            assert np.abs(short / problem.scales[members]).max() >= conflict.least_error
            assert conflict.multipliers @ short >= proved * (1 - 1e-12)


@pytest.mark.parametrize("ratios", [(0.0, 3.0), (0.5, 2.0), (1.0, 1.0)])
def test_the_gap_is_the_least_over_all_corners_and_not_above_it(ratios):
    draw = np.random.default_rng(11)
    design = draw.uniform(0.0, 5.0, 6)
    problem = problem_of(draw.normal(size=(4, 6)), draw.normal(size=4) * 10.0, design)
    rows, multipliers = [3, 0, 2], draw.normal(size=3)
    corners = (design * np.array(corner) for corner in product(ratios, repeat=6))
    least = min(
        multipliers @ (problem.values - problem.estimates(weights))[rows] for weights in corners
    )
    gap = certified_gap(
        problem, rows, multipliers, min_weight_ratio=ratios[0], max_weight_ratio=ratios[1]
    )
    assert least - 1e-11 <= gap <= least


@pytest.mark.parametrize("size", [1e-320, 1e-310, 1e-200, 1e-10, 1e10, 1e200])
def test_the_gap_is_in_proportion_to_the_multipliers_however_small_or_large(size):
    draw = np.random.default_rng(11)
    problem = problem_of(draw.random((2, 6)), np.array([1.0, 1e5]))
    multipliers = np.array([-1.0, 0.25])
    gap = certified_gap(problem, [0, 1], multipliers, max_weight_ratio=3.0)
    assert gap > 0
    scaled = certified_gap(problem, [0, 1], multipliers * size, max_weight_ratio=3.0)
    assert scaled == pytest.approx(gap * size, rel=1e-3 if size < 1e-315 else 1e-12, abs=0.0)


@pytest.mark.parametrize("multipliers", [[1e-310, 0.0], [1.0, 0.0], [1e-310, 1.0], [5e-324, 1e300]])
def test_products_too_small_for_float64_prove_nothing(multipliers):
    # half the design weight meets the first; no household that may be kept counts in the second
    problem = problem_of([[1e-15, 0.0], [0.0, 1.0]], [0.5, 0.0], [1e15, 0.0])
    assert certified_gap(problem, [0, 1], multipliers, max_weight_ratio=None) <= 0


def test_multipliers_of_zero_prove_nothing():
    gap = certified_gap(two_households(), [0, 1], [0.0, 0.0], max_weight_ratio=30.0)
    assert -1e-300 < gap <= 0


def test_a_gap_beyond_float64_is_refused_with_the_next_move():
    for values, multipliers in (([1e300, 1.0], [1e100, 1.0]), ([1e308, 1e308], [1.0, 1.0])):
        problem = problem_of([[1, 1], [10, 20]], values)
        with pytest.raises(InputError, match=r"beyond float64.*give smaller ones"):
            certified_gap(problem, [0, 1], multipliers, max_weight_ratio=30.0)


def test_a_least_weight_ratio_alone_can_make_targets_exclude_each_other():
    # ten of each household at least: the other five people have an income of 100 at most
    problem = problem_of([[1, 1], [10, 20]], [25.0, 450.0])
    assert conflicts_of(problem).found == ()
    [conflict] = conflicts_of(problem, min_weight_ratio=0.5).found
    assert dict(zip(conflict.rows, conflict.gaps, strict=True)) == pytest.approx({0: 2.5, 1: 50.0})


def test_without_a_greatest_ratio_the_bound_taken_is_told():
    [conflict] = find_conflicts(one_out_of_reach(), max_weight_ratio=None).found
    assert conflict.weight_ratios == (0.0, UNBOUNDED_RATIO)
    # between 100 and 1000 the same estimate is nearest to both at 2000 / 11
    assert conflict.least_error == pytest.approx(9 / 11, rel=1e-6)


def test_a_target_of_zero_that_excludes_many_is_set_aside_in_their_stead():
    rows = [[0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [2, 1, 0]]
    found = conflicts_of(problem_of(rows, [30.0, 0.0, 50.0, 50.0, 150.0]))
    assert all(1 in conflict.rows for conflict in found.found)
    assert found.set_aside == (1,)
    assert found.undecided == ()


def test_targets_below_zero_are_told_from_their_side():
    problem = problem_of([[-1, -1], [1, 2]], [-10.0, 100.0], target_names=["losses", "people"])
    [conflict] = conflicts_of(problem).found
    assert sorted(conflict.names) == ["losses", "people"]
    gaps = dict(zip(conflict.names, conflict.gaps, strict=True))
    # losses of 10 leave 20 people; 100 people cost 50
    assert gaps == pytest.approx({"losses": 40.0, "people": 80.0}, rel=1e-6)


def test_conflicts_are_looked_for_within_areas_and_named_by_them():
    rows = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]
    problem = problem_of(rows, [100.0, 130.0, 100.0, 500.0])
    found = conflicts_of(problem, areas=["north", "north", "south", "nation"])
    assert found_rows(found) == [(0, 1)]
    assert found.found[0].area == "north"
    assert found.undecided == ()


def test_a_total_and_its_parts_are_a_conflict_across_areas_where_the_values_do_not_add_up():
    rows = np.vstack([np.kron(np.eye(3), np.ones((1, 2))), np.ones((1, 6))])
    areas = ["a", "b", "c", "nation"]
    apart = problem_of(rows, [100.0, 200.0, 300.0, 720.0])
    [conflict] = conflicts_of(apart, areas=areas, sums=[(3, [0, 1, 2])]).found
    assert conflict.rows[0] == 3
    assert conflict.area == "nation"
    assert conflict.gaps == pytest.approx([120.0] * 4, rel=1e-9)
    assert conflict.least_error == pytest.approx(120 / 1320, rel=1e-9)
    together = problem_of(rows, [100.0, 200.0, 300.0, 600.0])
    assert conflicts_of(together, areas=areas, sums=[(3, [0, 1, 2])]).found == ()


def test_a_sum_that_is_none_by_the_coefficients_is_not_told():
    problem = problem_of([[1, 0], [0, 1], [1, 5]], [100.0, 100.0, 300.0])
    areas = ["a", "b", "nation"]
    assert conflicts_of(problem, areas=areas, sums=[(2, [0, 1])]).found == ()


def test_records_of_design_weight_zero_cannot_resolve_a_conflict():
    rows, values = [[1, 1, 1], [10, 20, 50]], [100.0, 3000.0]
    assert conflicts_of(problem_of(rows, values)).found == ()
    [conflict] = conflicts_of(problem_of(rows, values, [20.0, 20.0, 0.0])).found
    assert conflict.least_error == pytest.approx(0.2, rel=1e-6)


def test_errors_within_the_tolerance_are_no_conflict():
    problem = problem_of([[1, 1], [1, 1]], [100.0, 110.0])
    # 100 and 110 are each missed by 1 / 21 at best
    assert conflicts_of(problem, tolerance=0.048).found == ()
    assert found_rows(conflicts_of(problem, tolerance=0.047)) == [(0, 1)]


def test_the_worst_conflicts_are_told_and_the_rest_is_undecided():
    rows = np.repeat(np.eye(3), 2, axis=0)
    problem = problem_of(rows, [100.0, 110.0, 100.0, 300.0, 100.0, 150.0])
    areas = ["a", "a", "b", "b", "c", "c"]
    found = conflicts_of(problem, areas=areas, most=2)
    assert found_rows(found) == [(2, 3), (4, 5)]
    assert set(found.undecided) >= {"a"}
    whole = conflicts_of(problem, areas=areas)
    assert found_rows(whole) == [(2, 3), (4, 5), (0, 1)]
    assert whole.undecided == ()


def test_without_time_nothing_is_decided_but_what_is_out_of_reach():
    problem = problem_of([[1, 1], [10, 20], [1, 0]], [100.0, 3000.0, 1e6])
    found = conflicts_of(problem, seconds=0.0)
    assert found_rows(found) == [(2,)]
    assert found.undecided == ("",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_weight_ratio": 0.0}, "max_weight_ratio is 0"),
        ({"max_weight_ratio": np.inf}, "max_weight_ratio is inf"),
        ({"max_weight_ratio": "30"}, "max_weight_ratio is '30'"),
        ({"min_weight_ratio": -1.0}, "min_weight_ratio is -1"),
        ({"min_weight_ratio": 31.0}, "min_weight_ratio is 31, above max_weight_ratio, 30"),
        ({"areas": ["a"]}, "areas has 1 names for 2 targets"),
        ({"areas": "ab"}, "areas is 'ab', but must be a list of names"),
        ({"areas": [1, 2]}, r"areas is \[1, 2\], but must be a list of names"),
        ({"sums": [(0, [])]}, "position 0, but must be pairs"),
        ({"sums": [3]}, "position 0, but must be pairs"),
        ({"sums": [(0, [2])]}, "must be distinct positions from 0 to 1"),
        ({"sums": [(0, [0])]}, "must be distinct positions"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"most": 0}, "most is 0"),
        ({"seconds": -1.0}, "seconds is -1"),
    ],
)
def test_bad_options_are_refused_with_the_reason(options, message):
    with pytest.raises(InputError, match=message):
        conflicts_of(two_households(), **options)


def test_what_is_no_problem_is_refused_by_its_type():
    with pytest.raises(InputError, match="problem is a list"):
        conflicts_of([[1.0]])


@pytest.mark.parametrize(
    ("rows", "multipliers", "message"),
    [
        ([], [], "rows has"),
        ([0.5], [1.0], "rows has"),
        ([0, 0], [1.0, 1.0], "distinct positions"),
        ([2], [1.0], "distinct positions from 0 to 1"),
        ([0, 1], [1.0], "multipliers has shape"),
        ([0], [np.nan], "multipliers are not finite"),
    ],
)
def test_multipliers_that_do_not_fit_are_refused(rows, multipliers, message):
    with pytest.raises(InputError, match=message):
        certified_gap(two_households(), rows, multipliers, max_weight_ratio=30.0)
