"""Laws of the optimizer: its steps, entries that leave, and the rate's course."""

import pytest
import torch

from l0.survey.adam import Adam, cosine_rate


def test_the_first_step_is_the_rate_against_each_sign_of_gradients_large_and_small():
    gradient = torch.tensor([3.0, -1e-7, 0.0, 1e-3])
    moved = torch.zeros(4)
    Adam(gradient).step(moved, gradient, 0.1)
    torch.testing.assert_close(moved, torch.tensor([-0.1, 0.1, 0.0, -0.1]), rtol=1e-4, atol=0.0)


def test_steps_are_those_of_torchs_adam():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(20, 5, generator=generator)
    peer = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.Adam([peer], lr=0.05, eps=1e-12)
    own, adam = torch.zeros(5), Adam(torch.zeros(5))
    for gradient in gradients:
        peer.grad = gradient.clone()
        optimizer.step()
        adam.step(own, gradient, 0.05)
    torch.testing.assert_close(own, peer.detach(), rtol=1e-4, atol=1e-6)


def test_entries_that_stay_step_as_if_the_others_had_never_left():
    gradients = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    stay = torch.tensor([0, 3])
    all_of_them, left = torch.zeros(4), torch.zeros(4)
    whole, thinned = Adam(all_of_them), Adam(left)
    for gradient in gradients[:5]:
        whole.step(all_of_them, gradient, 0.1)
        thinned.step(left, gradient, 0.1)
    thinned.keep(stay)
    left = left[stay]
    for gradient in gradients[5:]:
        whole.step(all_of_them, gradient, 0.1)
        thinned.step(left, gradient[stay], 0.1)
        assert torch.equal(left, all_of_them[stay])


def test_the_rate_falls_as_half_a_cosine():
    assert cosine_rate(0.2, epoch=0, epochs=100) == 0.2
    assert cosine_rate(0.2, epoch=50, epochs=100) == pytest.approx(0.1)
    assert cosine_rate(0.2, epoch=100, epochs=100) == pytest.approx(0.0)
