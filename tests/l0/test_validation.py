"""Laws of the choice of a penalty: by targets set aside for it alone, and by nothing else."""

import numpy as np
import pytest
from toy import random_survey

from l0.survey import CalibrationProblem, GatedFitSettings, RefitSettings, calibrate, refit
from l0.survey.validation import (
    FEWEST_TARGETS,
    STRENGTHS,
    WITHOUT_VALIDATION,
    Validation,
    chosen,
    hidden_targets,
    validate,
)

QUICK = {
    "budget": 25,
    "settings": GatedFitSettings(epochs=40),
    "refit_settings": RefitSettings(epochs=20),
    "device": "cpu",
}


def with_values(problem, values):
    """The problem with other published totals, judged by the old scales."""
    return CalibrationProblem(
        problem.constraints,
        values,
        problem.design_weights,
        scales=problem.scales,
        loss_weights=problem.loss_weights,
    )


def test_hidden_targets_are_drawn_by_the_seed_alone():
    problem = random_survey(80, 60)
    first = hidden_targets(problem, share=0.1, seed=3)
    np.random.seed(1)  # noqa: NPY002
    assert (first == hidden_targets(problem, share=0.1, seed=3)).all()
    assert (first != hidden_targets(problem, share=0.1, seed=4)).any()


@pytest.mark.parametrize(("share", "count"), [(0.1, 6), (0.25, 16), (0.5, 32)])
def test_the_share_is_that_of_the_targets_that_count(share, count):
    problem = random_survey(80, 100).without(np.arange(100) >= 64)
    assert hidden_targets(problem, share=share, seed=0).sum() == count


def test_targets_held_out_from_the_calibration_are_never_hidden():
    held_out = np.arange(100) % 3 == 0
    problem = random_survey(80, 100).without(held_out)
    ever = np.zeros(100, dtype=bool)
    for seed in range(60):
        hidden = hidden_targets(problem, share=0.2, seed=seed)
        assert not (hidden & held_out).any()
        ever |= hidden
    # and each of the others is at times
    assert (ever == ~held_out).all()


def test_nothing_is_hidden_of_too_few_targets_and_a_mild_penalty_is_taken():
    enough = random_survey(40, FEWEST_TARGETS)
    assert hidden_targets(enough, share=0.1, seed=0).any()
    few = enough.without(np.arange(FEWEST_TARGETS) == 0)
    assert not hidden_targets(few, share=0.1, seed=0).any()
    result = calibrate(few, **QUICK)
    assert result.validation == ()
    assert result.refitted.penalty == WITHOUT_VALIDATION
    assert {record.stage for record in result.history} == {"selection", "refit"}


def test_strengths_are_tried_from_strong_to_weak_each_from_where_the_last_one_ended():
    problem = random_survey(10, 60)
    hidden = np.arange(60) < 6
    tried = []

    def refitted(start, strength):
        tried.append((start.tolist(), strength))
        weights = np.zeros(10)
        weights[[2, 5]] = start + 1.0
        return weights

    validate(problem, hidden, refitted, start=np.array([10.0, 20.0]))
    assert [strength for _, strength in tried] == list(STRENGTHS)
    assert list(STRENGTHS) == sorted(STRENGTHS, reverse=True)
    assert [start for start, _ in tried] == [[10 + step, 20 + step] for step in range(4)]


def test_the_loss_is_the_capped_mean_of_the_hidden_errors_by_their_loss_weights():
    problem = CalibrationProblem(
        np.ones((3, 1)), [100.0, 100.0, 10.0], [1.0], loss_weights=[1.0, 3.0, 1.0]
    )
    hidden = np.array([True, False, True])
    weights = iter([100.0, 90.0, 50.0, 10.0])
    told = validate(problem, hidden, lambda *_: np.array([next(weights)]), start=np.ones(1))
    # errors of the first target 0, 0.1, 0.5, 0.9; of the third 9, 8, 4, 0, capped at 1
    assert [tried.loss for tried in told] == pytest.approx([0.5, 0.55, 0.75, 0.45])
    assert [tried.penalty for tried in told] == list(STRENGTHS)
    # the third is 0.3 above the best, by 0.22; the second 0.1 by 0.71, the first 0.05 by 0.67
    assert chosen(told) == STRENGTHS[0]
    # differences to the best: -0.9 and 1 of the first one, so (0.95^2 / 4 twice) ^ 0.5
    assert told[0].standard_error == pytest.approx(0.95 / 2**0.5)
    assert told[-1].standard_error == 0.0


