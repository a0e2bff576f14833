"""Softmax over a table in torch's own operations, queries a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.typing import Precision

__all__ = ["cross_entropy", "info_nce", "unavailable"]

_CHUNK_ELEMENTS = {"cpu": 5 * 2**20, "cuda": 2**26}
"""Scores held at a time: near the cache on the CPU, enough to fill a GPU there."""

_CHUNK_MULTIPLE = 64
"""Products of other numbers of queries are slower; so many at least still are O(N d) memory."""

_MIN_UNSHIFTED_TEMPERATURE = 0.025
"""From here up, exp(cos / t) <= exp(40) is summed in float32 without a shift."""


def unavailable(view: Tensor, temperature: float | Tensor, precision: Precision) -> str | None:
    """Return why torch has no such products of rows ``[N, d]``, or ``None``."""
    if precision == "ieee":
        return None
    if view.dtype == torch.float64:
        return f"{precision} products are of float32 matrices, and the views are float64"
    if precision == "tf32x3":
        return "torch has no tf32x3 products"
    if view.device.type == "cpu":
        return _cpu_lacks(precision)
    if not view.is_cuda:
        return f"it has {precision} products on CUDA and CPU (the views are on {view.device})"
    capability = torch.cuda.get_device_capability(view.device)
    if capability < (8, 0):
        got = f"{capability[0]}.{capability[1]} here"
        return f"{precision} products need compute capability 8.0 or newer ({got})"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _cpu_lacks(precision: Precision) -> str | None:
    if precision == "tf32":
        return "CPUs have no tf32 products"
    # With AVX512-BF16 alone oneDNN says nothing and multiplies in float32.
    if torch.backends.mkldnn.is_available() and torch.cpu._is_amx_tile_supported():
        return None
    return "bf16 products of float32 matrices need AMX, which this CPU lacks"


def info_nce(
    view_a: Tensor, view_b: Tensor, temperature: float | Tensor, precision: Precision
) -> Tensor:
    """Return the loss of two views ``[N, d]``, not normalised, in float32 at least."""
    dtype = torch.promote_types(view_a.dtype, torch.float32)
    a, b = F.normalize(view_a.to(dtype)), F.normalize(view_b.to(dtype))
    positive = torch.arange(len(a), device=a.device)
    return cross_entropy(a, positive, b, temperature, precision, unit_rows=True)


def cross_entropy(
    query: Tensor,
    target: Tensor,
    table: Tensor,
    temperature: float | Tensor,
    precision: Precision,
    *,
    unit_rows: bool = False,
) -> Tensor:
    """Equal ``F.cross_entropy(query @ table.t() / temperature, target)``, in O((B + N) d) memory.

    Args:
        query: Rows ``[B, d]``.
        target: The row of ``table`` that each query is to find ``[B]``.
        table: Rows ``[N, d]`` of the same dtype, float32 or float64.
        temperature: What scores are divided by; a tensor gets its gradient.
        precision: What factors of products are rounded to.
        unit_rows: Promise that no row is longer than one, so that exponentials need no shift.
    """
    if isinstance(temperature, Tensor):
        # Of unknown size: the scaling is taken out, and differentiated like any other.
        query, temperature, unit_rows = query / temperature, 1.0, False
    shifted = not unit_rows or temperature < _MIN_UNSHIFTED_TEMPERATURE
    # Inside a function's forward the grad mode is always off.
    options = (temperature, precision, shifted, torch.is_grad_enabled())
    value: Tensor = _ChunkedCrossEntropy.apply(query, table, target, *options)  # type: ignore[no-untyped-call]
    return value


def _float32_products(device: str, precision: Precision) -> AbstractContextManager[None]:
    """Have the factors of float32 products rounded so, whatever torch is set to elsewhere."""
    if precision == "ieee" and torch.compiler.is_compiling():
        return nullcontext()  # Setting breaks the graph. Compiled, torch's setting holds.
    return _set_products(device, precision)


@contextmanager
def _set_products(device: str, precision: Precision) -> Iterator[None]:
    """Set what the whole process rounds factors to; put it back at the end."""
    backend = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
    products: Any = backend.matmul
    before = products.fp32_precision
    if before == precision or (precision == "ieee" and before == "none"):
        yield
        return
    products.fp32_precision = precision
    try:
        yield
    finally:
        products.fp32_precision = "none"  # Inherited again, unless that is something else.
        if products.fp32_precision != before:
            products.fp32_precision = before


def _product(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x @ y`` of factors, summed and given in float32 at least."""
    if x.dtype == torch.bfloat16:
        return torch.mm(x, y, out_dtype=torch.float32)
    return torch.mm(x, y, out=out)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are formed in the forward, while a chunk is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        table: Tensor,
        target: Tensor,
        temperature: float,
        precision: Precision,
        shifted: bool,
        wanted: bool,
    ) -> Tensor:
        needs_query, needs_table = (wanted and needs for needs in ctx.needs_input_grad[:2])
        # At the targets: d loss / d query_i holds -table_j / (B t), and the other way round.
        grad_query = table[target].neg_() if needs_query else None
        grad_table = None
        if needs_table:
            grad_table = torch.zeros_like(table).index_add_(0, target, query, alpha=-1)
        # On CUDA, products of bfloat16 can be had in float32; elsewhere torch rounds if told to.
        factor = torch.bfloat16 if query.is_cuda and precision == "bf16" else query.dtype
        products = "ieee" if factor == torch.bfloat16 else precision
        with _float32_products(query.device.type, products):
            total = _stream(
                query, table, target, temperature, grad_query, grad_table, shifted, factor
            )
        ctx.save_for_backward(grad_query, grad_table)
        ctx.scale = 1.0 / (len(query) * temperature)
        return (total / len(query)).to(query.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # Saved gradients are constants: silently wrong from here on.
            raise RuntimeError(
                "the chunked InfoNCE cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        scale = grads[0] * ctx.scale
        scaled = (None if grad is None else grad * scale for grad in ctx.saved_tensors)
        return (*scaled, None, None, None, None, None)


def _chunks(num_queries: int, num_rows: int, device: str) -> list[slice]:
    """Cut queries up so that a chunk's scores of all rows are about as many as are to be held."""
    elements = _CHUNK_ELEMENTS.get(device, _CHUNK_ELEMENTS["cpu"])
    size = max(_CHUNK_MULTIPLE, elements // num_rows // _CHUNK_MULTIPLE * _CHUNK_MULTIPLE)
    starts = list(range(0, num_queries, size))
    if len(starts) > 1 and num_queries - starts[-1] < _CHUNK_MULTIPLE:
        # A few queries alone are multiplied in an order that depends on the number of threads.
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], num_queries], strict=True)]


