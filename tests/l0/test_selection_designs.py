"""Laws of the designs: exact sizes, probabilities as stated, joint ones too, and refusals."""

import itertools

import numpy as np
import pytest

from l0.survey import InputError, inclusion_probabilities, select
from l0.survey.selection import conditional_poisson, sampford
from l0.survey.selection.designs import JOINT

UNEQUAL = np.array([0.2, 0.7, 0.35, 0.9, 0.15, 0.45, 0.25])
EQUAL = np.full(7, 3 / 7)
COORDINATES = np.random.default_rng(0).normal(size=(7, 2))
BY_STRATUM = ["simple_random", "systematic", "sampford", "pivotal"]
# R's package sampling 2.9: UPsampfordpi2 and UPsystematicpi2 of UNEQUAL, above the diagonal
SAMPFORD_BY_R = """
    0.1070976421406 0.0365961424664 0.166957903430 0.0139127555612 0.0509473355479 0.0244882208543
    0.1969567554608 0.616356809620 0.0792449843166 0.2644649524660 0.1358788559960
    0.296522706794 0.0268174630993 0.0961873700138 0.0469195621656
    0.124696669009 0.385821412769 0.209644498378
    0.0374190973054 0.0179090307082
    0.0651598318979
"""
SYSTEMATIC_BY_R = "0 .2 .15 .05 0 0 .05 .65 .1 .45 .15 .25 .1 0 .1 .05 .45 .25 0 0 0"


def within_four_errors(frequency: np.ndarray, stated: np.ndarray, draws: int) -> bool:
    error = np.sqrt(np.maximum(stated * (1 - stated), 0) / draws)
    return bool((np.abs(frequency - stated) <= 4 * error + 1e-9).all())


def sampford_by_enumeration(probability: np.ndarray) -> np.ndarray:
    records, size = len(probability), round(probability.sum())
    joint = np.zeros((records, records))
    total = 0.0
    for drawn in map(list, itertools.combinations(range(records), size)):
        odds = np.prod(probability[drawn] / (1 - probability[drawn]))
        law = odds * (1 - probability[drawn]).sum()
        joint[np.ix_(drawn, drawn)] += law
        total += law
    return joint / total


@pytest.mark.parametrize("design", BY_STRATUM)
def test_records_and_pairs_come_in_as_often_as_stated(design):
    draws = 2_000  # each a stratum of its own
    probability = EQUAL if design == "simple_random" else UNEQUAL
    sample = select(
        np.tile(probability, draws),
        design=design,
        strata=np.repeat(np.arange(draws), 7),
        seed=1,
    )
    drawn = np.zeros((draws, 7))
    drawn.ravel()[sample.indices] = 1
    assert (drawn.sum(axis=1) == 3).all()
    assert within_four_errors(drawn.mean(axis=0), probability, draws)
    if design in JOINT:
        joint = JOINT[design](probability, np.arange(7))
        assert within_four_errors(drawn.T @ drawn / draws, joint, draws)


@pytest.mark.parametrize(
    ("design", "option"),
    [("pivotal", {"coordinates": COORDINATES}), ("cube", {"balance": COORDINATES})],
)
def test_records_come_in_as_often_as_stated_when_spread_or_balanced(design, option):
    draws = 500
    drawn = np.zeros((draws, 7))
    for seed in range(draws):
        drawn[seed, select(UNEQUAL, design=design, seed=seed, **option).indices] = 1
    assert (drawn.sum(axis=1) == 3).all()
    assert within_four_errors(drawn.mean(axis=0), UNEQUAL, draws)


@pytest.mark.parametrize(
    "probability",
    [
        UNEQUAL,
        np.full(8, 0.5),
        np.array([0.25, 0.75, 0.5, 0.5]),
        np.array([0.1, 0.2, 0.3, 0.4]),
        np.array([0.999, 0.999, 0.002, 0.5, 0.5]),
    ],
)
def test_joint_probabilities_of_sampford_are_those_of_all_its_samples(probability):
    expected = sampford_by_enumeration(probability)
    joint = sampford.joint_probability(probability, np.arange(len(probability)))
    np.testing.assert_allclose(np.diag(expected), probability, atol=1e-12)
    np.testing.assert_allclose(joint, expected, atol=1e-12)


