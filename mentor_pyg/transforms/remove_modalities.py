"""A dataset -> the same without some of its modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import ITEM, feature_key, knn_edge_type, modalities, num_items, presence_key
from mentor_pyg.transforms.fill_missing import filled_key
from mentor_pyg.transforms.merge_item_graphs import drop_merged_graph
from mentor_pyg.typing import Modality

__all__ = ["RemoveModalities"]


@functional_transform("remove_modalities")
class RemoveModalities(BaseTransform):
    """Takes modalities away, to see what they bring (functional name: ``remove_modalities``).

    Their item graphs go with them, and a merged graph that a transform made.

    Args:
        modalities: The modalities.
        keep_width: Whether the features stay, as those of a modality that no item has: what a
            model that was trained with it can still be given. Otherwise they are gone.

    Raises:
        ValueError: If ``data`` does not have one of the modalities.
    """

    def __init__(self, modalities: Sequence[Modality], *, keep_width: bool = False) -> None:
        self.modalities = (modalities,) if isinstance(modalities, str) else tuple(modalities)
        self.keep_width = keep_width

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` without the modalities."""
        found = modalities(data)
        if unknown := [m for m in self.modalities if m not in found]:
            raise ValueError(
                f"'modalities' names '{unknown[0]}', which the data does not have; its modalities "
                f"are {list(found)}"
            )
        drop_merged_graph(data)
        for modality in self.modalities:
            if knn_edge_type(modality) in data.edge_types:
                del data[knn_edge_type(modality)]
            features = data[ITEM].pop(feature_key(modality))
            data[ITEM].pop(presence_key(modality), None)
            data[ITEM].pop(filled_key(modality), None)
            if self.keep_width:
                data[ITEM][feature_key(modality)] = torch.zeros_like(features)
                data[ITEM][presence_key(modality)] = torch.zeros(
                    num_items(data), dtype=torch.bool, device=features.device
                )
        return data

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({list(self.modalities)}, keep_width={self.keep_width})"
