import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric import Index

from mentor_pyg.losses import Similarity, info_nce, softmax_loss
from tests.ops.contrast.views import assert_near, random_views, value_and_grads

BACKENDS = ("chunked", "naive")
"""Those that run everywhere, in float64 too."""


def rows_of(
    queries: int, rows: int, dtype: torch.dtype = torch.float64, scale: float = 1
) -> tuple[Tensor, Tensor]:
    return scale * random_views(queries, dtype)[0], random_views(rows, dtype)[1]


def looped(
    query: Tensor,
    target: Tensor,
    table: Tensor,
    temperature: float,
    similarity: Similarity = "dot",
    row: Tensor | None = None,
    left_out: Tensor | None = None,
) -> Tensor:
    """Softmax by its definition: one pair at a time, in float64."""
    q, x = query.double(), table.double()
    if similarity == "cosine":
        q, x = q / q.norm(dim=1, keepdim=True), x / x.norm(dim=1, keepdim=True)
    total = q.new_zeros(())
    for i, t in zip(range(len(q)) if row is None else row.tolist(), target.tolist(), strict=True):
        scores = {j: q[i].dot(x[j]) / temperature for j in range(len(x))}
        if left_out is not None:
            del scores[int(left_out[i])]
        total = total - scores[t] + torch.stack([*scores.values()]).logsumexp(0)
    return total / len(target)


