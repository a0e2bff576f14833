"""One item graph per modality -> one item graph."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.utils import coalesce

from mentor_pyg.graph.adjacency import Adjacency
from mentor_pyg.typing import Modality

__all__ = ["common_edges", "merge_item_graphs", "pool_item_graphs"]


def merge_item_graphs(
    graphs: Mapping[Modality, tuple[Tensor, Tensor]],
    modality_weights: Mapping[Modality, float],
    num_items: int,
) -> tuple[Tensor, Tensor]:
    """Add up item graphs, each times its modality's weight.

    An item that lacks a modality has no edges in that graph; the weights of its other
    modalities are scaled up so that its row sums to what a complete item's row sums to.

    Args:
        graphs: Per modality the edges ``[2, num_edges]`` and weights ``[num_edges]``.
        modality_weights: Per modality its weight.
        num_items: The number of items.

    Returns:
        The edges ``[2, num_merged_edges]``, coalesced, and their weights.
    """
    total = float(sum(modality_weights[m] for m in graphs))
    available = torch.zeros(num_items)
    for modality, (edge_index, _) in graphs.items():
        available = available.to(edge_index.device)
        has_edges = torch.bincount(edge_index[1], minlength=num_items) > 0
        available += modality_weights[modality] * has_edges
    scale = torch.where(available > 0, total / available, 0.0)
    # Complete items keep their weights to the last bit.
    scale[torch.isclose(available, torch.tensor(total, device=available.device))] = 1.0
    edges, weights = [], []
    for modality, (edge_index, edge_weight) in graphs.items():
        edges.append(edge_index)
        weights.append(modality_weights[modality] * edge_weight * scale[edge_index[1]])
    merged, weight = coalesce(
        torch.cat(edges, dim=1), torch.cat(weights), num_nodes=num_items, reduce="sum"
    )
    return merged, weight


def pool_item_graphs(graphs: Iterable[Adjacency]) -> Adjacency:
    """Return the graph of all edges, each with the largest weight that it has in any graph.

    A graph without an edge has no say on its weight, be the others negative.

    Args:
        graphs: Graphs of the same items.
    """
    graphs = tuple(graphs)
    edge_index = torch.cat([torch.stack([g.col, g.target]) for g in graphs], dim=1)
    items = graphs[0].num_targets
    pooled, weight = coalesce(
        edge_index, torch.cat([g.weight for g in graphs]), num_nodes=items, reduce="max"
    )
    return Adjacency.from_edge_index(pooled, weight, num_nodes=items)


def common_edges(graphs: Sequence[Adjacency]) -> Tensor:
    """Return the edges between different nodes that are in all graphs.

    A graph in which a node has no incoming edge at all has no say in what comes into that node.

    Args:
        graphs: One graph at least, all of the same nodes.

    Returns:
        Edges ``[2, num_edges]`` from source to target, sorted by target.
    """
    sources = graphs[0].num_sources
    keys = torch.cat([(graph.target * sources + graph.col).unique() for graph in graphs])
    key, count = keys.unique(return_counts=True)
    target, source = key // sources, key % sources
    having_edges = torch.stack([graph.rowptr.diff() > 0 for graph in graphs]).sum(dim=0)
    kept = (count == having_edges[target]) & (source != target)
    return torch.stack([source, target])[:, kept]