def test_joint_probabilities_agree_with_r():
    above = np.triu_indices(7, 1)
    for design, recorded in (("sampford", SAMPFORD_BY_R), ("systematic", SYSTEMATIC_BY_R)):
        joint = JOINT[design](UNEQUAL, np.arange(7))
        by_r = np.array(recorded.split(), dtype=float)
        np.testing.assert_allclose(joint[above], by_r, atol=1e-11)


@pytest.mark.parametrize("design", ["simple_random", "systematic", "sampford"])
def test_joint_probabilities_add_up_to_the_size_less_one(design):
    rng = np.random.default_rng(3)
    probability = inclusion_probabilities(rng.gamma(2.0, size=500), 60)
    if design == "simple_random":
        probability = np.full(500, 60 / 500)
    joint = JOINT[design](probability, np.arange(500))
    assert (joint == joint.T).all() or np.abs(joint - joint.T).max() < 1e-12
    assert joint.min() >= -1e-15
    np.testing.assert_allclose(joint.sum(axis=1), 60 * probability, rtol=1e-9)


@pytest.mark.parametrize("design", ["simple_random", "systematic", "sampford"])
def test_certain_records_and_strata_are_independent_of_all_others(design):
    probability = np.array([1, 0.5, 0.5, 0, 1 / 3, 1 / 3, 1 / 3, 1])
    strata = np.array(list("aaaabbbb"))
    sample = select(probability, design=design, strata=strata, seed=0)
    chance = sample.inclusion_probability
    joint = sample.joint_probability()
    assert sample.strata.tolist() == [0, 0, 1, 1]
    assert sample.kind.tolist() == ["certain", "random", "random", "certain"]
    np.testing.assert_allclose(np.diag(joint), chance)
    np.testing.assert_allclose(
        joint - np.diag(np.diag(joint)), np.outer(chance, chance) - np.diag(chance**2)
    )


@pytest.mark.parametrize("design", ["pivotal", "cube"])
def test_joint_probabilities_that_are_not_known_are_refused_with_another_way(design):
    balance = COORDINATES if design == "cube" else None
    sample = select(UNEQUAL, design=design, balance=balance, seed=0)
    with pytest.raises(InputError, match="Use the Hajek-Deville variance"):
        sample.joint_probability()


def test_a_conditional_poisson_sample_has_its_law_whatever_the_size_of_the_tree():
    probability = np.random.default_rng(0).uniform(0.02, 0.3, size=3_000)
    levels = conditional_poisson.count_levels(probability)
    counts, variance = np.arange(len(levels[-1][0])), (probability * (1 - probability)).sum()
    assert levels[-1].sum() == pytest.approx(1, abs=1e-12)
    assert levels[-1][0] @ counts == pytest.approx(probability.sum(), rel=1e-12)
    assert levels[-1][0] @ (counts - probability.sum()) ** 2 == pytest.approx(variance, rel=1e-9)
    for size in (400, 480, 560):
        drawn = conditional_poisson.draw(levels, size, np.random.default_rng(1))
        assert len(np.unique(drawn)) == size
        assert drawn.max() < 3_000


@pytest.mark.parametrize("design", [*BY_STRATUM, "cube"])
def test_sizes_are_exact_in_every_stratum_and_the_same_seed_draws_the_same(design):
    rng = np.random.default_rng(5)
    strata = rng.integers(0, 4, size=600)
    probability = np.zeros(600)
    for stratum, size in enumerate((0, 1, 30, (strata == 3).sum())):
        inside = strata == stratum
        measure = np.ones(600) if design == "simple_random" else rng.gamma(1.0, size=600)
        probability[inside] = inclusion_probabilities(measure[inside], int(size))
    balance = rng.normal(size=(600, 3)) if design == "cube" else None
    draws = [
        select(probability, design=design, strata=strata, balance=balance, seed=seed)
        for seed in (1, 1, 2)
    ]
    for sample in draws:
        assert (np.diff(sample.indices) > 0).all()
        assert np.bincount(sample.strata, minlength=4).tolist() == [0, 1, 30, (strata == 3).sum()]
        assert (sample.inclusion_probability == probability[sample.indices]).all()
    assert (draws[0].indices == draws[1].indices).all()
    assert (draws[0].indices != draws[2].indices).any()


