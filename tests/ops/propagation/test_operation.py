import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.ops import BACKENDS, choose_backend, edge_dots, propagate
from mentor_pyg.ops.propagation import native_csr

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def bipartite(dtype: torch.dtype) -> Adjacency:
    """1500 sources and 23 targets: target 3 hears all sources, targets 5 and 22 none."""
    some = (torch.rand(1500, 23) < 0.002).index_fill_(1, torch.tensor([3, 5, 22]), False)
    some[:, 3] = True
    edge_index = some.nonzero().t()[:, torch.randperm(int(some.sum()))]
    weight = torch.randn(edge_index.size(1), dtype=dtype)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(1500, 23))


def symmetric(dtype: torch.dtype) -> Adjacency:
    """60 nodes with a hub, nodes 0 and 59 alone."""
    half = torch.rand(60, 60) < 0.05
    half[7] = True
    half[[0, 59]], half[:, [0, 59]] = False, False
    edge_index = (half | half.t()).nonzero().t()
    weight = normalize_symmetric(edge_index, 60).to(dtype)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=60, is_symmetric=True)


def without_edges(dtype: torch.dtype) -> Adjacency:
    edge_index, weight = torch.empty(2, 0, dtype=torch.long), torch.empty(0, dtype=dtype)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(4, 3))


GRAPHS = {build.__name__: build for build in (bipartite, symmetric, without_edges)}


def scipy_csr(adjacency: Adjacency) -> scipy.sparse.csr_matrix:
    """Return the matrix in float64, from what ``Adjacency`` is built of."""
    parts = (adjacency.weight.double(), adjacency.col, adjacency.rowptr)
    shape = (adjacency.num_targets, adjacency.num_sources)
    return scipy.sparse.csr_matrix(tuple(part.numpy() for part in parts), shape)


def stacked(matrix: scipy.sparse.csr_matrix, x: Tensor) -> Tensor:
    """Return the products of one slab or several, or of none."""
    out = np.zeros((*x.shape[:-2], matrix.shape[0], x.size(-1)))
    for product, slab in zip(*(a if x.dim() == 3 else a[None] for a in (out, x)), strict=True):
        product[:] = matrix @ slab.double().numpy()
    return torch.from_numpy(out)


