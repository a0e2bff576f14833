import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.losses import Similarity, info_nce, softmax_loss
from mentor_pyg.ops.contrast import native_stream
from tests.ops.contrast.views import LargestResult, assert_near, random_views, value_and_grads

ROWS = torch.ones(3, 4)
compiled = pytest.mark.skipif(
    (reason := native_stream.unavailable(ROWS, "ieee")) is not None, reason=str(reason)
)


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets how many queries a block has, a multiple of 24."""

    def make(queries: int) -> None:
        monkeypatch.setattr(native_stream, "_SCORES", 0)
        monkeypatch.setattr(native_stream, "_MIN_QUERIES", queries)

    return make


def both(
    loss: Callable[[Tensor, Tensor, str], Tensor], views: tuple[Tensor, Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return value and gradients by the kernel, and in float64."""
    doubles = (views[0].double(), views[1].double())
    actual = value_and_grads(lambda a, b: loss(a, b, "native"), views)
    return actual, value_and_grads(lambda a, b: loss(a, b, "naive"), doubles)


@compiled
@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("temperature", [0.01, 0.2])
@pytest.mark.parametrize("num_rows", [1, 23, 24, 48, 49, 241, 500])
def test_info_nce_equals_naive(
    num_rows: int, temperature: float, intra_view: bool, block: Callable[[int], None]
) -> None:
    block(48)  # Several blocks, and beyond 240 rows several tiles.
    views = random_views(num_rows, channels=20)
    actual, expected = both(
        lambda a, b, name: info_nce(a, b, temperature, name, intra_view=intra_view), views
    )
    assert actual[0].dtype == torch.float32
    torch.testing.assert_close(actual[0].double(), expected[0], rtol=1e-5, atol=2e-7 / temperature)
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        atol = 1e-5 * float(wanted.abs().max()) + 2e-7 / temperature
        torch.testing.assert_close(grad.double(), wanted, rtol=0, atol=atol)


@compiled
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("width", [2, 16, 64, 90, 128])
@pytest.mark.parametrize(("queries", "rows"), [(1, 300), (100, 7), (70, 1000)])
def test_softmax_equals_naive(
    queries: int, rows: int, width: int, similarity: Similarity, block: Callable[[int], None]
) -> None:
    block(24)
    views = random_views(queries, channels=width)[0], random_views(rows, channels=width)[1]
    # Some queries have several targets, others none; some rows are found by many.
    row, target = torch.randint(queries, (150,)), torch.randint(rows, (150,))
    temperature = 0.3 if similarity == "cosine" else float(width)
    actual, expected = both(
        lambda q, x, name: softmax_loss(
            q, target, x, temperature, name, similarity=similarity, row=row
        ),
        views,
    )
    for found, wanted in zip(actual, expected, strict=True):
        assert_near(found, wanted, 1e-5)


@compiled
def test_left_out_rows_may_be_the_largest_by_far() -> None:
    query = torch.full((30, 4), 50.0)
    table = torch.cat([torch.full((300, 4), 1.0), torch.randn(300, 4)])
    left_out, target = torch.arange(30), torch.arange(300, 330)
    table[:30] *= 40
    table[30:300] = -1.0
    actual, expected = both(
        lambda q, x, name: softmax_loss(q, target, x, 1.0, name, left_out=left_out), (query, table)
    )
    for found, wanted in zip(actual, expected, strict=True):
        assert_near(found, wanted, 1e-5)


@compiled
@pytest.mark.parametrize("offset", [-3000.0, 0.0, 3000.0])
def test_scores_of_any_size(offset: float) -> None:
    """Far below 0 nothing is left of exponentials, far above they overflow."""
    torch.manual_seed(0)
    query = torch.cat([torch.randn(30, 8), torch.ones(30, 1)], dim=1)
    # Rising scores, so that the greatest so far grows from tile to tile.
    rising = torch.linspace(0, 200, 700).unsqueeze(1)
    table = torch.cat([torch.randn(700, 8), offset + rising], dim=1)
    target = torch.arange(30) * 23
    actual, expected = both(
        lambda q, x, name: softmax_loss(q, target, x, 1.0, name), (query, table)
    )
    torch.testing.assert_close(actual[0].double(), expected[0], rtol=1e-5, atol=1e-3)
    for found, wanted in zip(actual[1:], expected[1:], strict=True):
        assert_near(found, wanted, 1e-3)  # Scores of 3,000 are right to 2e-4.


@compiled
def test_a_target_that_is_sure_costs_nothing() -> None:
    """Its score is that of the sum, to the last bit."""
    query, table = torch.randn(50, 64) * 37, torch.randn(1, 64)
    loss = softmax_loss(query, torch.zeros(50, dtype=torch.long), table, 0.7, "native")
    assert loss.item() == 0


