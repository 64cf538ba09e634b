"""Laws of a calibration problem: what it takes, what it refuses, and what it computes."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from toy import random_survey, signed_totals, two_states

from l0.survey import CalibrationProblem, InputError

GOOD = {
    "constraints": np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]),
    "values": np.array([4.0, 5.0]),
    "design_weights": np.array([1.0, 2.0, 3.0]),
}


def build(**changed):
    arguments = GOOD | changed
    positional = [arguments.pop(name) for name in ("constraints", "values", "design_weights")]
    return CalibrationProblem(*positional, **arguments)


def five_targets(**options):
    return CalibrationProblem(np.eye(5), np.ones(5), np.ones(5), **options)


def with_entry(name, place, value):
    array = GOOD[name].copy()
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            with_entry("constraints", (1, 2), np.nan),
            "1 entries of constraints are not finite in float32, .* target 1, record 2",
        ),
        (
            with_entry("constraints", (0, 1), np.inf),
            "1 entries of constraints are not finite in float32, .* target 0, record 1",
        ),
        (with_entry("constraints", (0, 2), 1e39), "not finite in float32, .* target 0, record 2"),
        (with_entry("values", 1, np.nan), "1 entries of values are not finite, at positions 1"),
        (with_entry("values", 0, -np.inf), "1 entries of values are not finite, at positions 0"),
        (with_entry("design_weights", 2, np.nan), "design_weights are not finite, at positions 2"),
        (with_entry("design_weights", 1, np.inf), "design_weights are not finite, at positions 1"),
        (with_entry("design_weights", 1, -0.1), "design_weights are negative, at positions 1"),
        ({"design_weights": np.zeros(3)}, "all design weights are zero"),
        ({"constraints": GOOD["constraints"].T}, "transpose them if rows are records"),
        ({"constraints": np.ones(3)}, r"must have the shape .* but got \(3,\)"),
        ({"constraints": np.ones((2, 3, 1))}, r"must have the shape .* but got \(2, 3, 1\)"),
        ({"constraints": np.empty((0, 3))}, r"must have the shape .* but got \(0, 3\)"),
        ({"constraints": GOOD["constraints"] * 1j}, "constraints must be real numbers"),
        ({"constraints": sp.csr_array(GOOD["constraints"] * 1j)}, "constraints must be real numbe"),
        ({"constraints": [["a", "b", "c"]] * 2}, "constraints must be real numbers"),
        ({"constraints": [[1.0, 2.0, 3.0], [1.0]]}, "constraints must be real numbers"),
        ({"values": np.ones(3)}, r"values has shape \(3,\), but 2 targets need \(2,\)"),
        ({"values": np.ones((2, 1))}, r"values has shape \(2, 1\), but 2 targets need \(2,\)"),
        ({"values": ["four", "five"]}, "values must be real numbers"),
        ({"design_weights": np.ones(2)}, r"design_weights has shape \(2,\), but 3 records need"),
        ({"target_names": ["one"]}, "target_names has 1 names, 1 of them distinct, for 2 targets"),
        ({"target_names": ["a", "a"]}, "has 2 names, 1 of them distinct, .* 'a' is given twice"),
        ({"target_names": ["c", "b", "a", "b"]}, "has 4 names, 3 .* 2 targets. 'b' is given twic"),
        ({"target_names": "ab"}, "target_names is the one name 'ab', but must be a list"),
        ({"scales": [1.0, 0.0]}, "1 entries of scales are not above zero, at positions 1"),
        ({"scales": [-1.0, 1.0]}, "1 entries of scales are not above zero, at positions 0"),
        ({"scales": [1.0]}, r"scales has shape \(1,\), but 2 targets need"),
        ({"scales": [1.0, np.nan]}, "1 entries of scales are not finite"),
        ({"loss_weights": [1.0, -1.0]}, "1 entries of loss_weights are negative, at positions 1"),
        ({"loss_weights": [0.0, 0.0]}, "all loss weights are zero"),
        ({"loss_weights": [1.0, np.inf]}, "1 entries of loss_weights are not finite"),
        ({"scale_floor": 0.0}, "scale_floor is 0.0, but must be a finite number above 0"),
        ({"scale_floor": -1}, "scale_floor is -1, but must be"),
        ({"scale_floor": np.nan}, "scale_floor is nan, but must be"),
        ({"groups": ["a"]}, r"groups has shape \(1,\), but 2 targets need \(2,\)"),
        ({"groups": [0.0, np.nan]}, "groups has entries that are not finite"),
        ({"groups": np.array(["a", None], dtype=object)}, "groups must be one number or one name"),
        ({"groups": [["a"], ["a", "b"]]}, "groups must be one number or one name a target"),
        ({"group_multipliers": {"a": 2.0}}, "group_multipliers requires groups"),
        (
            {"groups": ["a", "b"], "group_multipliers": {"c": 2.0}},
            r"group_multipliers key c not found in groups, which has \['a', 'b'\]",
        ),
        (
            {"groups": ["a", "b"], "group_multipliers": {"a": -1.0}},
            r"group_multipliers\[a\] is -1.0, but must be",
        ),
        ({"groups": ["a", "b"], "group_multipliers": [1.0, 2.0]}, "must map groups to factors"),
        ({"groups": [0, 0], "group_multipliers": {0: 0}}, "all loss weights are zero"),
    ],
)
def test_input_that_cannot_be_right_is_refused_with_its_place(changed, message):
    with pytest.raises(InputError, match=message):
        build(**changed)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(np.ndarray.tolist, id="list"),
        pytest.param(np.float32, id="float32"),
        pytest.param(sp.csr_array, id="csr"),
        pytest.param(sp.csc_matrix, id="csc matrix"),
        pytest.param(sp.coo_array, id="coo"),
        pytest.param(torch.from_numpy, id="torch"),
        pytest.param(lambda dense: torch.from_numpy(dense).bfloat16(), id="bfloat16"),
        pytest.param(lambda dense: torch.from_numpy(dense).requires_grad_(), id="with gradient"),
        pytest.param(lambda dense: torch.from_numpy(dense).to_sparse(), id="torch coo"),
        pytest.param(lambda dense: torch.from_numpy(dense).to_sparse_csr(), id="torch csr"),
    ],
)
def test_constraints_of_any_kind_make_the_same_problem(form):
    problem = build(constraints=form(GOOD["constraints"]))
    assert isinstance(problem.constraints, sp.csc_array)
    assert problem.constraints.dtype == np.float32
    assert problem.constraints.indices.dtype == problem.constraints.indptr.dtype == np.int32
    assert (problem.constraints.toarray() == GOOD["constraints"]).all()
    assert problem.digest() == build().digest()


def test_float32_carries_a_coefficient_to_a_part_in_ten_million():
    given = np.random.default_rng(0).lognormal(0.0, 20.0, (30, 40))
    problem = CalibrationProblem(given, np.ones(30), np.ones(40))
    np.testing.assert_allclose(problem.constraints.toarray(), given, rtol=1e-7)


def test_vectors_may_be_tensors_lists_and_whole_numbers():
    problem = build(values=torch.tensor([4, 5]), design_weights=[True, 2, 3.0])
    assert problem.values.tolist() == [4, 5]
    assert problem.design_weights.tolist() == [1, 2, 3]


def test_entries_given_twice_add_up():
    indices = torch.tensor([[0, 0, 1], [2, 2, 0]])
    twice = torch.sparse_coo_tensor(
        indices, torch.tensor([1.0, 2.0, 5.0]), (2, 3), check_invariants=True
    )
    expected = [[0, 0, 3], [5, 0, 0]]
    assert build(constraints=twice).constraints.toarray().tolist() == expected
    by_scipy = sp.coo_array((twice._values().numpy(), tuple(indices.numpy())), shape=(2, 3))
    assert build(constraints=by_scipy).constraints.toarray().tolist() == expected


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
def test_what_the_caller_does_to_its_arrays_later_changes_nothing(form):
    given = {name: array.copy() for name, array in GOOD.items()}
    matrix = form(given["constraints"])
    problem = build(**(given | {"constraints": matrix}))
    data = matrix.data if sp.issparse(matrix) else matrix
    for array in (data, given["values"], given["design_weights"]):
        array[:] = 99.0
    assert (problem.constraints.toarray() == GOOD["constraints"]).all()
    assert (problem.values == GOOD["values"]).all()
    assert (problem.design_weights == GOOD["design_weights"]).all()


def test_the_callers_matrix_is_not_put_in_order():
    unsorted = sp.csr_array((np.array([1.0, 2.0]), np.array([2, 0]), np.array([0, 2])), (1, 3))
    CalibrationProblem(unsorted, [1.0], [1.0, 1.0, 1.0])
    assert unsorted.indices.tolist() == [2, 0]


def test_a_problem_cannot_be_changed():
    problem = build()
    with pytest.raises(AttributeError):
        problem.values = np.ones(2)
    matrix = problem.constraints
    for array in (
        *(matrix.data, matrix.indices, matrix.indptr),
        *(problem.values, problem.design_weights, problem.scales, problem.loss_weights),
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_without_more_said_targets_count_alike_over_their_size_but_at_least_one():
    problem = build(values=[-4.0, 0.25])
    assert problem.scales.tolist() == [4.0, 1.0]
    assert problem.loss_weights.tolist() == [0.5, 0.5]
    assert problem.target_names == ("target 0", "target 1")
    assert (problem.n_targets, problem.n_records) == (2, 3)


def test_loss_weights_are_shares():
    assert build(loss_weights=[3, 1]).loss_weights.tolist() == [0.75, 0.25]


def test_the_floor_is_the_least_scale():
    problem = build(values=[-4.0, 0.25], scale_floor=2.5)
    assert problem.scales.tolist() == [4.0, 2.5]


def test_groups_count_alike_however_many_targets_each_has():
    grouped = five_targets(groups=["tax", "tax", "tax", "people", "people"])
    np.testing.assert_allclose(grouped.loss_weights, [1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4])


def test_groups_may_be_numbers_and_one_of_its_own_for_each_changes_nothing():
    assert five_targets(groups=[3, 1, 2, 7, 5]).loss_weights.tolist() == [0.2] * 5
    by_number = five_targets(groups=[0, 0, 0, 1, 1]).loss_weights
    assert (by_number == five_targets(groups=list("aaabb")).loss_weights).all()


def test_a_groups_share_is_divided_by_its_targets_loss_weights():
    grouped = five_targets(groups=list("aaabb"), loss_weights=[1, 1, 2, 0, 5])
    np.testing.assert_allclose(grouped.loss_weights, [1 / 8, 1 / 8, 1 / 4, 0, 1 / 2])


def test_a_group_without_loss_weight_leaves_the_loss_to_the_others():
    grouped = five_targets(groups=list("aaabb"), loss_weights=[1, 1, 2, 0, 0])
    np.testing.assert_allclose(grouped.loss_weights, [1 / 4, 1 / 4, 1 / 2, 0, 0])


def test_a_multiplier_raises_its_group_against_the_others():
    grouped = five_targets(groups=list("aaabb"), group_multipliers={"b": 3.0})
    np.testing.assert_allclose(grouped.loss_weights, [1 / 12, 1 / 12, 1 / 12, 3 / 8, 3 / 8])
    without = five_targets(groups=list("aaabb"), group_multipliers={"a": 0})
    np.testing.assert_allclose(without.loss_weights, [0, 0, 0, 1 / 2, 1 / 2])


def test_targets_set_aside_do_not_count_and_the_others_share_the_loss():
    problem = build(loss_weights=[3, 1], target_names=["north", "south"])
    left = problem.without(np.array([True, False]))
    assert left.loss_weights.tolist() == [0.0, 1.0]
    assert problem.loss_weights.tolist() == [0.75, 0.25]
    assert left.constraints is problem.constraints
    assert left.target_names == problem.target_names
    assert (left.values == problem.values).all()
    assert (left.scales == problem.scales).all()
    with pytest.raises(ValueError, match="read-only"):
        left.loss_weights[0] = 1.0


def test_shares_of_the_loss_keep_their_ratio_when_targets_are_set_aside():
    left = five_targets(loss_weights=[1, 2, 3, 4, 0]).without(np.array([1, 0, 0, 0, 0], dtype=bool))
    np.testing.assert_allclose(left.loss_weights, [0, 2 / 9, 3 / 9, 4 / 9, 0])
    twice = left.without(np.array([0, 0, 0, 1, 0], dtype=bool))
    np.testing.assert_allclose(twice.loss_weights, [0, 2 / 5, 3 / 5, 0, 0])


def test_some_target_must_be_left_to_fit():
    with pytest.raises(InputError, match="no target would count in the loss: leave some in"):
        build(loss_weights=[1.0, 0.0]).without(np.array([True, False]))


@pytest.mark.parametrize(
    "changed",
    [
        with_entry("constraints", (0, 0), 1.5),
        {"constraints": GOOD["constraints"][:, [0, 2, 1]]},
        {"constraints": GOOD["constraints"][[1, 0]]},
        with_entry("values", 1, 5.5),
        with_entry("design_weights", 2, 3.5),
        {"scale_floor": 4.5},
        {"scales": [4.0, 6.0]},
        {"loss_weights": [1.0, 2.0]},
        {"groups": ["a", "b"], "group_multipliers": {"a": 2.0}},
        {
            "constraints": np.hstack([GOOD["constraints"], np.zeros((2, 1))]),
            "design_weights": np.array([1.0, 2.0, 3.0, 0.0]),
        },
    ],
    ids=str,
)
def test_the_digest_tells_problems_apart_that_are_fitted_differently(changed):
    assert build(**changed).digest() != build().digest()


def test_the_digest_is_that_of_what_a_fit_depends_on():
    digest = build().digest()
    assert len(digest) == 64
    assert int(digest, 16) > 0
    assert build(target_names=["north", "south"], loss_weights=[2, 2]).digest() == digest
    hidden = np.array([True, False])
    assert build().without(hidden).digest() == build(loss_weights=[0, 1]).digest() != digest


def test_a_problem_read_again_is_the_one_written_to_the_last_digit(tmp_path):
    path = tmp_path / "problem.npz"
    whole = random_survey(50, 7, without_weight=5)
    hidden = whole.without(np.array([0, 1, 0, 0, 1, 0, 0], dtype=bool))
    named = build(target_names=["Nord", "Süd, sonst"], scales=[3.0, 7.0], loss_weights=[1, 2])
    for problem in (whole, hidden, named):
        problem.save(path)
        again = CalibrationProblem.load(path)
        assert again.digest() == problem.digest()
        assert again.target_names == problem.target_names
        with pytest.raises(ValueError, match="read-only"):
            again.loss_weights[0] = 1.0


@pytest.mark.parametrize("coefficients", [1, 3, 7, 10_000])
def test_estimates_are_exact_however_many_coefficients_are_taken_at_a_time(
    coefficients, monkeypatch
):
    problem = random_survey(50, 6, without_weight=10)
    weights = problem.design_weights / 7
    expected = problem.constraints.toarray().astype(np.float64) @ weights
    monkeypatch.setattr("l0.survey.problem._BLOCK", coefficients)
    np.testing.assert_allclose(problem.estimates(weights), expected, rtol=1e-14)


def test_estimates_of_a_problem_without_any_coefficient_are_zero():
    problem = CalibrationProblem(np.zeros((2, 3)), [1.0, 2.0], [1.0, 1.0, 1.0])
    assert problem.estimates([1.0, 2.0, 3.0]).tolist() == [0.0, 0.0]


def test_errors_are_signed_for_targets_above_below_and_at_zero():
    problem = signed_totals()
    weights = [1.0, 2.0]
    assert problem.estimates(weights).tolist() == [14.0, -6.0, 0.5]
    assert problem.relative_errors(weights).tolist() == [0.4, -0.5, 0.5]


def test_errors_are_divided_by_the_scales_given():
    assert build(scales=[2.0, 10.0]).relative_errors([1, 1, 1]).tolist() == [-1.0, -0.3]


@pytest.mark.parametrize("weights", [np.ones(2), np.ones((3, 1)), [1.0, np.nan, 1.0]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        build().estimates(weights)


def meeting(members, *, values=None, **changed):
    """Targets by the records they count, out of four."""
    constraints = np.array([[float(record in row) for record in range(4)] for row in members])
    values = np.ones(len(members)) if values is None else values
    arguments = {"design_weights": np.ones(4)} | changed
    return CalibrationProblem(
        constraints, values, arguments.pop("design_weights"), **arguments
    ).fewest_records()


def test_the_fewest_records_are_the_targets_that_share_none():
    assert meeting([{0}, {1}, {2}]) == 3
    assert meeting([{0, 1, 2, 3}, {0, 1}]) == 1
    # {3} first, then {0, 1}; the others touch one of them
    assert meeting([{0, 1}, {1, 2}, {3}, {2, 3}]) == 2


def test_targets_that_ask_for_nothing_need_no_record():
    assert meeting([{0}, {1}], values=[5.0, 0.0]) == 1
    assert meeting([{0}, set()]) == 1
    assert meeting([{0}, {1}], loss_weights=[1.0, 0.0]) == 1


def test_coefficients_stored_as_zero_are_none():
    stored = sp.csr_array(
        (np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 1, 2])), shape=(2, 2)
    )
    assert CalibrationProblem(stored, [5.0, 5.0], [1.0, 1.0]).fewest_records() == 1


def test_records_of_design_weight_zero_cannot_serve_a_target():
    # the first target is out of reach of any budget, and must not forbid them all
    assert meeting([{0}, {1}], design_weights=[0.0, 1.0, 1.0, 1.0]) == 1
    # through record 0 alone do these two meet
    assert meeting([{0, 1}, {0, 2}], design_weights=[0.0, 1.0, 1.0, 1.0]) == 2


def test_no_smaller_set_of_records_meets_every_target():
    draw = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        constraints = (draw.random((5, 6)) < 0.35).astype(float)
        constraints[np.arange(5), draw.integers(0, 6, 5)] = 1.0
        fewest = CalibrationProblem(constraints, np.ones(5), np.ones(6)).fewest_records()
        smallest = next(
            size
            for size in range(1, 7)
            for kept in combinations(range(6), size)
            if constraints[:, kept].any(axis=1).all()
        )
        assert 1 <= fewest <= smallest
        seen.add(fewest)
    assert len(seen) > 2


@pytest.mark.parametrize("budget", [2, 3, 4, np.int64(4)])
def test_a_budget_that_reaches_every_target_is_taken(budget):
    two_states().check_budget(budget)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "budget is 0, but 4 records .* Choose a budget from 1 to 4"),
        (-3, "budget is -3, but 4 records"),
        (5, "budget is 5, but 4 records"),
        (1, "budget is 1, but 2 targets share no record"),
        (2.5, "budget is 2.5, but must be a whole number"),
        ("2", "budget is '2', but must be a whole number"),
        (None, "budget is None, but must be a whole number"),
    ],
)
def test_a_budget_that_cannot_be_had_is_refused(budget, message):
    with pytest.raises(InputError, match=message):
        two_states().check_budget(budget)


def test_records_of_design_weight_zero_do_not_count_towards_a_budget():
    problem = random_survey(20, without_weight=5)
    problem.check_budget(15)
    with pytest.raises(InputError, match="budget is 16, but 15 records"):
        problem.check_budget(16)
