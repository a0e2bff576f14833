"""Run compiled where there is a CUDA device, and otherwise by Triton's interpreter."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.dependencies import can_import, triton_is_interpreted
from mentor_pyg.losses import Similarity, info_nce, softmax_loss
from mentor_pyg.ops.contrast import triton_stream
from mentor_pyg.typing import Precision
from tests.ops.contrast.views import (
    LargestResult,
    Views,
    assert_near,
    random_views,
    value_and_grads,
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PRECISIONS = get_args(Precision)
# Of a similarity and of a weight, relative to one; double of what rounding to nearest may cost.
ROUNDING = {"ieee": 1e-6, "tf32x3": 2e-6, "tf32": 2**-11, "bf16": 2**-8}
DROPPED_BITS = {"ieee": 0, "tf32x3": 0, "tf32": 13, "bf16": 16}

runs_kernels = pytest.mark.skipif(
    not can_import("triton.language") or (DEVICE.type == "cpu" and not triton_is_interpreted()),
    reason="needs triton, and a CUDA device or TRITON_INTERPRET=1",
)
needs_cuda = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA device")
pytestmark = pytest.mark.gpu


def views_of(num_rows: int, channels: int = 6, dtype: torch.dtype = torch.float32) -> Views:
    a, b = random_views(num_rows, dtype, channels)
    return a.to(DEVICE), b.to(DEVICE)


def by_triton(
    temperature: float = 0.2, precision: Precision = "ieee"
) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: info_nce(a, b, temperature, "triton", precision)


def exactly(views: Views, temperature: float = 0.2) -> tuple[Tensor, Tensor, Tensor]:
    a, b = (view.double() for view in views)
    return value_and_grads(lambda x, y: info_nce(x, y, temperature, "naive"), (a, b))


def assert_all_near(
    actual: tuple[Tensor, ...],
    expected: tuple[Tensor, ...],
    temperature: float = 0.2,
    precision: Precision = "ieee",
) -> None:
    """Compare a value and gradients, within what the precision lets one expect."""
    relative = ROUNDING[precision] * (1 + 1 / temperature)
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, relative)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut a small problem into many blocks and splits, as the hardware's tiles cut a large one."""
    tile = triton_stream._Tile(32, 16, 16, 4, 1, 16)
    for precision in PRECISIONS:
        part = 16 if precision == "ieee" else 256
        tiles = {256: tile._replace(part=part)}
        monkeypatch.setitem(triton_stream._TILES, precision, tiles)
    monkeypatch.setattr(triton_stream, "_MAX_BLOCK", 32)
    monkeypatch.setattr(triton_stream, "_BLOCK", 32)
    monkeypatch.setattr(triton_stream, "_MIN_TILES", 2)


@runs_kernels
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("num_rows", "channels", "temperature"), [(70, 64, 0.05), (20, 192, 1.0)])
def test_equals_naive(
    num_rows: int, channels: int, temperature: float, precision: Precision
) -> None:
    views = views_of(num_rows, channels)
    actual = value_and_grads(by_triton(temperature, precision), views)
    assert [result.dtype for result in actual] == [torch.float32] * 3
    assert_all_near(actual, exactly(views, temperature), temperature, precision)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("num_rows", "channels", "temperature", "precision"),
    [
        (2, 16, 0.2, "ieee"),
        (31, 128, 0.2, "tf32"),
        (32, 64, 1.0, "ieee"),
        (33, 7, 0.2, "bf16"),
        (33, 40, 0.05, "tf32x3"),
        (97, 100, 0.05, "ieee"),
    ],
)
def test_equals_naive_in_many_blocks(
    num_rows: int, channels: int, temperature: float, precision: Precision
) -> None:
    views = views_of(num_rows, channels)
    actual = value_and_grads(by_triton(temperature, precision), views)
    assert_all_near(actual, exactly(views, temperature), temperature, precision)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # log(0), as numpy tells it.
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_row_costs_nothing(precision: Precision) -> None:
    actual = value_and_grads(by_triton(0.2, precision), views_of(1))
    assert [result.count_nonzero().item() for result in actual] == [0, 0, 0]


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_one_channel() -> None:
    a, b = views_of(33, 1)
    value, *grads = value_and_grads(by_triton(), (a, b))
    assert_near(value, exactly((a, b))[0], 1e-6)
    # Lengths do not matter, and there is no more to a row.
    for grad, view in zip(grads, (a, b), strict=True):
        assert (grad * view).abs().max() <= 1e-6


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_factors_are_rounded_as_named_and_positives_are_not(precision: Precision) -> None:
    temperature, dropped = 0.1, DROPPED_BITS[precision]

    def rounded(unit: Tensor) -> Tensor:
        half = (1 << dropped) // 2
        bits = (unit.view(torch.int32) + half) & -(1 << dropped)
        return bits.view(torch.float32).double()

    a, b = (F.normalize(view) for view in views_of(40, 16))
    similarities = rounded(a) @ rounded(b).t()
    similarities.diagonal().copy_((a.double() * b.double()).sum(1))
    target = torch.arange(40, device=DEVICE)
    expected = F.cross_entropy(similarities / temperature, target)
    actual = info_nce(a, b, temperature, "triton", precision)
    error = abs(actual.item() - expected.item())
    assert error <= 1e-6 * expected.item()
    if dropped:  # There was something to be rounded.
        exact = info_nce(a.double(), b.double(), temperature, "naive")
        assert 3 * error < abs(exact.item() - expected.item())


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_accurate_where_anchors_are_sure_of_their_positives(precision: Precision) -> None:
    """Losses near zero, and gradients that are no difference of near equals."""
    a, _ = views_of(40, 24)
    b = a + 0.01 * views_of(41, 24)[0][:40]
    expected = exactly((a, b), 0.05)
    assert 0 < expected[0] < 1e-4
    actual = value_and_grads(by_triton(0.05, precision), (a, b))
    assert_all_near(actual, expected, 0.05, precision)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("sign", [1, -1])
