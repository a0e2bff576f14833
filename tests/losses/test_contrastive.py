import math
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.losses import SOFTMAX_BACKENDS, info_nce, softmax_unavailable
from mentor_pyg.ops.contrast import CONTRAST_BACKENDS
from mentor_pyg.typing import Precision
from tests.ops.contrast.views import assert_near, random_views, value_and_grads

TEMPERATURES = (0.01, 0.2, 1.0)
ON_CUDA: Any = SimpleNamespace(device=torch.device("cuda"))
"""As much of a view as the choice of a backend looks at."""
BACKENDS = ("chunked", "naive")
"""Those that run everywhere, in float64 too."""


def looped(view_a: Tensor, view_b: Tensor, temperature: float, intra_view: bool = False) -> Tensor:
    """InfoNCE by its definition: one pair at a time, in float64."""
    a, b = view_a.double(), view_b.double()

    def cosine(x: Tensor, y: Tensor) -> Tensor:
        return x.dot(y) / (x.norm() * y.norm())

    total = a.new_zeros(())
    for i in range(len(a)):
        similarities = [cosine(a[i], b[j]) / temperature for j in range(len(b))]
        if intra_view:
            own = [cosine(a[i], a[j]) / temperature for j in range(len(a)) if j != i]
            similarities += own
        total = total - similarities[i] + torch.stack(similarities).logsumexp(0)
    return total / len(a)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [1, 2, 7])
def test_equals_the_definition(num_rows: int, temperature: float, backend: str) -> None:
    views = random_views(num_rows, torch.float64)
    actual = value_and_grads(lambda a, b: info_nce(a, b, temperature, backend), views)
    expected = value_and_grads(lambda a, b: looped(a, b, temperature), views)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [1, 2, 7])
def test_intra_view_equals_the_definition(num_rows: int, temperature: float, backend: str) -> None:
    views = random_views(num_rows, torch.float64)
    actual, expected = (
        value_and_grads(loss, views)
        for loss in (
            lambda a, b: info_nce(a, b, temperature, backend, intra_view=True),
            lambda a, b: looped(a, b, temperature, intra_view=True),
        )
    )
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def test_without_grad_mode() -> None:
    a, b = (view.requires_grad_() for view in random_views(11))
    with torch.no_grad():
        assert not info_nce(a, b, 0.2).requires_grad


def test_non_contiguous_views() -> None:
    a, b = random_views(7, torch.float64)
    strided = a.t().contiguous().t()
    torch.testing.assert_close(info_nce(strided, b, 0.2), info_nce(a, b, 0.2))


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
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, backend: str) -> None:
    views = random_views(50, dtype)
    exact = (views[0].double(), views[1].double())
    # exp(1 / 0.05) is beyond float16.
    value, *grads = value_and_grads(lambda a, b: info_nce(a, b, 0.05, backend), views)
    expected, *wanted = value_and_grads(lambda a, b: info_nce(a, b, 0.05, "naive"), exact)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for grad, want in zip(grads, wanted, strict=True):
        assert grad.dtype == dtype
        assert_near(grad, want, 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing(backend: str) -> None:
    views = random_views(50)
    expected = value_and_grads(lambda a, b: info_nce(a, b, 0.2, backend), views)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return info_nce(a, b, 0.2, backend)

    actual = value_and_grads(loss, views)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_naive_can_be_differentiated_twice() -> None:
    a, b = (view.requires_grad_() for view in random_views(5, torch.float64))
    assert torch.autograd.gradgradcheck(lambda x, y: info_nce(x, y, 0.5, "naive"), (a, b))


def test_traced_without_a_graph_break() -> None:
    # Within a model that torch.compile is given.
    views = random_views(5)
    traced = torch.compile(
        lambda a, b: info_nce(a, b, 0.2), backend="eager", fullgraph=True, dynamic=False
    )
    actual = value_and_grads(traced, views)
    expected = value_and_grads(lambda a, b: info_nce(a, b, 0.2), views)
    torch.testing.assert_close(actual, expected)


def test_equals_the_line_in_its_docstring() -> None:
    a, b = random_views(20)
    logits = F.normalize(a) @ F.normalize(b).t() / 0.2
    torch.testing.assert_close(info_nce(a, b, 0.2), F.cross_entropy(logits, torch.arange(20)))


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Why each backend cannot run; the test's to set."""
    reasons: dict[str, str | None] = dict.fromkeys(SOFTMAX_BACKENDS)
    for name, backend in CONTRAST_BACKENDS.items():
        fake = backend._replace(unavailable=lambda *_, name=name: reasons[name])
        monkeypatch.setitem(CONTRAST_BACKENDS, name, fake)
    return reasons


def test_auto_takes_what_runs_in_the_order_of_the_device(
    reasons: dict[str, str | None],
) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert CONTRAST_BACKENDS.choose("auto", cpu) == "native"
    reasons["native"] = "it is not compiled"
    assert CONTRAST_BACKENDS.choose("auto", cpu) == "chunked"
    assert CONTRAST_BACKENDS.choose("auto", cuda) == "chunked"
    reasons["chunked"] = "torch has none"
    assert CONTRAST_BACKENDS.choose("auto", cuda) == "triton"
    reasons["triton"] = "it is too wide"
    match = (
        "'chunked' cannot run with precision 'tf32x3': torch has none; "
        "backend 'triton' cannot run with precision 'tf32x3': it is too wide"
    )
    assert match in str(softmax_unavailable(ON_CUDA, "auto", "tf32x3"))


@pytest.mark.parametrize(
    ("shape_a", "shape_b"), [((3, 4), (3, 5)), ((3, 4), (2, 4)), ((4,), (4,)), ((1, 2, 3),) * 2]
)
def test_refuses_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="'view_a' and 'view_b' need one shape"):
        info_nce(torch.ones(shape_a), torch.ones(shape_b), 0.2)


