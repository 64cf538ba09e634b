"""Laws of the hybrid: exact sizes, known inclusion probabilities, areas' minima, refusals."""

import numpy as np
import pytest

from l0.survey import InputError, select_hybrid, select_random

RECORDS = 20
LOG_ALPHA = np.linspace(3.0, -3.0, RECORDS)[::-1]  # the last records are the best
DESIGN = np.ones(RECORDS)


def select(**changed):
    arguments = {
        "log_alpha": LOG_ALPHA,
        "design_weights": DESIGN,
        "size": 8,
        "gate_share": 0.5,
        "seed": 0,
    } | changed
    log_alpha, design = arguments.pop("log_alpha"), arguments.pop("design_weights")
    return select_hybrid(log_alpha, design, **arguments)


@pytest.mark.parametrize(("gate_share", "by_gates"), [(0.0, 0), (0.25, 2), (0.75, 6), (1.0, 8)])
def test_sizes_are_exact_and_no_record_comes_in_twice(gate_share, by_gates):
    for seed in range(20):
        chosen = select(gate_share=gate_share, seed=seed)
        assert len(chosen.indices) == len(np.unique(chosen.indices)) == 8
        assert (np.diff(chosen.indices) > 0).all()
        assert (chosen.kind == "l0").sum() == by_gates
        assert (chosen.kind == "random").sum() == 8 - by_gates


def test_gates_choose_the_records_of_highest_log_odds():
    chosen = select(gate_share=0.5)
    assert chosen.indices[chosen.kind == "l0"].tolist() == [16, 17, 18, 19]
    shuffled = np.random.default_rng(1).permutation(LOG_ALPHA)
    best = select(log_alpha=shuffled, gate_share=1.0).indices
    assert set(best) == set(np.argsort(shuffled)[-8:])


def test_equal_log_odds_fall_in_the_order_of_the_records():
    assert select(log_alpha=np.zeros(RECORDS), gate_share=1.0).indices.tolist() == list(range(8))


def test_inclusion_is_certain_by_gates_and_equal_among_the_rest():
    chosen = select(gate_share=0.5)
    assert set(chosen.inclusion_probability[chosen.kind == "l0"]) == {1.0}
    assert set(chosen.inclusion_probability[chosen.kind == "random"]) == {4 / 16}


@pytest.mark.parametrize("gate_share", [0.0, 0.25, 0.75])
def test_inverse_inclusion_probabilities_add_up_to_all_records(gate_share):
    chosen = select(gate_share=gate_share)
    assert (1 / chosen.inclusion_probability).sum() == pytest.approx(RECORDS)


def test_records_are_drawn_as_often_as_their_inclusion_probability_says():
    draws = 2_000
    drawn = np.zeros(RECORDS)
    for seed in range(draws):
        chosen = select(seed=seed)
        drawn[chosen.indices] += 1
    assert (drawn[16:] == draws).all()
    probability = 4 / 16
    error = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(drawn[:16] / draws - probability) < 4 * error).all()


def test_the_draw_follows_its_seed_and_leaves_the_global_generator_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = select(gate_share=0.0, seed=5).indices
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert (select(gate_share=0.0, seed=5).indices == first).all()
    assert (select(gate_share=0.0, seed=6).indices != first).any()


def test_records_of_design_weight_zero_are_never_kept():
    design = DESIGN.copy()
    design[[0, 5, 19]] = 0
    for share in (0.0, 0.5, 1.0):
        for seed in range(20):
            chosen = select(design_weights=design, gate_share=share, size=10, seed=seed)
            assert not {0, 5, 19} & set(chosen.indices)
    everyone = select(design_weights=design, gate_share=0.5, size=17)
    assert len(everyone.indices) == 17
    assert set(everyone.inclusion_probability) == {1.0}


def test_records_that_left_training_early_come_in_by_chance_alone():
    log_alpha = np.full(RECORDS, -np.inf)
    log_alpha[:4] = 1.0
    chosen = select(log_alpha=log_alpha, gate_share=0.5)
    assert chosen.indices[chosen.kind == "l0"].tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="5 records were to be chosen by gates, but on"):
        select(log_alpha=log_alpha, gate_share=0.625)


def test_a_random_selection_is_a_simple_random_sample():
    chosen = select_random(DESIGN, size=5, seed=0)
    assert len(chosen.indices) == 5
    assert set(chosen.kind) == {"random"}
    assert set(chosen.inclusion_probability) == {5 / RECORDS}
    assert (chosen.indices == select(gate_share=0.0, size=5).indices).all()


def test_a_count_of_gates_is_as_good_as_a_share():
    by_count = select(gate_share=None, gate_count=2, seed=3)
    by_share = select(gate_share=0.25, seed=3)
    assert (by_count.indices == by_share.indices).all()
    assert (by_count.kind == "l0").sum() == 2


AREAS = np.array(list("abcd") * 5)  # the gates' best four are one of each


