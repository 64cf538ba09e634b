"""Laws of bounds: held exactly, by the nearest weights, and refused where none could hold them."""

import numpy as np
import pytest
from scipy.special import kl_div
from toy import random_survey

from l0.survey import InputError, RefitSettings, refit
from l0.survey.bounds import SMALLEST_RATIO, WeightBounds, total_band
from l0.survey.weights import weight_ratios

NONE = {
    "max_ratio": None,
    "min_ratio": None,
    "max_weight": None,
    "min_weight": None,
    "total": "free",
    "design_total": 100.0,
}


def bounds_of(reference, **wishes):
    return WeightBounds.of(np.array(reference, dtype=float), **(NONE | wishes))


def random_bounds(seed, **wishes):
    """References of 60 records, and weights far from them."""
    draw = np.random.default_rng(seed)
    reference = draw.gamma(2.0, 50.0, 60)
    wishes = {"max_ratio": 3.0, "min_ratio": 0.2, "design_total": reference.sum()} | wishes
    weights = reference * np.exp(draw.normal(0, 2, 60))
    return bounds_of(reference, **wishes), weights


def test_without_wishes_weights_stay_above_zero_and_nothing_binds():
    bounds = bounds_of([10.0, 40.0])
    assert bounds.lower.tolist() == [10 * SMALLEST_RATIO, 40 * SMALLEST_RATIO]
    assert np.isinf(bounds.upper).all()
    assert bounds.project(np.array([3e-9, 7e9])).tolist() == [10 * SMALLEST_RATIO, 7e9]


def test_the_tighter_of_a_ratio_and_an_absolute_bound_holds():
    bounds = bounds_of([10.0, 40.0], max_ratio=3.0, min_ratio=0.5, max_weight=60.0, min_weight=8.0)
    assert bounds.lower.tolist() == [8.0, 20.0]
    assert bounds.upper.tolist() == [30.0, 60.0]


def test_a_weight_on_its_bound_has_a_ratio_that_is_not_above_it():
    draw = np.random.default_rng(0)
    reference = draw.gamma(2.0, 50.0, 100_000)
    for ratio in (1.0, 1.1, 3.3, 30.0):
        upper = bounds_of(reference, max_ratio=ratio).upper
        assert (upper / reference <= ratio).all()
        np.testing.assert_allclose(upper / reference, ratio, rtol=1e-15)


def test_the_least_bound_that_nobody_asked_for_gives_way():
    bounds = bounds_of([10.0, 1e6], max_weight=50.0)
    assert bounds.lower.tolist() == [10 * SMALLEST_RATIO, 50.0]
    assert bounds.upper.tolist() == [50.0, 50.0]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            {"min_ratio": 0.5, "max_weight": 15.0},
            "the bounds of 1 weights exclude each other, the first of a record with reference 40: "
            "at least 20 and at most 15. Widen max_weight_ratio",
        ),
        (
            {"max_ratio": 2.0, "min_weight": 90.0},
            "the bounds of 2 weights exclude each other, the first of a record with reference 10: "
            "at least 90 and at most 20. Widen",
        ),
        (
            {"min_weight": 9.0, "max_weight": 8.0},
            "the bounds of 2 weights exclude each other, .* at least 9 and at most 8",
        ),
        (
            {"max_ratio": 1.5, "total": "fixed"},
            "the total is to lie between 100 and 100, but the bounds of the weights leave it "
            "between 0.05 and 75. Widen one of them, or keep more records",
        ),
        (
            {"min_weight": 60.0, "total": (50.0, 110.0)},
            "the total is to lie between 50 and 110, but the bounds of the weights leave it "
            "between 120 and inf",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_bounds_that_exclude_each_other_are_refused_with_their_numbers(wishes, message):
    with pytest.raises(InputError, match=message):
        bounds_of([10.0, 40.0], **wishes)


@pytest.mark.parametrize("seed", range(20))
def test_a_ratio_of_one_and_the_designs_total_leave_the_reference_alone(seed):
    # sums and products are rounded: that alone must not refuse what just fits
    draw = np.random.default_rng(seed)
    design = draw.gamma(2.0, 500.0, 997)
    reference = design[:101] * (design.sum() / design[:101].sum())
    bounds = bounds_of(reference, max_ratio=1.0, total="fixed", design_total=float(design.sum()))
    weights = bounds.project(reference * draw.gamma(1.0, 1.0, 101))
    np.testing.assert_allclose(weights, reference, rtol=1e-12)
    assert (weights <= bounds.upper).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0, 2.0, 2.9])
