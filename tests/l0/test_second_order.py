"""Laws of the second-order refit: the optimum that first order tends to, and a gap that is true."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize
from toy import one_out_of_reach, random_survey, two_households

from l0.survey import CalibrationProblem, InputError, RefitSettings, refit
from l0.survey.bounds import WeightBounds
from l0.survey.first_order import Support
from l0.survey.losses import HUBER_DELTA, LEAK, LOSSES, loss_named
from l0.survey.refit import CONVERGED, SECOND_ORDER_TARGETS
from l0.survey.second_order import SecondOrder
from l0.survey.weights import scaled_design_weights

PENALTY = 0.05
LONG = 1_500
PHI = {
    "capped_relative": lambda error: (
        np.minimum(np.abs(error), 1.0) + LEAK * np.maximum(np.abs(error) - 1.0, 0.0)
    ),
    "absolute": np.abs,
    "squared": np.square,
    "huber": lambda error: np.where(
        np.abs(error) <= HUBER_DELTA,
        error**2 / (2 * HUBER_DELTA),
        np.abs(error) - HUBER_DELTA / 2,
    ),
}
CONVEX = ["absolute", "squared", "huber"]
WISHES = {
    "free": {},
    "bounds": {"max_weight_ratio": 1.3, "min_weight_ratio": 0.6},
    "total": {"total": "fixed"},
    "bounds and total": {"max_weight_ratio": 1.6, "min_weight_ratio": 0.4, "total": "fixed"},
}
each_loss = pytest.mark.parametrize("loss", LOSSES)
each_convex = pytest.mark.parametrize("loss", CONVEX)
each_wish = pytest.mark.parametrize("wishes", WISHES.values(), ids=WISHES)


def strained(seed=0):
    """Targets that a support of 20 records does not meet without straining its weights."""
    problem = random_survey(60, 8, seed=seed)
    draw = np.random.default_rng(seed)
    values = problem.values * np.exp(draw.normal(0, 0.2, 8))
    return CalibrationProblem(problem.constraints, values, problem.design_weights), range(0, 60, 3)


def support_of(problem, records, *, max_weight_ratio=None, min_weight_ratio=None, total="free"):
    records = np.array(records)
    reference = scaled_design_weights(problem.design_weights, records)
    bounds = WeightBounds.of(
        reference,
        max_ratio=max_weight_ratio,
        min_ratio=min_weight_ratio,
        max_weight=None,
        min_weight=None,
        total=total,
        design_total=problem.design_weights.sum(),
    )
    return Support(records, reference, firmness_of(problem, records, reference), bounds)


def firmness_of(problem, records, reference):
    """By its definition: the root of each norm under the loss, one on average."""
    columns = problem.constraints[:, records].toarray() / problem.scales[:, None]
    norms = np.sqrt(problem.loss_weights @ columns**2)
    mean = reference @ norms / reference.sum()
    firmness = np.sqrt(np.maximum(norms / mean, 0.01))
    return firmness * reference.sum() / (reference @ firmness)


def objective(problem, support, weights, *, loss, penalty=PENALTY):
    """What a refit lowers, by its definition; weights (support_size,)."""
    everyone = np.zeros(problem.n_records)
    everyone[support.records] = weights
    errors = problem.relative_errors(everyone)
    reference = support.reference
    divergence = support.firmness @ (weights * np.log(weights / reference) - weights + reference)
    return problem.loss_weights @ PHI[loss](errors) + penalty / reference.sum() * divergence


def best_of_scipy(problem, support, *, loss):
    """Feasible weights as good as scipy finds them, over ratios to the reference and slacks."""
    reference, bounds = support.reference, support.bounds
    records, targets = len(reference), problem.n_targets
    rows = problem.constraints[:, support.records].toarray() * reference / problem.scales[:, None]
    due = problem.values / problem.scales

    def value(x):
        ratios, slacks = x[:records], x[records:]
        errors = slacks if loss == "absolute" else rows @ ratios - due
        divergence = (reference * support.firmness) @ (ratios * np.log(ratios) - ratios + 1)
        return (
            problem.loss_weights @ (errors if loss == "absolute" else PHI[loss](errors))
            + PENALTY / reference.sum() * divergence
        )

    both = np.block([[rows, -np.eye(targets)], [-rows, -np.eye(targets)]])
    limits = [LinearConstraint(both, -np.inf, np.concatenate([due, -due]))]
    if bounds.total is not None:
        sums = np.concatenate([reference, np.zeros(targets)])[None] / bounds.total[0]
        limits.append(LinearConstraint(sums, 1.0, 1.0))
    upper = np.minimum(bounds.upper / reference, 50.0)
    box = [*zip(bounds.lower / reference, upper, strict=True), *[(0, None)] * targets]
    start = np.concatenate([np.ones(records), np.abs(rows.sum(1) - due)])
    found = minimize(
        value, start, bounds=box, constraints=limits, method="SLSQP", options={"maxiter": 300}
    )
    return bounds.project(found.x[:records] * reference)


def refitted(problem, records, *, order, loss, epochs=LONG, **wishes):
    settings = RefitSettings(epochs=epochs, penalty=PENALTY, order=order, **wishes)
    return refit(problem, records, loss=loss, settings=settings)


@each_loss
@each_wish
def test_first_order_with_many_epochs_tends_to_the_second_orders_optimum(loss, wishes):
    problem, records = strained()
    support = support_of(problem, records, **wishes)
    first = refitted(problem, records, order="first", loss=loss, **wishes)
    second = refitted(problem, records, order="second", loss=loss, epochs=10, **wishes)
    assert (first.order, second.order) == ("first", "second")
    reached, least = (
        objective(problem, support, result.weights[support.records], loss=loss)
        for result in (first, second)
    )
    assert least <= reached * (1 + 1e-6)
    assert reached <= least * (1 + 5e-3)
    # absolute losses are flat along some directions, the others are not
    if loss in {"squared", "huber"}:
        np.testing.assert_allclose(first.weights, second.weights, rtol=5e-3)


@each_convex
@each_wish
def test_no_feasible_weights_of_scipy_are_better_than_the_gap_allows(loss, wishes):
    problem, records = strained()
    support = support_of(problem, records, **wishes)
    best = objective(problem, support, best_of_scipy(problem, support, loss=loss), loss=loss)
    for epochs in (1, 10, 300):
        result = refitted(problem, records, order="first", loss=loss, epochs=epochs, **wishes)
        reached = objective(problem, support, result.weights[support.records], loss=loss)
        assert 0 <= result.gap <= 1
        assert best >= reached * (1 - result.gap) - 1e-12
    exact = refitted(problem, records, order="second", loss=loss, epochs=1, **wishes)
    reached = objective(problem, support, exact.weights[support.records], loss=loss)
    # and scipy gets as far, so that the bound is put to the test
    assert reached * (1 - 1e-6) <= best <= reached * (1 + 1e-2)


@each_loss
@each_wish
def test_the_gap_is_near_zero_at_the_optimum_and_the_refit_says_that_it_settled(loss, wishes):
    problem, records = strained(2)
    exact = refitted(problem, records, order="second", loss=loss, epochs=50, **wishes)
    assert 0 <= exact.gap <= 1e-6
    assert exact.converged


@each_convex
def test_the_gap_of_any_weights_at_any_prices_is_a_bound(loss):
    problem, records = strained()
    support = support_of(problem, records)
    convex = SecondOrder.of(problem, support, loss=loss_named(loss), penalty=PENALTY, leak=LEAK)
    optimum, _, settled = convex.solve(support.reference)
    assert settled
    least = objective(problem, support, optimum, loss=loss)
    draw = np.random.default_rng(0)
    for _ in range(50):
        weights = optimum * np.exp(draw.normal(0, 0.5, len(optimum)))
        prices = draw.normal(0, 0.2, problem.n_targets)
        gap = convex.gap(weights, prices)
        assert 0 <= gap <= 1 + 1e-12
        assert objective(problem, support, weights, loss=loss) * (1 - gap) <= least * (1 + 1e-9)


@each_loss
def test_more_epochs_leave_a_smaller_gap_until_first_order_counts_as_converged(loss):
    problem, records = strained()
    few, many = (
        refitted(problem, records, order="first", loss=loss, epochs=epochs) for epochs in (3, LONG)
    )
    assert few.gap > 3 * many.gap
    assert not few.converged
    assert many.gap <= CONVERGED
    assert many.converged


def test_the_start_of_second_order_does_not_matter_to_a_convex_loss():
    problem, records = strained()
    settings = RefitSettings(epochs=1, penalty=PENALTY, order="second")
    support = support_of(problem, records)
    draw = np.random.default_rng(1)
    found = [
        refit(problem, records, start=start, loss="huber", settings=settings).weights
        for start in (support.reference, support.reference * draw.gamma(1.0, 1.0, 20))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2)
    values = [objective(problem, support, weights[::3], loss="huber") for weights in found]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_capped_target_out_of_reach_is_left_and_the_others_are_met_as_if_it_were_not_there():
    problem, records = strained()
    # the same targets, and one that is ten scales away whatever the weights
    beyond = CalibrationProblem(
        np.vstack([problem.constraints.toarray(), np.ones((1, 60))]),
        [*problem.values, -10 * problem.design_weights.sum()],
        problem.design_weights,
        scales=[*problem.scales, problem.design_weights.sum()],
    )
    # eight targets of nine count 8/9 of what they counted: so must the penalty
    plain = {"leak": 0.0, "firmness_power": 0.0}
    settings = RefitSettings(epochs=50, penalty=PENALTY * 8 / 9, order="second", **plain)
    capped = refit(beyond, records, settings=settings)
    alone = refitted(problem, records, order="second", loss="absolute", epochs=50, **plain)
    assert capped.converged
    np.testing.assert_allclose(capped.weights, alone.weights, rtol=1e-3)
    pulled = refit(beyond, records, loss="absolute", settings=settings)
    assert pulled.weights.sum() < 0.9 * capped.weights.sum()


@pytest.mark.parametrize("order", ["first", "second"])
def test_when_all_targets_are_beyond_the_cap_weights_stay_at_the_reference(order):
    problem = CalibrationProblem([[1.0, 1.0]], [10.0], [45.0, 45.0])
    result = refitted(problem, [0, 1], order=order, loss="capped_relative", epochs=20, leak=0.0)
    np.testing.assert_allclose(result.weights, 45.0, rtol=1e-6)
    assert result.gap <= 1e-6
    assert result.converged


@each_loss
def test_a_design_that_fits_exactly_has_nothing_left_to_gain(loss):
    problem = CalibrationProblem([[1.0, 1.0, 1.0]], [90.0], [30.0, 30.0, 30.0])
    result = refitted(problem, [0, 1, 2], order="second", loss=loss, epochs=20)
    np.testing.assert_allclose(result.weights, 30.0, rtol=1e-6)
    assert result.converged


def test_the_nearer_of_two_targets_that_exclude_each_other_is_met():
    # with both within the cap each pulls by half of a scale of its own: 100 is the steeper
    result = refitted(one_out_of_reach(), [0, 1], order="second", loss="capped_relative")
    assert result.weights.sum() == pytest.approx(100.0, rel=1e-5)
    assert result.converged


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_weight_answers_to_its_price_by_the_formula(power):
    # d loss / d weight = 1/2 / value, against firmness * penalty / 40 * log(weight / 20)
    settings = RefitSettings(epochs=1, penalty=10.0, order="second", firmness_power=power)
    result = refit(two_households(), [0, 1], loss="absolute", settings=settings)
    firmness = np.array([1 / 15, 1 / 40]) ** power
    first, second = firmness / firmness.mean()
    expected = [
        20 * np.exp(-0.5 / 15 * 40 / 10 / first),
        20 * np.exp(0.5 / 40 * 40 / 10 / second),
    ]
    # norms are float32
    np.testing.assert_allclose(result.weights, expected, rtol=1e-9 if power == 0 else 1e-7)


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_target_beyond_the_cap_pulls_by_its_leak(order):
    # d loss / d weight = leak / scale, against penalty / 90 * log(weight / 45)
    problem = CalibrationProblem([[1.0, 1.0]], [10.0], [45.0, 45.0])
    settings = RefitSettings(epochs=LONG, penalty=20.0, order=order, leak=0.3)
    result = refit(problem, [0, 1], settings=settings)
    np.testing.assert_allclose(result.weights, 45 * np.exp(-0.3 / 10 * 90 / 20), rtol=1e-4)
    assert result.converged


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_record_that_no_target_measures_keeps_its_reference(order):
    problem = CalibrationProblem([[1.0, 2.0, 0.0]], [120.0], [20.0, 20.0, 20.0])
    result = refit(problem, [0, 1, 2], settings=RefitSettings(penalty=0.1, order=order))
    assert result.weights[2] == pytest.approx(20.0, rel=1e-5)
    assert result.weights[:2] @ [1.0, 2.0] == pytest.approx(120.0, rel=1e-3)


def test_second_order_is_taken_by_itself_where_few_targets_count():
    few = random_survey(40, 5)
    assert refit(few, range(20), settings=RefitSettings(epochs=5, penalty=0.1)).order == "second"
    many = random_survey(20, SECOND_ORDER_TARGETS + 1)
    settings = RefitSettings(epochs=5, penalty=0.1)
    assert refit(many, range(10), settings=settings).order == "first"
    counted = many.without(np.arange(SECOND_ORDER_TARGETS + 1) == 0)
    assert refit(counted, range(10), settings=settings).order == "second"


def test_without_a_penalty_second_order_is_refused_when_asked_for_and_not_taken_otherwise():
    with pytest.raises(InputError, match="order 'second' needs a penalty above 0"):
        RefitSettings(penalty=0.0, order="second")
    result = refit(two_households(), [0, 1], settings=RefitSettings(penalty=0.0))
    assert result.order == "first"
    assert np.isnan(result.gap)
    assert not result.converged


def test_an_unknown_order_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="order is 'third', but must be 'auto', 'first' or 'sec"):
        RefitSettings(order="third")
