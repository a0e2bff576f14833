import pytest
import torch
from torch import Tensor
from torch_geometric.nn import HeteroConv, LightGCN

from mentor_pyg.data import INTERACTS, REV_INTERACTS, SEMANTIC
from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.nn import LayeredPropagation
from mentor_pyg.nn.propagation import LayerReadout
from mentor_pyg.ops import Noise

NODES, WIDTH = 17, 4


@pytest.fixture
def edge_index() -> Tensor:
    half = torch.rand(NODES, NODES) < 0.15
    return (half | half.t()).fill_diagonal_(False).nonzero().t().contiguous()


@pytest.fixture
def adjacency(edge_index: Tensor) -> Adjacency:
    weight = normalize_symmetric(edge_index, NODES)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=NODES, is_symmetric=True)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(NODES, WIDTH, requires_grad=True)


@pytest.mark.parametrize("layer_readout", ["sum", "mean"])
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_equals_dense_powers(
    adjacency: Adjacency, x: Tensor, num_layers: int, layer_readout: LayerReadout
) -> None:
    powers = [
        torch.linalg.matrix_power(adjacency.to_dense(), layer) for layer in range(num_layers + 1)
    ]
    matrix = torch.stack(powers)
    matrix = matrix.sum(dim=0) if layer_readout == "sum" else matrix.mean(dim=0)
    out = LayeredPropagation(num_layers, layer_readout)(x, adjacency)
    torch.testing.assert_close(out, matrix @ x)
    grad = torch.randn_like(out)
    torch.testing.assert_close(torch.autograd.grad(out, x, grad)[0], matrix.t() @ grad)


def test_mean_equals_pygs_lightgcn(edge_index: Tensor, adjacency: Adjacency, x: Tensor) -> None:
    theirs = LightGCN(NODES, WIDTH, num_layers=3)
    with torch.no_grad():
        theirs.embedding.weight.copy_(x)
    out = LayeredPropagation(3, "mean")(x, adjacency)
    torch.testing.assert_close(out, theirs.get_embedding(edge_index))


@pytest.mark.parametrize("layer_readout", ["sum", "mean"])
@pytest.mark.parametrize("noisy", [False, True])
def test_plain_edges_give_what_an_adjacency_gives(
    edge_index: Tensor, adjacency: Adjacency, x: Tensor, noisy: bool, layer_readout: LayerReadout
) -> None:
    noise = [Noise(0.1, torch.rand_like(x)), None, Noise(0.3, torch.rand_like(x))]
    propagation = LayeredPropagation(3, layer_readout)
    out = propagation(x, adjacency, noise=noise if noisy else None)
    plain = propagation(x, edge_index, noise=noise if noisy else None)
    torch.testing.assert_close(out, plain)
    grad = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, grad), torch.autograd.grad(plain, x, grad)
    )


def test_works_in_a_hetero_conv_between_nodes_of_one_type(
    edge_index: Tensor, adjacency: Adjacency, x: Tensor
) -> None:
    layers = LayeredPropagation(2)
    for graph in (edge_index, adjacency):
        out = HeteroConv({SEMANTIC: layers})({"item": x}, {SEMANTIC: graph})
        torch.testing.assert_close(out["item"], layers(x, adjacency))


def test_refuses_edges_between_two_kinds_of_nodes(edge_index: Tensor, x: Tensor) -> None:
    conv = HeteroConv({edges: LayeredPropagation(2) for edges in (INTERACTS, REV_INTERACTS)})
    with pytest.raises(ValueError, match=r"one tensor 'x' of all nodes .*join both kinds of nodes"):
        conv({"user": x, "item": x}, {INTERACTS: edge_index})


def test_an_adjacency_needs_its_own_weights_and_no_others(edge_index: Tensor, x: Tensor) -> None:
    bare = Adjacency.from_edge_index(edge_index, num_nodes=NODES)
    with pytest.raises(ValueError, match="without weights, and LayeredPropagation would not norm"):
        LayeredPropagation(2)(x, bare)
    ones = torch.ones(edge_index.size(1))
    with pytest.raises(ValueError, match="'edge_weight' cannot be given beside an Adjacency"):
        LayeredPropagation(2)(x, bare.with_weight(ones), ones)


@pytest.mark.parametrize("graph", ["edge_index", "adjacency"])
def test_noise_is_for_every_layer(graph: str, x: Tensor, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ValueError, match=r"'noise' needs an entry for each of 2 layers \(got 1\)"):
        LayeredPropagation(2)(x, request.getfixturevalue(graph), noise=[None])


def test_the_backend_is_the_one_asked_for(adjacency: Adjacency, x: Tensor) -> None:
    propagation = LayeredPropagation(2, backend="naive")
    torch.testing.assert_close(propagation(x, adjacency), LayeredPropagation(2)(x, adjacency))
    with pytest.raises(ValueError, match="'backend' needs to be 'auto' or one of"):
        LayeredPropagation(2, backend="magic")(x, adjacency)


def test_refuses_arguments() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 0 \(got -1\)"):
        LayeredPropagation(-1)
    with pytest.raises(ValueError, match=r"'layer_readout' needs .* \(got 'max'\)"):
        LayeredPropagation(2, "max")  # type: ignore[arg-type]


def test_repr() -> None:
    assert repr(LayeredPropagation(2, "mean")) == (
        "LayeredPropagation(num_layers=2, layer_readout='mean', backend='auto')"
    )
