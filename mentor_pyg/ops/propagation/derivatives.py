"""What a product with a sparse matrix is differentiated to: products again, by the same backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

if TYPE_CHECKING:
    from mentor_pyg.ops.propagation.backends import Backend

__all__ = ["constant_product", "is_trained", "row_dots", "trained_product"]


def is_trained(adjacency: Adjacency) -> bool:
    """Return whether products need to be differentiated in the weights."""
    return adjacency.weight.requires_grad and torch.is_grad_enabled()


def constant_product(backend: Backend, adjacency: Adjacency, x: Tensor) -> Tensor:
    """Return ``backend.product(adjacency, x)``; its backward multiplies by the kept transpose."""
    out: Tensor = _ConstantProduct.apply(x, adjacency, backend)  # type: ignore[no-untyped-call]
    return out


class _ConstantProduct(torch.autograd.Function):
    """Saves no activation: a chain of these, read out as a sum, runs backward as Horner's rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: Adjacency, backend: Backend) -> Tensor:
        ctx.adjacency, ctx.backend = adjacency, backend
        with torch.autocast(x.device.type, enabled=False):  # The weights keep their precision.
            return backend.product(adjacency, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        # Applied again rather than called, so that second derivatives exist too.
        return constant_product(ctx.backend, ctx.adjacency.transposed, grad), None, None


def trained_product(backend: Backend, adjacency: Adjacency, x: Tensor) -> Tensor:
    r"""Return ``backend.product(adjacency, x)``, differentiable in the weights as well.

    The gradient of the weight of an edge from :math:`s` to :math:`t` is :math:`\mathbf{g}_t \cdot
    \mathbf{x}_s`, summed over slabs.
    """
    edges = adjacency.with_weight(adjacency.weight.detach())
    out: Tensor = _TrainedProduct.apply(adjacency.weight, x, edges, backend)  # type: ignore[no-untyped-call]
    return out


class _TrainedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, edges: Adjacency, backend: Backend) -> Tensor:
        ctx.save_for_backward(weight, x)
        ctx.edges, ctx.backend = edges, backend
        with torch.autocast(x.device.type, enabled=False):
            return backend.product(edges, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        weight, x = ctx.saved_tensors
        grad_weight = grad_x = None
        if ctx.needs_input_grad[0]:
            dots = _EdgeDots.apply(grad, x, ctx.edges, ctx.backend)  # type: ignore[no-untyped-call]
            grad_weight = dots.to(weight.dtype)
        if ctx.needs_input_grad[1]:
            transposed = ctx.edges.with_weight(weight).transposed
            grad_x = trained_product(ctx.backend, transposed, grad)
        return grad_weight, grad_x, None, None


def row_dots(
    backend: Backend, adjacency: Adjacency, at_target: Tensor, at_source: Tensor
) -> Tensor:
    """Return the dot product of the rows at both ends of every edge, differentiable in both.

    Weights are constants, and of the rows' type as backends need them.
    """
    dots: Tensor = _EdgeDots.apply(at_target, at_source, adjacency, backend)  # type: ignore[no-untyped-call]
    return dots


class _EdgeDots(torch.autograd.Function):
    """The dot product of what stands at both ends of an edge ``[num_edges]``, for every edge."""

    @staticmethod
    def forward(
        ctx: Any, at_target: Tensor, at_source: Tensor, edges: Adjacency, backend: Backend
    ) -> Tensor:
        ctx.save_for_backward(at_target, at_source)
        ctx.edges, ctx.backend = edges, backend
        return backend.edge_dots(edges, at_target, at_source)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        at_target, at_source = ctx.saved_tensors
        # Linear in each end: products with the gradient as the weights.
        weighted = ctx.edges.with_weight(grads[0].to(ctx.edges.weight.dtype))
        grad_target = grad_source = None
        if ctx.needs_input_grad[0]:
            grad_target = trained_product(ctx.backend, weighted, at_source)
        if ctx.needs_input_grad[1]:
            grad_source = trained_product(ctx.backend, weighted.transposed, at_target)
        return grad_target, grad_source, None, None
