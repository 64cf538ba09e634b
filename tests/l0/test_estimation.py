"""Laws of design-based estimates: by hand, over all samples of small populations, by refusals."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from l0.survey import InputError
from l0.survey.estimation import (
    by_domain,
    collapse_strata,
    greg_total,
    hajek_total,
    horvitz_thompson_total,
    mean,
    quantile,
    ratio,
)
from l0.survey.estimation.linearised import ratio_of_totals, share_up_to
from l0.survey.selection import Sample, select

# a population of seven: two variables, a size, and design weights of its own
Y = np.array([3.0, 5.0, 4.0, 10.0, 7.0, 1.0, 6.0])
X = np.array([1.0, 2.0, 2.0, 4.0, 3.0, 1.0, 2.0])
SIZE = np.array([1.0, 2.0, 3.0, 4.0, 3.0, 1.0, 2.0])
WEIGHTS = np.array([2.0, 1.0, 3.0, 1.0, 2.0, 1.0, 4.0])


def drawn(probability, *, indices=None, strata=None, joint=None):
    probability = np.asarray(probability, dtype=float)
    size = len(probability)
    return Sample(
        indices=np.arange(size) if indices is None else np.asarray(indices),
        kind=np.where(probability < 1, "random", "certain"),
        inclusion_probability=probability,
        strata=np.zeros(size, dtype=np.intp) if strata is None else np.asarray(strata),
        joint=None if joint is None else lambda: joint,
    )


def all_samples(records, size, chance):
    """Every sample of a size with its probability, proportional to a chance."""
    sets = [np.array(chosen) for chosen in itertools.combinations(range(records), size)]
    chances = np.array([chance(chosen) for chosen in sets])
    chances /= chances.sum()
    joint = np.zeros((records, records))
    for chosen, probability in zip(sets, chances, strict=True):
        joint[np.ix_(chosen, chosen)] += probability
    samples = [
        drawn(joint.diagonal()[chosen], indices=chosen, joint=joint[np.ix_(chosen, chosen)])
        for chosen in sets
    ]
    return samples, chances


def simple_random():
    return all_samples(7, 3, lambda chosen: 1.0)


def sampford():
    pi = 3 * SIZE / SIZE.sum()
    return all_samples(7, 3, lambda s: (pi[s] / (1 - pi[s])).prod() * (1 - pi[s]).sum())


def moments(samples, chances, estimator):
    """Expectation and variance of the values over all samples, and expectation of the variance."""
    found = [estimator(sample) for sample in samples]
    values = np.array([one.value for one in found])
    expected = chances @ values
    variance = chances @ np.square(values - expected)
    return expected, variance, chances @ np.array([one.variance for one in found])


def test_a_simple_random_total_and_its_variance_are_those_of_the_textbook():
    # 2 of 4 drawn, 3 and 5: N mean = 16, N^2 (1 - n/N) s^2 / n = 16 / 2 * 2 / 2
    found = horvitz_thompson_total([3.0, 5.0], drawn([0.5, 0.5]))
    assert found.value == pytest.approx(16)
    assert found.variance == pytest.approx(8)
    assert found.standard_error == pytest.approx(math.sqrt(8))
    assert found.design_effect == pytest.approx(1)
    half = student.ppf(0.95, 1) * math.sqrt(8)
    assert found.interval(0.9) == pytest.approx((16 - half, 16 + half))


def test_certain_records_add_their_value_and_no_variance():
    without = horvitz_thompson_total([3.0, 5.0], drawn([0.5, 0.5]))
    added = horvitz_thompson_total([3.0, 5.0, 100.0], drawn([0.5, 0.5, 1.0]))
    assert added.value == pytest.approx(without.value + 100)
    assert added.variance == pytest.approx(without.variance)
    assert added.degrees_of_freedom == without.degrees_of_freedom == 1


@pytest.mark.parametrize("method", ["hajek_deville", "sen_yates_grundy"])
def test_a_census_is_sure(method):
    found = horvitz_thompson_total(
        [3.0, 5.0], drawn([1.0, 1.0], joint=np.ones((2, 2))), variance=method
    )
    assert found.interval() == (8, 8)
    assert math.isnan(found.design_effect)


@pytest.mark.parametrize("design", [simple_random, sampford])
def test_totals_and_their_sen_yates_grundy_variances_are_unbiased_over_all_samples(design):
    def estimator(sample):
        return horvitz_thompson_total(Y[sample.indices], sample, variance="sen_yates_grundy")

    expected, variance, expected_variance = moments(*design(), estimator)
    assert expected == pytest.approx(Y.sum())
    assert expected_variance == pytest.approx(variance)


def test_hajek_and_devilles_variance_is_unbiased_over_all_simple_random_samples():
    def estimator(sample):
        return horvitz_thompson_total(Y[sample.indices], sample, variance="hajek_deville")

    _, variance, expected_variance = moments(*simple_random(), estimator)
    assert expected_variance == pytest.approx(variance)


def test_design_weights_lead_to_the_total_of_the_weighted_population():
    def estimator(sample):
        return horvitz_thompson_total(
            Y[sample.indices], sample, design_weights=WEIGHTS[sample.indices]
        )

    expected, variance, expected_variance = moments(*sampford(), estimator)
    assert expected == pytest.approx(WEIGHTS @ Y)
    assert expected_variance == pytest.approx(variance)


def test_both_variances_agree_where_a_stratum_is_a_simple_random_sample():
    # 2 of 4, then 2 of 5
    joint = np.outer([0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.4])
    joint[:2, :2], joint[2:, 2:] = 2 / 12, 2 / 20
    np.fill_diagonal(joint, [0.5, 0.5, 0.4, 0.4])
    sample = drawn(joint.diagonal(), strata=[3, 3, 8, 8], joint=joint)
    values = [3.0, 5.0, 1.0, 9.0]
    one, other = (
        horvitz_thompson_total(values, sample, variance=method)
        for method in ("sen_yates_grundy", "hajek_deville")
    )
    # 16 / 2 * 2 / 2 and 25 * (3 / 5) * 32 / 2
    assert one.variance == pytest.approx(8 + 240)
    assert other.variance == pytest.approx(8 + 240)
    assert one.degrees_of_freedom == 2


def test_auto_takes_the_joint_probabilities_where_they_serve_and_says_so():
    samples, _ = sampford()
    sample = samples[5]
    values = Y[sample.indices]
    assert horvitz_thompson_total(values, sample).method == "sen_yates_grundy"
    without = dataclasses.replace(sample, joint=None)
    assert horvitz_thompson_total(values, without).method == "hajek_deville"


@pytest.mark.parametrize(
    ("design", "method"),
    [
        ("sampford", "sen_yates_grundy"),
        ("systematic", "hajek_deville"),
        ("pivotal", "hajek_deville"),
    ],
)
def test_the_designs_of_the_library_are_estimated_by_what_they_know_of_pairs(design, method):
    probability = 20 * np.tile(SIZE, 10) / (10 * SIZE.sum())
    for seed in range(5):
        sample = select(probability, design=design, seed=seed)
        # proportional to the probabilities: sure whatever the design
        found = horvitz_thompson_total(3 * probability[sample.indices], sample)
        assert found.method == method
        assert found.value == pytest.approx(60)
        assert found.standard_error == pytest.approx(0, abs=1e-9)


def test_pairs_drawn_together_too_often_are_no_case_for_sen_yates_and_grundy():
    # every second of four: two samples, and pairs in different ones have no chance
    sample = drawn([0.5, 0.5], indices=[1, 3], joint=np.full((2, 2), 0.5))
    assert horvitz_thompson_total([1.0, 2.0], sample).method == "hajek_deville"
    with pytest.raises(InputError, match=r"1 pairs of records .* the first 1 and 3 with 0\.5"):
        horvitz_thompson_total([1.0, 2.0], sample, variance="sen_yates_grundy")


def test_linearised_variables_are_derivatives_by_the_weights():
    weights, step = WEIGHTS / 0.4, 1e-6
    numbers = {
        "ratio": lambda w: ratio_of_totals(Y, X, w),
        "share": lambda w: share_up_to(5.0, Y, w),
    }
    for number in numbers.values():
        _, linearised = number(weights)
        numeric = [
            (number(weights + move)[0] - number(weights - move)[0]) / (2 * step)
            for move in step * np.eye(7)
        ]
        assert linearised == pytest.approx(numeric, abs=1e-8)


def test_means_and_hajek_totals_are_ratios_to_ones():
    sample = drawn([0.5, 0.25, 0.25])
    values = [2.0, 4.0, 8.0]
    # weights 2, 4, 4
    average = mean(values, sample)
    assert average.value == pytest.approx(5.2)
    assert average == ratio(values, np.ones(3), sample)
    total = hajek_total(values, sample, population_size=12.0)
    assert total.value == pytest.approx(12 * average.value)
    assert total.variance == pytest.approx(144 * average.variance)
    assert total.design_effect == pytest.approx(average.design_effect)


def test_a_ratio_of_proportional_variables_is_sure():
    sample = drawn([0.5, 0.25, 0.25])
    found = ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], sample)
    assert found.value == pytest.approx(2)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_every_estimator_of_a_simple_random_sample_has_a_design_effect_of_one():
    sample = drawn(np.full(6, 0.3))
    y, x = Y[:6], X[:6]
    for found in (
        horvitz_thompson_total(y, sample),
        hajek_total(y, sample, population_size=20),
        mean(y, sample),
        ratio(y, x, sample),
        quantile(y, sample, probability=0.5),
        mean(y, sample, domain=x > 1),
    ):
        assert found.design_effect == pytest.approx(1)


def test_estimates_of_domains_add_up_to_those_of_all():
    sample = drawn([0.5, 0.25, 0.25, 0.4])
    labels = ["south", "north", "north", "south"]
    found = by_domain(labels, lambda domain: horvitz_thompson_total(Y[:4], sample, domain=domain))
    assert list(found) == ["north", "south"]
    total = sum(one.value for one in found.values())
    assert total == pytest.approx(horvitz_thompson_total(Y[:4], sample).value)
    # the records of the other domain are there, with nothing to add
    assert found["south"] == horvitz_thompson_total(Y[:4] * [1, 0, 0, 1], sample)


def test_a_mean_of_a_domain_is_as_unsure_as_its_own_records_make_it():
    sample = drawn([0.5, 0.25, 0.25, 0.4, 1.0])
    assert mean(Y[:5], sample).degrees_of_freedom == 3
    domain = np.array([True, False, False, True, True])
    assert mean(Y[:5], sample, domain=domain).degrees_of_freedom == 1


def test_a_domain_that_is_refused_is_named():
    sample = drawn([0.5, 0.25, 0.25])
    with pytest.raises(InputError, match="domain 'south': 1 records drawn belong"):
        by_domain(["north", "north", "south"], lambda part: mean(Y[:3], sample, domain=part))


def test_quantiles_are_the_least_values_that_a_share_does_not_exceed():
    sample = drawn([0.5, 0.25, 0.25, 0.5, 0.25])
    values = [30.0, 10.0, 40.0, 20.0, 50.0]  # weights 2, 4, 4, 2, 4; ascending 4, 2, 2, 4, 4
    expected = {0.1: 10, 0.25: 10, 0.3: 20, 0.5: 30, 0.51: 40, 0.75: 40}
    for probability, value in expected.items():
        assert quantile(values, sample, probability=probability).value == value


def test_a_quantiles_interval_follows_any_increasing_change_of_the_values():
    sample = drawn(np.full(40, 0.2))
    values = np.random.default_rng(1).normal(size=40)
    low, high = quantile(values, sample, probability=0.4).interval(0.8)
    changed = quantile(np.exp(values), sample, probability=0.4).interval(0.8)
    assert changed == pytest.approx((math.exp(low), math.exp(high)))


def test_a_quantile_too_near_an_end_is_unbounded_or_refused():
    sample = drawn(np.full(10, 0.2))
    low = quantile(np.arange(10.0), sample, probability=0.05)
    assert low.interval()[0] == -math.inf
    assert low.standard_error == math.inf
    with pytest.raises(InputError, match=r"no record drawn lies above .* probability 0\.95, 9"):
        quantile(np.arange(10.0), sample, probability=0.95)


def test_a_variable_whose_total_is_known_is_sure_after_calibration():
    sample = drawn([0.5, 0.25, 0.25, 0.4, 0.3])
    x = np.column_stack([np.ones(5), X[:5]])
    known = greg_total(3 * X[:5] + 2, sample, auxiliary=x, totals=[20.0, 44.0])
    assert known.value == pytest.approx(3 * 44 + 2 * 20)
    assert known.standard_error == pytest.approx(0, abs=1e-9)


def test_calibration_to_the_number_of_records_is_the_hajek_total():
    sample = drawn([0.5, 0.25, 0.25, 0.4, 0.3])
    by_number = greg_total(Y[:5], sample, auxiliary=np.ones((5, 1)), totals=[20.0])
    hajek = hajek_total(Y[:5], sample, population_size=20)
    assert by_number.value == pytest.approx(hajek.value)
    assert by_number.variance == pytest.approx(hajek.variance)


def test_dependent_columns_change_nothing_where_their_totals_agree():
    sample = drawn([0.5, 0.25, 0.25, 0.4, 0.3])
    x = np.column_stack([np.ones(5), X[:5]])
    twice = np.column_stack([x, x.sum(axis=1)])
    one = greg_total(Y[:5], sample, auxiliary=x, totals=[20.0, 44.0])
    other = greg_total(Y[:5], sample, auxiliary=twice, totals=[20.0, 44.0, 64.0])
    assert other.value == pytest.approx(one.value)
    assert other.variance == pytest.approx(one.variance)
    with pytest.raises(InputError, match="known totals cannot be met"):
        greg_total(Y[:5], sample, auxiliary=twice, totals=[20.0, 44.0, 65.0])


def test_a_known_total_of_what_nobody_drawn_has_is_refused():
    x = np.column_stack([np.ones(3), np.zeros(3)])
    with pytest.raises(InputError, match=r"1 known totals cannot be met .* in columns 1"):
        greg_total(Y[:3], drawn([0.5, 0.5, 0.5]), auxiliary=x, totals=[6.0, 1.0])


def test_strata_of_one_random_record_are_refused_and_can_be_joined():
    sample = drawn([0.5, 0.5, 0.5, 1.0, 0.5, 0.5], strata=[0, 1, 1, 2, 4, 5])
    with pytest.raises(InputError, match=r"3 strata have one record .*: 0, 4, 5"):
        mean(Y[:6], sample)
    joined = collapse_strata(sample)
    assert joined.strata.tolist() == [0, 0, 0, 2, 4, 4]
    assert mean(Y[:6], joined).degrees_of_freedom == 3


def test_the_last_stratum_of_one_record_joins_those_before():
    assert collapse_strata(drawn([0.5] * 3, strata=[1, 1, 2])).strata.tolist() == [1, 1, 1]
    alone = drawn([0.5, 1.0], strata=[1, 2])
    assert collapse_strata(alone).strata.tolist() == [1, 2]


def test_strata_are_joined_whole_and_certain_records_count_where_they_vary():
    sample = drawn([1.0, 0.5, 0.5, 0.5, 1.0], strata=[1, 1, 2, 2, 3])
    assert collapse_strata(sample).strata.tolist() == [1, 1, 1, 1, 3]
    assert collapse_strata(sample, certain_vary=True).strata.tolist() == [1, 1, 2, 2, 2]


def test_joining_strata_errs_upwards():
    # one of two from each of four strata, whose levels differ
    values = np.array([[1.0, 2.0], [3.0, 4.5], [6.0, 5.0], [9.0, 8.0]])
    estimates = [
        horvitz_thompson_total(
            values[np.arange(4), list(chosen)],
            collapse_strata(drawn(np.full(4, 0.5), strata=range(4))),
        )
        for chosen in itertools.product([0, 1], repeat=4)
    ]
    variance = np.var([one.value for one in estimates])
    assert np.mean([one.variance for one in estimates]) > variance


@pytest.mark.parametrize("probability", [0.5, 0.8])
def test_intervals_of_simple_random_samples_cover_as_often_as_they_say(probability):
    # 600 draws: a standard error of 0.9 points
    population = norm.ppf((np.arange(200) + 0.5) / 200)
    rng = np.random.default_rng(3)
    order = rng.permuted(np.tile(np.arange(200), (600, 1)), axis=1)[:, :40]
    sample = drawn(np.full(40, 0.2))
    level = np.sort(population)[round(200 * probability) - 1]
    covered = np.zeros(2)
    for values in population[order]:
        low, high = mean(values, sample).interval()
        covered[0] += low <= population.mean() <= high
        low, high = quantile(values, sample, probability=probability).interval()
        covered[1] += low <= level <= high
    assert (np.abs(covered / 600 - 0.95) < 0.03).all()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("variance is 'bootstrap', but must be one of auto", {"variance": "bootstrap"}),
        ("joint inclusion probabilities", {"variance": "sen_yates_grundy"}),
        (r"domain is int64 of shape \(3,\)", {"domain": np.array([1, 0, 1])}),
        ("1 records drawn belong to the domain", {"domain": np.array([True, False, False])}),
        (r"design_weights has shape \(2,\)", {"design_weights": [1.0, 1.0]}),
        ("1 entries of design_weights are not above zero", {"design_weights": [1.0, 0.0, 1.0]}),
    ],
)
def test_options_that_cannot_be_used_are_refused(message, arguments):
    with pytest.raises(InputError, match=message):
        mean(Y[:3], drawn([0.5, 0.5, 0.5]), **arguments)


def test_numbers_that_cannot_be_used_are_refused():
    sample = drawn([0.5, 0.5, 0.5])
    with pytest.raises(InputError, match=r"values has shape \(2,\), but 3 records drawn need"):
        mean(Y[:2], sample)
    with pytest.raises(InputError, match="1 entries of values are not finite"):
        horvitz_thompson_total([1.0, np.nan, 2.0], sample)
    with pytest.raises(InputError, match="sample is a list, but must be a Sample"):
        mean(Y[:3], [0.5, 0.5, 0.5])
    with pytest.raises(InputError, match="population_size is 0"):
        hajek_total(Y[:3], sample, population_size=0)
    with pytest.raises(InputError, match="probability is 1"):
        quantile(Y[:3], sample, probability=1)
    with pytest.raises(InputError, match="level is 95"):
        mean(Y[:3], sample).interval(95)
    with pytest.raises(InputError, match="denominator adds up to zero"):
        ratio(Y[:3], [1.0, -1.0, 0.0], sample)
    with pytest.raises(InputError, match=r"auxiliary has shape \(3,\)"):
        greg_total(Y[:3], sample, auxiliary=X[:3], totals=[1.0])
    with pytest.raises(InputError, match="rows with an entry that is not finite"):
        greg_total(Y[:3], sample, auxiliary=[[1.0], [np.inf], [1.0]], totals=[1.0])
