import copy
import gc
import pickle
import weakref
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.graph import Adjacency, normalize_rows, normalize_symmetric
from mentor_pyg.ops import propagate

SOURCES, TARGETS = 9, 6


@pytest.fixture
def edges() -> tuple[Tensor, Tensor]:
    """Shuffled bipartite edges; sources 8 and targets 2 and 5 have none."""
    source = torch.tensor([7, 0, 3, 3, 1, 0, 5])
    target = torch.tensor([4, 1, 0, 4, 4, 3, 1])
    return torch.stack([source, target]), torch.rand(7) + 0.5


@pytest.fixture
def bipartite(edges: tuple[Tensor, Tensor]) -> Adjacency:
    return Adjacency.from_edge_index(*edges, num_nodes=(SOURCES, TARGETS))


@pytest.fixture
def symmetric() -> Adjacency:
    half = torch.tensor([[0, 0, 1, 4], [1, 2, 2, 0]])
    both = torch.cat([half, half.flip(0)], dim=1)
    weight = normalize_symmetric(both, 6)
    return Adjacency.from_edge_index(both, weight, num_nodes=6, is_symmetric=True)


def scipy_matrix(edge_index: Tensor, weight: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Return the dense matrix with targets as rows."""
    source, target = edge_index.numpy()
    return scipy.sparse.coo_matrix((weight.numpy(), (target, source)), shape).toarray()


def test_layout_is_scipys_csr(edges: tuple[Tensor, Tensor], bipartite: Adjacency) -> None:
    edge_index, weight = edges
    csr = scipy.sparse.csr_matrix(scipy_matrix(edge_index, weight, (TARGETS, SOURCES)))
    assert bipartite.rowptr.tolist() == csr.indptr.tolist()
    assert bipartite.col.tolist() == csr.indices.tolist()
    assert np.array_equal(bipartite.weight.numpy(), csr.data)
    assert bipartite.target.tolist() == csr.tocoo().row.tolist()
    assert np.array_equal(bipartite.to_dense().numpy(), csr.toarray())
    assert (bipartite.num_sources, bipartite.num_targets, bipartite.num_edges) == (9, 6, 7)
    assert bipartite.device == torch.device("cpu")


def test_weights_default_to_one(edges: tuple[Tensor, Tensor]) -> None:
    adjacency = Adjacency.from_edge_index(edges[0], num_nodes=(SOURCES, TARGETS))
    assert adjacency.weight.tolist() == [1.0] * 7


def test_parallel_edges_add_up() -> None:
    edge_index = torch.tensor([[0, 0, 1], [1, 1, 0]])
    weight = torch.tensor([1.0, 2.0, 4.0])
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=2)
    assert adjacency.to_dense().tolist() == [[0.0, 4.0], [3.0, 0.0]]


def test_no_edges() -> None:
    adjacency = Adjacency.from_edge_index(torch.empty(2, 0, dtype=torch.long), num_nodes=(3, 2))
    assert adjacency.to_dense().tolist() == [[0.0] * 3] * 2
    assert adjacency.transposed.num_targets == 3


def test_takes_an_edge_index(edges: tuple[Tensor, Tensor], bipartite: Adjacency) -> None:
    edge_index = EdgeIndex(edges[0], sparse_size=(SOURCES, TARGETS))
    adjacency = Adjacency.from_edge_index(edge_index, edges[1], num_nodes=(SOURCES, TARGETS))
    assert type(adjacency.col) is Tensor
    assert torch.equal(adjacency.to_dense(), bipartite.to_dense())


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.int8, 100), (torch.uint8, 200), (torch.int32, 50_000)], ids=str
)
def test_narrow_ids_are_sorted_like_wide_ones(dtype: torch.dtype, size: int) -> None:
    wide = torch.randint(size, (2, 400))
    expected = Adjacency.from_edge_index(wide, num_nodes=size)
    adjacency = Adjacency.from_edge_index(wide.to(dtype), num_nodes=size)
    assert torch.equal(adjacency.rowptr, expected.rowptr)
    assert torch.equal(adjacency.col, expected.col)
    assert torch.equal(adjacency.target, wide[1].sort().values)


def sorted_edges(adjacency: Adjacency) -> EdgeIndex:
    edges = torch.stack([adjacency.col, adjacency.target])
    size = (adjacency.num_sources, adjacency.num_targets)
    return EdgeIndex(edges, sparse_size=size, sort_order="col")


def test_from_sorted_equals_from_edge_index(bipartite: Adjacency) -> None:
    taken = Adjacency.from_sorted(sorted_edges(bipartite), bipartite.weight)
    assert torch.equal(taken.to_dense(), bipartite.to_dense())
    assert torch.equal(taken.transposed.to_dense(), bipartite.to_dense().t())
    assert torch.equal(taken.transposed.transposed.to_dense(), bipartite.to_dense())


def test_from_sorted_leaves_no_reference_cycle(bipartite: Adjacency) -> None:
    gc.collect()
    gc.disable()
    try:
        taken = Adjacency.from_sorted(sorted_edges(bipartite), bipartite.weight)
        gone = weakref.ref(taken), weakref.ref(taken.transposed)
        del taken
        assert [link() for link in gone] == [None, None]
    finally:
        gc.enable()


def test_transposed_is_the_transpose_and_kept(bipartite: Adjacency) -> None:
    transposed = bipartite.transposed
    assert torch.equal(transposed.to_dense(), bipartite.to_dense().t())
    assert bipartite.transposed is transposed
    assert transposed.transposed is bipartite


def test_symmetric_is_its_own_transpose(symmetric: Adjacency) -> None:
    assert symmetric.transposed is symmetric
    assert torch.equal(symmetric.to_dense(), symmetric.to_dense().t())


@pytest.mark.parametrize(
    ("edge_index", "weight", "num_nodes"),
    [
        ([[0, 1, 2], [1, 0, 0]], [1.0, 1.0, 1.0], 3),  # One edge has no reverse.
        ([[0, 1], [1, 0]], [1.0, 2.0], 3),  # The reverse weighs something else.
        ([[0, 1], [1, 0]], [1.0, 1.0], (3, 2)),  # Not square.
        ([[0, 0, 1, 1], [1, 1, 0, 0]], [1.0, 2.0, 1.0, 3.0], 2),  # Of parallel edges one differs.
    ],
)
def test_a_broken_promise_of_symmetry_raises(
    edge_index: list[list[int]], weight: list[float], num_nodes: int | tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="'is_symmetric' is set, but"):
        Adjacency.from_edge_index(
            torch.tensor(edge_index), torch.tensor(weight), num_nodes=num_nodes, is_symmetric=True
        )


def test_parallel_edges_may_come_in_any_order() -> None:
    edge_index = torch.tensor([[0, 0, 1, 1, 2], [1, 1, 0, 0, 2]])
    weight = torch.tensor([1.0, 2.0, 2.0, 1.0, 5.0])
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=3, is_symmetric=True)
    assert torch.equal(adjacency.to_dense(), adjacency.to_dense().t())


@pytest.mark.parametrize(
    ("edge_index", "weight", "message"),
    [
        (torch.zeros(2, 4, dtype=torch.bool), None, "got torch.bool"),
        (torch.zeros(3, 2, dtype=torch.long), None, r"integers of shape \[2, num_edges\]"),
        (torch.zeros(2, dtype=torch.long), None, r"integers of shape \[2, num_edges\]"),
        (torch.zeros(2, 4), None, r"got torch.float32 of shape \[2, 4\]"),
        (torch.zeros(2, 4, dtype=torch.long), torch.ones(3), r"4 edges \(got shape \[3\]\)"),
        (torch.zeros(2, 4, dtype=torch.long), torch.ones(4, 1), r"got shape \[4, 1\]"),
        (torch.tensor([[0, 9], [0, 0]]), None, "source ids from 0 to 9, but there are 9 source"),
        (torch.tensor([[0, 1], [0, 6]]), None, "target ids from 0 to 6, but there are 6 target"),
        (torch.tensor([[-1, 1], [0, 0]]), None, "source ids from -1 to 1"),
    ],
)
def test_errors(edge_index: Tensor, weight: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adjacency.from_edge_index(edge_index, weight, num_nodes=(SOURCES, TARGETS))


@pytest.mark.parametrize(
    ("rowptr", "col", "weight", "message"),
    [
        (torch.tensor([0, 2]), torch.tensor([0, 1]), torch.ones(1), r"2 edges \(got shape \[1\]\)"),
        (torch.tensor([0, 2]), torch.tensor([0, 1]), torch.ones(2, 1), r"got shape \[2, 1\]"),
        (torch.tensor([[0, 2]]), torch.tensor([0, 1]), torch.ones(2), r"got \[1, 2\] and \[2\]"),
        (torch.tensor([], dtype=torch.long), torch.tensor([0]), torch.ones(1), r"got \[0\]"),
        (torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1, device="meta"), "cpu and meta"),
    ],
)
def test_layouts_that_kernels_would_misread(
    rowptr: Tensor, col: Tensor, weight: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Adjacency(rowptr, col, weight, num_sources=3)


@pytest.mark.parametrize(("source", "target"), [(9, 1), (1, 9), (-1, 1)])
def test_sorted_edges_beyond_their_size_are_refused(source: int, target: int) -> None:
    # PyG lets them pass, and writes beyond its memory where they say.
    edges = EdgeIndex([[0, source], [0, target]], sparse_size=(3, 3), sort_order="col")
    with pytest.raises(ValueError, match=r"ids from .*, but there are 3 (source|target) nodes"):
        Adjacency.from_sorted(edges, torch.ones(2))


@pytest.mark.parametrize("shape", [(9,), (4, 2)])
def test_from_sorted_wants_a_weight_for_each_edge(shape: tuple[int, ...]) -> None:
    edges = EdgeIndex([[0, 1, 2, 0], [0, 0, 1, 2]], sparse_size=(3, 3), sort_order="col")
    with pytest.raises(ValueError, match="one weight for each of the 4 edges"):
        Adjacency.from_sorted(edges, torch.ones(shape))


def test_is_immutable(edges: tuple[Tensor, Tensor], bipartite: Adjacency) -> None:
    with pytest.raises(FrozenInstanceError):
        bipartite.weight = torch.ones(7)  # type: ignore[misc]
    before = bipartite.to_dense()
    edges[0].zero_()
    edges[1].zero_()
    assert torch.equal(bipartite.to_dense(), before)


def test_weights_that_require_a_gradient_keep_their_graph(edges: tuple[Tensor, Tensor]) -> None:
    weight = edges[1].requires_grad_()
    adjacency = Adjacency.from_edge_index(edges[0], weight, num_nodes=(SOURCES, TARGETS))
    sides = [adjacency.to_dense(), adjacency.transposed.to_dense().t()]
    sides.append(Adjacency.from_sorted(sorted_edges(adjacency), adjacency.weight).to_dense())
    factor = torch.randn(TARGETS, SOURCES)
    for dense in sides:
        (grad,) = torch.autograd.grad((dense * factor).sum(), weight, retain_graph=True)
        assert torch.equal(grad, factor[edges[0][1], edges[0][0]])


def test_trained_weights_are_transposed_even_where_they_are_symmetric() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    weight = torch.ones(2, requires_grad=True)
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=2, is_symmetric=True)
    (grad,) = torch.autograd.grad(adjacency.transposed.to_dense()[0, 1], weight)
    assert grad.tolist() == [1.0, 0.0]  # Of the edge from 0 to 1, which is entry [1, 0].


def test_other_weights_on_the_same_edges(bipartite: Adjacency, symmetric: Adjacency) -> None:
    def count_edges(adjacency: Adjacency) -> list[int]:
        return [adjacency.num_edges]  # A new object at every call.

    for adjacency in (bipartite, symmetric):
        weight = torch.rand(adjacency.num_edges)
        other = adjacency.with_weight(weight)
        expected = torch.zeros_like(adjacency.to_dense())
        expected[adjacency.target, adjacency.col] = weight
        assert torch.equal(other.to_dense(), expected)
        assert torch.equal(other.transposed.to_dense(), expected.t())
        assert not other.is_symmetric
        layout = adjacency.layout(count_edges)
        assert other.layout(count_edges) is adjacency.layout(count_edges) is layout
        again = adjacency.with_weight(-weight).transposed
        assert again.layout(count_edges) is other.transposed.layout(count_edges)
    with pytest.raises(ValueError, match=r"each of the 7 edges \(got shape \[7, 1\]\)"):
        bipartite.with_weight(torch.ones(7, 1))


@pytest.mark.parametrize("by", ["symmetric", "rows"])
def test_normalized(edges: tuple[Tensor, Tensor], by: Any) -> None:
    size = (SOURCES, TARGETS)
    weight = {
        "symmetric": normalize_symmetric(edges[0], size),
        "rows": normalize_rows(edges[0], TARGETS),
    }[by]
    adjacency = Adjacency.normalized(edges[0].to(torch.uint8), num_nodes=size, by=by)
    expected = Adjacency.from_edge_index(edges[0], weight, num_nodes=size)
    assert torch.equal(adjacency.to_dense(), expected.to_dense())
    assert adjacency.is_weighted


def test_normalized_refuses_other_ways(edges: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"'symmetric' or 'rows' \(got 'columns'\)"):
        Adjacency.normalized(edges[0], num_nodes=10, by="columns")  # type: ignore[arg-type]


def test_knows_whether_its_weights_were_given(edges: tuple[Tensor, Tensor]) -> None:
    bare = Adjacency.from_edge_index(edges[0], num_nodes=np.int64(9))
    for adjacency in (bare, bare.transposed, bare.to("cpu"), copy.copy(bare)):
        assert not adjacency.is_weighted
    ones = bare.with_weight(torch.ones(7))
    given = Adjacency.from_edge_index(*edges, num_nodes=9)
    assert all(adjacency.is_weighted for adjacency in (ones, given, given.transposed))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize("backend", ["auto", "torch_csr", "edge_index"])
def test_a_used_matrix_can_be_copied(
    bipartite: Adjacency, symmetric: Adjacency, backend: str, copied: Any
) -> None:
    for adjacency in (bipartite, symmetric):
        x = torch.randn(adjacency.num_sources, 2, requires_grad=True)
        out = propagate(adjacency, x, backend)
        out.sum().backward()
        another = copied(adjacency)
        assert (another.is_symmetric, another.is_weighted) == (adjacency.is_symmetric, True)
        assert torch.equal(propagate(another, x, backend), out)
        assert torch.equal(another.transposed.to_dense(), adjacency.transposed.to_dense())


def test_to_keeps_everything(bipartite: Adjacency, symmetric: Adjacency) -> None:
    for adjacency in (bipartite, symmetric):
        moved = adjacency.to("cpu")
        assert torch.equal(moved.to_dense(), adjacency.to_dense())
        assert moved.is_symmetric == adjacency.is_symmetric
        assert moved.num_sources == adjacency.num_sources
    assert bipartite.to("meta").device.type == "meta"


def test_what_is_kept_can_be_saved_by_autograd(bipartite: Adjacency) -> None:
    with torch.inference_mode():
        kept = [bipartite.target, bipartite.layout(lambda a: a.col + 1)]
        kept += [bipartite.transposed.col, bipartite.transposed.weight]
    assert not any(tensor.is_inference() for tensor in kept)


def test_repr(bipartite: Adjacency) -> None:
    assert repr(bipartite) == (
        "Adjacency(num_targets=6, num_sources=9, num_edges=7, is_symmetric=False)"
    )
