"""One item graph per modality -> the merged semantic graph."""

from collections.abc import Mapping

from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import (
    SEMANTIC,
    knn_edge_type,
    modalities,
    num_items,
    resolve_modality_weights,
)
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import merge_item_graphs, normalize_rows
from mentor_pyg.typing import Modality

__all__ = ["MergeItemGraphs", "drop_merged_graph"]


@functional_transform("merge_item_graphs")
class MergeItemGraphs(BaseTransform):
    r"""Merges the item graphs of all modalities into one semantic graph.

    It is the item semantic graph of `MENTOR <https://arxiv.org/abs/2402.19407>`_,

    .. math::
        \mathbf{S} = \sum_{m} \alpha_m \, {\left( \mathbf{D}^m \right)}^{-1} \mathbf{A}^m

    where :math:`\mathbf{A}^m` holds the binary edges of ``data["item", "<m>_knn", "item"]`` and
    :math:`\mathbf{D}^m` its row counts. The weights :math:`\alpha_m` are scaled, item by item,
    over the modalities that the item has. It writes ``data["item", "semantic", "item"]`` with
    ``edge_index`` from neighbour to item and ``edge_weight``, and records each :math:`\alpha_m`
    as ``merge_weight`` of its modality's graph (functional name: ``merge_item_graphs``).

    A merged graph that ``data`` has already stays as it is if the record agrees, and is replaced
    if it records other weights. Without a record it is your own and stays as it is.

    Args:
        modality_weights: The weight of every modality's graph. By default 0.1 visual and 0.9
            textual where these two are the modalities, as in the paper, and equal weights
            otherwise.

    Raises:
        ValueError: If ``data`` has no item graph, or if ``modality_weights`` names other
            modalities than those that have one.
    """

    def __init__(self, modality_weights: Mapping[Modality, float] | None = None) -> None:
        self.modality_weights = None if modality_weights is None else dict(modality_weights)

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the merged graph added."""
        if SEMANTIC in data.edge_types and not is_recorded(data, SEMANTIC):
            return data
        stores = {
            modality: data[kind]
            for modality in modalities(data)
            if (kind := knn_edge_type(modality)) in data.edge_types
        }
        if not stores:
            raise ValueError(
                "the data has no item graphs to merge; apply mentor_pyg.transforms.ItemKNNGraph "
                "to data with item features first"
            )
        weights = resolve_modality_weights(stores, self.modality_weights)
        recorded = {modality: store.get("merge_weight") for modality, store in stores.items()}
        if SEMANTIC in data.edge_types and recorded == weights:
            return data
        items, graphs = num_items(data), {}
        for modality, store in stores.items():
            graphs[modality] = (store.edge_index, normalize_rows(store.edge_index, items))
            store.merge_weight = weights[modality]
        merged = data[SEMANTIC]
        merged.edge_index, merged.edge_weight = merge_item_graphs(graphs, weights, items)
        return data

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(modality_weights={self.modality_weights})"


def drop_merged_graph(data: HeteroData) -> None:
    """Remove the merged graph that a transform made, with its record, before it is stale."""
    if not is_recorded(data, SEMANTIC):
        return
    for kind in data.edge_types:
        data[kind].pop("merge_weight", None)
    if SEMANTIC in data.edge_types:
        del data[SEMANTIC]