def test_the_lowest_temperature(sign: int) -> None:
    """The least exp(cos / t) is exp(-80) of the greatest."""
    a, b = views_of(40, 2)
    b = sign * a + 1e-3 * b
    temperature = triton_stream._MIN_UNSHIFTED_TEMPERATURE
    actual = value_and_grads(by_triton(temperature), (a, b))
    assert all(result.isfinite().all() for result in actual)
    assert_all_near(actual, exactly((a, b), temperature), temperature)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_opposite_views_at_the_lowest_temperature() -> None:
    a = torch.eye(3, device=DEVICE)[[0, 0, 0, 1]]
    value = info_nce(a, -a, 0.025, "triton")
    assert value.item() == pytest.approx(info_nce(a.double(), -a.double(), 0.025, "naive").item())


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_zero_rows() -> None:
    """They are orthogonal to everything and poison no other row's gradient."""
    a, b = views_of(40)
    a[3] = b[3] = b[7] = 0
    others = torch.arange(40, device=DEVICE) != 3
    actual, expected = value_and_grads(by_triton(), (a, b)), exactly((a, b))
    assert_all_near(actual, expected)
    assert_near(actual[1][others], expected[1][others], 1e-5)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("scale", [1e-15, 1e-8, 1e8, 1e15])
def test_any_length_of_rows(scale: float) -> None:
    a, b = views_of(20)
    a[::2] *= scale
    b[5:] *= scale
    assert_all_near(value_and_grads(by_triton(), (a, b)), exactly((a, b)))


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("needs_a", "needs_b"), [(True, False), (False, True), (False, False)])
def test_only_the_gradients_asked_for(
    needs_a: bool, needs_b: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = views_of(20)
    value, *grads = exactly(views)
    formed = spy(monkeypatch)
    a, b = (
        v.clone().requires_grad_(needs) for v, needs in zip(views, (needs_a, needs_b), strict=True)
    )
    loss = info_nce(a, b, 0.2, "triton")
    assert len(formed) == needs_a
    assert_near(loss.detach(), value, 1e-6)
    assert loss.requires_grad == (needs_a or needs_b)
    if loss.requires_grad:
        (2 * loss).backward()
    assert len(formed) == needs_a + needs_b
    for view, needs, grad in zip((a, b), (needs_a, needs_b), grads, strict=True):
        assert (view.grad is not None) == needs
        if view.grad is not None:
            assert_near(view.grad, grad, 1e-5)


def spy(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows with each gradient that is formed."""
    formed: list[bool] = []
    gradient = triton_stream._Launch.gradient

    def record(*args: Any) -> Tensor:
        formed.append(True)
        return gradient(*args)

    monkeypatch.setattr(triton_stream._Launch, "gradient", record)
    return formed


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_forms_no_gradient_without_grad_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    formed = spy(monkeypatch)
    a, b = (view.requires_grad_() for view in views_of(20))
    with torch.no_grad():
        value = info_nce(a, b, 0.2, "triton")
    assert not value.requires_grad
    assert not formed
    torch.testing.assert_close(value, info_nce(a, b, 0.2, "triton").detach(), rtol=0, atol=0)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_refuses_second_derivatives() -> None:
    a, b = (view.requires_grad_() for view in views_of(5))
    with pytest.raises(RuntimeError, match=r"Triton softmax cannot be differentiated twice.*naive"):
        torch.autograd.grad(info_nce(a, b, 0.5, "triton"), b, create_graph=True)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    views = views_of(20, dtype=dtype)
    value, *grads = value_and_grads(by_triton(0.05), views)
    expected, *wanted = exactly(views, 0.05)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, want in zip(grads, wanted, strict=True):
        assert grad.dtype == dtype
        assert_near(grad, want, 2 * torch.finfo(dtype).eps)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_autocast_changes_nothing() -> None:
    views = views_of(20)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            return info_nce(a, b, 0.2, "triton")

    actual, expected = value_and_grads(loss, views), value_and_grads(by_triton(), views)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_reads_nothing_that_was_not_written() -> None:
    views = views_of(35)
    expected = value_and_grads(by_triton(), views)
    torch.use_deterministic_algorithms(True)  # Fills what is allocated with NaN.
    try:
        actual = value_and_grads(by_triton(), views)
    finally:
        torch.use_deterministic_algorithms(False)
    # Equal to the last bit, too: nothing depends on the order in which programs end.
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_splits_change_nothing_but_the_order_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    views = views_of(90)
    results = []
    for programs, splits in ((1, 1), (8, 3)):
        monkeypatch.setattr(triton_stream, "_PROGRAMS", programs)
        launch = triton_stream._Launch(6, 0.2, "ieee", False)
        assert launch.splits(96, 96)[0] == splits
        results.append(value_and_grads(by_triton(), views))
    assert_all_near(results[1], tuple(result.double() for result in results[0]))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("queries", [1, 2_048, 19_445, 10**6])
@pytest.mark.parametrize("rows", [1, 7_050, 10**6])
def test_splits_cover_all_rows_once(queries: int, rows: int, precision: Precision) -> None:
    launch = triton_stream._Launch(128, 0.2, precision, True)
    owners, streamed = (triton_stream._padded(count) for count in (queries, rows))
    splits, size = launch.splits(owners, streamed)
    tile = launch.tile
    assert owners % tile.rows == streamed % tile.others == size % tile.others == 0
    assert (splits - 1) * size < streamed <= splits * size
    assert queries <= owners < queries + 128
    # Partial sums stay O(B d): twice as much as the start's programs own, or a row for a row.
    assert splits * owners <= max(2 * 1024 * tile.rows, owners)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_one_view_contrasted_with_itself() -> None:
    view, _ = views_of(20)
    x, y = view.clone().requires_grad_(), view.double().requires_grad_()
    info_nce(x, x, 0.2, "triton").backward()
    info_nce(y, y, 0.2, "naive").backward()
    assert x.grad is not None
    assert y.grad is not None
    assert_near(x.grad, y.grad, 1e-5)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_non_contiguous_views() -> None:
    a, b = views_of(20)
    wide = torch.stack([b, a], dim=1).flatten(1)  # Rows of b and a side by side.
    actual = value_and_grads(lambda x, y: by_triton()(x.t(), y[:, 6:]), (b.t().contiguous(), wide))
    expected = value_and_grads(by_triton(), (b, a))
    found = (actual[0], actual[1].t(), actual[2][:, 6:])
    for result, wanted in zip(found, expected, strict=True):
        assert_near(result, wanted, 1e-6)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_holds_nothing_larger_than_padded_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_stream, "_PROGRAMS", 1)
    a, b = (view.requires_grad_() for view in views_of(128))
    with LargestResult() as mode:
        info_nce(a, b, 0.2, "triton").backward()
    assert mode.numel == 128 * 16


# ---- a softmax over any table -----------------------------------------------------------------


def softmax_of(
    rows: Views, target: Tensor, backend: str, temperature: float = 0.2, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the value and the gradients, by the naive backend in float64."""
    if backend == "naive":
        rows = (rows[0].double(), rows[1].double())
    return value_and_grads(
        lambda q, x: softmax_loss(q, target, x, temperature, backend, **options), rows
    )


def rows_of(queries: int, rows: int, channels: int = 6) -> Views:
    return views_of(queries, channels)[0], views_of(rows, channels)[1]


def some_of(rows: int, count: int) -> Tensor:
    return torch.randint(rows, (count,), device=DEVICE)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # log(0) and exp(inf), as numpy tells it.
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize(
    ("queries", "rows", "precision"),
    [
        (1, 1, "ieee"),
        (1, 70, "ieee"),
        (70, 1, "tf32"),
        (33, 97, "bf16"),
        (97, 33, "tf32x3"),
        (40, 130, "tf32"),
        (130, 40, "ieee"),
    ],
)
def test_softmax_equals_naive(
    queries: int, rows: int, precision: Precision, similarity: Similarity
) -> None:
    table, target = rows_of(queries, rows, 20), some_of(rows, queries)
    table = (table[0] / 3, table[1])
    actual = softmax_of(table, target, "triton", 0.5, precision=precision, similarity=similarity)
    expected = softmax_of(table, target, "naive", 0.5, similarity=similarity)
    # The larger the scores, the more their rounding moves.
    scores = 1.0 if similarity == "cosine" else float((table[0] @ table[1].t()).abs().max())
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, ROUNDING[precision] * (1 + scores / 0.5))


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("precision", ["ieee", "tf32x3"])
def test_softmax_is_exact_where_exponentials_overflow(precision: Precision) -> None:
    rows, target = rows_of(40, 90), some_of(90, 40)
    rows = (100 * rows[0], rows[1])
    # Greater scores come later: what was summed up before them has to shrink.
    rows[1].copy_(rows[1][rows[1][:, 0].abs().argsort()])
    greatest = float((rows[0] @ rows[1].t() / 0.2).max())
    assert greatest > 1e4
    actual = softmax_of(rows, target, "triton", precision=precision)
    assert all(result.isfinite().all() for result in actual)
    expected = softmax_of(rows, target, "naive")
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, 2 * torch.finfo(torch.float32).eps * greatest)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_contrast_below_the_temperatures_of_a_constant_shift() -> None:
    a, b = views_of(40, 2)
    views = (a, -a + 1e-3 * b)  # The least exp(cos / t) is exp(-400) of the greatest.
    assert_all_near(value_and_grads(by_triton(0.005), views), exactly(views, 0.005), 0.005)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_softmax_of_several_targets_of_a_query(similarity: Similarity) -> None:
    rows, options = rows_of(20, 40), {"similarity": similarity, "row": some_of(20, 50)}
    target = some_of(4, 50)  # Many queries find the same row.
    actual = softmax_of(rows, target, "triton", 2.0, **options)
    expected = softmax_of(rows, target, "naive", 2.0, **options)
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, 2e-5)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_softmax_gives_the_gradient_of_its_temperature(similarity: Similarity) -> None:
    rows, target = rows_of(20, 40), some_of(40, 20)
    grads = []
    for backend, dtype in (("triton", torch.float32), ("naive", torch.float64)):
        temperature = torch.tensor(0.7, dtype=dtype, device=DEVICE, requires_grad=True)
        query, table = (x.to(dtype) for x in rows)
        loss = softmax_loss(query, target, table, temperature, backend, similarity=similarity)
        grads += torch.autograd.grad(loss, temperature)
    assert_near(*grads, 1e-5)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_softmax_reads_nothing_that_was_not_written() -> None:
    rows, target = rows_of(35, 70), some_of(70, 35)
    expected = softmax_of(rows, target, "triton")
    torch.use_deterministic_algorithms(True)  # Fills what is allocated with NaN.
    try:
        actual = softmax_of(rows, target, "triton")
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@runs_kernels
@pytest.mark.usefixtures("small_tiles")
def test_softmax_holds_nothing_larger_than_padded_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_stream, "_PROGRAMS", 1)
    query, table = (x.requires_grad_() for x in rows_of(96, 320))
    with LargestResult() as mode:
        softmax_loss(query, some_of(320, 96), table, 0.2, "triton").backward()
    assert mode.numel == 320 * 16


