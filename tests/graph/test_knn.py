from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mentor_pyg.graph import knn, knn_graph, with_self_neighbours

N, CHANNELS, K = 57, 8, 5


@pytest.fixture
def x() -> Tensor:
    return torch.randn(N, CHANNELS)


def as_lists(edge_index: Tensor, k: int) -> tuple[list[list[int]], list[int]]:
    """Return every item's neighbours, in order, and the items."""
    neighbour, item = edge_index.view(2, -1, k)
    assert torch.equal(item, item[:, :1].expand(-1, k))
    return neighbour.tolist(), item[:, 0].tolist()


def test_equals_sklearn(x: Tensor) -> None:
    edge_index, similarity = knn_graph(x, K)
    search = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(x.numpy())
    distance, neighbour = search.kneighbors()  # Leaves every row itself out.
    found, item = as_lists(edge_index, K)
    assert found == neighbour.tolist()
    assert item == list(range(N))
    np.testing.assert_allclose(similarity.view(N, K), 1 - distance, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_takes_any_float_and_any_scale(x: Tensor, dtype: torch.dtype) -> None:
    x = (x * 8).round()  # Exact in every dtype.
    scaled = x.to(dtype) * torch.tensor([0.25, 2.0, 64.0], dtype=dtype).repeat(N // 3)[:, None]
    assert torch.equal(knn_graph(scaled, K)[0], knn_graph(x, K)[0])


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e19),
        (torch.float32, 2.0**-100),
        (torch.float32, 1e-13),
        (torch.float32, 2.0**-140),
        (torch.float64, 1e300),
        (torch.float64, 1e-300),
        (torch.bfloat16, 2.0**100),
    ],
    ids=str,
)
def test_rows_of_extreme_length_have_the_same_neighbours(
    x: Tensor, dtype: torch.dtype, scale: float
) -> None:
    x = (x * 8).round() / 8  # Exact in every dtype.
    scaled = x.to(dtype)
    scaled[::2] *= scale
    edge_index, similarity = knn_graph(scaled, K)
    expected = knn_graph(x, K)
    assert torch.equal(edge_index, expected[0])
    torch.testing.assert_close(similarity, expected[1])


@pytest.mark.parametrize("chunk_size", [1, 7, 19, N - 1, N, 1000])
@pytest.mark.parametrize("loop", [False, True])
def test_chunk_size_does_not_matter(x: Tensor, chunk_size: int, loop: bool) -> None:
    edge_index, similarity = knn_graph(x, K, loop=loop, chunk_size=chunk_size)
    expected = knn_graph(x, K, loop=loop)
    assert torch.equal(edge_index, expected[0])
    torch.testing.assert_close(similarity, expected[1])


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("k", [1, 5, 9, 10, 11, 24])
def test_ties_go_to_the_lower_index(k: int, loop: bool) -> None:
    # Multiples of unit vectors have similarities of exactly 0 and 1, about ten ties of each kind.
    direction = torch.randint(0, 4, (41,))
    x = torch.eye(4)[direction] * 2.0 ** torch.randint(-3, 4, (41, 1))
    edge_index, _ = knn_graph(x, k, loop=loop, chunk_size=6)
    similarity = cosine_similarity(x.numpy())
    if not loop:
        np.fill_diagonal(similarity, -np.inf)
    order = np.lexsort((np.broadcast_to(np.arange(41), (41, 41)), -similarity))
    assert as_lists(edge_index, k)[0] == order[:, :k].tolist()


def test_rows_of_zeros_are_similar_to_nothing() -> None:
    x = torch.eye(4)
    x[2] = 0
    edge_index, similarity = knn_graph(x, 2)
    assert similarity.tolist() == [0.0] * 8
    assert as_lists(edge_index, 2)[0] == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_loop_puts_distinct_items_first_among_their_own(x: Tensor) -> None:
    edge_index, similarity = knn_graph(x, K, loop=True)
    neighbours, items = as_lists(edge_index, K)
    assert [first for first, *_ in neighbours] == items
    torch.testing.assert_close(similarity.view(N, K)[:, 0], torch.ones(N))
    others = knn_graph(x, K - 1)[0]
    assert [rest for _, *rest in neighbours] == as_lists(others, K - 1)[0]


