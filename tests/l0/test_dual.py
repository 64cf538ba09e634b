"""Laws of the dual's weights: optima known otherwise, gaps, bounds and totals, refusals."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, minimize
from scipy.special import kl_div
from toy import two_households

from l0.errors import InputError
from l0.survey.dual import Losses, solve_dual

EVERY_LOSS = {
    "absolute": Losses.absolute,
    "squared": Losses.squared,
    "huber": lambda loss_weights: Losses.huber(loss_weights, delta=0.05),
}
each_loss = pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)


def in_scales(problem):
    """Constraints and values of a problem, divided by its scales."""
    return (sp.csr_array(problem.constraints) / problem.scales[:, None]).tocsr(), (
        problem.values / problem.scales
    )


def random_targets(targets=12, records=80, *, seed=0, noise=0.2):
    """Estimates of weights unlike the reference, some moved out of reach; and that reference."""
    draw = np.random.default_rng(seed)
    rows = draw.gamma(1.0, 1.0, (targets, records)) * (draw.random((targets, records)) < 0.3)
    rows[:, 0] = 1.0
    reference = draw.gamma(2.0, 500.0, records) + 1.0
    due = rows @ (reference * np.exp(draw.normal(0, 0.5, records)))
    return (
        sp.csr_array(rows / due[:, None]),
        np.exp(draw.normal(0, noise, targets)),
        reference,
        draw.random(targets) / targets,
    )


def solve(rows, values, reference, loss_weights, *, loss=Losses.absolute, gamma=0.03, **options):
    return solve_dual(
        rows,
        values,
        reference=reference,
        losses=loss(loss_weights),
        strength=gamma / reference.sum(),
        **options,
    )


def divergence(weights, reference):
    return float(kl_div(weights, reference).sum())


def scipy_optimum(rows, values, reference, losses, *, gamma, bounds, total):
    """The least objective, from scipy: prices are slack variables where the box is finite."""
    targets, records = rows.shape
    strength = gamma / reference.sum()
    # error = smooth + above - below, where above and below cost the box and smooth is quadratic
    curved, boxed = losses.ridge > 0, np.isfinite(losses.box)
    linear = np.where(boxed, losses.box, 0.0)

    def objective(x):
        ratio, smooth, above, below = np.split(
            x, [records, records + targets, records + 2 * targets]
        )
        quadratic = (smooth[curved] ** 2 / losses.ridge[curved] / 2).sum()
        return (
            quadratic
            + linear @ (above + below)
            + strength * divergence(ratio * reference, reference)
        )

    identity = np.eye(targets)
    meets = LinearConstraint(
        np.hstack([rows.toarray() * reference, -identity, -identity, identity]), values, values
    )
    summed = np.concatenate([reference, np.zeros(3 * targets)]) / reference.sum()
    within = LinearConstraint(summed[None], *(np.array([total]).T / reference.sum()))
    free = np.where(curved, np.inf, 0.0)
    one_sided = np.where(boxed, np.inf, 0.0)
    lowest = np.concatenate([bounds[0] / reference, -free, np.zeros(2 * targets)])
    highest = np.concatenate([bounds[1] / reference, free, one_sided, one_sided])
    start = np.concatenate([np.ones(records), np.zeros(3 * targets)])
    found = minimize(
        objective,
        np.clip(start, lowest, highest),
        method="SLSQP",
        bounds=Bounds(lowest, highest),
        constraints=[meets, within],
        options={"ftol": 1e-12, "maxiter": 1_000},
    )
    assert found.success
    return found.fun, found.x[:records] * reference


def test_two_households_stop_where_the_pull_equals_the_error():
    # omega / scale = gamma / total * log(weight / 20), towards each target from 20
    problem = two_households()
    solution = solve(*in_scales(problem), problem.design_weights, problem.loss_weights, gamma=10.0)
    optimum = [20 * np.exp(-0.5 / 15 * 40 / 10), 20 * np.exp(0.5 / 40 * 40 / 10)]
    np.testing.assert_allclose(solution.weights, optimum, rtol=1e-12)
    np.testing.assert_allclose(solution.prices, [0.5, -0.5])
    objective = 0.5 * (optimum[0] / 15 - 1) + 0.5 * (1 - optimum[1] / 40)
    objective += 10 / 40 * divergence(np.array(optimum), problem.design_weights)
    assert solution.primal == pytest.approx(objective, rel=1e-12)


def test_two_households_hit_both_targets_where_the_pull_is_weak():
    problem = two_households()
    solution = solve(
        *in_scales(problem), problem.design_weights, problem.loss_weights, tolerance=1e-12
    )
    np.testing.assert_allclose(solution.weights, [15.0, 40.0], rtol=1e-9)
    # price / scale = -gamma / total * log(weight / 20)
    prices = -0.03 / 40 * np.log([15 / 20, 40 / 20]) * [15, 40]
    np.testing.assert_allclose(solution.prices, prices, rtol=1e-6)


def test_the_losses_are_those_of_their_formulas():
    errors, weights = np.array([-2.0, -0.1, 0.0, 0.2, 3.0]), np.array([1.0, 2.0, 3.0, 0.5, 0.0])
    np.testing.assert_allclose(Losses.absolute(weights).of(errors), weights * abs(errors))
    np.testing.assert_allclose(Losses.squared(weights).of(errors), weights * errors**2)
    huber = np.where(abs(errors) <= 0.15, errors**2 / 0.3, abs(errors) - 0.075)
    np.testing.assert_allclose(Losses.huber(weights, delta=0.15).of(errors), weights * huber)


@each_loss
@pytest.mark.parametrize("gamma", [1.0, 0.03, 1e-3])
@pytest.mark.parametrize("seed", range(3))
def test_the_gap_is_what_was_asked_for_and_bounds_the_objective(loss, gamma, seed):
    rows, values, reference, loss_weights = random_targets(seed=seed)
    solution = solve(rows, values, reference, loss_weights, loss=loss, gamma=gamma)
    assert solution.converged
    assert 0 <= solution.gap <= 1e-6 * solution.primal
    errors = rows @ solution.weights - values
    objective = loss(loss_weights).of(errors).sum()
    objective += gamma / reference.sum() * divergence(solution.weights, reference)
    assert solution.primal == pytest.approx(objective, rel=1e-12)
    assert solution.gap == pytest.approx(solution.primal - solution.dual, abs=1e-12)
    draw = np.random.default_rng(seed)
    for _ in range(20):
        other = solution.weights * np.exp(draw.normal(0, 0.01, len(reference)))
        objective = loss(loss_weights).of(rows @ other - values).sum()
        objective += gamma / reference.sum() * divergence(other, reference)
        assert objective > solution.dual


@each_loss
@pytest.mark.parametrize("ratios", [(0.0, np.inf), (0.7, 1.4)], ids=["free", "bounded"])
@pytest.mark.parametrize(
    "share", [(0.0, np.inf), (1.1, 1.1), (0.8, 0.9)], ids=["any total", "fixed", "band"]
)
def test_scipy_finds_the_same_optimum(loss, ratios, share):
    rows, values, reference, loss_weights = random_targets(4, 7, seed=3)
    bounds = ratios[0] * reference, ratios[1] * reference
    total = share[0] * reference.sum(), share[1] * reference.sum()
    objective, weights = scipy_optimum(
        rows, values, reference, loss(loss_weights), gamma=0.1, bounds=bounds, total=total
    )
    solution = solve(
        rows,
        values,
        reference,
        loss_weights,
        loss=loss,
        gamma=0.1,
        bounds=bounds,
        total=total,
        tolerance=1e-10,
    )
    assert solution.converged
    assert solution.primal == pytest.approx(objective, rel=1e-6)
    np.testing.assert_allclose(solution.weights, weights, rtol=5e-3)


@each_loss
def test_bounds_hold_exactly_and_some_weights_sit_on_them(loss):
    rows, values, reference, loss_weights = random_targets(seed=1)
    bounds = 0.8 * reference, 1.25 * reference
    solution = solve(rows, values, reference, loss_weights, loss=loss, bounds=bounds)
    assert solution.converged
    assert (solution.weights >= bounds[0]).all()
    assert (solution.weights <= bounds[1]).all()
    assert (solution.weights == bounds[0]).any()
    assert (solution.weights == bounds[1]).any()


@pytest.mark.parametrize("ratios", [(0.0, np.inf), (0.5, 1.5)], ids=["free", "bounded"])
@pytest.mark.parametrize("share", [0.7, 1.0, 1.3])
def test_a_fixed_total_is_met_to_rounding_whether_or_not_the_prices_have_converged(ratios, share):
    rows, values, reference, loss_weights = random_targets(seed=2)
    total = share * reference.sum()
    for iterations in (0, 1, 100):
        solution = solve(
            rows,
            values,
            reference,
            loss_weights,
            bounds=(ratios[0] * reference, ratios[1] * reference),
            total=(total, total),
            max_iterations=iterations,
        )
        assert solution.weights.sum() == pytest.approx(total, rel=1e-14)
        assert solution.converged == (iterations == 100)


def test_a_total_that_only_the_bounds_themselves_reach_is_met():
    rows, values, reference, loss_weights = random_targets(seed=2)
    upper = 1.5 * reference
    total = upper.sum()
    solution = solve(
        rows, values, reference, loss_weights, bounds=(0.0, upper), total=(total, total)
    )
    assert (solution.weights == upper).all()


def test_a_band_on_the_total_moves_nothing_unless_the_total_would_leave_it():
    arguments = random_targets(seed=4)
    free = solve(*arguments, tolerance=1e-10)
    total = free.weights.sum()
    inside = solve(*arguments, total=(0.9 * total, 1.1 * total), tolerance=1e-10)
    np.testing.assert_allclose(inside.weights, free.weights, rtol=1e-4)
    for band, edge in [((1.05, 1.2), 1.05), ((0.5, 0.9), 0.9)]:
        limits = band[0] * total, band[1] * total
        held = solve(*arguments, total=limits, tolerance=1e-10)
        fixed = solve(*arguments, total=(edge * total, edge * total), tolerance=1e-10)
        assert held.weights.sum() == pytest.approx(edge * total, rel=1e-14)
        assert held.primal == pytest.approx(fixed.primal, rel=1e-9)
        assert held.primal > free.primal


@each_loss
@pytest.mark.parametrize("gamma", [1.0, 0.03, 1e-3])
@pytest.mark.parametrize("options", [{}, {"total": (1e5, 1e5)}], ids=["free", "fixed"])
def test_targets_that_repeat_are_empty_or_outnumber_the_records_still_converge(
    loss, gamma, options
):
    rows, values, reference, loss_weights = random_targets(40, 15, seed=5)
    repeated = sp.csr_array(sp.vstack([rows, rows[:10], 0 * rows[:3], rows[:2] * 1e-12]))
    values = np.concatenate([values, values[:5], 1.1 * values[5:10], [0.0, 1.0, -2.0, 1.0, 1.0]])
    loss_weights = np.concatenate([loss_weights, loss_weights[:15]])
    loss_weights[3] = 0.0
    reference = reference * 1e5 / reference.sum()
    solution = solve(repeated, values, reference, loss_weights, loss=loss, gamma=gamma, **options)
    assert solution.converged
    assert solution.prices[3] == 0.0


def test_a_weight_may_be_fixed_by_its_bounds():
    rows, values, reference, loss_weights = random_targets(seed=6)
    solution = solve(rows, values, reference, loss_weights, bounds=(reference, reference))
    assert (solution.weights == reference).all()
    assert solution.converged


def test_a_reference_that_already_fits_is_returned_as_it_is():
    rows, _, reference, loss_weights = random_targets(seed=7)
    for values in (rows @ reference, (rows * 0.1) @ (reference * 10)):
        solution = solve(rows, values, reference, loss_weights)
        assert solution.iterations == 0
        assert solution.converged
        np.testing.assert_array_equal(solution.weights, reference)


def test_without_targets_the_weights_are_the_reference_raised_to_the_total():
    reference = np.array([1.0, 2.0, 5.0])
    solution = solve(sp.csr_array((0, 3)), np.zeros(0), reference, np.zeros(0), total=(16.0, 20.0))
    np.testing.assert_allclose(solution.weights, 2 * reference, rtol=1e-15)
    assert solution.converged


def test_a_stronger_pull_keeps_weights_nearer_to_the_reference():
    rows, values, reference, loss_weights = random_targets(seed=8)
    solutions = [
        solve(rows, values, reference, loss_weights, gamma=gamma) for gamma in (1e-3, 0.03, 1, 30)
    ]
    distances = [divergence(solution.weights, reference) for solution in solutions]
    losses = [loss_weights @ abs(rows @ solution.weights - values) for solution in solutions]
    assert distances == sorted(distances, reverse=True)
    assert losses == sorted(losses)
    assert distances[0] > 100 * distances[-1]


def test_prices_of_a_neighbouring_problem_save_iterations():
    arguments = random_targets(30, 200, seed=1)
    cold = solve(*arguments, gamma=1e-3)
    warm = solve(*arguments, gamma=1e-3, start_prices=cold.prices)
    assert warm.iterations == 0
    assert warm.weights.tobytes() == cold.weights.tobytes()
    near = solve(*arguments, gamma=1.05e-3, start_prices=cold.prices)
    assert near.iterations < cold.iterations


def test_the_same_arguments_give_the_same_bytes():
    arguments = random_targets(30, 200, seed=9)
    first, second = (solve(*arguments, total=(2e5, 2.1e5)) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.prices.tobytes() == second.prices.tobytes()


@each_loss
@pytest.mark.parametrize("share", [None, 1.1], ids=["free", "fixed"])
def test_a_handful_of_steps_suffices_whether_or_not_the_total_is_fixed(loss, share):
    arguments = random_targets(30, 200, seed=1)
    total = share and (share * arguments[2].sum(),) * 2
    for gamma in (1.0, 0.03, 1e-3):
        assert solve(*arguments, loss=loss, gamma=gamma, total=total).iterations <= 8


def test_too_few_iterations_are_told_and_the_gap_with_them():
    solution = solve(*random_targets(seed=1), gamma=1e-3, max_iterations=1)
    assert solution.iterations == 1
    assert not solution.converged
    assert solution.gap > 1e-6 * solution.primal


def test_a_tolerance_of_zero_ends_at_rounding():
    solution = solve(*random_targets(seed=1), tolerance=0.0)
    assert solution.gap < 1e-11 * solution.primal
    assert solution.iterations < 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0.0}, "strength is 0.0, but must be above zero"),
        ({"strength": np.inf}, "strength is inf, but must be above zero and finite"),
        ({"strength": [1.0] * 7}, r"strength has shape \(7,\), but"),
        ({"reference": [1.0, 0.0, 1.0]}, "1 of 3 reference weights are not above zero"),
        ({"reference": [1.0, 1.0]}, r"reference has shape \(2,\), but 3 records need \(3,\)"),
        ({"values": [1.0, np.nan]}, "1 of 2 values are not finite. Leave those targets out"),
        ({"values": [1.0]}, r"values has shape \(1,\), but 2 targets need \(2,\)"),
        ({"constraints": [[1, np.inf, 0], [1, 1, 1]]}, "1 entries that are not finite"),
        ({"constraints": np.zeros((2, 0))}, r"shape \(2, 0\).*needs at least one record"),
        ({"start_prices": [0.0]}, r"start_prices has shape \(1,\), but 2 targets"),
        ({"losses": Losses.absolute([1.0])}, r"boxes of shape \(1,\).*2 targets need \(2,\)"),
        (
            {"losses": Losses(np.array([1.0, np.inf]), np.zeros(2))},
            "1 of 2 targets are none, the first at 1: box inf, ridge 0.0",
        ),
        ({"losses": Losses(np.array([-1.0, 1.0]), np.zeros(2))}, "first at 0: box -1.0"),
        ({"bounds": (2.0, 1.0)}, "3 of 3 records hold no weight, the first at 0: from 2.0 to 1.0"),
        ({"bounds": (-1.0, 1.0)}, "3 of 3 records hold no weight"),
        ({"bounds": (0.0, [1.0, 0.0, 1.0])}, "1 of 3 records.* first at 1: from 0.0 to 0.0"),
        ({"bounds": ([0.0, 0.0], 1.0)}, r"shapes \(2,\) and \(\), but 3 records need \(3,\)"),
        ({"bounds": (0.0, np.nan)}, "3 of 3 records hold no weight"),
        ({"total": (4.0, 3.0)}, "total is from 4.0 to 3.0, which no sum of weights can be"),
        ({"total": (0.0, 0.0)}, "total is from 0.0 to 0.0, which no sum of weights can be"),
        ({"total": (np.nan, 3.0)}, "total is from nan to 3.0"),
        (
            {"total": (10.0, 10.0), "bounds": (0.5, 3.0)},
            "total is from 10.0 to 10.0, but the bounds on 3 weights.* from 1.5 to 9.0 alone",
        ),
        ({"total": (0.0, 1.0), "bounds": (0.5, 3.0)}, "from 0.0 to 1.0, but the bounds on 3"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(change, message):
    arguments = {
        "constraints": [[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]],
        "values": [1.0, 2.0],
        "reference": [1.0, 1.0, 1.0],
        "losses": Losses.absolute([1.0, 1.0]),
        "strength": 1.0,
    } | change
    constraints, values = sp.csr_array(arguments.pop("constraints")), arguments.pop("values")
    with pytest.raises(InputError, match=message):
        solve_dual(constraints, values, **arguments)


@pytest.mark.parametrize("loss_weights", [[-1.0], [np.nan], [[1.0]], [np.inf]], ids=str)
@each_loss
def test_loss_weights_that_are_none_are_refused(loss, loss_weights):
    with pytest.raises(InputError, match="loss weights have shape"):
        loss(loss_weights)


@pytest.mark.parametrize("delta", [0.0, -1.0, np.inf, np.nan])
def test_a_delta_that_is_none_is_refused(delta):
    with pytest.raises(InputError, match=f"delta is {delta}, but must be above zero"):
        Losses.huber([1.0], delta=delta)
