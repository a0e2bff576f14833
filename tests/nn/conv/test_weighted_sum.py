import copy
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn.conv import WeightedSumConv

SOURCES, TARGETS = 11, 7


class PlainSum(WeightedSumConv):
    """Somebody's own convolution on this base: every edge weighs a half."""

    def normalize(self, edge_index: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.full((edge_index.size(1),), 0.5)

    def forward(
        self,
        x: tuple[Tensor, Tensor | None],
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        return self.weighted_sum(x, edge_index, edge_weight, size)


@pytest.fixture
def edge_index() -> Tensor:
    """Unsorted edges; the last source and the last target have none."""
    edges = (torch.rand(SOURCES - 1, TARGETS - 1) < 0.4).nonzero()
    return edges[torch.randperm(edges.size(0))].t().contiguous()


@pytest.fixture
def x() -> tuple[Tensor, Tensor]:
    return torch.randn(SOURCES, 3), torch.randn(TARGETS, 5)


def dense(edge_index: Tensor, weight: Tensor) -> Tensor:
    return torch.zeros(TARGETS, SOURCES).index_put((edge_index[1], edge_index[0]), weight)


def weighted(edge_index: Tensor) -> Adjacency:
    weight = torch.rand(edge_index.size(1))
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(SOURCES, TARGETS))


def sorted_by_target(edge_index: Tensor) -> tuple[EdgeIndex, Tensor]:
    edges, perm = EdgeIndex(edge_index, sparse_size=(SOURCES, TARGETS)).sort_by("col")
    return edges, perm


def spied(conv: WeightedSumConv) -> WeightedSumConv:
    """Record the calls of both ways to add up."""
    for name in ("message", "message_and_aggregate"):
        setattr(conv, name, Mock(wraps=getattr(conv, name)))
    return conv


def test_the_base_leaves_the_weights_to_its_subclasses(edge_index: Tensor) -> None:
    conv, x = WeightedSumConv(), torch.randn(SOURCES, 3)
    with pytest.raises(NotImplementedError):
        conv.weighted_sum((x, None), edge_index, None, None)


@pytest.mark.parametrize("weighted", [False, True])
def test_edges_sorted_by_target_are_fused(
    edge_index: Tensor, x: tuple[Tensor, Tensor], weighted: bool
) -> None:
    edges, _ = sorted_by_target(edge_index)
    weight = torch.rand(edges.size(1)) if weighted else None
    conv = spied(PlainSum())
    out = conv(x, edges, weight)
    conv.message_and_aggregate.assert_called_once()
    conv.message.assert_not_called()
    expected = dense(edges.as_tensor(), torch.tensor(0.5) if weight is None else weight) @ x[0]
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("kind", ["tensor", "unsorted", "row"])
def test_other_edges_are_gathered(edge_index: Tensor, x: tuple[Tensor, Tensor], kind: str) -> None:
    edges = edge_index
    if kind != "tensor":
        edges = EdgeIndex(edge_index, sparse_size=(SOURCES, TARGETS))
    if kind == "row":
        edges = edges.sort_by("row").values
    conv = spied(PlainSum())
    out = conv(x, edges)
    conv.message.assert_called_once()
    conv.message_and_aggregate.assert_not_called()
    torch.testing.assert_close(out, dense(edge_index, torch.tensor(0.5)) @ x[0])


def test_an_adjacency_is_propagated_by_the_backend_asked_for(
    edge_index: Tensor, x: tuple[Tensor, Tensor]
) -> None:
    adjacency = weighted(edge_index)
    for backend in ("auto", "naive", "edge_index"):
        conv = spied(PlainSum(backend=backend))
        torch.testing.assert_close(conv(x, adjacency), adjacency.to_dense() @ x[0])
        conv.message.assert_not_called()
        conv.message_and_aggregate.assert_not_called()
    with pytest.raises(ValueError, match=r"'backend' needs to be .*got 'fastest'"):
        PlainSum(backend="fastest")(x, adjacency)


@pytest.mark.parametrize("backend", ["auto", "naive", "torch_csr", "edge_index"])
def test_fused_and_gathered_gradients_agree(
    edge_index: Tensor, x: tuple[Tensor, Tensor], backend: str
) -> None:
    edges, perm = sorted_by_target(edge_index)
    source, weight = x[0].requires_grad_(), torch.rand(edges.size(1))
    results = []
    for index, w in (
        (edge_index, weight),
        (edges, weight[perm]),
        (edges.fill_cache_(), weight[perm]),
    ):
        out = PlainSum(backend=backend)(x, index, w)
        (grad,) = torch.autograd.grad(out.pow(3).sum(), source)
        results.append((out, grad))
    for out, grad in results[1:]:
        torch.testing.assert_close(out, results[0][0])
        torch.testing.assert_close(grad, results[0][1])


@pytest.mark.parametrize("sort", [False, True])
def test_weights_that_need_a_gradient_get_it(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort: bool
) -> None:
    edges: Tensor = sorted_by_target(edge_index)[0] if sort else edge_index
    source = x[0].requires_grad_()
    weight = torch.rand(edges.size(1), requires_grad=True)
    conv = spied(PlainSum())
    out = conv(x, edges, weight)
    assert conv.message_and_aggregate.called == sort
    plain = edges.as_tensor() if isinstance(edges, EdgeIndex) else edges
    expected = dense(plain, weight) @ source
    torch.testing.assert_close(out, expected)
    found = torch.autograd.grad(out.pow(3).sum(), (source, weight))
    for a, b in zip(
        found, torch.autograd.grad(expected.pow(3).sum(), (source, weight)), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sort", [False, True])
def test_output_has_the_dtype_of_the_features(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort: bool, dtype: torch.dtype
) -> None:
    edges = sorted_by_target(edge_index)[0] if sort else edge_index
    out = PlainSum()((x[0].to(dtype), None), edges, size=(SOURCES, TARGETS))
    assert out.dtype == dtype
    expected = dense(edge_index, torch.tensor(0.5)) @ x[0]
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)


# ---- sizes


@pytest.mark.parametrize("sort_order", [None, "col"])
def test_edges_without_a_size_take_the_features_size(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort_order: str | None
) -> None:
    if sort_order == "col":
        edge_index = edge_index[:, edge_index[1].argsort()]
    edges = EdgeIndex(edge_index.contiguous(), sort_order=sort_order)
    out = PlainSum()(x, edges)
    assert out.shape == (TARGETS, 3)  # Not up to the highest id only.
    torch.testing.assert_close(out, PlainSum()(x, edge_index))


def test_a_source_alone_takes_the_size_of_the_edges(
    edge_index: Tensor, x: tuple[Tensor, Tensor]
) -> None:
    expected = PlainSum()(x, edge_index)
    edges = sorted_by_target(edge_index)[0]
    assert torch.equal(PlainSum()((x[0], None), edge_index, size=(SOURCES, TARGETS)), expected)
    torch.testing.assert_close(PlainSum()((x[0], None), edges), expected)


@pytest.mark.parametrize("sort", [False, True])
def test_edges_of_another_size_than_the_features_are_refused(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort: bool
) -> None:
    edges = EdgeIndex(edge_index, sparse_size=(SOURCES, TARGETS - 1))
    if sort:
        edges = edges.sort_by("col").values
    with pytest.raises(ValueError, match=r"size \(11, 6\), but there are 11 source and 7 target"):
        PlainSum()(x, edges)
    edges.sparse_resize_(SOURCES, TARGETS)  # What the message says.
    torch.testing.assert_close(PlainSum()(x, edges), PlainSum()(x, edge_index))


def test_no_edges(x: tuple[Tensor, Tensor]) -> None:
    empty = torch.empty(2, 0, dtype=torch.long)
    fused = EdgeIndex(empty, sparse_size=(SOURCES, TARGETS), sort_order="col")
    for edges in (empty, fused):
        assert torch.equal(PlainSum()(x, edges), torch.zeros(TARGETS, 3))


# ---- arguments


def test_an_adjacency_takes_no_other_weights(edge_index: Tensor, x: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="'edge_weight' cannot be given beside an Adjacency"):
        PlainSum()(x, weighted(edge_index), torch.ones(edge_index.size(1)))


def test_an_adjacency_needs_weights_of_its_own(
    edge_index: Tensor, x: tuple[Tensor, Tensor]
) -> None:
    bare = Adjacency.from_edge_index(edge_index, num_nodes=(SOURCES, TARGETS))
    with pytest.raises(ValueError, match=r"without weights, and PlainSum .*Adjacency.normalized\("):
        PlainSum()(x, bare)


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
@pytest.mark.parametrize("sort", [False, True])
def test_weights_that_are_no_vector_are_refused(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort: bool, shape: tuple[int, int]
) -> None:
    edges = sorted_by_target(edge_index)[0] if sort else edge_index
    weight = torch.rand(edge_index.size(1)).view(shape)
    with pytest.raises(ValueError, match=r"'edge_weight' needs one weight for each"):
        PlainSum()(x, edges, weight)


@pytest.mark.parametrize("sparse_size", [(SOURCES, TARGETS), (None, None)])
@pytest.mark.parametrize(("source", "target"), [(SOURCES, 0), (0, TARGETS)])
def test_sorted_edges_beyond_the_nodes_are_refused(
    x: tuple[Tensor, Tensor], source: int, target: int, sparse_size: tuple[int, int]
) -> None:
    edges = EdgeIndex([[0, source], [0, target]], sparse_size=sparse_size, sort_order="col")
    with pytest.raises(ValueError, match=r"ids from 0 to .*correct the ids"):
        PlainSum()(x, edges)


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
def test_sparse_tensors_are_refused(x: tuple[Tensor, Tensor], layout: torch.layout) -> None:
    matrix = torch.eye(SOURCES, TARGETS).to_sparse(layout=layout)
    with pytest.raises(ValueError, match=r"an EdgeIndex or an Adjacency \(got torch.sparse"):
        PlainSum()(x, matrix)


def test_reversed_flow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'flow' needs .*got 'target_to_source'.*reverse"):
        PlainSum(flow="target_to_source")
    assert PlainSum(flow="source_to_target").flow == "source_to_target"


@pytest.mark.parametrize("sort", [False, True])
def test_arguments_of_message_passing_reach_it(
    edge_index: Tensor, x: tuple[Tensor, Tensor], sort: bool
) -> None:
    edges = sorted_by_target(edge_index)[0] if sort else edge_index
    source = (torch.randn(SOURCES, 4), None)
    size = (SOURCES, TARGETS)
    out = PlainSum(decomposed_layers=2)(source, edges, size=size)
    torch.testing.assert_close(out, PlainSum()(source, edges, size=size))


def test_has_no_parameters_and_copies(edge_index: Tensor, x: tuple[Tensor, Tensor]) -> None:
    conv = PlainSum(backend="naive")
    conv.reset_parameters()
    assert not list(conv.parameters())
    assert torch.equal(copy.deepcopy(conv)(x, edge_index), conv(x, edge_index))
    assert repr(conv) == "PlainSum(backend='naive')"
