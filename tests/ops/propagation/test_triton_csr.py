"""Run compiled where there is a CUDA device, and otherwise by Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mentor_pyg.dependencies import can_import, triton_is_interpreted
from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.ops import Noise, add_noise, propagate, propagate_layers
from mentor_pyg.ops.propagation import naive, triton_csr
from mentor_pyg.ops.propagation.segments import MAX_SEGMENT_EDGES

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
runs_kernels = pytest.mark.skipif(
    not can_import("triton.language") or (DEVICE.type == "cpu" and not triton_is_interpreted()),
    reason="needs triton, and a CUDA device or TRITON_INTERPRET=1",
)
needs_cuda = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA device")
pytestmark = pytest.mark.gpu


def build(source: Tensor, target: Tensor, sources: int, targets: int) -> Adjacency:
    edge_index = torch.stack([source, target])
    weight = torch.randn(edge_index.size(1))
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(sources, targets)).to(DEVICE)


def lopsided() -> Adjacency:
    """7 sources and 5 targets, with parallel edges; target 4 and source 6 have none.

    Target 1 hears 290 edges, 150 of them from source 2: both are longer than a segment.
    """
    source = torch.cat([torch.full((150,), 2), torch.randint(6, (140,)), torch.randint(6, (23,))])
    target = torch.cat([torch.full((290,), 1), torch.randint(4, (23,))])
    return build(source, target, 7, 5)


def item_graph() -> Adjacency:
    """6 items and their 2 nearest: square and not symmetric; nobody's nearest is item 0."""
    nearest = torch.tensor([[1, 2], [2, 3], [1, 3], [2, 4], [3, 5], [4, 3]])
    return build(nearest.flatten(), torch.arange(6).repeat_interleave(2), 6, 6)


def without_edges() -> Adjacency:
    none = torch.empty(0, dtype=torch.long)
    return build(none, none, 4, 3)


def symmetric() -> Adjacency:
    """6 nodes; nodes 0 and 1 share 140 parallel edges, node 5 is alone."""
    half = torch.tensor([[0] * 140 + [0, 1, 3], [1] * 140 + [2, 3, 4]])
    edge_index = torch.cat([half, half.flip(0)], dim=1)
    weight = normalize_symmetric(edge_index, 6)
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=6, is_symmetric=True)
    return adjacency.to(DEVICE)


GRAPHS = {graph.__name__: graph for graph in (lopsided, item_graph, without_edges, symmetric)}
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "lopsided": [(1,), (7,), (64,), (65,), (131,), (3, 5)],
    "item_graph": [(64,), (2, 3)],
    "without_edges": [(2, 3)],
    "symmetric": [(7,), (2, 65)],
}


def randn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, device=DEVICE)


def exact(adjacency: Adjacency, x: Tensor) -> Tensor:
    return naive.product(adjacency, x.double())


# ---- the product


@runs_kernels
@pytest.mark.parametrize(
    ("graph", "shape"), [(graph, shape) for graph, shapes in SHAPES.items() for shape in shapes]
)
def test_values_and_gradients_are_those_of_naive(graph: str, shape: tuple[int, ...]) -> None:
    adjacency = GRAPHS[graph]()
    x = randn(*shape[:-1], adjacency.num_sources, shape[-1]).requires_grad_()
    out = propagate(adjacency, x, "triton")
    grad = randn(*out.shape)
    (x_grad,) = torch.autograd.grad(out, x, grad)
    expected = exact(adjacency, x)
    (expected_grad,) = torch.autograd.grad(expected, x, grad.double())
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(x_grad, expected_grad, rtol=1e-5, atol=1e-4)


@runs_kernels
def test_no_slot_of_a_long_row_is_lost() -> None:
    edges = 9 * MAX_SEGMENT_EDGES  # A tile of this width adds up eight slots at a time.
    adjacency = build(torch.randint(3, (edges,)), torch.ones(edges, dtype=torch.long), 3, 2)
    x = randn(3, 65)
    expected = exact(adjacency, x).float()
    torch.testing.assert_close(propagate(adjacency, x, "triton"), expected, rtol=1e-5, atol=1e-3)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_sums_are_rounded_once_to_the_storage_dtype(dtype: torch.dtype) -> None:
    adjacency = lopsided()
    x = randn(7, 66, dtype=dtype).requires_grad_()
    out = propagate(adjacency, x, "triton")
    grad = randn(*out.shape, dtype=dtype)
    (x_grad,) = torch.autograd.grad(out, x, grad)
    expected = exact(adjacency, x)
    (expected_grad,) = torch.autograd.grad(expected, x, grad.double())
    assert out.dtype == x_grad.dtype == dtype
    # A sum of 290 terms taken in half precision itself would be off by several roundings.
    rtol, atol = torch.finfo(dtype).eps, 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(out.double(), expected, rtol=rtol, atol=atol)
    torch.testing.assert_close(x_grad, expected_grad, rtol=rtol, atol=atol)


