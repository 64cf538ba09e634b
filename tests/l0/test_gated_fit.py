"""Laws of the gated fit: exact supports, a held count, and the records it may choose."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from toy import QUICK_GATES, QUICK_REFIT, few_carry_all, random_survey

from l0.hard_concrete import open_probability
from l0.survey import CalibrationProblem, GatedFitSettings, InputError, calibrate
from l0.survey.checkpoint import Journal
from l0.survey.losses import LOSSES, loss_named
from l0.survey.operator import SparseOperator
from l0.survey.stage import run

RECORDS = 60


def fit(
    problem,
    budget,
    *,
    seed=0,
    settings=QUICK_GATES,
    loss="capped_relative",
    start=None,
    on_progress=lambda record: None,
):
    operator = SparseOperator.of(problem, torch.device("cpu"))
    stage = settings.stage(
        problem,
        operator,
        budget=budget,
        loss=loss_named(loss),
        seed=seed,
        start=problem.design_weights if start is None else start,
    )
    run(stage, journal=Journal(None, fit="", shards=operator.shards), tell=on_progress)
    return stage.selection()


@pytest.mark.parametrize("budget", [1, 7, 30, RECORDS - 1, RECORDS])
def test_the_support_has_exactly_the_budget_and_its_gates_stand_highest(budget):
    found = fit(random_survey(RECORDS), budget)
    assert len(found.support) == len(found.weights) == budget
    assert (np.diff(found.support) > 0).all()
    assert (found.weights > 0).all()
    others = np.delete(found.log_alpha, found.support)
    assert others.max(initial=-np.inf) <= found.log_alpha[found.support].min()


@pytest.mark.parametrize("budget", [1, 7, 30, 36])
def test_the_final_open_probabilities_add_up_to_the_budget(budget):
    found = fit(random_survey(RECORDS), budget)
    assert found.open_probability.sum() == pytest.approx(budget, rel=1e-5)
    left = np.isneginf(found.log_alpha)
    assert (found.open_probability[left] == 0).all()
    # three twentieths of the records must be saved before any leave
    assert left.any() == (1.5 * budget <= 0.85 * RECORDS)


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_no_record_leaves_before_the_schedule_says_so(budget):
    problem = random_survey(RECORDS)
    stage = QUICK_GATES.stage(
        problem,
        SparseOperator.of(problem, torch.device("cpu")),
        budget=budget,
        loss=loss_named("capped_relative"),
        seed=0,
        start=problem.design_weights,
    )
    course = [stage.step(recorded=True) for _ in range(stage.epochs)]
    assert all(record.records >= record.budget for record in course)


@pytest.mark.parametrize("seed", range(3))
def test_the_expected_count_is_the_budget_at_every_recorded_epoch(seed):
    records = []
    fit(random_survey(400, 12, seed=seed), 40, seed=seed, on_progress=records.append)
    assert [record.epoch for record in records] == [*range(0, 150, 10), 149]
    assert {record.stage for record in records} == {"gates"}
    assert records[0].budget == 400
    assert [record.budget for record in records[-6:]] == [40] * 6
    # with every gate asked to be open, none is quite certain to be
    assert records[0].expected_count == pytest.approx(400, rel=2e-5)
    for record in records[1:]:
        assert record.expected_count == pytest.approx(record.budget, rel=1e-6)
    sizes = [record.records for record in records]
    assert sizes == sorted(sizes, reverse=True)
    # one and a half for each of the budget, or up to a fifth more
    assert 60 <= sizes[-1] <= 60 / 0.85


def test_temperature_cools_from_the_first_to_the_last_setting():
    records = []
    fit(random_survey(RECORDS), 7, on_progress=records.append)
    temperatures = [record.temperature for record in records]
    assert temperatures[0] == 1.0
    assert temperatures[-1] == 0.5
    assert temperatures == sorted(temperatures, reverse=True)


def test_the_first_loss_and_penalty_are_those_of_the_design():
    records = []
    settings = GatedFitSettings(epochs=20, noise_share=0.0)
    problem = random_survey(RECORDS)
    fit(problem, 7, settings=settings, on_progress=records.append)
    # each total is the design's raised by a twentieth
    assert records[0].loss == pytest.approx(0.05 / 1.05, rel=1e-4)
    assert records[0].penalty == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("budget", [1, 10, 45])
def test_records_of_design_weight_zero_are_never_kept(budget):
    found = fit(random_survey(RECORDS, without_weight=15), budget)
    assert found.support.max() < 45
    assert np.isneginf(found.log_alpha[45:]).all()
    assert (found.open_probability[45:] == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_few_records_that_carry_all_targets_are_found(seed):
    found = fit(few_carry_all(), 4, seed=seed)
    assert found.support.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_gates_alone_learn_which_records_lower_the_loss(seed):
    # five records are each a target's only one; ten share a target that counts for little
    constraints = np.zeros((6, 15))
    constraints[np.arange(5), np.arange(5)] = 1.0
    constraints[5, 5:] = 1.0
    problem = CalibrationProblem(
        constraints, [1, 1, 1, 1, 1, 6], np.ones(15), loss_weights=[1, 1, 1, 1, 1, 0.1]
    )
    # weights stand still, and log-odds do not follow them
    settings = GatedFitSettings(
        epochs=100, weight_rate=1e-9, initial_focus=1e-6, final_focus=1e-6, penalty=0.0
    )
    assert fit(problem, 5, seed=seed, settings=settings).support.tolist() == [0, 1, 2, 3, 4]


def test_the_record_without_any_coefficient_is_the_first_to_go():
    problem = random_survey(20, 3)
    constraints = problem.constraints.toarray()
    constraints[0] = 1.0
    constraints[:, 5] = 0.0
    without = CalibrationProblem(constraints, problem.values, problem.design_weights)
    assert 5 not in fit(without, 19).support


@pytest.mark.parametrize("loss", LOSSES)
def test_few_records_that_carry_all_targets_are_found_under_every_loss(loss):
    assert fit(few_carry_all(), 4, loss=loss).support.tolist() == [0, 1, 2, 3]


def test_the_first_epoch_begins_with_the_start_given():
    problem, records = random_survey(RECORDS), []
    # the design's totals are raised by a twentieth
    fit(
        problem,
        RECORDS,
        start=1.05 * problem.design_weights,
        settings=GatedFitSettings(epochs=1, noise_share=0.0),
        on_progress=records.append,
    )
    assert records[0].loss == pytest.approx(0.0, abs=1e-5)
    assert records[0].penalty > 0


def first_step(problem, **settings):
    """The ratio of weights, gates all but open, after one epoch of a fit that keeps all."""
    settings = GatedFitSettings(epochs=1, noise_share=0.0, penalty=0.0, **settings)
    found = fit(problem, problem.n_records, settings=settings)
    return found.weights / problem.design_weights


def test_a_target_beyond_its_cap_pulls_by_the_leak_alone():
    # an estimate of 90 where 10 is due is eight scales away
    problem = CalibrationProblem([[1.0, 1.0]], [10.0], [45.0, 45.0])
    np.testing.assert_allclose(first_step(problem, leak=0.0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(first_step(problem, leak=0.1), np.exp(-0.05), rtol=1e-5)


def test_the_penalty_pulls_weights_to_the_design_raised_to_its_total():
    problem = random_survey(RECORDS)
    fitted = [
        fit(problem, RECORDS, settings=GatedFitSettings(epochs=200, penalty=penalty)).weights
        for penalty in (0.0, 1e4)
    ]
    free, held = (np.abs(np.log(weights / problem.design_weights)).max() for weights in fitted)
    assert held < 1e-3 < 0.02 < free


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_shortest_fits_have_the_exact_size_too(epochs):
    found = fit(random_survey(RECORDS), 7, settings=GatedFitSettings(epochs=epochs))
    assert len(found.support) == 7
    assert (found.weights > 0).all()


@pytest.mark.parametrize("share", ["budget_share", "annealing_share", "noise_share"])
def test_a_phase_may_last_to_the_end(share):
    settings = GatedFitSettings(epochs=50, **{share: 1.0})
    assert len(fit(random_survey(RECORDS), 7, settings=settings).support) == 7


def test_without_noise_the_seed_does_not_matter():
    settings = GatedFitSettings(epochs=50, noise_share=0.0)
    first = fit(random_survey(RECORDS), 7, seed=1, settings=settings)
    second = fit(random_survey(RECORDS), 7, seed=2, settings=settings)
    assert first.log_alpha.tobytes() == second.log_alpha.tobytes()


def test_a_loss_that_is_no_number_is_refused():
    # in float32 the pull of a coefficient over such a scale is infinite
    problem = CalibrationProblem([[1e30, -1e30]], [1.0], [1.0, 1.0], scales=[1e-30])
    message = "the loss is nan at epoch 10 of gates. Lower the learning rate, or look for"
    with pytest.raises(InputError, match=message):
        fit(problem, 1)


SHARES = ("noise_share", "annealing_share", "budget_share")


@pytest.mark.parametrize("name", [field.name for field in fields(GatedFitSettings)])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_settings_that_are_negative_or_not_finite_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}, but must be finite and"):
        GatedFitSettings(**{name: value})


@pytest.mark.parametrize(
    "setting",
    [{"epochs": 0}, {"epochs": 2.5}, {"final_temperature": 0.0}, {"weight_rate": 0.0}]
    + [{share: 1.01} for share in SHARES],
    ids=str,
)
def test_settings_out_of_bounds_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} is"):
        GatedFitSettings(**setting)


def test_a_selection_may_be_asked_for_twice_and_is_of_its_own_locations():
    problem = random_survey(60)
    fit = QUICK_GATES.stage(
        problem,
        SparseOperator.of(problem, torch.device("cpu")),
        budget=12,
        loss=loss_named("capped_relative"),
        seed=0,
        start=problem.design_weights,
    )
    for _ in range(120):
        fit.step(recorded=False)
    one, two = fit.selection(), fit.selection()
    assert one.log_alpha.tobytes() == two.log_alpha.tobytes()
    left = np.isfinite(one.log_alpha)
    opened = open_probability(
        torch.tensor(one.log_alpha[left]).float(), QUICK_GATES.final_temperature
    )
    assert one.open_probability[left].tolist() == opened.double().tolist()
    assert one.open_probability.min() >= 0


def test_a_users_inference_mode_changes_nothing():
    problem = random_survey(60)
    plain = calibrate(problem, budget=12, settings=QUICK_GATES, refit_settings=QUICK_REFIT)
    with torch.inference_mode():
        inside = calibrate(problem, budget=12, settings=QUICK_GATES, refit_settings=QUICK_REFIT)
    assert inside.weights.tobytes() == plain.weights.tobytes()