@pytest.mark.parametrize(
    "option",
    [{"design": d} for d in BY_STRATUM]
    + [
        {"design": "pivotal", "coordinates": COORDINATES},
        {"design": "cube", "balance": COORDINATES},
    ],
)
def test_everybody_or_nobody_is_drawn_where_probabilities_say_so(option):
    everyone = select(np.ones(7), seed=0, **option)
    assert everyone.indices.tolist() == list(range(7))
    assert set(everyone.kind) == {"certain"}
    assert len(select(np.zeros(7), seed=0, **option).indices) == 0


def test_a_sample_spread_over_a_line_has_gaps_of_like_length():
    places = np.sort(np.random.default_rng(2).random((400, 1)), axis=0)
    spread = {}
    for name, coordinates in (("none", None), ("line", places), ("point", np.zeros((400, 1)))):
        sample = select(np.full(400, 0.1), design="pivotal", coordinates=coordinates, seed=3)
        assert len(sample.indices) == 40
        spread[name] = np.diff(sample.indices).std()
    assert spread["line"] < 0.6 * min(spread["none"], spread["point"])


def test_the_cube_method_balances_exactly_where_that_is_possible():
    # margins of a table of 4 by 5 cells whose expected counts are whole
    rows, columns = np.arange(800) % 4, np.arange(800) // 4 % 5
    margins = np.hstack([np.equal.outer(rows, np.arange(4)), np.equal.outer(columns, np.arange(5))])
    sample = select(np.full(800, 0.1), design="cube", balance=margins, seed=1)
    assert np.bincount(rows[sample.indices]).tolist() == [20] * 4
    assert np.bincount(columns[sample.indices]).tolist() == [16] * 5
    np.testing.assert_allclose(sample.balance.imbalance, 0, atol=1e-12)
    # with the size, one row and one column follow from the others
    assert len(sample.balance.left_out) == 2


def test_the_cube_method_comes_nearer_than_chance_and_reports_dependent_columns():
    rng = np.random.default_rng(4)
    columns = rng.lognormal(size=(4_000, 5))
    columns = np.column_stack([columns, columns[:, 0] + columns[:, 1], np.ones(4_000)])
    probability = inclusion_probabilities(rng.gamma(9.0, size=4_000), 800)
    columns[:, 6] = probability  # its total is the size
    sample = select(probability, design="cube", balance=columns, seed=1)
    expanded = columns[sample.indices] / sample.inclusion_probability[:, None]
    distance = expanded.sum(axis=0) / columns.sum(axis=0) - 1
    np.testing.assert_allclose(sample.balance.imbalance, distance, atol=1e-12)
    assert np.abs(distance).max() < 0.005
    assert len(sample.balance.left_out) == 2
    assert 6 in sample.balance.left_out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"probability": [0.5, 1.5]}, "1 entries of probability are outside"),
        ({"probability": [-0.5, 0.5]}, "1 entries of probability are outside"),
        ({"probability": [np.nan, 0.5]}, "1 entries of probability are not finite"),
        ({"probability": [0.5, 0.6]}, "no whole number in 1 of 1 strata, .* 1.1. A sample"),
        ({"strata": ["north", "south"]}, "in 2 of 2 strata, the first north: 0.5"),
        ({"strata": ["north"]}, r"strata has shape \(1,\)"),
        ({"design": "srs"}, "design is 'srs', but must be one of 'simple_random'"),
        ({"probability": [0.2, 0.8], "design": "simple_random"}, "go from 0.2 to 0.8 in one"),
        ({"coordinates": [[0.0], [1.0]]}, "coordinates was given to a design that does not use"),
        ({"balance": [[0.0], [1.0]]}, "balance was given to a design that does not use it"),
        ({"design": "cube"}, "'cube' needs balance"),
        ({"design": "cube", "balance": [[0.0], [0.0]]}, "1 entries of balance are columns of z"),
        ({"design": "cube", "balance": [[0.0], [np.inf]]}, "balance are rows with a number"),
        ({"design": "cube", "balance": [0.0, 1.0]}, r"balance has shape \(2,\)"),
        ({"design": "pivotal", "coordinates": [[0.0]]}, r"coordinates has shape \(1, 1\)"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused(changed, message):
    arguments = {"probability": [0.5, 0.5], "seed": 0} | changed
    with pytest.raises(InputError, match=message):
        select(arguments.pop("probability"), **arguments)