# ---- where it cannot run ---------------------------------------------------------------------


@runs_kernels
def test_leaves_no_rows_out() -> None:
    with pytest.raises(RuntimeError, match="'triton' leaves no rows out; use backend='chunked'"):
        info_nce(*views_of(3, 4), 0.2, "triton", intra_view=True)


@runs_kernels
@pytest.mark.parametrize(
    ("channels", "dtype", "reason"),
    [
        (4, torch.float64, "the rows are float64"),
        (257, torch.float32, r"at most 256 columns \(got 257\)"),
    ],
)
def test_says_why_it_cannot_run(channels: int, dtype: torch.dtype, reason: str) -> None:
    with pytest.raises(RuntimeError, match=f"'triton' cannot run .*{reason}"):
        info_nce(*views_of(3, channels, dtype), 0.2, "triton")


def test_refuses_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_stream, "can_import", lambda _: False)
    with pytest.raises(RuntimeError, match="triton is not installed"):
        info_nce(*random_views(3), 0.2, "triton")


@pytest.mark.skipif(not can_import("triton.language"), reason="needs triton")
def test_refuses_the_cpu_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_stream, "triton_is_interpreted", lambda: False)
    with pytest.raises(RuntimeError, match=r"need an NVIDIA GPU.*\(the rows are on cpu\)"):
        info_nce(*random_views(3), 0.2, "triton")


