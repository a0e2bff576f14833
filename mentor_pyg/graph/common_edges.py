"""The edges that several graphs of the same nodes agree on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mentor_pyg.graph.adjacency import Adjacency

__all__ = ["common_edges"]


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
