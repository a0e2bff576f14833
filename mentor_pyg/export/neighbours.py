"""Every item's nearest items in the item-item semantic graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    knn_edge_type,
    modalities,
    num_items,
    resolve_modality_weights,
)
from mentor_pyg.models import Model
from mentor_pyg.models.modalities import item_edges
from mentor_pyg.transforms import ItemKNNGraph
from mentor_pyg.typing import Modality

__all__ = ["ItemNeighbours", "item_neighbours"]


@dataclass(frozen=True)
class ItemNeighbours:
    r"""Every item's nearest items, the nearest first.

    Nearness is :math:`\sum_m \alpha_m \cos_m` over the modalities :math:`m` in whose graph the
    two are neighbours, with the modality weights :math:`\alpha_m` of the merged graph.

    Args:
        item: The neighbours ``[num_items, k]``, -1 where there are no more.
        parts: What each modality adds to the nearness ``[num_items, k]``.
        weights: The modality weights.
        from_model: Whether the model has these graphs; otherwise they are of the data's features.
    """

    item: Tensor
    parts: dict[Modality, Tensor]
    weights: dict[Modality, float]
    from_model: bool


def item_neighbours(model: Model, data: HeteroData, k: int = 10) -> ItemNeighbours | None:
    """Return the nearest items by the model's item graphs, or by the features where it has none.

    Args:
        model: The model.
        data: The dataset, which is left as it is.
        k: The number of neighbours to keep, and to look for where the model has no item graphs.

    Returns:
        The neighbours; ``None`` where items have neither graphs nor features.
    """
    data = model.transformed(data)
    from_model = bool(_graphs(data))
    if not from_model and modalities(data):
        data = ItemKNNGraph(k)(data)
    if not (graphs := _graphs(data)):
        return None
    recorded = {m: data[knn_edge_type(m)].get("merge_weight") for m in graphs}
    weights = resolve_modality_weights(graphs, None if None in recorded.values() else recorded)
    items = num_items(data)
    keys = {m: edge_index[1] * items + edge_index[0] for m, (edge_index, _) in graphs.items()}
    pair = torch.cat([*keys.values()]).unique()  # sorted by item
    parts = {}
    for modality, (_, similarity) in graphs.items():
        part = torch.zeros(pair.numel())
        part[torch.searchsorted(pair, keys[modality])] = weights[modality] * similarity.float()
        parts[modality] = part
    nearness = torch.stack([*parts.values()]).sum(dim=0)
    order = nearness.argsort(descending=True, stable=True)
    order = order[(pair[order] // items).argsort(stable=True)]
    target = pair[order] // items
    first = torch.searchsorted(target, torch.arange(items))
    rank = torch.arange(target.numel()) - first[target]
    kept = rank < k
    where = target[kept], rank[kept]
    order = order[kept]
    neighbour = torch.full((items, k), -1)
    neighbour[where] = pair[order] % items
    tables = {m: torch.zeros(items, k).index_put(where, part[order]) for m, part in parts.items()}
    return ItemNeighbours(neighbour, tables, weights, from_model)


def _graphs(data: HeteroData) -> dict[Modality, tuple[Tensor, Tensor]]:
    found = [m for m in modalities(data) if knn_edge_type(m) in data.edge_types]
    return {m: item_edges(data, knn_edge_type(m)) for m in found}
