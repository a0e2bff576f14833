from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mentor_pyg.losses import Similarity, info_nce, softmax_loss
from mentor_pyg.ops.contrast import chunked as chunked_backend
from mentor_pyg.typing import Precision
from tests.ops.contrast.views import LargestResult, assert_near, random_views, value_and_grads

MakeChunks = Callable[..., None]
TEMPERATURES = (0.01, 0.2)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def chunked(
    temperature: float, precision: Precision = "ieee"
) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: info_nce(a, b, temperature, "chunked", precision)


def naive(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: info_nce(a, b, temperature, "naive")


@pytest.fixture
def make_chunks(monkeypatch: pytest.MonkeyPatch) -> MakeChunks:
    """Return a function that sets how many similarities, and at least rows, a chunk has."""

    def make(elements: int, multiple: int = 1) -> None:
        monkeypatch.setitem(chunked_backend._CHUNK_ELEMENTS, "cpu", elements)
        monkeypatch.setattr(chunked_backend, "_CHUNK_MULTIPLE", multiple)

    return make


@pytest.fixture(params=[1, 8, 10**6])
def rows_per_chunk(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [1, 17, 64])
def test_equals_naive(
    num_rows: int, temperature: float, rows_per_chunk: int, make_chunks: MakeChunks
) -> None:
    make_chunks(rows_per_chunk * num_rows)
    a, b = random_views(num_rows)
    expected = value_and_grads(naive(temperature), (a.double(), b.double()))
    actual = value_and_grads(chunked(temperature), (a, b))
    # Similarities are right to 6e-8, and divided by the temperature.
    torch.testing.assert_close(actual[0].double(), expected[0], rtol=1e-5, atol=2e-7 / temperature)
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        assert grad.dtype == torch.float32
        scale = float(wanted.abs().max())
        # Where an anchor is sure of its positive, the gradient is a difference of near equals.
        atol = 1e-5 * scale + 2e-7 / temperature
        torch.testing.assert_close(grad.double(), wanted, rtol=0, atol=atol)


def test_fewer_elements_than_rows_make_chunks_of_one_row(make_chunks: MakeChunks) -> None:
    views = random_views(9, torch.float64)
    make_chunks(4)
    actual, expected = (value_and_grads(loss(0.2), views) for loss in (chunked, naive))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_gradcheck(make_chunks: MakeChunks) -> None:
    make_chunks(2 * 5)
    a, b = (view.requires_grad_() for view in random_views(5, torch.float64))
    assert torch.autograd.gradcheck(chunked(0.3), (a, b))


@pytest.mark.parametrize(("needs_a", "needs_b"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("temperature", [0.02, 0.2])
def test_only_the_gradients_asked_for(needs_a: bool, needs_b: bool, temperature: float) -> None:
    views = random_views(11, torch.float64)
    value, *grads = value_and_grads(naive(temperature), views)
    a, b = (
        v.clone().requires_grad_(needs) for v, needs in zip(views, (needs_a, needs_b), strict=True)
    )
    loss = info_nce(a, b, temperature, "chunked")
    torch.testing.assert_close(loss.detach(), value)
    assert loss.requires_grad == (needs_a or needs_b)
    if loss.requires_grad:
        (2 * loss).backward()
    for view, needs, grad in zip((a, b), (needs_a, needs_b), grads, strict=True):
        assert (view.grad is not None) == needs
        if view.grad is not None:
            torch.testing.assert_close(view.grad, grad)


def test_without_grad_mode_there_is_one_product() -> None:
    views = tuple(view.requires_grad_() for view in random_views(11))
    with torch.no_grad(), Products() as products:
        info_nce(*views, 0.2, "chunked")
    assert len(products.precisions) == 1
    with Products() as products:
        info_nce(*views, 0.2, "chunked")
    assert len(products.precisions) == 3


def test_one_view_contrasted_with_itself() -> None:
    (view, _) = random_views(9, torch.float64)
    x, y = view.clone().requires_grad_(), view.clone().requires_grad_()
    info_nce(x, x, 0.2, "chunked").backward()
    info_nce(y, y, 0.2, "naive").backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_zero_rows(temperature: float) -> None:
    """They are orthogonal to everything and poison no other row's gradient."""
    a, b = random_views(10, torch.float64)
    a[3] = b[3] = b[7] = 0
    others = torch.arange(10) != 3
    actual = value_and_grads(chunked(temperature), (a, b))
    expected = value_and_grads(naive(temperature), (a, b))
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(actual[1][others], expected[1][others], rtol=1e-7, atol=1e-12)
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        assert grad.isfinite().all()
        assert_near(grad, wanted, 1e-9)


def test_refuses_second_derivatives() -> None:
    a, b = (view.requires_grad_() for view in random_views(5))
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*backend='naive'"):
        torch.autograd.grad(info_nce(a, b, 0.5, "chunked"), a, create_graph=True)


@pytest.mark.parametrize(("elements", "multiple"), [(2**13, 1), (1, 16)])
def test_never_holds_all_similarities(
    elements: int, multiple: int, make_chunks: MakeChunks
) -> None:
    num_rows, channels = 500, 8
    make_chunks(elements, multiple)
    largest = {}
    for backend in ("chunked", "naive"):
        a, b = (view.requires_grad_() for view in random_views(num_rows, channels=channels))
        with LargestResult() as mode:
            info_nce(a, b, 0.2, backend).backward()
        largest[backend] = mode.numel
    assert largest["naive"] >= num_rows**2
    # The last chunk takes in what would be fewer rows than the multiple.
    assert largest["chunked"] <= max(elements, multiple * num_rows) + (multiple - 1) * num_rows


# ---- a softmax over any table -----------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.7])
@pytest.mark.parametrize(("queries", "rows"), [(1, 9), (40, 9), (9, 40)])
def test_equals_torchs_cross_entropy(
    queries: int, rows: int, temperature: float, make_chunks: MakeChunks
) -> None:
    make_chunks(4 * rows)
    query, table = 3 * random_views(queries, torch.float64)[0], random_views(rows, torch.float64)[1]
    target = torch.randint(rows, (queries,))  # Some rows are found by many, others by none.
    actual, expected = (
        value_and_grads(loss, (query, table))
        for loss in (
            lambda q, x: softmax_loss(q, target, x, temperature, "chunked"),
            lambda q, x: F.cross_entropy(q @ x.t() / temperature, target),
        )
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("queries_per_chunk", [1, 3, 100])
def test_targets_are_found_in_their_chunks(
    queries_per_chunk: int, similarity: Similarity, make_chunks: MakeChunks
) -> None:
    make_chunks(queries_per_chunk * 9)
    query, table = random_views(20, torch.float64)[0], random_views(9, torch.float64)[1]
    row, target = torch.randint(20, (33,)), torch.randint(9, (33,))
    assert len(row.unique()) < 19  # Some chunks of one query have no target.
    actual, expected = (
        value_and_grads(
            lambda q, x, name=name: softmax_loss(
                q, target, x, 0.3, name, similarity=similarity, row=row
            ),
            (query, table),
        )
        for name in ("chunked", "naive")
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("queries_per_chunk", [1, 3, 100])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_rows_are_left_out_in_their_chunks(
    temperature: float, queries_per_chunk: int, make_chunks: MakeChunks
) -> None:
    make_chunks(queries_per_chunk * 40)
    actual, expected = (
        value_and_grads(
            lambda a, b, name=name: info_nce(a, b, temperature, name, intra_view=True),
            random_views(20, torch.float64),
        )
        for name in ("chunked", "naive")
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("row", [None, torch.arange(40) // 4])
def test_reads_nothing_that_was_not_written(row: Tensor | None, make_chunks: MakeChunks) -> None:
    make_chunks(4 * 9)
    query, table = random_views(40)[0], random_views(9)[1]
    target = torch.randint(9, (40,))

    def loss(q: Tensor, x: Tensor) -> Tensor:
        return softmax_loss(q, target, x, 0.3, "chunked", row=row)

    expected = value_and_grads(loss, (query, table))
    torch.use_deterministic_algorithms(True)  # Fills what is allocated with NaN.
    try:
        actual = value_and_grads(loss, (query, table))
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("queries", [50, 2000])
def test_memory_grows_with_queries_and_rows_not_their_product(
    queries: int, make_chunks: MakeChunks
) -> None:
    rows, channels, elements = 3000, 8, 2**15
    make_chunks(elements)
    query = random_views(queries, channels=channels)[0].requires_grad_()
    table = random_views(rows, channels=channels)[1].requires_grad_()
    row, target = torch.randint(queries, (500,)), torch.randint(rows, (500,))
    with LargestResult() as mode:
        softmax_loss(query, target, table, 0.3, "chunked", row=row).backward()
    assert mode.numel <= max(elements, (queries + rows) * channels)
    assert elements < queries * rows


@pytest.mark.parametrize("num_queries", [1, 63, 64, 127, 128, 7_050])
def test_chunks_hold_every_query_once_and_none_is_left_nearly_alone(num_queries: int) -> None:
    chunks = chunked_backend._chunks(num_queries, 7_050, "cpu")
    assert [i for chunk in chunks for i in range(num_queries)[chunk]] == list(range(num_queries))
    assert min(chunk.stop - chunk.start for chunk in chunks) >= min(64, num_queries)


def test_results_do_not_depend_on_the_number_of_threads(make_chunks: MakeChunks) -> None:
    # 10 rows are left, which MKL alone multiplies in other ways on two threads than on one.
    views = random_views(64 * 8 + 10, channels=16)
    make_chunks(64 * 4 * len(views[0]), multiple=64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(value_and_grads(chunked(0.2), views))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=0, atol=0)


# ---- precisions ------------------------------------------------------------------------------


class Products(TorchDispatchMode):
    """Records what each matrix product's factors were to be rounded to on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.precisions: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            self.precisions.append(torch.backends.mkldnn.matmul.fp32_precision)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def bf16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the CPU has what bf16 products need; torch may round nothing all the same."""
    monkeypatch.setattr(chunked_backend, "_cpu_lacks", lambda precision: None)


def test_ieee_is_ieee_whatever_torch_is_set_to() -> None:
    products = torch.backends.mkldnn.matmul
    initial = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        with Products() as during:
            info_nce(*random_views(8), 0.2, "chunked")
    finally:
        products.fp32_precision = initial
    assert during.precisions == ["ieee"]


@pytest.mark.usefixtures("bf16_cpu")
@pytest.mark.parametrize("temperature", [0.02, 0.2])
@pytest.mark.parametrize("leads", [True, False])
def test_bf16_on_the_cpu(temperature: float, leads: bool) -> None:
    a, b = random_views(40, channels=16)
    b = b if leads else b.roll(1, 0)
    with Products() as products:
        actual = value_and_grads(chunked(temperature, "bf16"), (a, b))
    assert products.precisions == ["bf16"] * 3
    expected = value_and_grads(naive(temperature), (a.double(), b.double()))
    assert actual[0].dtype == torch.float32
    assert_near(actual[0], expected[0], 2**-8 / temperature)
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        assert_near(grad, wanted, 2**-8 / temperature)


@pytest.mark.usefixtures("bf16_cpu")
@pytest.mark.parametrize("temperature", [0.05, 0.2])
def test_what_positives_that_lead_leave_is_rounded_and_not_they(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of them and the softmax by themselves, each rounded, next to nothing true would be left."""

    def rounded(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mm(x.bfloat16().float(), y.bfloat16().float(), out=out)

    monkeypatch.setattr(chunked_backend, "_product", rounded)
    query = F.normalize(torch.randn(50, 64))
    table = F.normalize(torch.cat([query, query[:10]]) + 0.02 * torch.randn(60, 64))
    row = torch.cat([torch.arange(50), torch.arange(10), torch.zeros(3, dtype=torch.long)])
    target = torch.cat([torch.arange(60), torch.tensor([0, 7, 7])])  # Several, one of them twice.

    def loss(backend: str, precision: Precision) -> Any:
        return lambda x, y: softmax_loss(
            x, target, y, temperature, row=row, backend=backend, precision=precision
        )

    actual = value_and_grads(loss("chunked", "bf16"), (query, table))
    expected = value_and_grads(loss("naive", "ieee"), (query.double(), table.double()))
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        off = (grad - wanted).norm(dim=1) / wanted.norm(dim=1)
        if temperature < 0.1:  # Some have several targets, which hardly differ.
            assert (off[10:50] < 0.2).all()
        else:
            assert (off < 0.03).all()


@pytest.mark.parametrize("amx", [True, False])
def test_a_cpu_without_such_products_refuses_them(
    amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AVX512-BF16 is not enough: told to round, oneDNN multiplies in float32 there."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True, raising=False)
    view = torch.ones(3, 4)
    needs_amx = chunked_backend.unavailable(view, "bf16")
    assert needs_amx is None if amx else "need AMX, which this CPU lacks" in str(needs_amx)
    assert chunked_backend.unavailable(view, "tf32") == "CPUs have no tf32 products"
    assert chunked_backend.unavailable(view, "ieee") is None


@pytest.mark.parametrize(
    ("precision", "dtype", "reason"),
    [
        ("tf32x3", torch.float32, "torch has no tf32x3 products"),
        ("bf16", torch.float64, "bf16 products are of float32 matrices"),
    ],
)
def test_says_why_a_precision_cannot_run(
    precision: Precision, dtype: torch.dtype, reason: str
) -> None:
    with pytest.raises(RuntimeError, match=f"'chunked' cannot run .*{reason}"):
        info_nce(*random_views(3, dtype), 0.2, "chunked", precision)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize(("capability", "reason"), [((7, 5), "7.5 here"), ((8, 0), None)])
def test_needs_an_ampere_gpu(
    precision: Precision,
    capability: tuple[int, int],
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    view: Any = SimpleNamespace(dtype=torch.float32, device=torch.device("cuda"), is_cuda=True)
    found = chunked_backend.unavailable(view, precision)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(
    ("precision", "relative"), [("ieee", 1e-5), ("tf32", 5e-3), ("bf16", 4e-2)]
)
def test_equals_naive_on_a_gpu(precision: Precision, relative: float) -> None:
    a, b = (view.cuda() for view in random_views(1000, channels=64))
    products = torch.backends.cuda.matmul
    initial = products.fp32_precision
    products.fp32_precision = "tf32"  # By name, ieee is ieee.
    try:
        actual = value_and_grads(chunked(0.2, precision), (a, b))
    finally:
        products.fp32_precision = initial
    expected = value_and_grads(naive(0.2), (a.double(), b.double()))
    for result, wanted in zip(actual, expected, strict=True):
        assert result.dtype == torch.float32
        assert_near(result, wanted, relative)
