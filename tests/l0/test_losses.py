"""Laws of the capped relative error, by hand and by finite differences."""

import pytest
import torch

from l0.survey.losses import capped_relative, capped_relative_gradient

ERRORS = torch.tensor([0.5, -0.25, 3.0, -1e9, 0.0], dtype=torch.float64)
LOSS_WEIGHTS = torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1], dtype=torch.float64)


def test_each_target_costs_its_distance_but_no_more_than_one():
    by_hand = 0.1 * 0.5 + 0.4 * 0.25 + 0.2 + 0.2 + 0.0
    assert float(capped_relative(ERRORS, LOSS_WEIGHTS)) == pytest.approx(by_hand)


def test_the_gradient_is_the_finite_difference_and_nothing_at_an_exact_hit():
    gradient = capped_relative_gradient(ERRORS, LOSS_WEIGHTS)
    moves = torch.eye(5, dtype=torch.float64) * 1e-6
    differences = [
        float(capped_relative(ERRORS + move, LOSS_WEIGHTS))
        - float(capped_relative(ERRORS - move, LOSS_WEIGHTS))
        for move in moves
    ]
    expected = torch.tensor(differences, dtype=torch.float64) / 2e-6
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert gradient.tolist() == [0.1, -0.4, 0.0, 0.0, 0.0]