def test_projected_weights_are_within_bounds_exactly_and_on_the_total_to_rounding(seed, share):
    free, weights = random_bounds(seed)
    reference = free.upper.sum() / 3
    bounds, _ = random_bounds(seed, total=share * reference)
    projected = bounds.project(weights)
    assert (projected >= bounds.lower).all()
    assert (projected <= bounds.upper).all()
    assert projected.sum() == pytest.approx(share * reference, rel=1e-12)
    np.testing.assert_allclose(bounds.project(projected), projected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e5, 1e12])
def test_the_scale_of_the_weights_does_not_matter_to_a_total(scale):
    bounds, weights = random_bounds(0, total="fixed")
    projected = bounds.project(weights * scale)
    np.testing.assert_allclose(projected.sum(), sum(bounds.total) / 2, rtol=1e-12)
    bounds, weights = random_bounds(0, total="fixed", max_ratio=None)
    np.testing.assert_allclose(bounds.project(weights * scale).sum(), bounds.total[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_projected_weights_are_the_nearest_of_all_within_the_bounds(seed):
    bounds, weights = random_bounds(seed, total="fixed")
    projected = bounds.project(weights)
    distance = kl_div(projected, weights).sum()
    draw = np.random.default_rng(seed)
    for _ in range(200):
        # another point within the bounds, and every mixture with it is one too
        other = bounds.project(projected * np.exp(draw.normal(0, 1, 60)))
        for share in (1.0, 0.1, 1e-3):
            mixture = (1 - share) * projected + share * other
            assert kl_div(mixture, weights).sum() >= distance * (1 - 1e-12)


def test_all_weights_that_no_bound_holds_are_moved_by_one_factor():
    bounds, weights = random_bounds(1, total="fixed")
    projected = bounds.project(weights)
    inside = (projected > bounds.lower) & (projected < bounds.upper)
    assert 5 < inside.sum() < 55
    factors = (projected / weights)[inside]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-12)


def test_weights_within_all_bounds_are_not_touched():
    bounds, _ = random_bounds(2, total=(10.0, 1e9))
    inside = (bounds.lower + bounds.upper) / 2
    assert bounds.project(inside).tobytes() == inside.tobytes()


def test_a_total_within_its_band_is_left_and_one_outside_goes_to_the_nearer_end():
    bounds = bounds_of([10.0, 10.0], total=(30.0, 50.0))
    for given, expected in ((5.0, 15.0), (20.0, 20.0), (40.0, 25.0)):
        np.testing.assert_allclose(bounds.project(np.array([given] * 2)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("total", "band"),
    [
        ("free", None),
        ("fixed", (100.0, 100.0)),
        (70, (70.0, 70.0)),
        ((70, 90.0), (70.0, 90.0)),
        ([70, 90.0], (70.0, 90.0)),
    ],
    ids=str,
)
def test_a_wish_for_the_total_is_a_least_and_a_greatest(total, band):
    assert total_band(total, design_total=100.0) == band


@pytest.mark.parametrize(
    "total",
    [
        *("fixd", None, 0, -5.0, np.nan, np.inf),
        *((90.0, 70.0), (1.0,), (1.0, 2.0, 3.0), (0.0, 5.0), (1.0, np.inf), (np.nan, 1.0)),
        ("a", "b"),
    ],
    ids=str,
)
def test_a_total_that_is_none_is_refused_at_once_with_what_it_was(total):
    with pytest.raises(InputError, match=r"total is .* must be 'free', 'fixed', a number above"):
        total_band(total, design_total=100.0)
    with pytest.raises(InputError, match=r"total is "):
        RefitSettings(total=total)


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("total", ["free", "fixed", 40_000.0, (30_000.0, 35_000.0)], ids=str)
def test_a_refit_holds_its_bounds_exactly_by_either_order(order, total):
    problem = random_survey(60, 6)
    support = np.arange(0, 60, 2)
    settings = RefitSettings(
        epochs=60,
        penalty=0.01,
        order=order,
        max_weight_ratio=1.4,
        min_weight_ratio=0.2,
        max_weight=5_000.0,
        total=total,
    )
    weights = refit(problem, support, settings=settings).weights
    ratios = weight_ratios(weights, problem.design_weights)
    assert ratios.max() <= 1.4
    assert ratios.min() >= 0.2 * (1 - 1e-15)
    assert weights.max() <= 5_000.0
    band = total_band(total, design_total=problem.design_weights.sum())
    if band is not None:
        assert band[0] * (1 - 1e-12) <= weights.sum() <= band[1] * (1 + 1e-12)
