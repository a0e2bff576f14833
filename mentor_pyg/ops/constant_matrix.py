"""A product with a constant sparse matrix, whose backward is the product with its transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = ["Product", "differentiable"]

Product = Callable[[Adjacency, Tensor], Tensor]
"""``(adjacency, x [..., num_sources, d]) -> [..., num_targets, d]``, without autograd."""


class _ConstantMatrixProduct(torch.autograd.Function):
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
        return differentiable(ctx.product, ctx.adjacency.transposed, grad), None, None


def differentiable(product: Product, adjacency: Adjacency, x: Tensor) -> Tensor:
    """Run ``product`` with a backward that multiplies by the cached transpose."""
    out: Tensor = _ConstantMatrixProduct.apply(x, adjacency, product)  # type: ignore[no-untyped-call]
    return out
