"""Laws of the rounds in which records that have left come back to be chosen from."""

import numpy as np
import pytest
import torch
from interruption import Interrupted, bytes_of, interrupted_at
from toy import QUICK, QUICK_REFIT, few_carry_all, random_survey

from l0.survey import (
    CalibrationProblem,
    Checkpoint,
    GatedFitSettings,
    InputError,
    RefitSettings,
    calibrate,
)
from l0.survey.losses import loss_named
from l0.survey.operator import SparseOperator
from l0.survey.returns import CANDIDATES, FIRST_SHARE, candidates

JUDGED = loss_named("capped_relative")


def candidates_of(problem, weights):
    operator = SparseOperator.of(problem, torch.device("cpu"))
    return candidates(problem, operator, np.array(weights, dtype=float), loss=JUDGED, leak=0.2)


def one_short_one_over():
    """Under a weight of 30 for record 0 alone, target 0 lacks 30, and target 1 has 30 too much.

    Records 1 and 2 carry the first target, 2 twice; record 3 carries the second; 4 is no sample.
    """
    return CalibrationProblem(
        [[1.0, 1.0, 2.0, 0.0, 9.0], [2.0, 0.0, 0.0, 1.0, 0.0]],
        [60.0, 30.0],
        [6.0, 6.0, 6.0, 12.0, 0.0],
        loss_weights=[0.5, 0.5],
    )


def test_those_come_back_first_that_lower_the_loss_most(monkeypatch):
    problem = one_short_one_over()
    monkeypatch.setattr("l0.survey.returns.CANDIDATES", 1)
    assert candidates_of(problem, [30, 0, 0, 0, 0])[0].tolist() == [0, 2]
    monkeypatch.setattr("l0.survey.returns.CANDIDATES", 2)
    assert candidates_of(problem, [30, 0, 0, 0, 0])[0].tolist() == [0, 1, 2]


def test_what_is_kept_begins_where_it_is_and_the_others_at_a_share_of_their_raised_design():
    problem = one_short_one_over()
    chosen_from, start = candidates_of(problem, [30, 0, 0, 0, 0])
    # record 3 would raise the loss, 4 is no sample; the design's total of 30 lies on one of 6
    assert chosen_from.tolist() == [0, 1, 2]
    assert start[:4].tolist() == pytest.approx([30, *(FIRST_SHARE * 5 * np.array([6, 6, 12]))])


def test_what_cannot_be_better_stays_and_without_noise_one_round_tells():
    # a record for each block, all met: no other set of as many records is better
    problem = few_carry_all()
    options = {
        "budget": 4,
        "method": "gradual_pruning",
        "settings": QUICK["gradual_pruning"],
        "refit_settings": RefitSettings(epochs=300, penalty=1e-3),
        "max_weight_ratio": None,
        "device": "cpu",
    }
    alone, again = (calibrate(problem, **options, returns=returns) for returns in (0, 3))
    assert again.weights.tobytes() == alone.weights.tobytes()
    stages = {record.stage for record in again.history}
    assert "selection, return 1" in stages
    assert "selection, return 2" not in stages


def test_no_more_than_a_few_come_back_for_each_that_is_kept():
    problem = random_survey(200, 10)
    weights = np.where(np.arange(200) % 20 == 0, 100.0, 0.0)
    chosen_from, _ = candidates_of(problem, weights)
    assert len(chosen_from) == 10 * (1 + CANDIDATES)
    assert set(np.flatnonzero(weights)) <= set(chosen_from)


@pytest.mark.parametrize("method", ["hard_concrete", "gradual_pruning"])
def test_a_budget_is_kept_exactly_and_bounds_hold_after_every_round(method):
    result = calibrate(
        random_survey(120, 30),
        budget=15,
        method=method,
        settings=QUICK[method],
        refit_settings=QUICK_REFIT,
        max_weight_ratio=3,
        returns=2,
    )
    assert len(result.support) == (result.weights > 0).sum() == 15
    assert result.realized_max_weight_ratio <= 3 * (1 + 1e-9)
    stages = {record.stage for record in result.history}
    assert {"selection, return 2", "refit, return 1", "refit, return 2"} <= stages


def test_rounds_never_raise_the_loss_and_lower_it_where_records_are_few():
    options = {
        "problem": random_survey(400, 60, seed=3),
        "budget": 12,
        "settings": GatedFitSettings(epochs=400),
        "refit_settings": RefitSettings(epochs=150, penalty=0.0, order="first"),
    }
    losses = [calibrate(**options, returns=returns).loss for returns in (0, 1, 3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_an_interrupted_round_resumes_bit_identically(tmp_path):
    options = {
        "problem": random_survey(80, 50),
        "budget": 12,
        "settings": GatedFitSettings(epochs=40),
        "refit_settings": RefitSettings(epochs=21, penalty=0.1),
        "returns": 2,
        "device": "cpu",
    }
    expected = calibrate(**options)
    stages = [record.stage for record in expected.history]
    path = tmp_path / "fit.npz"
    for stage in ("selection, return 1", "refit, return 1", "selection, return 2"):
        told = interrupted_at(stages.index(stage) + 2)
        with pytest.raises(Interrupted):
            calibrate(**options, checkpoint=Checkpoint(path, 0), on_progress=told)
        resumed = calibrate(**options, checkpoint=Checkpoint(path, 0))
        assert bytes_of(resumed) == bytes_of(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"returns": -1}, "returns"),
        ({"returns": 1.5}, "returns"),
        ({"returns": 1, "refit": False}, "weights are refitted"),
        ({"returns": 1, "budget": None}, "keeps to a budget"),
        ({"returns": 1, "method": "penalised"}, "not 'penalised'"),
    ],
)
def test_rounds_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        calibrate(random_survey(), **({"budget": 10} | options))
