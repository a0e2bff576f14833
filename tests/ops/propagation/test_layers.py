import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.ops import Noise, propagate_layers
from tests.ops.propagation.twice import derivatives

NODES = 31


def directed(dtype: torch.dtype) -> Adjacency:
    """A matrix that is not symmetric, whose node 3 hears everyone and node 5 no one."""
    edges = torch.rand(NODES, NODES) < 0.1
    edges[:, 3], edges[:, 5] = True, False
    edge_index = edges.nonzero().t()
    weight = torch.rand(edge_index.size(1), dtype=dtype)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=NODES)


def symmetric(dtype: torch.dtype) -> Adjacency:
    edges = torch.rand(NODES, NODES) < 0.1
    edge_index = (edges | edges.t()).nonzero().t()
    weight = normalize_symmetric(edge_index, NODES).to(dtype)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=NODES, is_symmetric=True)


def reference(adjacency: Adjacency, x: Tensor, noise: list[Noise | None]) -> Tensor:
    """The sum over layers, layer by layer, on the dense matrix, with autograd's own backward."""
    dense, total, h = adjacency.to_dense(), x, x
    for entry in noise:
        h = dense @ h
        if entry is not None:
            assert entry.draws is not None
            unit = entry.draws / entry.draws.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            h = h + h.sign() * unit * entry.scale
        total = total + h
    return total


@pytest.mark.parametrize(
    ("graph", "shape", "noisy"),
    [
        (directed, (1,), False),
        (directed, (7,), True),
        (directed, (2, 73), True),
        (symmetric, (64,), True),
        (symmetric, (3, 16), False),
        (symmetric, (0, 5), False),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else None,
)
def test_values_and_gradients_are_those_of_dense_layers(
    backend: str, graph: type, shape: tuple[int, ...], noisy: bool
) -> None:
    adjacency = graph(torch.float32)
    *views, width = shape
    x = torch.randn(*views, NODES, width, requires_grad=True)
    noise: list[Noise | None] = [None, None, None]
    if noisy:
        noise = [Noise(0.1, torch.rand_like(x)), None, Noise(0.7, torch.rand_like(x))]
    out = propagate_layers(adjacency, x, 3, noise, backend)
    expected = reference(adjacency, x, noise)
    grad = torch.randn_like(out)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, grad),
        torch.autograd.grad(expected, x, grad),
        rtol=1e-5,
        atol=1e-4,
    )


@pytest.mark.parametrize("trained", [False, True])
def test_first_and_second_derivatives(backend: str, trained: bool) -> None:
    adjacency = directed(torch.float64)
    x = torch.randn(2, NODES, 2, dtype=torch.float64, requires_grad=True)
    weight = adjacency.weight.requires_grad_(trained)
    inputs = (x, weight) if trained else (x,)
    noise = [Noise(0.1, torch.rand_like(x)), None]
    found = derivatives(propagate_layers(adjacency, x, 2, noise, backend), inputs)
    expected = derivatives(reference(adjacency, x, noise), inputs)
    torch.testing.assert_close(found, expected)


def test_inputs_and_gradients_may_be_strided(backend: str) -> None:
    adjacency = symmetric(torch.float32)
    x = torch.randn(6, NODES, 2).transpose(0, 2)[:, :, ::2].requires_grad_()
    draws = torch.rand(6, NODES, 2).transpose(0, 2)[:, :, ::2]
    noise = [Noise(0.1, draws), None]
    out = propagate_layers(adjacency, x, 2, noise, backend)
    torch.testing.assert_close(out, reference(adjacency, x, noise))
    (grad,) = torch.autograd.grad(out.sum(), x)  # The gradient of a sum is expanded.
    (expected,) = torch.autograd.grad(reference(adjacency, x, noise).sum(), x)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_drawn_noise_has_its_length_keeps_signs_and_follows_the_seed(
    backend: str, dtype: torch.dtype
) -> None:
    adjacency = symmetric(dtype)
    x = torch.randn(2, NODES, 40, dtype=dtype)
    clean = propagate_layers(adjacency, x, 1, backend=backend) - x
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(propagate_layers(adjacency, x, 1, [Noise(0.3)], backend) - x)
    change = drawn[0] - clean
    heard = clean.abs().sum(dim=-1) > 0
    torch.testing.assert_close(change.norm(dim=-1), 0.3 * heard.to(dtype), rtol=1e-3, atol=1e-6)
    assert (change * clean.sign() >= -1e-6).all()
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(change[0], change[1])  # Slabs have noise of their own.


def test_every_layer_and_row_draws_anew(backend: str) -> None:
    loops = torch.arange(NODES).repeat(2, 1)  # The identity: all layers would be the same.
    adjacency = Adjacency.from_edge_index(loops, num_nodes=NODES)
    ones = torch.ones(NODES, 16)
    first = propagate_layers(adjacency, ones, 1, [Noise(1.0)], backend)
    again = propagate_layers(adjacency, ones, 1, [Noise(1.0)], backend)
    assert len(torch.cat([first, again]).unique(dim=0)) == 2 * NODES


def test_drawn_noise_is_uniform(backend: str) -> None:
    nodes = 4_000
    adjacency = Adjacency.from_edge_index(torch.arange(nodes).repeat(2, 1), num_nodes=nodes)
    ones = torch.ones(nodes, 2)
    change = propagate_layers(adjacency, ones, 1, [Noise(1.0)], backend) - 2 * ones
    # Angles of points in the unit square: P(angle < t) = tan(t) / 2 up to 45 degrees.
    angle = torch.atan2(change[:, 1], change[:, 0])
    for t in (0.2, 0.5, 0.7):
        expected = torch.tensor(t).tan().item() / 2
        assert (angle < t).float().mean().item() == pytest.approx(expected, abs=0.03)


def test_no_layers_give_the_input_back() -> None:
    x = torch.randn(NODES, 2)
    assert propagate_layers(symmetric(torch.float32), x, 0) is x


def test_autocast_leaves_the_layers_in_full_precision() -> None:
    adjacency, x = symmetric(torch.float32), torch.randn(NODES, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out = propagate_layers(adjacency, x, 2)
    assert torch.equal(out, propagate_layers(adjacency, x, 2))


def test_refuses_what_does_not_fit() -> None:
    adjacency, x = symmetric(torch.float32), torch.randn(NODES, 2)
    with pytest.raises(ValueError, match=r"'noise' needs an entry for each of 2 layers \(got 1\)"):
        propagate_layers(adjacency, x, 2, [None])
    with pytest.raises(ValueError, match=r"'noise' needs draws of the shape of 'x', \[31, 2\]"):
        propagate_layers(adjacency, x, 1, [Noise(0.1, torch.rand(NODES, 3))])
    with pytest.raises(ValueError, match=r"'noise' needs draws .* on cpu \(got .* on meta\)"):
        propagate_layers(adjacency, x, 1, [Noise(0.1, torch.rand(NODES, 2, device="meta"))])
    edge_index = torch.tensor([[0], [0]])
    oblong = Adjacency.from_edge_index(edge_index, num_nodes=(NODES, 4))
    with pytest.raises(ValueError, match=r"'adjacency' needs to be square .*\(got 4 x 31\)"):
        propagate_layers(oblong, x, 1)
    with pytest.raises(ValueError, match="'backend' needs to be 'auto' or one of"):
        propagate_layers(adjacency, x, 1, backend="magic")