@pytest.mark.parametrize("loop", [False, True])
def test_absent_items_have_no_edges(x: Tensor, loop: bool) -> None:
    present = torch.rand(N) < 0.6
    x[~present] = torch.nan  # Not even looked at.
    edge_index, similarity = knn_graph(x, K, present, loop=loop, chunk_size=10)
    nodes = present.nonzero()[:, 0]
    among, expected = knn_graph(x[present], K, loop=loop)
    assert torch.equal(edge_index, nodes[among])
    torch.testing.assert_close(similarity, expected)


def test_as_many_neighbours_as_there_are(x: Tensor) -> None:
    assert knn_graph(x, N - 1)[0].size(1) == N * (N - 1)
    assert knn_graph(x, N, loop=True)[0].size(1) == N * N


class LargestTensor(TorchDispatchMode):
    """Watches the size of everything that is computed."""

    numel = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.numel = max(self.numel, *sizes, 0)
        return out


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("chunk_size", [16, None])
def test_never_holds_all_pairs(
    tied: bool, chunk_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mentor_pyg.graph.knn._BLOCK_ELEMENTS", 16 * 600)
    x = torch.ones(600, 4) if tied else torch.randn(600, 4)
    with LargestTensor() as largest:
        knn_graph(x, 3, chunk_size=chunk_size)
    assert largest.numel == 16 * 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"'k' needs to be a positive integer smaller than .* 57 \(got 0\)"),
        ({"k": -1}, r"got -1"),
        ({"k": N}, r"got 57"),
        ({"k": N + 1, "loop": True}, r"got 58"),
        ({"k": 2, "present": torch.arange(N) < 2}, r"items with features, 2 \(got 2\)"),
        ({"x": torch.zeros(N, 3, dtype=torch.long)}, r"'x' needs .*got torch.int64"),
        ({"x": torch.zeros(N)}, r"'x' needs .*shape \[57\]"),
        ({"present": torch.ones(N)}, r"'present' needs .*got torch.float32"),
        ({"present": torch.ones(N + 1, dtype=torch.bool)}, r"'present' needs .*shape \[58\]"),
        ({"chunk_size": 0}, r"'chunk_size' needs to be at least 1 \(got 0\)"),
    ],
)
def test_errors(x: Tensor, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_graph(**{"x": x, "k": 1, **changes})


def test_k_may_be_any_integer(x: Tensor) -> None:
    assert torch.equal(knn_graph(x, np.int64(K))[0], knn_graph(x, K)[0])
    with pytest.raises(TypeError, match=r"'k' needs to be an integer \(got 5.0\)"):
        knn_graph(x, 5.0)  # type: ignore[arg-type]


def test_refuses_features_that_are_not_finite() -> None:
    x = torch.rand(5, 2)
    x[2] = float("nan")
    with pytest.raises(ValueError, match="finite features"):
        knn_graph(x, 2)
    knn_graph(x, 2, present=torch.tensor([True, True, False, True, True]))


def test_self_neighbours_are_what_a_search_with_loops_finds(x: Tensor) -> None:
    present = torch.rand(N) < 0.8
    edge_index, similarity = knn_graph(x, K, present)
    perm = torch.randperm(similarity.numel())

    def pairs(edge_index: Tensor, similarity: Tensor) -> dict[tuple[int, ...], float]:
        return dict(zip(map(tuple, edge_index.t().tolist()), similarity.tolist(), strict=True))

    found = pairs(*with_self_neighbours(edge_index[:, perm], similarity[perm]))
    assert found == pytest.approx(pairs(*knn_graph(x, K, present, loop=True)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_rounds_nothing(x: Tensor, dtype: torch.dtype) -> None:
    expected = knn_graph(x, K)
    with torch.autocast("cpu", dtype):
        found = knn_graph(x, K)
    assert all(map(torch.equal, found, expected))


def test_products_are_exact_whatever_torch_is_set_to(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    products, top, seen = torch.backends.mkldnn.matmul, knn._top, []

    def watched(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
        seen.append(products.fp32_precision)
        return top(similarity, k)

    monkeypatch.setattr(knn, "_top", watched)
    initial = products.fp32_precision
    try:
        products.fp32_precision = "bf16"
        knn_graph(x, K)
    finally:
        products.fp32_precision = initial
    assert set(seen) == {"ieee"}