def _stream(
    query: Tensor,
    table: Tensor,
    target: Tensor,
    temperature: float,
    grad_query: Tensor | None,
    grad_table: Tensor | None,
    shifted: bool,
    factor: torch.dtype,
) -> Tensor:
    """Add the softmax's part to the gradients and return the sum of all losses, in float64.

    ``factor`` is the dtype of what is multiplied.
    """
    total = query.new_zeros((), dtype=torch.float64)
    chunks = _chunks(len(query), len(table), query.device.type)
    table_factor = table.to(factor)
    is_bf16 = factor == torch.bfloat16
    longest = max(chunk.stop - chunk.start for chunk in chunks)
    buffer = query.new_empty(0 if is_bf16 else len(table) * longest)
    for chunk in chunks:
        scaled = (query[chunk] / temperature).to(factor)
        # [N, chunk]: on the CPU this product is 1.5 times as fast as its transpose.
        out = None if is_bf16 else buffer[: len(table) * len(scaled)].view(len(table), -1)
        p = _product(table_factor, scaled.t(), out)
        positive = p.gather(0, target[chunk].unsqueeze(0)).squeeze(0).double()
        if shifted:
            shift = p.amax(dim=0)
            p.sub_(shift)
            positive = positive - shift
        z = p.exp_().sum(dim=0)  # [chunk]
        total += z.double().log().sum() - positive.sum()
        if grad_query is None and grad_table is None:
            continue
        p = p.to(factor)
        if grad_query is not None:
            grad_query[chunk].add_(_product(p.t(), table_factor).div_(z.unsqueeze(1)))
        if grad_table is not None:
            weighted = (query[chunk] / z.unsqueeze(1)).to(factor)
            if is_bf16:
                grad_table.add_(_product(p, weighted))
            else:
                grad_table.addmm_(p, weighted)
    return total