@pytest.mark.parametrize(
    "options",
    [
        {"design": "simple_random"},
        {"design": "sampford", "size_measure": np.arange(20.0) + 1},
        {"design": "systematic", "size_measure": np.arange(20.0) + 1},
        {"design": "pivotal", "coordinates": np.arange(20.0)[:, None]},
        {"design": "cube", "balance": np.arange(20.0)[:, None]},
    ],
)
@pytest.mark.parametrize("areas", [None, AREAS])
@pytest.mark.parametrize("gate_share", [0.0, 0.5, 1.0])
def test_the_rest_is_drawn_by_any_design_in_every_area(options, areas, gate_share):
    chosen = select(gate_share=gate_share, areas=areas, seed=2, **options)
    assert len(np.unique(chosen.indices)) == 8
    assert (chosen.kind == "l0").sum() == 8 * gate_share
    if areas is not None:
        assert np.unique(areas[chosen.indices], return_counts=True)[1].tolist() == [2] * 4
        assert (chosen.strata == np.arange(20)[chosen.indices] % 4).all()


def test_the_rest_comes_in_by_its_measure_of_size():
    draws = 1_500
    measure = np.arange(20.0) + 1
    left = 4 * measure[:16] / measure[:16].sum()
    drawn = np.zeros(RECORDS)
    for seed in range(draws):
        chosen = select(design="systematic", size_measure=measure, seed=seed)
        drawn[chosen.indices] += 1
        rest = chosen.kind == "random"
        np.testing.assert_allclose(chosen.inclusion_probability[rest], left[chosen.indices[rest]])
    assert (np.abs(drawn[:16] / draws - left) < 4 * np.sqrt(left * (1 - left) / draws)).all()


def test_gates_that_enter_by_their_open_probability_do_so_as_often_as_stated():
    draws = 1_500
    log_alpha = np.where(np.arange(20) < 6, np.linspace(-2, 2, 20), -np.inf)
    opened = np.where(np.arange(20) < 6, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] + [0.0] * 14, 0.0)
    # 5 of the 14 others are drawn: a closed gate has their share as its measure
    measure = np.array([5 / 14, 5 / 14, 0.4, 0.6, 0.8, 1.0])
    stated = np.concatenate([3 * measure / measure.sum(), np.full(14, 5 / 14)])
    drawn = np.zeros((draws, RECORDS))
    for seed in range(draws):
        chosen = select(
            log_alpha=log_alpha, gate_share=None, gate_count=3, open_probability=opened, seed=seed
        )
        np.testing.assert_allclose(chosen.inclusion_probability, stated[chosen.indices])
        assert (chosen.kind == "l0").sum() == (chosen.indices < 6).sum() == 3
        assert (chosen.strata == (chosen.indices < 6)).all()
        drawn[seed, chosen.indices] = 1
    error = np.sqrt(stated * (1 - stated) / draws)
    assert (np.abs(drawn.mean(axis=0) - stated) <= 4 * error).all()
    joint = np.outer(stated[chosen.indices], stated[chosen.indices])
    across = np.not_equal.outer(chosen.kind, chosen.kind)
    np.testing.assert_allclose(chosen.joint_probability()[across], joint[across])
    np.testing.assert_allclose(np.diag(chosen.joint_probability()), chosen.inclusion_probability)


def test_joint_probabilities_join_both_parts():
    chosen = select(gate_share=0.5)
    joint = chosen.joint_probability()
    certain = chosen.kind == "l0"
    np.testing.assert_allclose(
        joint[certain], np.broadcast_to(chosen.inclusion_probability, (4, 8))
    )
    rest = joint[np.ix_(~certain, ~certain)]
    np.testing.assert_allclose(rest[~np.eye(4, dtype=bool)], 4 * 3 / (16 * 15))
    with pytest.raises(InputError, match="Hajek-Deville"):
        select(design="pivotal").joint_probability()


def test_every_area_keeps_its_minimum_records_certain_by_their_gates_included():
    areas = np.repeat(["large", "small"], [16, 4])  # the gates' four are the small area's
    chosen = select(areas=areas, minimum=4)
    assert (areas[chosen.indices] == "small").sum() == 4
    turned = np.repeat(["small", "large"], [4, 16])
    kept = select(areas=turned, minimum=2)
    assert (turned[kept.indices] == "small").sum() == 2
    assert set(kept.inclusion_probability[kept.indices < 4]) == {2 / 4}
    by_label = select(areas=turned, minimum={"small": 3, "large": 0})
    assert (turned[by_label.indices] == "small").sum() == 3


@pytest.mark.parametrize("design", ["simple_random", "systematic", "sampford", "pivotal"])
@pytest.mark.parametrize("gates", ["certain", "open"])
@pytest.mark.parametrize("areas", [None, np.repeat([1, 2, 3], [9, 8, 3])])
def test_inverse_probabilities_count_all_records_on_average(design, gates, areas):
    """No record of any part and area is without its chance."""
    log_alpha = np.where(np.arange(RECORDS) % 2 == 0, np.linspace(-2, 2, RECORDS), -np.inf)
    opened = np.where(np.arange(RECORDS) % 2 == 0, np.linspace(0, 1, RECORDS), 0.0)
    chosen = {"open_probability": opened} if gates == "open" else {}
    measure = None if design == "simple_random" else np.linspace(1, 3, RECORDS)
    counts = [
        (1 / drawn.inclusion_probability).sum()
        for seed in range(400)
        for drawn in [
            select(
                log_alpha=log_alpha, design=design, size_measure=measure, areas=areas, seed=seed,
                size=12, gate_share=0.5, **chosen,
            )
        ]
    ]  # fmt: skip
    error = np.std(counts) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - RECORDS) < 4 * error + 1e-9


