import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import HeteroConv, SimpleConv

from mentor_pyg.data import INTERACTS, REV_INTERACTS, SEMANTIC
from mentor_pyg.graph import Adjacency
from mentor_pyg.nn import ItemSemanticConv

ITEMS, WIDTH = 14, 3


@pytest.fixture
def edge_index() -> Tensor:
    """Edges from neighbour to item, not symmetric; items 0 and 13 have no neighbours."""
    edges = torch.rand(ITEMS, ITEMS) < 0.3
    edges[:, [0, ITEMS - 1]] = False
    edges[0, 5] = True  # Item 0 is someone's neighbour all the same.
    pairs = edges.nonzero()
    return pairs[torch.randperm(pairs.size(0))].t().contiguous()


@pytest.fixture
def weight(edge_index: Tensor) -> Tensor:
    return torch.rand(edge_index.size(1))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(ITEMS, WIDTH, requires_grad=True)


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_all_kinds_of_edges_equal_dense_powers(
    edge_index: Tensor, weight: Tensor, x: Tensor, num_layers: int
) -> None:
    dense = torch.zeros(ITEMS, ITEMS).index_put((edge_index[1], edge_index[0]), weight)
    expected = x
    if num_layers:
        expected = x + torch.linalg.matrix_power(dense, num_layers) @ x
    (expected_grad,) = torch.autograd.grad(expected.pow(3).sum(), x)
    fused, perm = EdgeIndex(edge_index, sparse_size=(ITEMS, ITEMS)).sort_by("col")
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=ITEMS)
    conv = ItemSemanticConv(num_layers)
    for arguments in ((edge_index, weight), (fused, weight[perm]), (adjacency,)):
        out = conv(x, *arguments)
        (grad,) = torch.autograd.grad(out.pow(3).sum(), x)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(grad, expected_grad)


def test_without_layers_the_input_comes_back(edge_index: Tensor, x: Tensor) -> None:
    assert ItemSemanticConv(num_layers=0)(x, edge_index) is x


def test_without_weights_it_averages(edge_index: Tensor, x: Tensor) -> None:
    expected = x + SimpleConv(aggr="mean")(x, edge_index)
    torch.testing.assert_close(ItemSemanticConv()(x, edge_index), expected)
    averaging = Adjacency.normalized(edge_index, num_nodes=ITEMS, by="rows")
    torch.testing.assert_close(ItemSemanticConv()(x, averaging), expected)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_items_without_neighbours_keep_what_they_have(
    edge_index: Tensor, weight: Tensor, x: Tensor, num_layers: int
) -> None:
    for arguments in ((edge_index,), (edge_index, weight)):
        out = ItemSemanticConv(num_layers)(x, *arguments)
        assert torch.equal(out[[0, ITEMS - 1]], x[[0, ITEMS - 1]])


def test_works_in_a_hetero_conv(edge_index: Tensor, weight: Tensor, x: Tensor) -> None:
    conv = HeteroConv({SEMANTIC: ItemSemanticConv()})
    out = conv({"item": x}, {SEMANTIC: edge_index}, edge_weight_dict={SEMANTIC: weight})
    torch.testing.assert_close(out["item"], ItemSemanticConv()(x, edge_index, weight))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_an_adjacency_needs_its_own_weights_and_no_others(
    edge_index: Tensor, weight: Tensor, x: Tensor, num_layers: int
) -> None:
    conv = ItemSemanticConv(num_layers)
    with pytest.raises(ValueError, match="without weights, and ItemSemanticConv would not norm"):
        conv(x, Adjacency.from_edge_index(edge_index, num_nodes=ITEMS))
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=ITEMS)
    with pytest.raises(ValueError, match="'edge_weight' cannot be given beside an Adjacency"):
        conv(x, adjacency, weight)


def test_refuses_edges_between_two_kinds_of_nodes(edge_index: Tensor, x: Tensor) -> None:
    conv = HeteroConv({edges: ItemSemanticConv() for edges in (INTERACTS, REV_INTERACTS)})
    with pytest.raises(ValueError, match=r"ItemSemanticConv needs one tensor 'x' of all nodes"):
        conv({"user": x, "item": x}, {INTERACTS: edge_index})


def test_refuses_negative_layers() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 0 \(got -1\)"):
        ItemSemanticConv(num_layers=-1)


def test_repr() -> None:
    assert repr(ItemSemanticConv()) == "ItemSemanticConv(num_layers=1, backend='auto')"
    conv = ItemSemanticConv(num_layers=2, backend="naive")
    assert repr(conv) == "ItemSemanticConv(num_layers=2, backend='naive')"
