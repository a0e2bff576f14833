import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mentor_pyg.losses import INFO_NCE_BACKENDS, InfoNCELoss, info_nce

MODULE = sys.modules[info_nce.__module__]  # The function hides its module in the package.
MakeChunks = Callable[..., None]
TEMPERATURES = (0.01, 0.02, 0.2, 1.0)


def random_views(
    num_rows: int, dtype: torch.dtype = torch.float32, channels: int = 6
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    a = torch.randn(num_rows, channels, generator=generator, dtype=torch.float64)
    b = a + 0.5 * torch.randn(num_rows, channels, generator=generator, dtype=torch.float64)
    return 3 * a.to(dtype), b.to(dtype)


def looped(view_a: Tensor, view_b: Tensor, temperature: float) -> Tensor:
    """InfoNCE by its definition: one pair at a time, in float64."""
    a, b = view_a.double(), view_b.double()

    def cosine(x: Tensor, y: Tensor) -> Tensor:
        return x.dot(y) / (x.norm() * y.norm())

    total = a.new_zeros(())
    for i in range(len(a)):
        similarities = [cosine(a[i], b[j]) / temperature for j in range(len(b))]
        total = total - similarities[i] + torch.stack(similarities).logsumexp(0)
    return total / len(a)


def value_and_grads(loss: Any, views: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    a, b = (view.clone().requires_grad_() for view in views)
    value = loss(a, b)
    grad_a, grad_b = torch.autograd.grad(2 * value, (a, b))
    return value.detach(), grad_a, grad_b


def assert_near(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Compare within ``relative`` of the largest entry."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=0, atol=relative * scale + 1e-30
    )


class LargestResult(TorchDispatchMode):
    """Records the most entries of any tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for result in out if isinstance(out, tuple | list) else (out,):
            if isinstance(result, Tensor):
                self.numel = max(self.numel, result.numel())
        return out


@pytest.fixture
def make_chunks(monkeypatch: pytest.MonkeyPatch) -> MakeChunks:
    """Return a function that sets how many similarities, and at least rows, a chunk has."""

    def make(elements: int, multiple: int = 1) -> None:
        monkeypatch.setitem(MODULE._CHUNK_ELEMENTS, "cpu", elements)
        monkeypatch.setattr(MODULE, "_CHUNK_MULTIPLE", multiple)

    return make


@pytest.fixture(params=[1, 3, 8, 10**6])
def rows_per_chunk(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.mark.parametrize("backend", INFO_NCE_BACKENDS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [1, 2, 7])
def test_equals_the_definition(num_rows: int, temperature: float, backend: str) -> None:
    views = random_views(num_rows, torch.float64)
    actual = value_and_grads(lambda a, b: info_nce(a, b, temperature, backend), views)
    expected = value_and_grads(lambda a, b: looped(a, b, temperature), views)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [1, 2, 8, 17, 64])
def test_chunked_equals_naive(
    num_rows: int, temperature: float, rows_per_chunk: int, make_chunks: MakeChunks
) -> None:
    make_chunks(rows_per_chunk * num_rows)
    views = random_views(num_rows)
    exact = tuple(view.double() for view in views)
    expected = value_and_grads(lambda a, b: info_nce(a, b, temperature, "naive"), exact)
    actual = value_and_grads(lambda a, b: info_nce(a, b, temperature, "chunked"), views)
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
    expected = value_and_grads(lambda a, b: info_nce(a, b, 0.2, "naive"), views)
    make_chunks(4)
    actual = value_and_grads(lambda a, b: info_nce(a, b, 0.2), views)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_gradcheck(make_chunks: MakeChunks) -> None:
    make_chunks(2 * 5)
    a, b = (view.requires_grad_() for view in random_views(5, torch.float64))
    assert torch.autograd.gradcheck(lambda x, y: info_nce(x, y, 0.3, "chunked"), (a, b))


@pytest.mark.parametrize(("needs_a", "needs_b"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("temperature", [0.02, 0.2])
def test_only_the_gradients_asked_for(needs_a: bool, needs_b: bool, temperature: float) -> None:
    views = random_views(11, torch.float64)
    value, *grads = value_and_grads(lambda a, b: info_nce(a, b, temperature, "naive"), views)
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


def test_without_grad_mode() -> None:
    a, b = (view.requires_grad_() for view in random_views(11))
    with torch.no_grad():
        assert not info_nce(a, b, 0.2).requires_grad


def test_one_view_contrasted_with_itself() -> None:
    (view, _) = random_views(9, torch.float64)
    x, y = view.clone().requires_grad_(), view.clone().requires_grad_()
    info_nce(x, x, 0.2, "chunked").backward()
    info_nce(y, y, 0.2, "naive").backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_non_contiguous_views() -> None:
    a, b = random_views(7, torch.float64)
    strided = a.t().contiguous().t()
    torch.testing.assert_close(info_nce(strided, b, 0.2), info_nce(a, b, 0.2))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_zero_rows(temperature: float) -> None:
    """They are orthogonal to everything and poison no other row's gradient."""
    a, b = random_views(10, torch.float64)
    a[3] = b[3] = b[7] = 0
    others = torch.arange(10) != 3
    chunked = value_and_grads(lambda x, y: info_nce(x, y, temperature, "chunked"), (a, b))
    naive = value_and_grads(lambda x, y: info_nce(x, y, temperature, "naive"), (a, b))
    torch.testing.assert_close(chunked[0], naive[0])
    torch.testing.assert_close(chunked[1][others], naive[1][others], rtol=1e-7, atol=1e-12)
    for grad, expected in zip(chunked[1:], naive[1:], strict=True):
        assert grad.isfinite().all()
        assert_near(grad, expected, 1e-9)


def test_all_rows_zero() -> None:
    zeros = torch.zeros(8, 3)
    assert info_nce(zeros, zeros, 0.2).item() == pytest.approx(math.log(8), rel=1e-6)


def test_single_row_costs_nothing() -> None:
    a, b = random_views(1)
    assert info_nce(a, b, 0.2).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 0.0249, 0.025, 100.0])