def test_without_hidden_targets_nothing_is_refitted():
    def refitted(*_):
        raise AssertionError

    assert validate(random_survey(), np.zeros(6, dtype=bool), refitted, start=np.ones(3)) == ()
    assert chosen(()) == WITHOUT_VALIDATION


@pytest.mark.parametrize(
    ("losses_and_errors", "strength"),
    [
        ([(0.3, 0.05), (0.2, 0.0), (0.2, 0.0)], 0.03),  # the stronger of equals
        ([(0.3, 0.1), (0.2, 0.0), (0.25, 0.1)], 0.1),  # within one standard error
        ([(0.3, 0.05), (0.25, 0.06), (0.2, 0.0)], 0.03),
        ([(0.3, 0.05), (0.25, 0.04), (0.2, 0.0)], 0.01),
    ],
)
def test_the_strongest_is_chosen_that_is_within_one_standard_error_of_the_best(
    losses_and_errors, strength
):
    strengths = (0.1, 0.03, 0.01)
    told = [
        Validation(penalty, *found)
        for penalty, found in zip(strengths, losses_and_errors, strict=True)
    ]
    assert chosen(told) == strength


def test_a_calibration_tells_every_strength_and_uses_the_best():
    problem = random_survey(80, 60)
    result = calibrate(problem, **QUICK)
    assert [tried.penalty for tried in result.validation] == list(STRENGTHS)
    assert result.refitted.penalty == chosen(result.validation)
    stages = list(dict.fromkeys(record.stage for record in result.history))
    validations = [f"validation {strength:g}" for strength in STRENGTHS]
    assert stages == ["pilot", *validations, "selection", "refit"]
    epochs = {record.stage: record.epochs for record in result.history}
    assert [epochs[name] for name in (*validations, "refit")] == [20, 10, 10, 10, 20]


def test_a_penalty_that_is_given_is_used_without_any_validation():
    given = RefitSettings(epochs=20, penalty=0.07)
    result = calibrate(random_survey(80, 60), **(QUICK | {"refit_settings": given}))
    assert result.validation == ()
    assert result.refitted.penalty == 0.07
    assert {record.stage for record in result.history} == {"selection", "refit"}


def test_neither_pilot_nor_validation_looks_at_the_hidden_targets():
    problem = random_survey(80, 60)
    hidden = hidden_targets(problem, share=0.1, seed=0)
    other = with_values(problem, np.where(hidden, problem.values * 0.7, problem.values))
    one, two = calibrate(problem, **QUICK), calibrate(other, **QUICK)
    unseen = [
        [record for record in result.history if record.stage.startswith(("pilot", "valid"))]
        for result in (one, two)
    ]
    assert unseen[0] == unseen[1]
    assert len({record.stage for record in unseen[0]}) == 1 + len(STRENGTHS)
    assert [tried.loss for tried in one.validation] != [tried.loss for tried in two.validation]


def test_a_calibration_never_looks_at_targets_that_do_not_count():
    problem = random_survey(80, 70).without(np.arange(70) % 7 == 0)
    uncounted = problem.loss_weights == 0
    one, two = (
        calibrate(with_values(problem, np.where(uncounted, values, problem.values)), **QUICK)
        for values in (problem.values * 3, np.zeros(70))
    )
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.validation == two.validation
    assert one.history == two.history


def test_a_refit_alone_chooses_its_penalty_by_hidden_targets_and_its_seed():
    problem, support = random_survey(80, 60), np.arange(0, 80, 2)
    settings = RefitSettings(epochs=20)
    first = refit(problem, support, settings=settings, seed=1)
    assert first.penalty == chosen(first.validation)
    again = refit(problem, support, settings=settings, seed=1)
    assert first.weights.tobytes() == again.weights.tobytes()
    assert refit(problem, support, settings=settings, seed=2).validation != first.validation
    # the final weights are those of all targets at the strength chosen
    given = RefitSettings(epochs=20, penalty=first.penalty)
    alone = refit(problem, support, settings=given)
    assert alone.weights.tobytes() == first.weights.tobytes()