@pytest.mark.parametrize(
    ("graph", "shape", "dtype"),
    [
        ("bipartite", (1,), torch.float32),
        ("bipartite", (131,), torch.float32),
        ("bipartite", (3, 5), torch.float64),
        ("symmetric", (64,), torch.float32),
        ("symmetric", (2, 65), torch.float32),
        ("symmetric", (0, 7), torch.float32),
        ("without_edges", (2, 3), torch.float32),
    ],
    ids=str,
)
def test_values_and_gradients_are_scipys(
    backend: str, graph: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    adjacency, tolerance = GRAPHS[graph](dtype), TOLERANCE[dtype]
    *views, width = shape
    x = torch.randn(*views, adjacency.num_sources, width, dtype=dtype, requires_grad=True)
    out = propagate(adjacency, x, backend)
    grad = torch.randn_like(out)
    out.backward(grad)
    matrix = scipy_csr(adjacency)
    assert out.dtype == x.grad.dtype == dtype
    torch.testing.assert_close(
        out.double(), stacked(matrix, x.detach()), rtol=tolerance, atol=10 * tolerance
    )
    torch.testing.assert_close(
        x.grad.double(), stacked(matrix.T, grad), rtol=tolerance, atol=10 * tolerance
    )


def test_takes_strided_inputs_and_gradients(backend: str) -> None:
    adjacency = bipartite(torch.float64)  # Of 1,500 terms, float32 sums differ by CPU.
    x = torch.randn(6, 1500, 2).double().transpose(0, 2)[:, :, ::2].requires_grad_()
    out = propagate(adjacency, x, backend)
    (grad,) = torch.autograd.grad(out.sum(), x)  # The gradient of a sum is expanded.
    torch.testing.assert_close(out, adjacency.to_dense() @ x)
    expected = adjacency.to_dense().sum(dim=0)[None, :, None].expand_as(x)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("shape", [(1500, 4), (3, 1500, 4)], ids=str)
def test_rows_without_edges_are_zeros_not_leftover_memory(
    backend: str, shape: tuple[int, ...]
) -> None:
    adjacency, x = bipartite(torch.float64), torch.randn(shape).double()
    expected = propagate(adjacency, x, "naive")
    torch.use_deterministic_algorithms(True)  # Fills whatever is allocated with NaN.
    try:
        assert torch.empty(3).isnan().all()
        out = propagate(adjacency, x, backend)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(out, expected)
    assert (out[..., [5, 22], :] == 0).all()


def test_a_chain_of_layers_has_dense_gradients(backend: str) -> None:
    adjacency = symmetric(torch.float64)
    x = torch.randn(60, 3, dtype=torch.float64, requires_grad=True)
    h = propagate(adjacency, x, backend)
    (grad,) = torch.autograd.grad((x + h + propagate(adjacency, h, backend)).pow(3).sum(), x)
    dense = adjacency.to_dense()
    (expected,) = torch.autograd.grad((x + dense @ x + dense @ dense @ x).pow(3).sum(), x)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("spread", [False, True])
def test_weights_may_be_strided(spread: bool, backend: str) -> None:
    edge_index = torch.tensor([[0, 2, 1, 0], [0, 0, 1, 2]])
    weight = torch.ones(1).expand(4) if spread else torch.rand(4, 2)[:, 0]
    edges = EdgeIndex(edge_index, sparse_size=(3, 3), sort_order="col")
    adjacency = Adjacency.from_sorted(edges, weight)
    x = torch.randn(3, 5)
    torch.testing.assert_close(propagate(adjacency, x, backend), adjacency.to_dense() @ x)


# ---- dtypes that differ


@pytest.mark.parametrize("backend", ["torch_csr", "edge_index"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_products_of_two_dtypes_are_refused(backend: str, dtype: torch.dtype) -> None:
    adjacency = symmetric(torch.float32)
    with pytest.raises(RuntimeError, match=rf"'{backend}' cannot run: .*one dtype .*{dtype}"):
        propagate(adjacency, torch.zeros(60, 2, dtype=dtype), backend)


@pytest.mark.parametrize("backend", ["torch_csr", "edge_index"])
def test_bfloat16_products_are_refused_on_the_cpu(backend: str) -> None:
    adjacency = symmetric(torch.bfloat16)
    with pytest.raises(RuntimeError, match=rf"'{backend}' cannot run: .*no torch.bfloat16 kernel"):
        propagate(adjacency, torch.zeros(60, 2, dtype=torch.bfloat16), backend)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("backend", ["naive", "auto"])
def test_other_dtypes_than_the_weights_keep_theirs(
    backend: str, dtype: torch.dtype, tolerance: float
) -> None:
    adjacency = symmetric(torch.float32)
    x = torch.randn(60, 5, dtype=dtype, requires_grad=True)
    out = propagate(adjacency, x, backend)
    (grad,) = torch.autograd.grad(out.sum(), x)
    dense = adjacency.to_dense().double()
    assert out.dtype == grad.dtype == dtype
    expected = dense @ x.detach().double()
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        grad.double(), dense.sum(dim=0)[:, None].expand(-1, 5), rtol=tolerance, atol=tolerance
    )


# ---- choice of backend


def test_scatter_without_torch_scatter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mentor_pyg.ops.propagation.scatter.can_import", lambda _: False)
    adjacency, x = symmetric(torch.float32), torch.zeros(60, 2)
    with pytest.raises(RuntimeError, match=r"'scatter' cannot run: torch-scatter is not installed"):
        propagate(adjacency, x, "scatter")
    propagate(adjacency, x, "auto")


def test_auto_is_torchs_product_where_native_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adjacency, x = symmetric(torch.float32), torch.randn(60, 2)
    monkeypatch.setitem(native_csr.LIBRARY.__dict__, "loaded", "it is not compiled")
    assert choose_backend(adjacency, x, "auto") == "torch_csr"
    broken = BACKENDS["torch_csr"]._replace(unavailable=lambda adjacency, x: "broken")
    monkeypatch.setitem(BACKENDS, "torch_csr", broken)
    assert choose_backend(adjacency, x, "auto") in ("scatter", "naive")
    with pytest.raises(RuntimeError, match="backend 'torch_csr' cannot run: broken"):
        propagate(adjacency, x, "torch_csr")


def test_auto_is_never_triton() -> None:
    assert all("triton" not in order for order in BACKENDS.auto.values())


@pytest.mark.parametrize("shape", [(1500,), (23, 4), (1, 1, 1500, 4), (1500, 3, 4)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"'x' needs shape \[1500, d\] or \[views, 1500, d\]"):
        propagate(bipartite(torch.float32), torch.zeros(shape))


def test_refuses_what_is_no_adjacency_and_no_float() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(TypeError, match="'adjacency' needs to be an Adjacency"):
        propagate(edge_index, torch.ones(2, 3))  # type: ignore[arg-type]
    adjacency = Adjacency.from_edge_index(edge_index, num_nodes=2)
    with pytest.raises(ValueError, match="'x' needs floating-point features"):
        propagate(adjacency, torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"'x' needs to be on the device of .* cpu \(got meta\)"):
        propagate(adjacency, torch.ones(2, 3, device="meta"))


@pytest.mark.parametrize("backend", ["torch_csr", "edge_index"])
def test_autocast_leaves_the_product_in_full_precision(backend: str) -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    x = torch.rand(2, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = propagate(adjacency, x, backend)
        out.sum().backward()
    assert out.dtype == torch.float32
    assert torch.equal(out, x.flip(0))
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("width", [3, 37])
def test_edge_dots_are_entries_of_the_product(backend: str, width: int) -> None:
    edge_index = torch.stack([torch.randint(6, (20,)), torch.randint(4, (20,))])
    adjacency = Adjacency.from_edge_index(edge_index, num_nodes=(6, 4))
    # Columns of a table, so not contiguous.
    target, source = (torch.randn(width, n).t().requires_grad_() for n in (4, 6))
    dots = edge_dots(adjacency, target, source, backend)
    expected = (target @ source.t())[adjacency.target, adjacency.col]
    torch.testing.assert_close(dots, expected)
    weight = torch.randn(20)
    found = torch.autograd.grad((dots * weight).sum(), (target, source))
    theirs = torch.autograd.grad((expected * weight).sum(), (target, source))
    torch.testing.assert_close(found, theirs)


def test_edge_dots_of_two_types_are_of_the_wider(backend: str) -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 2], [1, 0]]), num_nodes=(3, 2))
    target = torch.randn(2, 5, requires_grad=True)
    source = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    dots = edge_dots(adjacency, target, source, backend)
    expected = (target.double() @ source.t())[adjacency.target, adjacency.col]
    torch.testing.assert_close(dots, expected)
    found = torch.autograd.grad(dots.sum(), (target, source))
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), (target, source)))


def test_edge_dots_refuse_rows_that_do_not_fit() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0], [1]]), num_nodes=(3, 2))
    message = r"need the shapes \[2, d\] and \[3, d\] \(got \[3, 4\] and \[3, 4\]\)"
    with pytest.raises(ValueError, match=message):
        edge_dots(adjacency, torch.ones(3, 4), torch.ones(3, 4))


def test_edge_dots_refuse_rows_on_two_devices() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0], [1]]), num_nodes=(3, 2))
    with pytest.raises(ValueError, match=r"on the device of 'at_source', cpu \(got meta\)"):
        edge_dots(adjacency, torch.ones(2, 4, device="meta"), torch.ones(3, 4))
