"""Exact cosine nearest neighbours in blocks."""

import math
import operator

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.devices import float32_products

__all__ = ["knn_graph", "with_self_neighbours"]

_BLOCK_ELEMENTS = 2**24
"""Similarities held at a time (64 MiB): large enough for full-speed products."""


def knn_graph(
    x: Tensor,
    k: int,
    present: Tensor | None = None,
    *,
    loop: bool = False,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Connect every item to its ``k`` most similar items by cosine similarity.

    The search is exact, also under autocast and whatever torch rounds products to, and never holds
    more than ``chunk_size`` rows of the similarity matrix. Of equally similar items the one with
    the lower index comes first, up to rounding. Lengths of rows do not matter, however extreme;
    rows of zeros are similar to nothing.

    Args:
        x: Item features ``[num_items, channels]``.
        k: The number of neighbours of every item.
        present: Which items have features, bool ``[num_items]``. Items without get no edges in
            either direction. All items by default.
        loop: Whether an item may be its own neighbour.
        chunk_size: Rows compared at a time; by default as many as fill 64 MiB.

    Returns:
        The edges ``[2, num_present * k]`` from neighbour to item, grouped by item in ascending
        order and by falling similarity within an item, and the similarities
        ``[num_present * k]``.

    Raises:
        TypeError: If ``k`` is no integer.
        ValueError: If ``k`` or ``chunk_size`` is not positive, there are not enough items, or
            ``present`` does not fit.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> edge_index, similarity = knn_graph(x, k=1)
        >>> edge_index.tolist()  # From each item's nearest neighbour to the item.
        [[1, 0, 1], [0, 1, 2]]
    """
    if x.dim() != 2 or not x.is_floating_point():
        raise ValueError(
            f"'x' needs to be floating-point features of shape [num_items, channels] "
            f"(got {x.dtype} of shape {list(x.shape)})"
        )
    if present is not None and (present.dtype != torch.bool or present.shape != x.shape[:1]):
        raise ValueError(
            f"'present' needs to be a bool tensor of shape [{x.size(0)}] "
            f"(got {present.dtype} of shape {list(present.shape)})"
        )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"'chunk_size' needs to be at least 1 (got {chunk_size})")
    nodes = torch.arange(x.size(0), device=x.device) if present is None else present.nonzero()[:, 0]
    limit = nodes.numel() if loop else nodes.numel() - 1
    if not 0 < (k := _integer(k)) <= limit:
        raise ValueError(
            f"'k' needs to be a positive integer smaller than the number of items with features, "
            f"{nodes.numel()} (got {k})"
        )
    x = x[nodes]
    if not bool(x.isfinite().all()):
        raise ValueError(
            "'x' needs finite features (got NaN or infinite ones); leave out items without "
            "features with 'present'"
        )
    chunk_size = chunk_size or max(1, _BLOCK_ELEMENTS // nodes.numel())
    neighbours, similarities = [], []
    with torch.autocast(x.device.type, enabled=False), float32_products(x.device.type):
        x = F.normalize(_scaled(x))
        for start in range(0, nodes.numel(), chunk_size):
            similarity = x[start : start + chunk_size] @ x.t()  # [chunk, num_present]
            if not loop:
                similarity.diagonal(offset=start).fill_(-torch.inf)
            value, neighbour = _top(similarity, k)
            neighbours.append(neighbour)
            similarities.append(value)
    neighbour = nodes[torch.cat(neighbours).flatten()]
    edge_index = torch.stack([neighbour, nodes.repeat_interleave(k)])
    return edge_index, torch.cat(similarities).flatten()


def with_self_neighbours(edge_index: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Put every item in the place of its least similar neighbour, with similarity 1.

    What :func:`knn_graph` finds without loops becomes what it finds with them, up to ties. Items
    without neighbours stay without.

    Args:
        edge_index: Edges ``[2, num_edges]`` from neighbour to item, in any order.
        similarity: The similarities ``[num_edges]``.

    Returns:
        The edges, grouped by item with the items themselves last, and the similarities.
    """
    perm = similarity.argsort(descending=True, stable=True)
    perm = perm[edge_index[1, perm].argsort(stable=True)]
    edge_index, similarity = edge_index[:, perm], similarity[perm]
    target = edge_index[1]
    is_last = torch.ones_like(target, dtype=torch.bool)
    is_last[:-1] = target[1:] != target[:-1]
    loops = target[is_last].expand(2, -1)
    edges = torch.cat([edge_index[:, ~is_last], loops], dim=1)
    return edges, torch.cat([similarity[~is_last], similarity.new_ones(loops.size(1))])


def _integer(k: int) -> int:
    try:
        return operator.index(k)
    except TypeError:
        raise TypeError(f"'k' needs to be an integer (got {k!r})") from None


def _scaled(x: Tensor) -> Tensor:
    """Return rows in float32 at such a length that no square overflows or vanishes.

    They are scaled by powers of two, which round nothing.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if not x.numel():
        return x.float()
    largest = torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True)
    bound = -math.frexp(torch.finfo(x.dtype).tiny)[1]  # Powers up to it, and their inverses, exist.
    exponent = largest.frexp().exponent.clamp(-bound, bound)
    return (x * torch.ldexp(torch.ones_like(largest), -exponent)).float()


def _top(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return every row's ``k`` largest entries, of equal ones those with the lowest index."""
    # One more than asked shows a tie for the last place, of which topk takes any entry.
    value, index = similarity.topk(min(k + 1, similarity.size(1)), dim=1)
    tied = (value[:, k - 1 : k] == value[:, k:]).any(dim=1).nonzero()[:, 0]
    value, index = value[:, :k], index[:, :k]
    order = _by_similarity_then_index(value, index)
    value, index = value.gather(1, order), index.gather(1, order)
    if tied.numel():
        exact = similarity[tied].sort(dim=1, descending=True, stable=True)
        value[tied], index[tied] = exact.values[:, :k], exact.indices[:, :k]
    return value, index


def _by_similarity_then_index(similarity: Tensor, index: Tensor) -> Tensor:
    """Return the order of every row's entries by falling similarity, then rising index."""
    by_index = index.argsort(dim=1)
    by_similarity = similarity.gather(1, by_index).argsort(dim=1, descending=True, stable=True)
    return by_index.gather(1, by_similarity)
