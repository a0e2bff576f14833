import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mentor_pyg.losses import bpr_loss


def test_equals_log_loss() -> None:
    pos, neg = torch.randn(2, 100, dtype=torch.float64)
    margin = pos - neg
    # A margin is the logit of "the positive wins", which is always the truth.
    expected = log_loss(np.ones(100), torch.sigmoid(margin).numpy(), labels=[0, 1])
    assert bpr_loss(pos, neg).item() == pytest.approx(expected, rel=1e-12)


def test_log_base() -> None:
    pos, neg = torch.randn(2, 100, dtype=torch.float64)
    expected = -np.log2(1 / (1 + np.exp(-(pos - neg).numpy()))).mean()
    assert bpr_loss(pos, neg, log_base=2).item() == pytest.approx(expected, rel=1e-12)
    ratio = (bpr_loss(pos, neg, log_base=2) / bpr_loss(pos, neg)).item()
    assert ratio == pytest.approx(1 / math.log(2))


def test_equal_scores() -> None:
    score = torch.randn(5)
    assert bpr_loss(score, score).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("margin", [1e2, 1e4, 1e30])
def test_finite_at_large_margins(margin: float) -> None:
    pos = torch.tensor([-margin, margin, 0.0], requires_grad=True)
    loss = bpr_loss(pos, torch.zeros(3))
    loss.backward()
    assert loss.item() == pytest.approx((margin + math.log(2)) / 3)
    assert pos.grad is not None
    torch.testing.assert_close(pos.grad, torch.tensor([-1.0, 0.0, -0.5]) / 3)


def test_gradient() -> None:
    pos, neg = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, n: bpr_loss(p, n, 2), (pos, neg))


@pytest.mark.parametrize(("pos", "neg"), [((3, 1), (4,)), ((4,), (1,)), ((0,), (0,))])
def test_refuses_shapes(pos: tuple[int, ...], neg: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need one shape"):
        bpr_loss(torch.zeros(pos), torch.zeros(neg))
