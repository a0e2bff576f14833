"""What edges need to be before anything is made of them, and how they are counted and compared."""

from __future__ import annotations

import operator

import torch
from torch import Tensor
from torch_geometric import EdgeIndex, Index

__all__ = [
    "are_symmetric",
    "as_ids",
    "check_edge_weight",
    "check_ids",
    "check_layout",
    "node_counts",
    "offsets",
    "plain",
]


def node_counts(num_nodes: int | tuple[int, int]) -> tuple[int, int]:
    """Return the numbers of source and of target nodes, which differ in a bipartite graph."""
    sources, targets = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
    return operator.index(sources), operator.index(targets)


def plain(ids: Tensor) -> Tensor:
    """Return ids as a plain tensor, where they are PyG's ``Index`` or ``EdgeIndex``.

    These hold no values of their own, so a kernel that asks for their address gets none.
    """
    return ids.as_tensor() if isinstance(ids, EdgeIndex | Index) else ids


def as_ids(edge_index: Tensor, num_sources: int, num_targets: int) -> Tensor:
    """Return checked edges as a plain tensor in 64 bits ``[2, num_edges]``.

    Raises:
        ValueError: If they are no integers of that shape, or an id is that of no node.
    """
    edge_index = plain(edge_index)
    is_real = edge_index.is_floating_point() or edge_index.is_complex()
    is_integer = not is_real and edge_index.dtype != torch.bool
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or not is_integer:
        raise ValueError(
            f"'edge_index' needs to be integers of shape [2, num_edges] "
            f"(got {edge_index.dtype} of shape {list(edge_index.shape)})"
        )
    check_ids(edge_index, num_sources, num_targets)
    return edge_index.long()  # Products of narrower ids overflow, and uint8 indexes as a mask.


def check_ids(edge_index: Tensor, num_sources: int, num_targets: int) -> None:
    """Raise a ``ValueError`` unless all ids of edges are those of nodes.

    While a CUDA graph is recorded nobody can wait for them, so they pass.
    """
    is_recorded = edge_index.is_cuda and torch.cuda.is_current_stream_capturing()
    if is_recorded or not edge_index.numel():
        return
    bounds = torch.stack(torch.aminmax(edge_index, dim=1), dim=1).tolist()  # Waits once.
    sizes = {"source": num_sources, "target": num_targets}
    for (low, high), (name, size) in zip(bounds, sizes.items(), strict=True):
        if low < 0 or high >= size:
            raise ValueError(
                f"'edge_index' has {name} ids from {low} to {high}, but there are {size} {name} "
                f"nodes; correct the ids or the number of nodes"
            )


def check_edge_weight(edge_weight: Tensor, num_edges: int) -> None:
    """Raise a ``ValueError`` unless there is one weight ``[num_edges]`` for each edge."""
    if edge_weight.shape != (num_edges,):
        is_column = edge_weight.shape == (num_edges, 1)
        mend = "; pass edge_weight.squeeze(1)" if is_column else ""
        raise ValueError(
            f"'edge_weight' needs one weight for each of the {num_edges} edges "
            f"(got shape {list(edge_weight.shape)}){mend}"
        )


def check_layout(rowptr: Tensor, col: Tensor, weight: Tensor) -> None:
    """Raise a ``ValueError`` unless the shapes and devices of a matrix go together."""
    if rowptr.dim() != 1 or rowptr.numel() == 0 or col.dim() != 1:
        raise ValueError(
            f"'rowptr' and 'col' need the shapes [num_targets + 1] and [num_edges] "
            f"(got {list(rowptr.shape)} and {list(col.shape)})"
        )
    if weight.shape != col.shape:
        raise ValueError(
            f"there needs to be one weight for each of the {col.numel()} edges "
            f"(got shape {list(weight.shape)})"
        )
    if not rowptr.device == col.device == weight.device:
        raise ValueError(
            f"edges and weights need to be on one device "
            f"(got {rowptr.device}, {col.device} and {weight.device})"
        )


def offsets(ids: Tensor, size: int) -> Tensor:
    """Return where the entries of each id begin once they are sorted ``[size + 1]``."""
    count = torch.bincount(ids, minlength=size)
    return torch.cat([count.new_zeros(1), count.cumsum(0)])


def are_symmetric(source: Tensor, target: Tensor, weight: Tensor, num_nodes: int) -> bool:
    """Return whether weighted edges ``[num_edges]`` are the same when they are reversed."""
    forward, backward = (
        _by_ids_then_weight(row * num_nodes + col, weight)
        for row, col in ((target, source), (source, target))
    )
    return all(torch.equal(one, other) for one, other in zip(forward, backward, strict=True))


def _by_ids_then_weight(pair: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sort edges so that the order in which parallel ones came does not show."""
    perm = weight.argsort()
    perm = perm[pair[perm].argsort(stable=True)]
    return pair[perm], weight[perm]
