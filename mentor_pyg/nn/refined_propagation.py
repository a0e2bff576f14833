"""Several layers of propagation, each weighed by how close it stays to the input."""

from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn.conv import InteractionConv
from mentor_pyg.nn.conv.weighted_sum import check_one_graph

__all__ = ["RefinedPropagation"]

_EPS = 1e-8
"""The least length that a cosine divides by, as in :func:`torch.cosine_similarity`."""


class RefinedPropagation(InteractionConv):
    r"""The layer-refined graph convolutions of `"LayerGCN" <https://arxiv.org/abs/2207.11088>`_.

    .. math::
        \tilde{\mathbf{h}}^{(l)} = \hat{\mathbf{A}} \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h}^{(l)}_n = \cos(\tilde{\mathbf{h}}^{(l)}_n, \mathbf{h}^{(0)}_n)\,
        \tilde{\mathbf{h}}^{(l)}_n, \qquad
        \mathbf{h} = \sum_{l=1}^{L} \mathbf{h}^{(l)}

    The input :math:`\mathbf{h}^{(0)}` is no part of the sum. Nodes without edges get zeros.
    There is no second derivative.

    Args:
        num_layers: The number of layers :math:`L`, 1 at least.
        backend: How :func:`mentor_pyg.ops.propagate` runs.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)` of one graph; an ``Adjacency`` with
          weights (the fast path), or edges as :class:`InteractionConv` takes them
        - **output:** node features :math:`(|\mathcal{V}|, F)`
    """

    def __init__(self, num_layers: int, backend: str = "auto", **kwargs: Any) -> None:
        super().__init__(backend=backend, **kwargs)
        if num_layers < 1:
            raise ValueError(
                f"'num_layers' needs to be at least 1, since the input is no part of the output "
                f"(got {num_layers})"
            )
        self.num_layers = num_layers

    def forward(  # type: ignore[override]
        self, x: Tensor, edge_index: Tensor | Adjacency, edge_weight: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the refined layers."""
        h = x = check_one_graph(x, "RefinedPropagation")
        length = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True).clamp_(min=_EPS)
        layers = []
        for _ in range(self.num_layers):
            h = super().forward(h, edge_index, edge_weight)
            h = _Refine.apply(h, x, length)  # type: ignore[no-untyped-call]
            layers.append(h)
        out: Tensor = reduce(torch.add, layers)
        return out

    def __repr__(self) -> str:
        return f"RefinedPropagation(num_layers={self.num_layers}, backend={self.backend!r})"


class _Refine(torch.autograd.Function):
    """``cosine_similarity(h, x) * h``: in fewer passes over memory than autograd takes."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, x: Tensor, length_x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(h, dim=-1, keepdim=True).clamp_(min=_EPS)
        cosine = torch.linalg.vecdot(h, x).unsqueeze(-1) / (length * length_x)
        ctx.save_for_backward(h, x, cosine, length, length_x)
        return cosine * h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        h, x, cosine, length, length_x = ctx.saved_tensors
        of_cosine = torch.linalg.vecdot(grad, h).unsqueeze(-1)
        cross = of_cosine / (length * length_x)
        grad_h = cosine * grad
        grad_h = grad_h.addcmul_(cross, x).addcmul_(of_cosine * cosine / length**2, h, value=-1)
        grad_x = (cross * h).addcmul_(of_cosine * cosine / length_x**2, x, value=-1)
        return grad_h, grad_x, None
