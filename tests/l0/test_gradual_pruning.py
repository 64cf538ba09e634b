"""Laws of gradual pruning: exact sizes by a schedule, records that carry much, and no noise."""

import numpy as np
import pytest
import torch
from toy import capped_loss, few_carry_all, random_survey, two_states

from l0.survey import (
    CalibrationProblem,
    GradualPruningSettings,
    InputError,
    RefitSettings,
    calibrate,
    refit,
    select_random,
)
from l0.survey.budget import scheduled_budget

QUICK = GradualPruningSettings(epochs=150)
REFIT = RefitSettings(epochs=60, penalty=0.01)


def run(problem, budget, **options):
    quick = {"settings": QUICK, "refit_settings": REFIT, "device": "cpu"}
    return calibrate(problem, budget=budget, method="gradual_pruning", **(quick | options))


def selecting(result):
    return [record for record in result.history if record.stage == "selection"]


@pytest.mark.parametrize("budget", [1, 7, 30, 60])
def test_exactly_the_budget_of_records_is_kept(budget):
    result = run(random_survey(60), budget)
    assert len(result.support) == budget
    assert np.flatnonzero(result.weights).tolist() == result.support.tolist()


@pytest.mark.parametrize("epochs", [1, 2, 5, 21])
def test_the_size_is_exact_however_few_epochs_there_are(epochs):
    result = run(random_survey(60), 7, settings=GradualPruningSettings(epochs=epochs))
    assert len(result.support) == 7


def test_the_records_that_are_left_follow_the_schedule_in_steps():
    settings = GradualPruningSettings(
        epochs=200, prune_every=20, budget_share=0.6, budget_power=1.5
    )
    course = selecting(run(random_survey(300), 30, settings=settings))
    for record in course:
        planned, last_cut = (
            scheduled_budget(epoch, records=300, budget=30, last_epoch=120, power=1.5)
            for epoch in (record.epoch, record.epoch - record.epoch % 20)
        )
        assert record.budget == planned
        assert record.records == (30 if record.epoch >= 120 else round(last_cut))
    assert course[0].records == 300
    assert len({record.records for record in course}) == 7


def test_a_higher_power_keeps_more_records_longer():
    left = [
        selecting(run(random_survey(300), 30, settings=settings))[5].records
        for settings in (
            GradualPruningSettings(epochs=150, budget_power=power) for power in (0.5, 1.5, 3.0)
        )
    ]
    assert left == sorted(left)
    assert len(set(left)) == 3


def test_few_records_that_carry_all_targets_are_found_with_their_weights():
    result = run(few_carry_all(), 4)
    assert result.support.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(result.weights[:4], [100, 200, 300, 400], rtol=2e-2)


def test_each_state_keeps_a_household_and_its_total():
    result = run(two_states(), 2)
    assert sorted(result.support % 2) == [0, 1]
    np.testing.assert_allclose(result.estimates, [100.0, 200.0], rtol=1e-2)


def test_what_is_kept_fits_better_than_records_drawn_at_random():
    problem = random_survey(200, 25)
    settings = GradualPruningSettings(epochs=300)
    kept = capped_loss(problem, run(problem, 20, settings=settings).weights)
    at_random = [
        capped_loss(problem, refit(problem, draw.indices, settings=REFIT).weights)
        for draw in (select_random(problem.design_weights, size=20, seed=seed) for seed in range(8))
    ]
    # about 0.3 of the median and 0.6 of the best
    assert kept < 0.6 * np.median(at_random)
    assert kept < min(at_random)


def test_nothing_is_random_so_that_seeds_and_global_generators_change_nothing():
    problem = random_survey(60)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = run(problem, 10, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = run(problem, 10, seed=2)
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.log_alpha.tobytes() == two.log_alpha.tobytes()
    assert one.history == two.history


def test_records_that_are_kept_are_in_with_certainty_and_ranked_by_what_they_carry():
    result = run(random_survey(60), 10)
    left = np.isfinite(result.log_alpha)
    assert np.flatnonzero(left).tolist() == result.support.tolist()
    assert (result.open_probability == left).all()


def test_of_equal_records_the_first_stay():
    problem = CalibrationProblem(np.ones((1, 40)), [400.0], np.full(40, 10.0))
    assert run(problem, 6).support.tolist() == [0, 1, 2, 3, 4, 5]


def test_records_of_design_weight_zero_are_never_kept():
    result = run(random_survey(60, without_weight=15), 45)
    assert result.support.tolist() == list(range(45))


def test_a_stronger_penalty_leaves_the_selections_weights_nearer_to_the_design():
    easy = random_survey(60, 6)
    # each total asks for weights of its own
    values = easy.values * np.array([0.6, 0.8, 0.9, 1.1, 1.2, 1.4])
    problem = CalibrationProblem(easy.constraints, values, easy.design_weights)
    distances = []
    for penalty in (0.0, 1.0, 100.0):
        settings = GradualPruningSettings(epochs=150, penalty=penalty)
        # all are kept, so that the weights of the same records are compared
        result = run(problem, 60, settings=settings, refit=False, refit_settings=None)
        distances.append(np.abs(np.log(result.weights / problem.design_weights)).mean())
    assert distances[0] > 1.5 * distances[1] > 1.5**2 * distances[2]


def test_a_start_is_where_the_weights_begin():
    problem = random_survey(60)
    start = problem.design_weights * 1.05
    course = selecting(run(problem, 30, start=start))
    assert course[0].loss == pytest.approx(capped_loss(problem, start), abs=1e-6)
    assert course[0].loss < selecting(run(problem, 30))[0].loss


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"epochs": "10"},
        {"prune_every": 0},
        {"prune_every": None},
        {"weight_rate": 0.0},
        {"budget_share": 0.0},
        {"budget_share": 1.1},
        {"budget_power": 0.0},
        {"leak": 1.5},
        {"smoothing": -0.1},
        {"penalty": -0.1},
        {"penalty": np.nan},
        {"weight_rate": np.inf},
        {"weight_rate": True},
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} is .*but must be"):
        GradualPruningSettings(**setting)


def test_without_a_budget_its_settings_are_refused_since_nothing_leaves():
    with pytest.raises(InputError, match=r"budget=None keeps every record. Give a budget, or leav"):
        run(random_survey(), None)
    with pytest.raises(InputError, match="budget=None keeps every record"):
        run(random_survey(), None, settings=None)