@runs_kernels
def test_weights_of_another_dtype_count_in_the_accumulators() -> None:
    adjacency = item_graph()
    halved = Adjacency(adjacency.rowptr, adjacency.col, adjacency.weight.bfloat16(), num_sources=6)
    x = randn(6, 5)
    torch.testing.assert_close(
        propagate(halved, x, "triton"), exact(halved, x).float(), rtol=1e-6, atol=1e-6
    )


@runs_kernels
def test_the_transpose_is_a_matrix_like_any_other() -> None:
    adjacency, x = item_graph(), randn(6, 3)
    out = propagate(adjacency.transposed, x, "triton")
    torch.testing.assert_close(out, adjacency.to_dense().t() @ x)
    assert (out[0] == 0).all()


@runs_kernels
def test_takes_strided_inputs_and_gradients() -> None:
    adjacency = item_graph()
    x = randn(6, 6, 2).transpose(0, 2)[:, :, ::2].requires_grad_()
    out = propagate(adjacency, x, "triton")
    (grad,) = torch.autograd.grad(out.sum(), x)  # The gradient of a sum is expanded.
    torch.testing.assert_close(out, adjacency.to_dense() @ x)
    torch.testing.assert_close(grad, adjacency.to_dense().sum(dim=0)[None, :, None].expand(2, 6, 3))


