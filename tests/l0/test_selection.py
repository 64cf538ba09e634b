"""Laws of the selection: exact sizes, known inclusion probabilities, refusals."""

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
        assert len(chosen.support) == len(np.unique(chosen.support)) == 8
        assert (np.diff(chosen.support) > 0).all()
        assert (chosen.kind == "l0").sum() == by_gates
        assert (chosen.kind == "random").sum() == 8 - by_gates


def test_gates_choose_the_records_of_highest_log_odds():
    chosen = select(gate_share=0.5)
    assert chosen.support[chosen.kind == "l0"].tolist() == [16, 17, 18, 19]
    shuffled = np.random.default_rng(1).permutation(LOG_ALPHA)
    best = select(log_alpha=shuffled, gate_share=1.0).support
    assert set(best) == set(np.argsort(shuffled)[-8:])


def test_equal_log_odds_fall_in_the_order_of_the_records():
    assert select(log_alpha=np.zeros(RECORDS), gate_share=1.0).support.tolist() == list(range(8))


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
        drawn[chosen.support] += 1
    assert (drawn[16:] == draws).all()
    probability = 4 / 16
    error = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(drawn[:16] / draws - probability) < 4 * error).all()


def test_the_draw_follows_its_seed_and_leaves_the_global_generator_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = select(gate_share=0.0, seed=5).support
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert (select(gate_share=0.0, seed=5).support == first).all()
    assert (select(gate_share=0.0, seed=6).support != first).any()


def test_records_of_design_weight_zero_are_never_kept():
    design = DESIGN.copy()
    design[[0, 5, 19]] = 0
    for share in (0.0, 0.5, 1.0):
        for seed in range(20):
            chosen = select(design_weights=design, gate_share=share, size=10, seed=seed)
            assert not {0, 5, 19} & set(chosen.support)
    everyone = select(design_weights=design, gate_share=0.5, size=17)
    assert len(everyone.support) == 17
    assert set(everyone.inclusion_probability) == {1.0}


def test_records_that_left_training_early_come_in_by_chance_alone():
    log_alpha = np.full(RECORDS, -np.inf)
    log_alpha[:4] = 1.0
    chosen = select(log_alpha=log_alpha, gate_share=0.5)
    assert chosen.support[chosen.kind == "l0"].tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="5 records were to be chosen by gates, but on"):
        select(log_alpha=log_alpha, gate_share=0.625)


def test_a_random_selection_is_a_simple_random_sample():
    chosen = select_random(DESIGN, size=5, seed=0)
    assert len(chosen.support) == 5
    assert set(chosen.kind) == {"random"}
    assert set(chosen.inclusion_probability) == {5 / RECORDS}
    assert (chosen.support == select(gate_share=0.0, size=5).support).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gate_share": -0.01}, "gate_share is -0.01, but must lie between 0"),
        ({"gate_share": 1.01}, "gate_share is 1.01, but must lie between 0"),
        ({"gate_share": np.nan}, "gate_share is nan, but must lie between 0"),
        ({"size": 0}, "size is 0, but 20 records"),
        ({"size": -1}, "size is -1, but 20 records"),
        ({"size": 21}, "size is 21, but 20 records"),
        ({"size": 2.5}, "size is 2.5, but .* Choose a whole size from 1 to 20"),
        ({"log_alpha": LOG_ALPHA[:-1]}, r"log_alpha has shape \(19,\) and design_weights has \(20"),
        ({"log_alpha": np.full(RECORDS, np.nan)}, "20 entries of log_alpha are not a number"),
    ],
)
def test_a_selection_that_cannot_be_had_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        select(**changed)
