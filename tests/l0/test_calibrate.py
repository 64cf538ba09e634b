"""Laws of the one call: size, seed, evidence, devices, and how good the result is."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from toy import QUICK_GATES, QUICK_REFIT, capped_loss, few_carry_all, random_survey, two_states

from l0.survey import InputError, calibrate, refit, select_random
from l0.survey.device import choose_device
from l0.survey.weights import scaled_design_weights

RECORDS = 60


def run(problem, budget, **options):
    quick = {"gates": QUICK_GATES, "refit_settings": QUICK_REFIT, "device": "cpu"}
    return calibrate(problem, budget=budget, **(quick | options))


def fingerprint(result):
    arrays = (result.weights, result.log_alpha, result.open_probability, result.estimates)
    return b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("budget", [1, 7, 30, RECORDS])
def test_exactly_the_budget_of_records_has_weight(budget):
    result = run(random_survey(RECORDS), budget)
    assert np.flatnonzero(result.weights).tolist() == result.support.tolist()
    assert len(result.support) == budget
    assert (result.weights[result.support] > 0).all()
    assert np.isfinite(result.weights).all()


def test_same_seed_gives_identical_bytes_whatever_the_global_generators_hold():
    problem = random_survey(RECORDS)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = run(problem, 7, seed=11)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    second = run(problem, 7, seed=11)
    assert fingerprint(first) == fingerprint(second)
    assert first.history == second.history


def test_another_seed_gives_another_course():
    problem = random_survey(RECORDS)
    assert fingerprint(run(problem, 7, seed=11)) != fingerprint(run(problem, 7, seed=12))


def test_few_records_that_carry_all_targets_are_found_with_their_weights():
    problem = few_carry_all()
    result = run(problem, 4)
    assert result.support.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(result.weights[:4], [100, 200, 300, 400], rtol=5e-3)


def test_each_state_keeps_a_household_and_its_total():
    result = run(two_states(), 2)
    assert sorted(result.support % 2) == [0, 1]
    np.testing.assert_allclose(result.estimates, [100.0, 200.0], rtol=5e-3)


def test_all_records_kept_is_calibration_without_selection():
    problem = random_survey(RECORDS)
    result = run(problem, RECORDS)
    assert (result.weights > 0).all()
    assert capped_loss(problem, result.weights) < 1e-3


@pytest.mark.parametrize("seed", range(2))
def test_chosen_records_fit_better_than_records_drawn_at_random(seed):
    problem = random_survey(200, 25, seed=seed)
    chosen = capped_loss(problem, run(problem, 20, seed=seed).weights)
    at_random = []
    for draw in range(8):
        support = select_random(problem.design_weights, size=20, seed=draw).support
        weights = refit(problem, support, settings=QUICK_REFIT)
        at_random.append(capped_loss(problem, weights))
    # about 0.4 of the median and 0.6 of the best
    assert chosen < 0.6 * np.median(at_random)
    assert chosen < min(at_random)


def test_records_of_design_weight_zero_are_never_kept():
    result = run(random_survey(RECORDS, without_weight=15), 45)
    assert result.support.tolist() == list(range(45))
    with pytest.raises(InputError, match="budget is 46, but 45 records"):
        run(random_survey(RECORDS, without_weight=15), 46)


def test_the_evidence_is_that_of_the_returned_weights():
    problem = random_survey(RECORDS, 10)
    result = run(problem, 20, refit_settings=None)
    weights = result.weights
    assert (result.estimates == problem.constraints @ weights).all()
    # the last epoch recorded is one tiny step before the end
    assert result.history[-1].loss == pytest.approx(capped_loss(problem, weights), abs=2e-5)
    assert result.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    design = scaled_design_weights(problem.design_weights, result.support)
    ratio = (weights[result.support] / design).max()
    assert result.realized_max_weight_ratio == pytest.approx(ratio)


def test_the_history_is_what_was_called_back_gates_first():
    told = []
    result = run(random_survey(RECORDS), 7, on_progress=told.append)
    assert list(result.history) == told
    stages = [record.stage for record in told]
    assert stages == ["gates"] * 16 + ["refit"] * 16
    assert all(record.expected_count is None for record in told[16:])
    assert [record.records for record in told[16:]] == [7] * 16


def test_a_problem_serves_many_fits_unchanged():
    problem = random_survey(RECORDS)
    before = problem.constraints.copy()
    first = run(problem, 7)
    run(problem, 20)
    assert fingerprint(run(problem, 7)) == fingerprint(first)
    assert (problem.constraints != before).nnz == 0


def test_a_result_cannot_be_reassigned():
    with pytest.raises(FrozenInstanceError):
        run(two_states(), 2).weights = np.ones(4)


def test_a_budget_that_cannot_be_had_is_refused_before_anything_is_computed():
    told = []
    with pytest.raises(InputError, match="budget is 1, but 2 targets share no record"):
        run(two_states(), 1, on_progress=told.append)
    assert not told


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no GPU here"):
        run(two_states(), 2, device="cuda")
    assert choose_device("auto") == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="device is 'tpu', but must be 'auto', 'cpu' o"):
        run(two_states(), 2, device="tpu")
