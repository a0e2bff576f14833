import math

import pytest
import torch
from torch import Tensor

from mentor_pyg.nn import GraphPerturbation


@pytest.fixture
def h() -> Tensor:
    """Rows without a zero entry."""
    h = torch.randn(40, 7)
    return torch.where(h.abs() < 1e-3, torch.ones(()), h)


@pytest.mark.parametrize("noise_scale", [0.1, 0.7])
@pytest.mark.parametrize("given", [False, True])
def test_noise_has_the_length_asked_for(h: Tensor, noise_scale: float, given: bool) -> None:
    noise = torch.rand_like(h) if given else None
    change = GraphPerturbation(noise_scale)(h, noise) - h
    torch.testing.assert_close(change.norm(dim=1), torch.full((40,), noise_scale))


@pytest.mark.parametrize("noise_scale", [0.1, 5.0])
def test_signs_are_kept(h: Tensor, noise_scale: float) -> None:
    out = GraphPerturbation(noise_scale)(h)
    assert torch.equal(out.sign(), h.sign())
    assert (out.abs() >= h.abs()).all()


def test_zeros_stay_zeros(h: Tensor) -> None:
    h[:, 2] = 0
    h[5] = 0
    out = GraphPerturbation()(h)
    assert (out[:, 2] == 0).all()
    assert (out[5] == 0).all()


def test_injected_noise_equals_a_naive_loop(h: Tensor) -> None:
    noise = torch.rand_like(h)
    out = GraphPerturbation(0.3)(h, noise)
    for row in range(40):
        expected = h[row] + h[row].sign() * (noise[row] / noise[row].norm()) * 0.3
        torch.testing.assert_close(out[row], expected)


def test_noise_is_drawn_anew_and_reproducibly(h: Tensor) -> None:
    head = GraphPerturbation()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(head(h))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(head(h), head(h))


def test_drawn_noise_comes_from_the_unit_square() -> None:
    change = GraphPerturbation(1.0)(torch.ones(50_000, 2)) - 1  # (u, v) / |(u, v)|
    # Angles of points in the unit square: P(angle < t) = tan(t) / 2 up to 45 degrees.
    angle = torch.atan2(change[:, 1], change[:, 0])
    for t in (0.2, 0.5, 0.7):
        assert (angle < t).float().mean().item() == pytest.approx(math.tan(t) / 2, abs=0.01)


def test_adds_nothing_in_evaluation_mode(h: Tensor) -> None:
    assert torch.equal(GraphPerturbation(0.5).eval()(h), h)


def test_noise_of_nothing_but_zeros_changes_nothing(h: Tensor) -> None:
    assert torch.equal(GraphPerturbation()(h, torch.zeros_like(h)), h)
    assert torch.equal(GraphPerturbation(0.0)(h), h)


def test_gradient_is_the_identity(h: Tensor) -> None:
    h.requires_grad_()
    grad = torch.randn(40, 7)
    (found,) = torch.autograd.grad(GraphPerturbation()(h), h, grad)
    assert torch.equal(found, grad)


def test_refuses_a_negative_scale() -> None:
    with pytest.raises(ValueError, match=r"'noise_scale' needs to be at least 0 \(got -0.1\)"):
        GraphPerturbation(-0.1)


def test_repr() -> None:
    assert repr(GraphPerturbation()) == "GraphPerturbation(noise_scale=0.1)"
