"""The gradients by hand of one epoch are those of the documented objective."""

import numpy as np
import pytest
import torch
from estimators import gradients_of_every_step
from toy import random_survey

from l0.hard_concrete import open_probability
from l0.survey import CalibrationProblem, GatedFitSettings
from l0.survey.losses import loss_named
from l0.survey.operator import SparseOperator

TEMPERATURE, FOCUS, PENALTY, EXPECTED = 0.7, 2.0, 0.3, 60


def settings(**options):
    # a schedule of one epoch starts with every gate open: the budget comes with the second
    course = {"initial_temperature": TEMPERATURE, "final_temperature": TEMPERATURE}
    focus = {"initial_focus": FOCUS, "final_focus": FOCUS}
    return GatedFitSettings(
        epochs=2, budget_share=0.5, noise_share=0.0, penalty=PENALTY, **course, **focus, **options
    )


def objective(problem: CalibrationProblem, log_ratios: torch.Tensor, locations: torch.Tensor):
    """The squared loss and the penalty, with the shift a function of all locations."""
    design = torch.tensor(problem.design_weights)
    matrix = torch.tensor(problem.constraints.toarray(), dtype=torch.float64)
    scales, importance = torch.tensor(problem.scales), torch.tensor(problem.loss_weights)
    norms = (matrix.square() * (importance / scales.square())[:, None]).sum(dim=0).sqrt()
    # a record's weight moves its own gate, but is not trained for that
    carried = (design.log() + log_ratios + norms.log()).detach()
    odds = locations + FOCUS * carried
    low, high = -50.0, 50.0
    for _ in range(100):
        shift = (low + high) / 2
        count = float(open_probability(odds.detach() - shift, TEMPERATURE).sum())
        low, high = (shift, high) if count > EXPECTED else (low, shift)
    # one Newton step from the answer has the answer's derivative
    chance = open_probability(odds - shift, TEMPERATURE)
    slope = (chance * (1 - chance)).sum().detach()
    log_alpha = odds - (shift + (chance.sum() - EXPECTED) / slope)
    gate = (torch.sigmoid(log_alpha / TEMPERATURE) * 1.2 - 0.1).clamp(0, 1)
    weights = design * log_ratios.exp()
    errors = (matrix @ (weights * gate) - torch.tensor(problem.values)) / scales
    reference = design * (design.sum() / (chance.detach() * design).sum())
    free = weights * ((weights / reference).log() - 1) + reference
    # gates choose what fits, whatever the penalty says
    divergence = (gate.detach() * free).sum() / design.sum()
    return (importance * errors.square()).sum() + PENALTY * divergence


def test_gradients_by_hand_are_those_of_the_objective(monkeypatch):
    problem = random_survey(100, 12)
    operator = SparseOperator.of(problem, torch.device("cpu"))
    fit = settings().stage(
        problem,
        operator,
        budget=EXPECTED,
        loss=loss_named("squared"),
        seed=0,
        start=problem.design_weights * np.linspace(0.5, 2, 100),
    )
    fit.step(recorded=False)
    state = fit.state()
    gradients = gradients_of_every_step(monkeypatch)
    fit.step(recorded=False)
    # of each shard the weights' gradient, then the locations'
    by_hand = torch.cat(gradients[::2]), torch.cat(gradients[1::2])

    log_ratios, locations = (
        torch.tensor(state[name], dtype=torch.float64, requires_grad=True)
        for name in ("log_ratios", "locations")
    )
    records = state["records"]
    left = CalibrationProblem(
        problem.constraints[:, records],
        problem.values,
        problem.design_weights[records],
        scales=problem.scales,
        loss_weights=problem.loss_weights,
    )
    objective(left, log_ratios, locations).backward()
    for given, right in zip(by_hand, (log_ratios.grad, locations.grad), strict=True):
        assert float(right.abs().max()) > 1e-4
        np.testing.assert_allclose(given, right, rtol=2e-3, atol=2e-4 * float(right.abs().max()))


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_moves_gates_and_the_count_stays(seed):
    problem = random_survey(100, 12)
    fit = GatedFitSettings(epochs=20, noise_share=1.0).stage(
        problem,
        SparseOperator.of(problem, torch.device("cpu")),
        budget=EXPECTED,
        loss=loss_named("capped_relative"),
        seed=seed,
        start=problem.design_weights,
    )
    course = [fit.step(recorded=True) for _ in range(20)]
    for record in course:
        assert record.expected_count == pytest.approx(record.budget, rel=2e-6)
    assert course[0].budget == 100
    assert course[-1].budget == EXPECTED
