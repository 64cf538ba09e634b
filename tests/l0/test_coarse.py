"""Laws of the reference that is fitted first, to the targets that many records carry."""

from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from toy import random_survey

from l0.survey import CalibrationProblem, RefitSettings, refit
from l0.survey.bounds import WeightBounds
from l0.survey.coarse import FIRST_PENALTY, coarse_levels, effective_records
from l0.survey.first_order import Support
from l0.survey.weights import scaled_design_weights


def support_of(problem, records):
    reference = scaled_design_weights(problem.design_weights, np.array(records))
    free = WeightBounds(np.zeros_like(reference), np.full_like(reference, np.inf), None)
    return Support(np.array(records), reference, np.ones_like(reference), free)


def counts_and_an_amount():
    """All four records, two of them, one of them, and an amount that one nearly carries alone."""
    constraints = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, -97]]
    return CalibrationProblem(constraints, [50.0, 30.0, 20.0, 9.0], [10.0, 10.0, 10.0, 10.0])


def test_a_target_is_carried_by_as_many_records_as_would_carry_it_evenly():
    problem = counts_and_an_amount()
    carried = effective_records(problem, support_of(problem, [0, 1, 2, 3]))
    assert carried.tolist() == pytest.approx([4.0, 2.0, 1.0, 100**2 / (3 + 97**2)])


def test_a_target_that_no_record_kept_carries_is_carried_by_none():
    problem = counts_and_an_amount()
    assert effective_records(problem, support_of(problem, [0, 1])).tolist() == [2, 2, 0, 2]


@pytest.mark.parametrize(
    ("share", "narrow"),
    [
        (0.25, [False, True, True, True]),
        (0.5, [False, False, True, True]),
        (0.75, [False, False, True, False]),
    ],
)
def test_the_share_of_targets_that_most_records_carry_is_met_first(share, narrow):
    problem = counts_and_an_amount()
    ((left_out, _),) = coarse_levels(problem, support_of(problem, [0, 1, 2, 3]), share=share)
    assert left_out.tolist() == narrow


def test_each_level_meets_four_times_as_many_and_is_held_twice_as_firmly():
    problem = random_survey(90, 64)
    levels = coarse_levels(problem, support_of(problem, range(90)), share=1 / 32)
    met = [~narrow for narrow, _ in levels]
    assert [mask.sum() for mask in met] == [2, 8, 32]
    assert [penalty for _, penalty in levels] == pytest.approx([0.03, 0.06, 0.12])
    assert all((less <= more).all() for less, more in pairwise(met))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_none_or_all_would_be_met_there_is_nothing_to_fit_first(share):
    problem = counts_and_an_amount()
    assert coarse_levels(problem, support_of(problem, [0, 1, 2, 3]), share=share) == []


def test_a_level_of_no_target_is_passed_over():
    problem = counts_and_an_amount()
    ((narrow, penalty),) = coarse_levels(problem, support_of(problem, [0, 1, 2, 3]), share=0.1)
    assert (~narrow).sum() == 2
    assert penalty == FIRST_PENALTY


def test_targets_that_do_not_count_are_neither_counted_nor_met_first():
    problem = counts_and_an_amount().without(np.array([True, False, False, False]))
    ((narrow, _),) = coarse_levels(problem, support_of(problem, [0, 1, 2, 3]), share=1 / 3)
    assert narrow.tolist() == [True, False, True, True]


@pytest.fixture
def are_many(monkeypatch):
    """Four targets are as many as a thousand; the package's ``refit`` is the function."""
    monkeypatch.setattr(import_module("l0.survey.refit"), "SECOND_ORDER_TARGETS", 3)


def wide_and_narrow():
    """Four targets: the number of all records, and three that hang on one record each."""
    rows = np.vstack([np.ones(40), np.eye(40)[:3]])
    return CalibrationProblem(rows, [480.0, *[30.0] * 3], np.full(40, 10.0))


@pytest.mark.usefixtures("are_many")
def test_what_hangs_on_few_records_is_held_near_what_many_agree_on():
    problem, everyone = wide_and_narrow(), range(40)
    # with the pull so strong, each record is raised by a fifth to the 480, and nothing else moves
    for share, expected in ((1 / 4, 12.0), (0.0, 10.0)):
        settings = RefitSettings(epochs=1000, penalty=1e3, firmness_power=0.0, coarse_share=share)
        weights = refit(problem, everyone, settings=settings).weights
        np.testing.assert_allclose(weights, expected, rtol=1e-2)


@pytest.mark.usefixtures("are_many")
def test_where_all_targets_can_be_met_meeting_some_first_changes_nothing():
    # raking in two steps ends where raking in one does
    problem, everyone = wide_and_narrow(), range(40)
    found = [
        refit(
            problem,
            everyone,
            settings=RefitSettings(
                epochs=2000, penalty=1e-3, order="second", firmness_power=0.0, coarse_share=share
            ),
        ).weights
        for share in (0.0, 1 / 4)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)
    np.testing.assert_allclose(found[1][:3], 30.0, rtol=1e-6)


def stages_of(settings, **options):
    told = []
    refit(random_survey(40, 60), range(20), settings=settings, on_progress=told.append, **options)
    return [record.stage for record in told if record.epoch == 0]


def test_with_few_targets_there_is_one_step():
    assert stages_of(RefitSettings(epochs=10, penalty=0.1)) == ["refit"]


@pytest.mark.usefixtures("are_many")
def test_the_reference_is_fitted_once_for_all_strengths_and_once_for_the_end():
    names = stages_of(RefitSettings(epochs=10))
    levels = ["coarse 1", "coarse 2", "coarse 3"]
    assert names[:3] == [f"{level}, refit, validation" for level in levels]
    assert names[-4:] == [*(f"{level}, refit" for level in levels), "refit"]
    assert len(names) == len(set(names))


@pytest.mark.usefixtures("are_many")
def test_without_a_penalty_or_a_share_no_reference_is_fitted():
    assert stages_of(RefitSettings(epochs=10, penalty=0.0)) == ["refit"]
    assert stages_of(RefitSettings(epochs=10, penalty=0.1, coarse_share=0.0)) == ["refit"]
