import numpy as np
import pytest
import torch

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn import PurifiedViews
from tests.models.dense import Matrix, linear, numbers, sigmoid


def graph(targets: int, sources: int) -> Adjacency:
    target, source = (torch.rand(targets, sources) < 0.4).nonzero(as_tuple=True)
    edges = torch.stack([source, target])
    weight = torch.rand(len(source))
    return Adjacency.from_edge_index(edges, weight, num_nodes=(sources, targets))


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_equals_dense(num_layers: int) -> None:
    channels, ids = {"visual": 3, "textual": 6}, torch.randn(7, 4)
    features = {m: torch.randn(7, c) for m, c in channels.items()}
    present = {"textual": torch.arange(7) != 2}
    items, users = {m: graph(7, 7) for m in channels}, graph(5, 7)
    layer = PurifiedViews(channels, 4, num_layers)
    views = layer(ids, features, present, items, users)
    assert views.shape == (2, 5 + 7, 4)
    for m, view in zip(channels, views, strict=True):
        hidden = linear(layer.projections[m], numbers(features[m]))
        expected: Matrix = numbers(ids) * sigmoid(linear(layer.gates[m], hidden))
        if m == "textual":
            expected[2] = 0
        for _ in range(num_layers):
            expected = numbers(items[m].to_dense()) @ expected
        expected = np.concatenate([numbers(users.to_dense()) @ expected, expected])
        np.testing.assert_allclose(numbers(view), expected, rtol=0, atol=1e-5)


def test_refuses_negative_numbers_of_layers() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 0 \(got -1\)"):
        PurifiedViews({"textual": 3}, 4, -1)


def test_parameters_are_drawn_anew() -> None:
    layer = PurifiedViews({"textual": 3}, 4)
    before = {name: p.clone() for name, p in layer.named_parameters()}
    layer.reset_parameters()
    assert len(before) == 4
    assert not any(torch.equal(p, before[name]) for name, p in layer.named_parameters())


def test_repr() -> None:
    assert "num_layers=2, backend='naive'" in repr(PurifiedViews({"m": 3}, 4, 2, "naive"))