@runs_kernels
def test_rows_without_edges_are_zeros_not_leftover_memory() -> None:
    adjacency, x = lopsided(), randn(7, 4)
    torch.use_deterministic_algorithms(True)  # Fills whatever is allocated with NaN.
    try:
        assert torch.empty(3, device=DEVICE).isnan().all()
        out = propagate(adjacency, x, "triton")
        kept, total = triton_csr.layer(adjacency, x, torch.ones_like(out), Noise(0.1), True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not out.isnan().any()
    assert (out[4] == 0).all()
    assert (kept[4] == 0).all()
    assert (total[4] == 1).all()


@runs_kernels
def test_long_rows_are_the_same_bit_for_bit_every_time() -> None:
    adjacency, x = lopsided(), randn(7, 33)
    first, second = (propagate(adjacency, x, "triton") for _ in range(2))
    assert torch.equal(first, second)


@runs_kernels
@pytest.mark.parametrize("shape", [(7, 0), (0, 7, 3)], ids=str)
def test_nothing_to_do_is_done(shape: tuple[int, ...]) -> None:
    x = randn(*shape).requires_grad_()
    out = propagate(lopsided(), x, "triton")
    assert out.shape == (*shape[:-2], 5, shape[-1])
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.shape == shape


# ---- a layer with noise and sum


@runs_kernels
@pytest.mark.parametrize(
    ("width", "dtype"),
    [(1, torch.float32), (65, torch.float32), (300, torch.float32), (64, torch.bfloat16)],
    ids=str,
)
def test_given_noise_is_that_of_add_noise(width: int, dtype: torch.dtype) -> None:
    adjacency = lopsided()
    h, base = randn(7, width, dtype=dtype), randn(5, width, dtype=dtype)
    draws = torch.rand(5, width, device=DEVICE)
    before = [tensor.clone() for tensor in (h, base, draws)]
    kept, total = triton_csr.layer(adjacency, h, base, Noise(0.3, draws), True)
    expected = add_noise(exact(adjacency, h), Noise(0.3, draws.double()))
    assert kept.dtype == total.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(kept.double(), expected, rtol=eps, atol=1e-4)
    torch.testing.assert_close(total.double(), base.double() + expected, rtol=eps, atol=1e-4)
    for tensor, earlier in zip((h, base, draws), before, strict=True):
        assert torch.equal(tensor, earlier)


@runs_kernels
@pytest.mark.parametrize(
    ("width", "dtype"), [(600, torch.float32), (3, torch.float64)], ids=["wide", "double"]
)
def test_noise_that_no_kernel_has_is_added_after_it(width: int, dtype: torch.dtype) -> None:
    adjacency = item_graph()
    h, base = randn(6, width, dtype=dtype), randn(6, width, dtype=dtype)
    noise = Noise(0.3, torch.rand_like(base))
    kept, total = triton_csr.layer(adjacency, h, base, noise, True)
    expected = add_noise(naive.product(adjacency, h), noise)
    torch.testing.assert_close(kept, expected)
    torch.testing.assert_close(total, base + expected)


@runs_kernels
def test_noise_of_no_length_stays_finite() -> None:
    adjacency, h = item_graph(), randn(6, 3)
    noise = Noise(0.3, torch.zeros(6, 3, device=DEVICE))
    kept, _ = triton_csr.layer(adjacency, h, torch.zeros_like(h), noise, True)
    torch.testing.assert_close(kept, naive.product(adjacency, h))


@runs_kernels
@pytest.mark.parametrize("noise", [None, Noise(0.3)], ids=["plain", "noisy"])
def test_the_sum_does_not_depend_on_what_is_kept(noise: Noise | None) -> None:
    adjacency, h, base = lopsided(), randn(7, 130), randn(5, 130)
    totals = []
    for keep in (True, False):
        torch.manual_seed(3)
        totals.append(triton_csr.layer(adjacency, h, base, noise, keep)[1])
    assert torch.equal(*totals)


def drawn(adjacency: Adjacency, h: Tensor) -> Tensor:
    """Return what a layer with noise of length 0.3 adds to the product."""
    base = h.new_zeros(*h.shape[:-2], adjacency.num_targets, h.size(-1))
    kept, _ = triton_csr.layer(adjacency, h, base, Noise(0.3), True)
    return kept - triton_csr.product(adjacency, h)


@runs_kernels
def test_drawn_noise_has_its_length_and_keeps_signs() -> None:
    adjacency, h = lopsided(), randn(2, 7, 33)
    added, product = drawn(adjacency, h), triton_csr.product(adjacency, h)
    has_edges = adjacency.rowptr.diff() > 0
    expected = torch.where(has_edges, 0.3, 0.0).expand(2, 5)
    torch.testing.assert_close(added.norm(dim=-1), expected, rtol=1e-4, atol=1e-6)
    # What is left of nothing but rounding has no sign to speak of.
    assert (added * product.sign() > -1e-5).all()


@runs_kernels
def test_drawn_noise_is_uniform_and_no_two_rows_are_alike() -> None:
    adjacency, h = item_graph(), randn(2, 6, 300)
    u = drawn(adjacency, h).abs().flatten(0, 1)
    u = u / u.mean(dim=-1, keepdim=True) / 2  # Back from the row's length to U[0, 1).
    kstest = pytest.importorskip("scipy.stats").kstest
    assert kstest(u.flatten().cpu().numpy(), "uniform").pvalue > 1e-6
    assert (torch.corrcoef(u) - torch.eye(12, device=DEVICE)).abs().max() < 0.3


@runs_kernels
def test_drawn_noise_follows_torchs_seed() -> None:
    adjacency, h = item_graph(), randn(6, 8)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append([drawn(adjacency, h), drawn(adjacency, h)])
    assert all(torch.equal(a, b) for a, b in zip(*runs[:2], strict=True))
    assert not torch.equal(runs[0][0], runs[0][1])
    assert not torch.equal(runs[0][0], runs[2][0])


@needs_cuda
@runs_kernels
def test_a_cuda_graph_draws_anew_at_every_replay() -> None:
    adjacency, h = lopsided(), randn(7, 8)
    base = torch.zeros(5, 8, device=DEVICE)
    triton_csr.layer(adjacency, h, base, Noise(0.3), True)  # Compiles, and lays out segments.
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept, _ = triton_csr.layer(adjacency, h, base, Noise(0.3), True)
    replays = []
    for _ in range(2):
        graph.replay()
        replays.append(kept.clone())
    assert not torch.equal(*replays)
    product = naive.product(adjacency, h)
    for replay in replays:
        lengths = (replay - product)[:4].norm(dim=-1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.3), rtol=1e-3, atol=0)


@runs_kernels
@pytest.mark.parametrize("graph", ["symmetric", "item_graph"])
def test_layers_and_their_gradients_are_those_of_naive(graph: str) -> None:
    adjacency = GRAPHS[graph]()
    draws = torch.rand(2, 2, 6, 9, device=DEVICE)
    noise = [Noise(0.1, draws[0]), Noise(0.2, draws[1])]
    x, grad = randn(2, 6, 9).requires_grad_(), randn(2, 6, 9)
    results = []
    for backend in ("triton", "naive"):
        out = propagate_layers(adjacency, x, 2, noise, backend)
        results.append((out, *torch.autograd.grad(out, x, grad)))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


