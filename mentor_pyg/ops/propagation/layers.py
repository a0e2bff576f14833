"""Several layers of propagation in one operation, with noise and the sum over layers on the way."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.backends import BACKENDS, Backend
from mentor_pyg.ops.propagation.derivatives import is_trained, trained_product
from mentor_pyg.ops.propagation.noise import Noise, add_noise
from mentor_pyg.ops.propagation.operation import choose_backend

__all__ = ["propagate_layers"]


def propagate_layers(
    adjacency: Adjacency,
    x: Tensor,
    num_layers: int,
    noise: Sequence[Noise | None] | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Propagate :math:`L` times and return the sum of the input and every layer.

    .. math::
        \mathbf{h}^{(l)} = \mathrm{noise}_l(\mathbf{A} \mathbf{h}^{(l-1)}), \qquad
        \mathbf{h} = \sum_{l=0}^{L} \mathbf{h}^{(l)}

    No layer is kept for the backward pass: the noise is a constant and the matrix is linear, so
    the gradient is Horner's rule on the transpose, :math:`\mathbf{g} + \mathbf{A}^\top(\mathbf{g}
    + \mathbf{A}^\top(\dots))`. Weights that require a gradient need the layers: then every one is
    kept, and is a product and its noise.

    Args:
        adjacency: A square matrix.
        x: Node features ``[num_nodes, d]``, or slabs of them ``[views, num_nodes, d]``.
        num_layers: The number of layers :math:`L`; 0 gives the input back.
        noise: What is added to layer 1, 2, ... before it goes on; ``num_layers`` entries.
        backend: As in :func:`~mentor_pyg.ops.propagate`. Backends with a fused layer add noise
            and sum on the rows that they have at hand.

    Returns:
        The sum, of the shape of ``x``.

    Raises:
        TypeError: If ``adjacency`` is no :class:`~mentor_pyg.graph.Adjacency`.
        ValueError: If it is not square, ``x`` or ``noise`` does not fit, or the backend is
            unknown.
        RuntimeError: If the backend asked for cannot run; the message says why.
    """
    chosen = choose_backend(adjacency, x, backend)
    if adjacency.num_sources != adjacency.num_targets:
        raise ValueError(
            f"'adjacency' needs to be square to propagate more than once "
            f"(got {adjacency.num_targets} x {adjacency.num_sources})"
        )
    num_layers = operator.index(num_layers)
    noise = (None,) * num_layers if noise is None else tuple(noise)
    if len(noise) != num_layers:
        raise ValueError(
            f"'noise' needs an entry for each of {num_layers} layers (got {len(noise)})"
        )
    for draws in (entry.draws for entry in noise if entry is not None):
        if draws is not None and (draws.shape, draws.device) != (x.shape, x.device):
            raise ValueError(
                f"'noise' needs draws of the shape of 'x', {list(x.shape)}, on {x.device} "
                f"(got {list(draws.shape)} on {draws.device})"
            )
    if num_layers == 0:
        return x
    if is_trained(adjacency):
        return _trained_layers(BACKENDS[chosen], adjacency, x, noise)
    out: Tensor = _LayerSum.apply(x, adjacency, noise, chosen)  # type: ignore[no-untyped-call]
    return out


def _trained_layers(
    backend: Backend, adjacency: Adjacency, x: Tensor, noise: Sequence[Noise | None]
) -> Tensor:
    h, total = x, x
    for entry in noise:
        h = add_noise(trained_product(backend, adjacency, h), entry)
        total = total + h
    return total


class _LayerSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, adjacency: Adjacency, noise: Sequence[Noise | None], name: str
    ) -> Tensor:
        ctx.adjacency, ctx.num_layers, ctx.name = adjacency, len(noise), name
        with torch.autocast(x.device.type, enabled=False):  # The weights keep their precision.
            h, total = x, x
            for layer, entry in enumerate(noise, start=1):
                keep = layer < len(noise)
                h, total = _layer(BACKENDS[name], adjacency, h, total, entry, keep)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        if torch.is_grad_enabled():  # A second derivative: the same linear map once more.
            again = (ctx.adjacency.transposed, (None,) * ctx.num_layers, ctx.name)
            return _LayerSum.apply(grad, *again), None, None, None  # type: ignore[no-untyped-call]
        total = grad
        for _ in range(ctx.num_layers):
            _, total = _layer(
                BACKENDS[ctx.name], ctx.adjacency.transposed, total, grad, None, keep=False
            )
        return total, None, None, None


def _layer(
    backend: Backend,
    adjacency: Adjacency,
    h: Tensor,
    base: Tensor,
    noise: Noise | None,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """Return ``noise(A h)``, or anything where it is not kept, and ``base + noise(A h)``."""
    if backend.layer is not None:
        return backend.layer(adjacency, h, base, noise, keep)
    h = add_noise(backend.product(adjacency, h), noise)
    return h, base + h