@pytest.mark.skipif(not can_import("triton.language"), reason="needs triton")
@pytest.mark.parametrize(
    ("major", "shared_kib", "precision", "reason"),
    [
        (9, 227, "tf32", None),
        (8, 163, "bf16", None),
        (8, 163, "tf32", "its tf32 kernels need 193 KiB of shared memory a block (X has 163)"),
        (7, 227, "ieee", "its kernels need compute capability 8.0 or newer (X has 7.5)"),
    ],
)
def test_refuses_gpus_that_are_too_small(
    major: int,
    shared_kib: int,
    precision: Precision,
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = SimpleNamespace(
        major=major, minor=5, name="X", shared_memory_per_block_optin=shared_kib * 1024
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(torch.version, "hip", None)
    view: Any = SimpleNamespace(
        dtype=torch.float32, device=torch.device("cuda"), is_cuda=True, size=lambda _: 64
    )
    assert triton_stream.unavailable(view, precision) == reason


# ---- compiled --------------------------------------------------------------------------------

COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mentor_pyg.ops.contrast import triton_stream_kernels as kernels
from mentor_pyg.ops.contrast.triton_stream import _TILES

def shared(kernel, types, constants, **options):
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in names},
        {(i,): constants[name] for i, name in enumerate(names) if name in constants},
        # As for arguments that 16 divides: wide loads, and so asynchronous copies, depend on it.
        {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name not in constants
         and types.get(name) != "fp32"},
    )
    target = GPUTarget("cuda", 90, 32)
    return triton.compile(source, target=target, options=options).metadata.shared

