"""A dataset -> the same with features missing, to see what a model makes of that."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import (
    ITEM,
    edge_label_index,
    feature_key,
    modalities,
    num_items,
    presence,
    presence_key,
)
from mentor_pyg.transforms.item_knn_graph import drop_knn_graph
from mentor_pyg.transforms.merge_item_graphs import drop_merged_graph

__all__ = ["DropFeatures"]


@functional_transform("drop_features")
class DropFeatures(BaseTransform):
    r"""Takes the features of some items away, modality by modality.

    Of the :math:`n` items that have a modality, :math:`\lfloor n \cdot` ``share`` :math:`\rfloor`
    lose it, drawn without replacement, every modality by itself. The draws depend on the seed,
    the items and their train interactions alone, and those of a smaller share are among those of a
    larger one, so others can compare with the same gaps (functional name: ``drop_features``).

    Item graphs that a transform made go, as they are to be made anew; one of your own is refused.

    Args:
        share: The share of items, from 0 to 1.
        by: ``"random"``: all items are alike; ``"unpopular"``: they are drawn in proportion to
            :math:`1 / (1 + d_i)`, where :math:`d_i` is the number of train interactions.
        seed: Equal seeds give equal gaps; the global generator is left alone.

    Raises:
        ValueError: If ``share`` or ``by`` is none of these, or ``data`` has an item graph of your
            own.
    """

    def __init__(
        self, share: float, by: Literal["random", "unpopular"] = "random", seed: int = 0
    ) -> None:
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"'share' needs to be between 0 and 1 (got {share!r})")
        if by not in ("random", "unpopular"):
            raise ValueError(f"'by' needs to be 'random' or 'unpopular' (got {by!r})")
        self.share, self.by, self.seed = share, by, seed

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the gaps."""
        drop_merged_graph(data)
        generator = torch.Generator().manual_seed(self.seed)
        for modality in modalities(data):
            drop_knn_graph(data, modality)
            has = presence(data, modality).clone()
            order = self._order(data, generator).to(has.device)
            order = order[has[order]]
            has[order[: int(self.share * len(order) + 1e-9)]] = False
            features = data[ITEM][feature_key(modality)]
            data[ITEM][feature_key(modality)] = features.masked_fill(~has.unsqueeze(1), 0)
            data[ITEM][presence_key(modality)] = has
        return data

    def _order(self, data: HeteroData, generator: torch.Generator) -> Tensor:
        """Return all items, those first that go first."""
        weight = torch.ones(num_items(data), dtype=torch.float64)
        if self.by == "unpopular":
            item = edge_label_index(data, "train")[1].cpu()
            weight = 1 / (1 + torch.bincount(item, minlength=num_items(data)).double())
        # The exponential clocks of weighted sampling without replacement.
        draws = torch.rand(num_items(data), dtype=torch.float64, generator=generator)
        return (-torch.log1p(-draws) / weight).argsort()

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.share}, by={self.by!r}, seed={self.seed})"
