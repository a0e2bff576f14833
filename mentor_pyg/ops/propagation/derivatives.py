"""What a product with a sparse matrix is differentiated to: products again, by the same backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = ["Product", "constant_product", "is_trained", "row_dots", "trained_product"]

Product: TypeAlias = Callable[[Adjacency, Tensor], Tensor]
"""``(adjacency, x [..., num_sources, d]) -> [..., num_targets, d]``, without autograd."""

_CHUNK_ELEMENTS = 2**20
"""Entries of gathered rows held at a time: near the cache, and little beside the rows."""


def is_trained(adjacency: Adjacency) -> bool:
    """Return whether products need to be differentiated in the weights."""
    return adjacency.weight.requires_grad and torch.is_grad_enabled()


def constant_product(product: Product, adjacency: Adjacency, x: Tensor) -> Tensor:
    """Return ``product(adjacency, x)``; its backward multiplies by the kept transpose."""
    out: Tensor = _ConstantProduct.apply(x, adjacency, product)  # type: ignore[no-untyped-call]
    return out


class _ConstantProduct(torch.autograd.Function):
    """Saves no activation: a chain of these, read out as a sum, runs backward as Horner's rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: Adjacency, product: Product) -> Tensor:
        ctx.adjacency, ctx.product = adjacency, product
        with torch.autocast(x.device.type, enabled=False):  # The weights keep their precision.
            return product(adjacency, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        # Applied again rather than called, so that second derivatives exist too.
        return constant_product(ctx.product, ctx.adjacency.transposed, grad), None, None


def trained_product(product: Product, adjacency: Adjacency, x: Tensor) -> Tensor:
    r"""Return ``product(adjacency, x)``, differentiable in the weights as well.

    The gradient of the weight of an edge from :math:`s` to :math:`t` is :math:`\mathbf{g}_t \cdot
    \mathbf{x}_s`, summed over slabs.
    """
    edges = adjacency.with_weight(adjacency.weight.detach())
    out: Tensor = _TrainedProduct.apply(adjacency.weight, x, edges, product)  # type: ignore[no-untyped-call]
    return out


class _TrainedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, edges: Adjacency, product: Product) -> Tensor:
        ctx.save_for_backward(weight, x)
        ctx.edges, ctx.product = edges, product
        with torch.autocast(x.device.type, enabled=False):
            return product(edges, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        weight, x = ctx.saved_tensors
        grad_weight = grad_x = None
        if ctx.needs_input_grad[0]:
            dots = _EdgeDots.apply(grad, x, ctx.edges, ctx.product)  # type: ignore[no-untyped-call]
            grad_weight = dots.to(weight.dtype)
        if ctx.needs_input_grad[1]:
            transposed = ctx.edges.with_weight(weight).transposed
            grad_x = trained_product(ctx.product, transposed, grad)
        return grad_weight, grad_x, None, None


def row_dots(
    product: Product, adjacency: Adjacency, at_target: Tensor, at_source: Tensor
) -> Tensor:
    """Return the dot product of the rows at both ends of every edge, differentiable in both."""
    edges = adjacency.with_weight(adjacency.weight.detach())
    dots: Tensor = _EdgeDots.apply(at_target, at_source, edges, product)  # type: ignore[no-untyped-call]
    return dots


class _EdgeDots(torch.autograd.Function):
    """The dot product of what stands at both ends of an edge ``[num_edges]``, for every edge."""

    @staticmethod
    def forward(
        ctx: Any, at_target: Tensor, at_source: Tensor, edges: Adjacency, product: Product
    ) -> Tensor:
        ctx.save_for_backward(at_target, at_source)
        ctx.edges, ctx.product = edges, product
        dtype = torch.promote_types(at_source.dtype, torch.float32)
        dots = at_source.new_empty(edges.num_edges, dtype=dtype)
        entries = at_source.numel() // max(1, edges.num_sources)  # Of one node, over all slabs.
        step = max(1, _CHUNK_ELEMENTS // max(1, entries))
        for start in range(0, edges.num_edges, step):
            chunk = slice(start, start + step)
            both = at_target[..., edges.target[chunk], :].to(dtype)
            both = both * at_source[..., edges.col[chunk], :]
            dots[chunk] = both.sum(dim=-1).view(-1, both.size(-2)).sum(dim=0)
        return dots

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        at_target, at_source = ctx.saved_tensors
        # Linear in each end: products with the gradient as the weights.
        weighted = ctx.edges.with_weight(grads[0].to(ctx.edges.weight.dtype))
        grad_target = grad_source = None
        if ctx.needs_input_grad[0]:
            grad_target = trained_product(ctx.product, weighted, at_source)
        if ctx.needs_input_grad[1]:
            grad_source = trained_product(ctx.product, weighted.transposed, at_target)
        return grad_target, grad_source, None, None
