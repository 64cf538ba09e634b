"""Laws of sizes: probabilities proportional to size, and records shared out over strata."""

import numpy as np
import pytest

from l0.survey import InputError, allocate, inclusion_probabilities

STRATA = np.repeat(["a", "b", "c"], [50, 30, 20])


def test_probabilities_are_proportional_to_size_and_add_up_to_the_number_of_places():
    measure = np.random.default_rng(0).gamma(2.0, size=1_000)
    probability = inclusion_probabilities(measure, 20)
    np.testing.assert_allclose(probability, 20 * measure / measure.sum())
    assert probability.sum() == pytest.approx(20, rel=1e-12)


def test_certain_records_are_found_and_the_others_share_the_places_left():
    # 30 of 53 is certain; the others share 3 places over 23. As by R's inclusionprobabilities
    probability = inclusion_probabilities([5, 1, 2, 30, 4, 3, 6, 2], 4)
    np.testing.assert_allclose(probability, np.array([15, 3, 6, 23, 12, 9, 18, 6]) / 23)
    assert probability[3] == 1
    # the first two are certain only once the last one is
    assert inclusion_probabilities([8, 8, 1, 1, 100], 4).tolist() == [1, 1, 0.5, 0.5, 1]


def test_a_measure_of_zero_is_never_drawn_and_everybody_may_be():
    assert inclusion_probabilities([3, 0, 3], 2).tolist() == [1, 0, 1]
    assert inclusion_probabilities([3, 1, 2], 3).tolist() == [1, 1, 1]
    assert inclusion_probabilities([3, 1, 2], 0).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("measure", "size", "message"),
    [
        ([1, -1], 1, "1 entries of size_measure are negative, at positions 1"),
        ([1, np.nan], 1, "1 entries of size_measure are not finite"),
        ([1, 0], 2, "size is 2, but only 1 of 2 records have a positive"),
        ([1, 1], 1.5, "size is 1.5, but must be a whole number"),
        ([1, 1, 1e-20], 2, "all 2 places go to records that are certain"),
        ([[1, 1]], 1, r"size_measure has shape \(1, 2\)"),
    ],
)
def test_a_measure_that_gives_no_probabilities_is_refused(measure, size, message):
    with pytest.raises(InputError, match=message):
        inclusion_probabilities(measure, size)


@pytest.mark.parametrize(
    ("size", "options", "counts"),
    [
        (10, {}, [5, 3, 2]),
        (0, {}, [0, 0, 0]),
        (100, {}, [50, 30, 20]),
        # 3.5, 2.1, 1.4: the largest remainder gets the last one
        (7, {}, [4, 2, 1]),
        # 0.5, 0.3, 0.2
        (1, {}, [1, 0, 0]),
        (10, {"minimum": 3}, [4, 3, 3]),
        (10, {"minimum": {"a": 0, "b": 0, "c": 6}}, [3, 1, 6]),
        (10, {"rule": {"a": 1, "b": 2, "c": 7}}, [1, 2, 7]),
        # 50 x 1, 30 x 5, 20 x 10 of 400
        (8, {"rule": "neyman", "spread": [1, 5, 10]}, [1, 3, 4]),
        # c would get 40: all its 20 and the rest by 50 to 150
        (60, {"rule": "neyman", "spread": [1, 5, 20]}, [10, 30, 20]),
        (5, {"rule": "neyman", "spread": [0, 0, 1]}, [0, 0, 5]),
    ],
)
def test_places_are_shared_out_in_whole_numbers_within_bounds(size, options, counts):
    assert allocate(STRATA, size, **options).tolist() == counts


def test_equal_remainders_fall_in_the_order_of_the_strata():
    assert allocate(["x", "y", "z"] * 10, 4).tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 101}, "size is 101, but the 3 strata give from 0 .* to 100"),
        ({"minimum": 4}, "size is 10, but the 3 strata give from 12 .* to 100"),
        ({"minimum": 21}, "1 strata cannot give .* the first c: 21 of 20"),
        ({"minimum": -1}, "minimum is -1"),
        ({"minimum": {"a": 1}}, "minimum must give a number for each of the 3 strata .* 'b'"),
        ({"rule": {"a": 5, "b": 5}}, "rule must give a number for each of the 3 strata .* 'c'"),
        ({"rule": {"a": 5, "b": 4, "c": 2}}, "rule add up to 11, but size is 10"),
        ({"size": 21, "rule": {"a": 0, "b": 0, "c": 21}}, "the first c: 21 of 20"),
        ({"minimum": 2, "rule": {"a": 1, "b": 5, "c": 4}}, "the first a: 2 of 1"),
        ({"rule": "optimal"}, "rule is 'optimal', but must be 'proportional', 'neyman'"),
        ({"rule": "neyman"}, "spread is missing, and rule is 'neyman'"),
        ({"spread": [1, 1, 1]}, "spread was given, and rule is 'proportional'"),
        ({"rule": "neyman", "spread": [1, -1, 1]}, "1 entries of spread are negative"),
        ({"rule": "neyman", "spread": [0, 0, 0]}, "give from 0 .* to 0 "),
    ],
)
def test_an_allocation_that_cannot_be_met_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        allocate(STRATA, **({"size": 10} | options))