# ---- where it cannot run


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make tensors on the CPU look like any that Triton takes."""
    monkeypatch.setattr(triton_csr, "can_import", lambda _: True)
    monkeypatch.setattr(triton_csr, "triton_is_interpreted", lambda: True)
    return monkeypatch


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_csr, "can_import", lambda _: False)
    with pytest.raises(RuntimeError, match="'triton' cannot run: triton is not installed"):
        propagate(item_graph(), randn(6, 2), "triton")


def test_compiled_kernels_need_a_cuda_device(usable: pytest.MonkeyPatch) -> None:
    adjacency, x = item_graph().to("cpu"), torch.zeros(6, 2)
    assert triton_csr.unavailable(adjacency, x) is None
    usable.setattr(triton_csr, "triton_is_interpreted", lambda: False)
    with pytest.raises(RuntimeError, match=r"needs a CUDA device, or TRITON_INTERPRET=1 .*on cpu"):
        propagate(adjacency, x, "triton")


@pytest.mark.usefixtures("usable")
def test_the_adjacency_needs_to_be_on_the_same_device() -> None:
    reason = triton_csr.unavailable(item_graph().to("meta"), torch.zeros(6, 2))
    assert reason is not None
    assert "adjacency is on meta and x on cpu" in reason


@pytest.mark.usefixtures("usable")
def test_other_dtypes_are_refused() -> None:
    adjacency = item_graph().to("cpu")
    eighths = torch.zeros(6, 2, dtype=torch.float8_e5m2)
    assert "no x of torch.float8_e5m2" in str(triton_csr.unavailable(adjacency, eighths))
    counts = Adjacency(adjacency.rowptr, adjacency.col, adjacency.col, num_sources=6)
    reason = triton_csr.unavailable(counts, torch.zeros(6, 2))
    assert "no weights of torch.int64" in str(reason)


def test_what_passes_the_counters_is_refused(usable: pytest.MonkeyPatch) -> None:
    adjacency, x = item_graph().to("cpu"), torch.zeros(3, 6, 2)
    usable.setattr(triton_csr, "_MAX_INDEX", 12)
    usable.setattr(triton_csr, "_MAX_VIEWS", 3)
    assert triton_csr.unavailable(adjacency, x) is None
    usable.setattr(triton_csr, "_MAX_INDEX", 11)
    assert "32 bits (got 12)" in str(triton_csr.unavailable(adjacency, x))
    usable.setattr(triton_csr, "_MAX_INDEX", 12)
    usable.setattr(triton_csr, "_MAX_VIEWS", 2)
    assert "at most 2 slabs at once (got 3)" in str(triton_csr.unavailable(adjacency, x))


# ---- compilation


COMPILE = """
import importlib.util, sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

spec = importlib.util.spec_from_file_location("kernels", sys.argv[1])
kernels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernels)
for storage, noise, unused in (("*fp32", "drawn", "draws"), ("*bf16", "given", "seed")):
    types = {"weight": "*fp32", "slots": "*fp32", "scale": "fp32", "draws": "*fp32", "seed": "*i64"}
    types |= dict.fromkeys(("x", "h", "base", "total"), storage)
    types |= dict.fromkeys(("table", "col", "split_row", "split_ptr"), "*i32")
    types |= dict.fromkeys(("num_sources", "num_targets", "num_slots"), "i32")
    del types[unused]
    tile = {"width": 64, "block_width": 64, "block_edges": 16, "block_slots": 16, "noise": noise}
    for kernel in (kernels.sum_segments, kernels.add_slots):
        names = kernel.arg_names
        source = ASTSource(
            kernel,
            {name: types.get(name, "constexpr") for name in names},
            {(i,): tile.get(name) for i, name in enumerate(names) if name not in types},
        )
        target = GPUTarget("cuda", 90, 32)
        print(list(triton.compile(source, target=target, options={"num_warps": 1}).asm))
"""


@pytest.mark.skipif(
    DEVICE.type == "cuda" or sys.platform != "linux" or not can_import("triton.language"),
    reason="needs triton's compiler, and no CUDA device, on which all other tests compile",
)
def test_kernels_compile_for_hopper(tmp_path: Path) -> None:
    # In a process of its own: in this one, Triton interprets.
    kernels = importlib.util.find_spec("mentor_pyg.ops.propagation.triton_csr_kernels")
    assert kernels is not None
    assert kernels.origin is not None
    compiled = subprocess.run(
        [sys.executable, "-c", COMPILE, kernels.origin],
        env=os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr
    assert compiled.stdout.count("cubin") == 4
