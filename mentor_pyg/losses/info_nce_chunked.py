"""InfoNCE in torch's own operations, rows a few at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.typing import Precision

__all__ = ["loss", "rounds_in_software", "unavailable"]

logger = logging.getLogger(__name__)

_CHUNK_ELEMENTS = {"cpu": 5 * 2**20, "cuda": 2**26}
"""Similarities held at a time: near the cache on the CPU, enough to fill a GPU there."""

_CHUNK_MULTIPLE = 64
"""Products of other numbers of anchors are slower; so many at least still are O(N d) memory."""

_MIN_UNSHIFTED_TEMPERATURE = 0.025
"""From here up, exp(cos / t) <= exp(40) is summed in float32 without a shift."""


def unavailable(view: Tensor, temperature: float, precision: Precision) -> str | None:
    """Return why torch has no such products of views ``[N, d]``, or ``None``."""
    if precision == "ieee":
        return None
    if view.dtype == torch.float64:
        return f"{precision} products are of float32 matrices, and the views are float64"
    if precision == "tf32x3":
        return "torch has no tf32x3 products"
    if view.device.type == "cpu":
        return None
    if not view.is_cuda:
        return f"it has {precision} products on CUDA and CPU (the views are on {view.device})"
    capability = torch.cuda.get_device_capability(view.device)
    if capability < (8, 0):
        got = f"{capability[0]}.{capability[1]} here"
        return f"{precision} products need compute capability 8.0 or newer ({got})"
    return None


def loss(view_a: Tensor, view_b: Tensor, temperature: float, precision: Precision) -> Tensor:
    """Return the loss of two views ``[N, d]``, not normalised, in float32 at least."""
    dtype = torch.promote_types(view_a.dtype, torch.float32)
    a, b = F.normalize(view_a.to(dtype)), F.normalize(view_b.to(dtype))
    # Inside a function's forward the grad mode is always off.
    wanted = torch.is_grad_enabled()
    value: Tensor = _ChunkedInfoNCE.apply(a, b, temperature, precision, wanted)  # type: ignore[no-untyped-call]
    return value


def rounds_in_software(device: torch.device, precision: Precision) -> bool:
    """Return whether a device has no products of such factors, which are then rounded before."""
    if device.type != "cpu":
        return False
    return precision == "tf32" or (precision == "bf16" and not _cpu_has_bf16_products())


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _cpu_has_bf16_products() -> bool:
    """Return whether oneDNN rounds the factors of float32 products to bfloat16 when told to.

    It does with AMX. With AVX512-BF16 alone it says nothing and multiplies in float32.
    """
    supported: bool = torch.backends.mkldnn.is_available() and torch.cpu._is_amx_tile_supported()
    return supported


@cache
def _warn_of_rounding(precision: Precision) -> None:
    logger.warning(
        "info_nce(precision=%r): this CPU has no such products (bf16 needs AMX, tf32 a GPU); "
        "factors are rounded to as many bits in software, slower than 'ieee'",
        precision,
    )


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


def _factor(x: Tensor, rounding: Precision | None) -> Tensor:
    """Return ``x``, or its finite float32 values rounded to the nearest of fewer bits."""
    if rounding is None:
        return x
    if rounding == "bf16":
        # On CUDA, products of bfloat16 can be had in float32.
        return x.bfloat16() if x.is_cuda else x.bfloat16().float()
    dropped = 13  # Of 23 bits of mantissa, tf32 has 10.
    bits = x.view(torch.int32) + (1 << (dropped - 1))  # A tie goes away from zero.
    return bits.bitwise_and_(-(1 << dropped)).view(torch.float32)


def _product(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x @ y`` of factors, summed and given in float32 at least."""
    if x.dtype == torch.bfloat16:
        return torch.mm(x, y, out_dtype=torch.float32)
    return torch.mm(x, y, out=out)


class _ChunkedInfoNCE(torch.autograd.Function):
    """InfoNCE of unit rows. Gradients are formed in the forward, while a chunk is at hand."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, temperature: float, precision: Precision, wanted: bool
    ) -> Tensor:
        needs_a, needs_b = (wanted and needs for needs in ctx.needs_input_grad[:2])
        # At the positives: d loss / d a_i holds -b_i / (N t), and the other way round.
        grad_a = -b if needs_a else None
        grad_b = -a if needs_b else None
        rounding = None
        if rounds_in_software(a.device, precision):
            if not torch.compiler.is_compiling():
                _warn_of_rounding(precision)
            rounding = precision
        elif a.is_cuda and precision == "bf16":
            rounding = precision
        with _float32_products(a.device.type, "ieee" if rounding else precision):
            total = _stream(a, b, temperature, grad_a, grad_b, rounding)
        ctx.save_for_backward(grad_a, grad_b)
        ctx.scale = 1.0 / (len(a) * temperature)
        return (total / len(a)).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # Saved gradients are constants: silently wrong from here on.
            raise RuntimeError(
                "the chunked InfoNCE cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        scale = grads[0] * ctx.scale
        scaled = (None if grad is None else grad * scale for grad in ctx.saved_tensors)
        return (*scaled, None, None, None)


def _stream(
    a: Tensor,
    b: Tensor,
    temperature: float,
    grad_a: Tensor | None,
    grad_b: Tensor | None,
    rounding: Precision | None,
) -> Tensor:
    """Add the softmax's part to the gradients and return the sum of all losses, in float64.

    ``rounding`` is what to round factors to before a product that does not itself.
    """
    num_rows = a.size(0)
    elements = _CHUNK_ELEMENTS.get(a.device.type, _CHUNK_ELEMENTS["cpu"])
    rows = elements // num_rows // _CHUNK_MULTIPLE * _CHUNK_MULTIPLE
    rows = min(num_rows, max(_CHUNK_MULTIPLE, rows))
    total = a.new_zeros((), dtype=torch.float64)
    b_factor = _factor(b, rounding)
    is_bf16 = b_factor.dtype == torch.bfloat16
    buffer = a.new_empty(0 if is_bf16 else num_rows * rows)
    for start in range(0, num_rows, rows):
        chunk = slice(start, min(start + rows, num_rows))
        scaled = _factor(a[chunk] / temperature, rounding)
        # [N, rows]: on the CPU this product is 1.5 times as fast as its transpose.
        out = None if is_bf16 else buffer[: num_rows * len(scaled)].view(num_rows, -1)
        p = _product(b_factor, scaled.t(), out)
        # A copy, since float64 similarities are overwritten below.
        positive = p.diagonal(offset=-start).to(torch.float64, copy=True)
        if temperature < _MIN_UNSHIFTED_TEMPERATURE:
            shift = p.amax(dim=0)
            p.sub_(shift)
            positive = positive - shift
        z = p.exp_().sum(dim=0)  # [rows]
        total += z.double().log().sum() - positive.sum()
        if grad_a is None and grad_b is None:
            continue
        p = _factor(p, rounding)
        if grad_a is not None:
            grad_a[chunk].add_(_product(p.t(), b_factor).div_(z.unsqueeze(1)))
        if grad_b is not None:
            weighted = _factor(a[chunk] / z.unsqueeze(1), rounding)
            if is_bf16:
                grad_b.add_(_product(p, weighted))
            else:
                grad_b.addmm_(p, weighted)
    return total