def both(
    rows: tuple[Tensor, Tensor], target: Tensor, backend: str, **options: Any
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return what a backend and the definition give, values and gradients."""
    temperature = options.pop("temperature", 0.3)
    actual = value_and_grads(
        lambda q, x: softmax_loss(q, target, x, temperature, backend, **options), rows
    )
    exact = (rows[0].double(), rows[1].double())
    return actual, value_and_grads(lambda q, x: looped(q, target, x, temperature, **options), exact)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize(("queries", "rows"), [(1, 1), (1, 7), (7, 1), (5, 11), (11, 5)])
def test_equals_the_definition(
    queries: int, rows: int, similarity: Similarity, backend: str
) -> None:
    target = torch.randint(rows, (queries,))  # Of 11 targets among 5 rows some are the same.
    results = both(rows_of(queries, rows), target, backend, similarity=similarity)
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_several_targets_of_a_query(similarity: Similarity, backend: str) -> None:
    row = torch.tensor([4, 0, 4, 1, 4, 0])  # In no order; queries 2 and 3 have none.
    target = torch.tensor([6, 6, 2, 0, 2, 1])  # The last query is to find row 2 twice.
    actual, expected = both(rows_of(5, 7), target, backend, similarity=similarity, row=row)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)
    assert actual[1][2:4].count_nonzero() == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("row", [None, torch.tensor([2, 0, 2, 3])])
def test_a_row_that_is_left_out_has_no_part(
    row: Tensor | None, similarity: Similarity, backend: str
) -> None:
    left_out, target = torch.tensor([6, 0, 3, 3]), torch.tensor([5, 2, 6, 2])
    options = {"similarity": similarity, "row": row, "left_out": left_out}
    results = both(rows_of(4, 7), target, backend, **options)
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)
    assert results[0][2][0].count_nonzero() > 0  # Left out of one query alone.


def test_a_query_of_several_targets_is_that_query_several_times() -> None:
    query, table = rows_of(5, 7)
    row, target = torch.tensor([3, 1, 1]), torch.tensor([0, 6, 2])
    torch.testing.assert_close(
        softmax_loss(query, target, table, 0.3, row=row),
        softmax_loss(query[row], target, table, 0.3),
    )


def test_info_nce_is_the_cosine_of_every_row_with_its_own() -> None:
    views = random_views(9)
    expected = softmax_loss(views[0], torch.arange(9), views[1], 0.2, similarity="cosine")
    assert torch.equal(info_nce(*views, 0.2), expected)


@pytest.mark.parametrize("row", [None, torch.arange(30) // 3])
def test_exact_where_exponentials_overflow(row: Tensor | None) -> None:
    rows = rows_of(30, 40, torch.float32, scale=30)
    target = torch.randint(40, (30,))
    actual, expected = both(rows, target, "chunked", temperature=0.1, row=row)
    scores = rows[0] @ rows[1].t() / 0.1
    assert scores.max() > 5e3  # exp is infinite from 89 on.
    assert scores.max(dim=1).values.min() < 5e3  # Rows have maxima of their own.
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, 1e-5)


def test_exact_where_all_exponentials_vanish() -> None:
    query, table = rows_of(6, 9, torch.float32)
    query, table = query.abs(), -100 - table.abs()
    actual, expected = both((query, table), torch.arange(6), "chunked")
    for result, wanted in zip(actual, expected, strict=True):
        assert_near(result, wanted, 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_temperature_that_is_a_parameter_gets_its_gradient(
    similarity: Similarity, backend: str
) -> None:
    rows, target = rows_of(4, 9), torch.tensor([8, 0, 8, 3])

    def loss(temperature: float | Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda q, x: softmax_loss(q, target, x, temperature, backend, similarity=similarity)

    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    actual = value_and_grads(loss(temperature), rows)
    torch.testing.assert_close(actual, value_and_grads(loss(0.3), rows))
    assert torch.autograd.gradcheck(lambda t: loss(t)(*rows), temperature)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, backend: str) -> None:
    rows = rows_of(20, 30, dtype)
    actual, expected = both(rows, torch.arange(20), backend, temperature=0.01)
    assert actual[0].dtype == torch.float32
    assert actual[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    for grad, wanted in zip(actual[1:], expected[1:], strict=True):
        assert grad.dtype == dtype
        assert_near(grad, wanted, 2 * torch.finfo(dtype).eps)


def test_the_wider_type_of_two_is_computed_in() -> None:
    query, table = rows_of(3, 5)
    query = query.float().requires_grad_()
    loss = softmax_loss(query, torch.tensor([4, 0, 4]), table, 0.3)
    assert loss.dtype == torch.float64
    loss.backward()
    assert query.grad is not None


def test_equals_the_line_in_its_docstring() -> None:
    query, table = rows_of(5, 7)
    row, target = torch.tensor([0, 0, 4]), torch.tensor([1, 2, 3])
    expected = F.cross_entropy((query @ table.t() / 0.4)[row], target)
    torch.testing.assert_close(softmax_loss(query, target, table, 0.4, row=row), expected)


def test_traced_without_a_graph_break() -> None:
    rows, target = rows_of(5, 7, torch.float32), torch.tensor([6, 0, 6, 3, 3])

    def loss(q: Tensor, x: Tensor) -> Tensor:
        return softmax_loss(q, target, x, 0.3)

    traced = torch.compile(loss, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(value_and_grads(traced, rows), value_and_grads(loss, rows))


IDS = torch.arange(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": torch.ones(3, 5)}, r"'query' and 'table' need shapes .*\[3, 5\] and \[4, 2\]"),
        ({"table": torch.ones(4)}, r"'query' and 'table' need shapes"),
        ({"table": torch.ones(4, 2, device="meta")}, r"on one device \(got cpu and meta\)"),
        ({"target": torch.arange(2)}, r"one row for each of the 3 queries \(got 2\); 'row' names"),
        ({"target": IDS.float()}, r"'target' needs int64 ids .*\(got torch.float32 of shape \[3\]"),
        ({"target": IDS[:0]}, "'target' needs int64 ids of shape .*, one at least"),
        ({"target": IDS.unsqueeze(1)}, r"'target' needs int64 ids .* shape \[3, 1\]"),
        ({"target": IDS + 2}, r"'target' needs ids from 0 to 3 \(got 4\)"),
        ({"target": IDS - 1}, r"'target' needs ids from 0 to 3 \(got -1\)"),
        ({"row": IDS + 1}, r"'row' needs ids from 0 to 2 \(got 3\)"),
        ({"left_out": IDS + 2}, r"'left_out' needs ids from 0 to 3 \(got 4\)"),
        ({"left_out": IDS[:2]}, r"'left_out' needs one of several rows .* 3 queries \(got 2, of 4"),
        (
            {"table": torch.ones(1, 2), "target": 0 * IDS, "left_out": 0 * IDS},
            r"'left_out' needs one of several rows .* \(got 3, of 1 rows\)",
        ),
        ({"row": IDS[:2]}, r"'row' needs the query of each of the 3 targets \(got 2\)"),
        ({"temperature": 0.0}, "'temperature' needs to be a positive number"),
        ({"temperature": math.nan}, "'temperature' needs to be a positive number"),
        ({"similarity": "euclid"}, r"one of \['dot', 'cosine'\] \(got 'euclid'\)"),
        ({"backend": "fast"}, r"one of \['chunked', 'naive', 'native', 'triton'\] \(got 'fast'\)"),
        ({"precision": "fp8"}, r"'tf32', 'bf16'\] \(got 'fp8'\)"),
    ],
    ids=str,
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    arguments = {"query": torch.ones(3, 2), "target": IDS, "table": torch.ones(4, 2)}
    with pytest.raises(ValueError, match=message):
        softmax_loss(**{**arguments, "temperature": 0.3, **changes})


@pytest.mark.parametrize("backend", ["auto", "chunked", "naive"])
def test_ids_may_be_those_of_pyg(backend: str) -> None:
    query, table, ids = torch.randn(3, 8), torch.randn(5, 8), torch.tensor([4, 0, 1])
    left_out = torch.tensor([1, 2, 3])
    expected = softmax_loss(query, ids, table, 0.3, left_out=left_out, backend=backend)
    wrapped = softmax_loss(
        query,
        Index(ids),
        table,
        0.3,
        row=Index(torch.arange(3)),
        left_out=Index(left_out),
        backend=backend,
    )
    torch.testing.assert_close(wrapped, expected)
