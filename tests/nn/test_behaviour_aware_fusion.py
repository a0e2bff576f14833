import math

import numpy as np
import torch

from mentor_pyg.nn import BehaviourAwareFusion
from tests.models.dense import linear, numbers, sigmoid

MODALITIES = ("visual", "textual", "acoustic")


def test_equals_loops() -> None:
    layer, views, behaviour = BehaviourAwareFusion(MODALITIES, 4), *randoms()
    out, query = layer(views, behaviour), numbers(layer.query[2].weight)[0]
    for n in range(6):
        rows = {m: numbers(views[k, n]) for k, m in enumerate(MODALITIES) if views[k, n].any()}
        odds = {m: math.exp(query @ np.tanh(linear(layer.query[0], x))) for m, x in rows.items()}
        shared = sum((odds[m] / sum(odds.values()) * x for m, x in rows.items()), np.zeros(4))
        expected = np.array(shared)
        for m, x in rows.items():
            expected += sigmoid(linear(layer.preferences[m], numbers(behaviour[n]))) * (x - shared)
        np.testing.assert_allclose(numbers(out[n]), expected / 4, rtol=0, atol=1e-6)


def randoms() -> tuple[torch.Tensor, torch.Tensor]:
    """Return views, some rows of which are zeros, and behaviour."""
    views = torch.randn(3, 6, 4)
    views[0, 1] = views[:2, 2] = views[:, 3] = 0
    return views, torch.randn(6, 4)


def test_empty_rows_have_finite_gradients() -> None:
    layer, views, behaviour = BehaviourAwareFusion(MODALITIES, 4), *randoms()
    layer(views.requires_grad_(), behaviour.requires_grad_()).square().sum().backward()
    tensors = (views, behaviour, *layer.parameters())
    assert all(x.grad.isfinite().all() for x in tensors)


def test_parameters_are_drawn_anew() -> None:
    layer = BehaviourAwareFusion(("textual",), 4)
    before = {name: p.clone() for name, p in layer.named_parameters()}
    layer.reset_parameters()
    assert len(before) == 5
    assert not any(torch.equal(p, before[name]) for name, p in layer.named_parameters())