def test_by_open_probability_both_parts_must_be_drawn():
    for share, part in ((0.0, "gates"), (1.0, "chance")):
        with pytest.raises(InputError, match=f"none is drawn by {part}"):
            select(
                log_alpha=np.where(np.arange(RECORDS) < 10, 1.0, -np.inf),
                open_probability=np.full(RECORDS, 0.5),
                gate_share=share,
            )


def test_infinite_log_odds_come_first():
    log_alpha = np.array([np.inf, 3.0, 2.0, 1.0, -np.inf] * 4)
    chosen = select(log_alpha=log_alpha, size=4, gate_share=1.0)
    assert chosen.indices.tolist() == [0, 5, 10, 15]


def test_every_area_with_records_left_draws_one_so_that_all_have_a_chance():
    areas = np.repeat(["large", "tiny"], [15, 5])  # four of the tiny area's are the gates'
    for seed in range(20):
        chosen = select(areas=areas, size=6, gate_share=None, gate_count=4, seed=seed)
        random = chosen.indices[chosen.kind == "random"]
        assert sorted(areas[random]) == ["large", "tiny"]
    with pytest.raises(InputError, match="1 records are drawn at random, but 2 would be"):
        select(areas=areas, size=5, gate_share=None, gate_count=4)
    assert len(select(areas=areas, size=4, gate_share=1.0).indices) == 4


def test_gates_drawn_by_open_probability_share_their_number_out_over_areas():
    areas = np.tile(["a", "b"], 10)
    log_alpha = np.where(np.arange(RECORDS) < 8, 1.0, -np.inf)
    opened = np.where(areas == "a", 0.9, 0.3)
    for seed in range(20):
        chosen = select(
            log_alpha=log_alpha,
            gate_share=None,
            gate_count=4,
            open_probability=opened,
            areas=areas,
            minimum=3,
            seed=seed,
        )
        by_gates = areas[chosen.indices[chosen.kind == "l0"]]
        assert sorted(by_gates) == ["a", "a", "a", "b"]
        assert (areas[chosen.indices] == "b").sum() >= 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gate_share": -0.01}, "gate_share is -0.01, but must lie between 0"),
        ({"gate_share": 1.01}, "gate_share is 1.01, but must lie between 0"),
        ({"gate_share": np.nan}, "gate_share is nan, but must lie between 0"),
        ({"size": 0}, "size is 0, but must be a whole number of at least 1"),
        ({"size": -1}, "size is -1, but must be a whole"),
        ({"size": 21}, "size is 21, but 20 records"),
        ({"size": 2.5}, "size is 2.5, but must be a whole"),
        ({"log_alpha": LOG_ALPHA[:-1]}, r"design_weights has shape \(20,\), but 19 records"),
        ({"log_alpha": np.full(RECORDS, np.nan)}, "20 entries of log_alpha are not a number"),
        ({"design_weights": np.full(RECORDS, np.nan)}, "design_weights"),
        ({"design_weights": np.full(RECORDS, np.inf)}, "design_weights"),
        ({"design_weights": -DESIGN}, "20 entries of design_weights are negative"),
        ({"gate_count": 3}, "gate_share is 0.5 and gate_count is 3. Give one of them"),
        ({"gate_share": None}, "gate_share is None and gate_count is None. Give one of them"),
        ({"gate_share": None, "gate_count": 9}, "gate_count is 9, but only 8 records are kept"),
        ({"gate_share": None, "gate_count": -1}, "gate_count is -1"),
        ({"minimum": 1}, "minimum is 1, but no areas were given"),
        (
            {"areas": AREAS, "minimum": 6},
            "but 20 would be needed: .* most of all a with 1",
        ),
        ({"areas": AREAS, "minimum": 3}, "4 records are drawn at random, but 8 would be needed"),
        ({"areas": AREAS, "minimum": {"a": 1}}, "minimum must give a number for each of the 4"),
        ({"areas": AREAS[:-1]}, r"strata has shape \(19,\)"),
        ({"size_measure": -DESIGN}, "20 entries of size_measure are negative"),
        ({"size_measure": LOG_ALPHA > 2}, "size is 4, but the 1 strata give from 0"),
        ({"size_measure": np.arange(20.0)}, "probabilities of simple_random go from"),
        ({"balance": np.ones((20, 1))}, "balance was given to a design that does not use it"),
        ({"design": "cube"}, "the design 'cube' needs balance"),
        ({"open_probability": np.full(20, 2.0)}, "4 records were to be drawn from those that"),
        (
            {"open_probability": np.full(20, 2.0), "gate_share": 1.0},
            "20 entries of open_probability are outside",
        ),
    ],
)
def test_a_selection_that_cannot_be_had_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        select(**changed)