sizes = ("num_rows", "padded", "owners", "streamed", "rows_per_split", "splits", "width")
types = dict.fromkeys(sizes, "i32") | dict.fromkeys(("scale", "factor"), "fp32")
precision, running = sys.argv[1], sys.argv[2] == "running"
unit = "*bf16" if precision == "bf16" else "*fp32"
rows = {"block_rows": 16, "block_width": 128}
shared(kernels.pad_rows, types | {"padded": unit}, rows | {"precision": precision})
shared(kernels.form_losses, types | {"target": "*i64"}, rows | {"is_running": running})
shared(kernels.form_gradient, types, rows | {"is_shared": True})
types |= dict.fromkeys(("owner", "stream", "turned"), unit)
types |= dict.fromkeys(("owner_name", "stream_name"), "*i32")
for width, tile in _TILES[precision].items():
    constants = {
        "with_totals": True, "with_rows": True, "is_turned": precision.startswith("tf32"),
        "is_running": running, "precision": precision, "block_rows": tile.rows,
        "block_others": tile.others, "part": min(tile.part, width), "block_width": width,
    }
    bytes = shared(
        kernels.sum_weighted_rows, types, constants, num_warps=tile.warps, num_stages=tile.stages
    )
    print(width, bytes, tile.shared_kib * 1024, flush=True)
    assert bytes <= tile.shared_kib * 1024
"""


@pytest.mark.slow
@pytest.mark.skipif(
    DEVICE.type == "cuda" or sys.platform != "linux" or not can_import("triton.language"),
    reason="needs triton's compiler, and no CUDA device, on which all other tests compile",
)
@pytest.mark.parametrize("shift", ["constant", "running"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_compile_for_hopper(precision: Precision, shift: str, tmp_path: Path) -> None:
    # In a process of its own: in this one, Triton interprets.
    compiled = subprocess.run(
        [sys.executable, "-c", COMPILE, precision, shift],
        env=os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr


@needs_cuda
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("channels", [16, 64, 100, 128, 192, 256])
def test_equals_naive_at_size(channels: int, precision: Precision) -> None:
    views = views_of(3000, channels)
    if reason := triton_stream.unavailable(views[0], precision):
        pytest.skip(reason)
    actual = value_and_grads(by_triton(0.2, precision), views)
    assert_all_near(actual, exactly(views), 0.2, precision)
    again = value_and_grads(by_triton(0.2, precision), views)
    torch.testing.assert_close(again, actual, rtol=0, atol=0)


@needs_cuda
def test_runs_in_a_cuda_graph() -> None:
    a, b = (view.requires_grad_() for view in views_of(500, 64))

    def step() -> tuple[Tensor, ...]:
        loss = info_nce(a, b, 0.2, "triton", "bf16")
        return (loss.detach(), *torch.autograd.grad(loss, (a, b)))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = step()
    graph.replay()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
