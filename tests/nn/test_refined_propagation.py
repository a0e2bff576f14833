import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn import RefinedPropagation

NODES, WIDTH = 17, 4


@pytest.fixture
def edge_index() -> Tensor:
    """The last node has no edges."""
    half = torch.rand(NODES, NODES) < 0.15
    half[-1], half[:, -1] = False, False
    return (half | half.t()).fill_diagonal_(False).nonzero().t().contiguous()


def by_loops(edges: list[tuple[int, int]], x: list[list[float]], num_layers: int) -> Tensor:
    degree = [sum(t == n for _, t in edges) for n in range(NODES)]
    out, h = [[0.0] * WIDTH for _ in range(NODES)], x
    for _ in range(num_layers):
        new = [[0.0] * WIDTH for _ in range(NODES)]
        for s, t in edges:
            for c in range(WIDTH):
                new[t][c] += h[s][c] / math.sqrt(degree[s] * degree[t])
        for n in range(NODES):
            length = math.hypot(*new[n]) * math.hypot(*x[n])
            dot = sum(a * b for a, b in zip(new[n], x[n], strict=True))
            new[n] = [v * (dot / length if length else 0.0) for v in new[n]]
            out[n] = [a + b for a, b in zip(out[n], new[n], strict=True)]
        h = new
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_equals_loops(edge_index: Tensor, num_layers: int) -> None:
    x = torch.randn(NODES, WIDTH, dtype=torch.float64)
    expected = by_loops(list(zip(*edge_index.tolist(), strict=True)), x.tolist(), num_layers)
    assert not expected[-1].any()
    adjacency = Adjacency.normalized(edge_index, num_nodes=NODES, is_symmetric=True)
    propagation = RefinedPropagation(num_layers)
    for graph in (adjacency, edge_index):
        torch.testing.assert_close(propagation(x, graph), expected, rtol=0, atol=1e-6)


def test_gradients_are_those_of_the_formula(edge_index: Tensor) -> None:
    x = torch.randn(2, NODES, WIDTH, dtype=torch.float64, requires_grad=True)  # two slabs
    adjacency = Adjacency.normalized(edge_index, num_nodes=NODES, is_symmetric=True)
    dense = adjacency.to_dense().double()
    h, expected = x, torch.zeros_like(x)
    for _ in range(3):
        h = dense @ h
        h = F.cosine_similarity(h, x, dim=-1).unsqueeze(-1) * h
        expected = expected + h
    weight = torch.randn_like(x)
    (theirs,) = torch.autograd.grad((expected * weight).sum(), x)
    out = RefinedPropagation(3, backend="naive")(x, adjacency)
    (found,) = torch.autograd.grad((out * weight).sum(), x)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-6)


def test_nodes_without_edges_or_of_zeros_have_a_gradient(edge_index: Tensor) -> None:
    x = torch.randn(NODES, WIDTH)
    x[0] = 0
    x.requires_grad_()
    RefinedPropagation(3)(x, edge_index).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_refuses_no_layers() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 1, .* \(got 0\)"):
        RefinedPropagation(0)


def test_repr() -> None:
    assert repr(RefinedPropagation(3)) == "RefinedPropagation(num_layers=3, backend='auto')"