@compiled
def test_exponentials_are_right_to_the_last_bits() -> None:
    """Two rows, the other of score 0: the loss is softplus of the negative score."""
    score = torch.linspace(-80, 0, 24 * 200)
    loss = softmax_loss(
        torch.stack([score, torch.zeros_like(score)], dim=1),
        target := torch.ones(len(score), dtype=torch.long),
        torch.eye(2),
        1.0,
        "native",
    )
    expected = F.softplus(score.double()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    # One by one, by the gradient in the query: the probability of the other row.
    query = torch.stack([score, torch.zeros_like(score)], dim=1).requires_grad_()
    softmax_loss(query, target, torch.eye(2), 1.0, "native").backward()
    assert query.grad is not None
    probability = query.grad[:, 0].double() * len(score)
    torch.testing.assert_close(probability, score.double().sigmoid(), rtol=3e-7, atol=0)


@compiled
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(value: float) -> None:
    query, table = torch.randn(30, 8), torch.randn(60, 8)
    table[59, 3] = value
    loss = softmax_loss(query, torch.zeros(30, dtype=torch.long), table, 1.0, "native")
    assert not loss.isfinite()


@compiled
@pytest.mark.parametrize(("needs_query", "needs_table"), [(True, False), (False, True)])
def test_only_the_gradients_asked_for(needs_query: bool, needs_table: bool) -> None:
    a, b = random_views(50)
    _, *wanted = value_and_grads(lambda a, b: info_nce(a, b, 0.2, "native"), (a, b))
    views = a.requires_grad_(needs_query), b.requires_grad_(needs_table)
    (2 * info_nce(*views, 0.2, "native")).backward()
    for view, needs, grad in zip(views, (needs_query, needs_table), wanted, strict=True):
        assert (view.grad is not None) == needs
        if view.grad is not None:
            assert torch.equal(view.grad, grad)
    with torch.no_grad():
        assert not info_nce(a, b, 0.2, "native").requires_grad


@compiled
def test_rows_may_lie_in_any_order_in_memory() -> None:
    a, b = random_views(50, channels=32)
    target = (torch.arange(100) % 50)[::2]
    assert not target.is_contiguous()
    expected = softmax_loss(a, target.contiguous(), b, 5.0, "native")
    turned = a.t().contiguous().t(), b.t().contiguous().t()
    assert torch.equal(softmax_loss(turned[0], target, turned[1], 5.0, "native"), expected)


@compiled
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    views = random_views(1000, channels=64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(value_and_grads(lambda a, b: info_nce(a, b, 0.2, "native"), views))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0)


@compiled
@pytest.mark.parametrize(("queries", "rows"), [(2000, 3000), (200, 30_000)])
def test_memory_grows_with_queries_and_rows_not_their_product(
    queries: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_stream, "_SCORES", 2**20)
    query = random_views(queries, channels=8)[0].requires_grad_()
    table = random_views(rows, channels=8)[1].requires_grad_()
    target = torch.randint(rows, (queries,))
    with LargestResult() as mode:
        softmax_loss(query, target, table, 0.3, "native").backward()
    assert mode.numel <= max(2**20, 96 * (rows + 48)) < queries * rows


@compiled
def test_refuses_second_derivatives() -> None:
    a, b = (view.requires_grad_() for view in random_views(5))
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*backend='naive'"):
        torch.autograd.grad(info_nce(a, b, 0.5, "native"), a, create_graph=True)


@pytest.mark.parametrize(
    ("rows", "precision", "reason"),
    [
        (ROWS.double(), "ieee", r"float32 and 'ieee' \(got torch.float64, 'ieee'\)"),
        (ROWS, "bf16", r"float32 and 'ieee' \(got torch.float32, 'bf16'\)"),
        (ROWS.to("meta"), "ieee", r"on the CPU only \(got meta\)"),
    ],
)
def test_says_why_it_cannot_run(rows: Tensor, precision: Any, reason: str) -> None:
    assert re.search(reason, str(native_stream.unavailable(rows, precision)))


def test_needs_avx512_and_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert "AVX-512" in str(native_stream.unavailable(ROWS, "ieee"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setitem(native_stream.LIBRARY.__dict__, "loaded", "it is not compiled")
    assert native_stream.unavailable(ROWS, "ieee") == "it is not compiled"
    assert torch.equal(info_nce(ROWS, ROWS, 0.2), info_nce(ROWS, ROWS, 0.2, "chunked"))
