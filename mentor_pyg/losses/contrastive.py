"""Exact InfoNCE over all pairs, in memory that grows with N d."""

from __future__ import annotations

import torch
from torch import Tensor

from mentor_pyg.losses.softmax import softmax_loss
from mentor_pyg.typing import Precision

__all__ = ["info_nce"]


def info_nce(
    view_a: Tensor,
    view_b: Tensor,
    temperature: float | Tensor,
    backend: str = "auto",
    precision: Precision = "ieee",
    *,
    intra_view: bool = False,
) -> Tensor:
    r"""Contrast two views of the same nodes, every other node being a negative.

    .. math::
        \frac{1}{N} \sum_i - \log \frac{\exp(\cos(\mathbf{a}_i, \mathbf{b}_i) / \tau)}
        {\sum_j \exp(\cos(\mathbf{a}_i, \mathbf{b}_j) / \tau)}

    Equals ``F.cross_entropy(F.normalize(a) @ F.normalize(b).t() / temperature, arange(N))``: the
    softmax of :func:`~mentor_pyg.losses.softmax_loss` by cosine, every row being its target.
    From `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_.

    With ``intra_view`` the other anchors are negatives too, as in `"Deep Graph Contrastive
    Representation Learning" <https://arxiv.org/abs/2006.04131>`_: to the denominator comes
    :math:`\sum_{j \ne i} \exp(\cos(\mathbf{a}_i, \mathbf{a}_j) / \tau)`.

    Args:
        view_a: The anchors ``[N, d]``, not normalised.
        view_b: What they are contrasted with ``[N, d]``; row ``i`` is the positive of anchor ``i``.
        temperature: The temperature :math:`\tau`, a number or a tensor of one.
        backend: See :func:`~mentor_pyg.losses.softmax_loss`.
        precision: Likewise.
        intra_view: Whether anchors are contrasted with each other too; not by ``"triton"``.

    Returns:
        The mean over the anchors, a scalar. It is computed in float32 at least, under autocast
        too; only ``"naive"`` can be differentiated twice.

    Raises:
        ValueError: If shapes differ, there are no rows, or an argument is out of range.
        UnavailableError: If the backend or the precision asked for cannot run; the message says
            why.

    Examples:
        >>> import math
        >>> view = torch.eye(4)
        >>> loss = info_nce(view, view, temperature=0.5)
        >>> bool(torch.isclose(loss, torch.tensor((math.exp(2) + 3) / math.exp(2)).log()))
        True
    """
    _check_views(view_a, view_b)
    target = torch.arange(len(view_a), device=view_a.device)
    table, itself = view_b, None
    if intra_view:
        table, itself = torch.cat([view_b, view_a]), target + len(view_b)
    return softmax_loss(
        view_a,
        target,
        table,
        temperature,
        backend,
        precision,
        similarity="cosine",
        left_out=itself,
    )


def _check_views(view_a: Tensor, view_b: Tensor) -> None:
    if view_a.dim() != 2 or view_a.shape != view_b.shape:
        raise ValueError(
            f"'view_a' and 'view_b' need one shape [N, d] "
            f"(got {list(view_a.shape)} and {list(view_b.shape)})"
        )
    if view_a.device != view_b.device:
        raise ValueError(
            f"'view_a' and 'view_b' need to be on one device "
            f"(got {view_a.device} and {view_b.device})"
        )
    if view_a.size(0) == 0:
        raise ValueError("'view_a' needs at least one row (got none)")