def test_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        info_nce(torch.ones(0, 4), torch.ones(0, 4), 0.2)


def test_refuses_two_devices() -> None:
    with pytest.raises(ValueError, match=r"on one device \(got cpu and meta\)"):
        info_nce(torch.ones(3, 4), torch.ones(3, 4, device="meta"), 0.2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [0.01, 0.3])
def test_a_temperature_that_is_a_parameter_gets_its_gradient(value: float, backend: str) -> None:
    views = random_views(9, torch.float64)
    temperature = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))
    actual = value_and_grads(lambda a, b: info_nce(a, b, temperature, backend), views)
    torch.testing.assert_close(actual, value_and_grads(lambda a, b: info_nce(a, b, value), views))
    (grad,) = torch.autograd.grad(info_nce(*views, temperature, backend), temperature)
    step = 1e-6 * value
    above, below = (info_nce(*views, value + h, backend).item() for h in (step, -step))
    assert grad.shape == (1,)
    assert grad.item() == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_a_low_temperature_that_is_a_parameter_stays_finite() -> None:
    temperature = torch.tensor(0.005, requires_grad=True)
    loss = info_nce(*random_views(9), temperature)
    assert loss.item() == pytest.approx(info_nce(*random_views(9), 0.005).item(), abs=1e-4)
    assert torch.autograd.grad(loss, temperature)[0].isfinite()


@pytest.mark.parametrize(
    "temperature", [np.float32(0.25), torch.tensor(0.25), torch.tensor([0.25])]
)
def test_a_temperature_may_be_any_single_number(temperature: Any) -> None:
    views = random_views(9)
    assert torch.equal(info_nce(*views, temperature), info_nce(*views, 0.25))


def test_refuses_several_temperatures() -> None:
    with pytest.raises(ValueError, match=r"'temperature' needs to be one number \(got shape \[2\]"):
        info_nce(*random_views(3), torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("temperature", [0.0, -0.2, math.inf, math.nan])
def test_refuses_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="'temperature' needs to be a positive number"):
        info_nce(*random_views(3), temperature)


def test_refuses_backend() -> None:
    known = r"'auto' or one of \['chunked', 'naive', 'native', 'triton'\] \(got 'fast'\)"
    with pytest.raises(ValueError, match=known):
        info_nce(*random_views(3), 0.2, backend="fast")


def test_refuses_precision() -> None:
    known = r"'precision' needs .* \['ieee', 'tf32x3', 'tf32', 'bf16'\] \(got 'fp8'\)"
    with pytest.raises(ValueError, match=known):
        info_nce(*random_views(3), 0.2, precision="fp8")  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", [name for name in get_args(Precision) if name != "ieee"])
def test_naive_refuses_all_but_ieee(precision: Precision) -> None:
    with pytest.raises(RuntimeError, match=f"'naive' cannot run with precision '{precision}'"):
        info_nce(*random_views(3), 0.2, "naive", precision)