def test_finite_at_extreme_temperatures(temperature: float) -> None:
    a, b = random_views(40)
    value, *grads = value_and_grads(lambda x, y: info_nce(x, -y, temperature), (a, b))
    assert value.isfinite()
    assert all(grad.isfinite().all() for grad in grads)
    expected = info_nce(a.double(), -b.double(), temperature, "naive")
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", INFO_NCE_BACKENDS)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, backend: str) -> None:
    views = random_views(50, dtype)
    exact = tuple(view.double() for view in views)
    # exp(1 / 0.05) is beyond float16.
    value, *grads = value_and_grads(lambda a, b: info_nce(a, b, 0.05, backend), views)
    expected, *wanted = value_and_grads(lambda a, b: info_nce(a, b, 0.05, "naive"), exact)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, want in zip(grads, wanted, strict=True):
        assert grad.dtype == dtype
        assert_near(grad, want, 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("backend", INFO_NCE_BACKENDS)
def test_autocast_changes_nothing(backend: str) -> None:
    views = random_views(50)
    expected = value_and_grads(lambda a, b: info_nce(a, b, 0.2, backend), views)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return info_nce(a, b, 0.2, backend)

    actual = value_and_grads(loss, views)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_second_derivatives() -> None:
    a, b = (view.requires_grad_() for view in random_views(5, torch.float64))
    assert torch.autograd.gradgradcheck(lambda x, y: info_nce(x, y, 0.5, "naive"), (a, b))
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*backend='naive'"):
        torch.autograd.grad(info_nce(a, b, 0.5, "chunked"), a, create_graph=True)


@pytest.mark.parametrize(("elements", "multiple"), [(2**13, 1), (1, 16)])
def test_chunked_never_holds_all_similarities(
    elements: int, multiple: int, make_chunks: MakeChunks
) -> None:
    num_rows, channels = 500, 8
    make_chunks(elements, multiple)
    largest = {}
    for backend in INFO_NCE_BACKENDS:
        a, b = (view.requires_grad_() for view in random_views(num_rows, channels=channels))
        with LargestResult() as mode:
            info_nce(a, b, 0.2, backend).backward()
        largest[backend] = mode.numel
    assert largest["naive"] >= num_rows**2
    assert largest["chunked"] <= max(elements, multiple * num_rows)


def test_auto_is_chunked(make_chunks: MakeChunks) -> None:
    views = random_views(12)
    make_chunks(12 * 5)
    auto = value_and_grads(lambda a, b: info_nce(a, b, 0.2), views)
    chunked = value_and_grads(lambda a, b: info_nce(a, b, 0.2, "chunked"), views)
    torch.testing.assert_close(auto, chunked, rtol=0, atol=0)


def test_equals_the_line_in_its_docstring() -> None:
    a, b = random_views(20)
    logits = F.normalize(a) @ F.normalize(b).t() / 0.2
    torch.testing.assert_close(info_nce(a, b, 0.2), F.cross_entropy(logits, torch.arange(20)))


@pytest.mark.parametrize(
    ("shape_a", "shape_b"), [((3, 4), (3, 5)), ((3, 4), (2, 4)), ((4,), (4,)), ((1, 2, 3),) * 2]
)
def test_refuses_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="'view_a' and 'view_b' need one shape"):
        info_nce(torch.ones(shape_a), torch.ones(shape_b), 0.2)


def test_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        info_nce(torch.ones(0, 4), torch.ones(0, 4), 0.2)


@pytest.mark.parametrize("temperature", [0.0, -0.2, math.inf, math.nan])
def test_refuses_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="'temperature' needs to be a positive number"):
        info_nce(*random_views(3), temperature)


def test_refuses_backend() -> None:
    with pytest.raises(ValueError, match=r"'auto' or one of \['chunked', 'naive'\] \(got 'fast'\)"):
        info_nce(*random_views(3), 0.2, backend="fast")


def test_module() -> None:
    views = random_views(6)
    module = InfoNCELoss(temperature=0.4, backend="naive")
    assert repr(module) == "InfoNCELoss(temperature=0.4, backend='naive')"
    torch.testing.assert_close(module(*views), info_nce(*views, 0.4))
