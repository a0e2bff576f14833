"""A dataset, and items that came later -> the dataset of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import (
    ITEM,
    feature_key,
    modalities,
    num_items,
    presence,
    presence_key,
)
from mentor_pyg.data.raw_ids import listed
from mentor_pyg.data.schema import drop_item_graphs
from mentor_pyg.graph.edges import plain
from mentor_pyg.transforms.fill_missing import filled_key
from mentor_pyg.typing import Modality

__all__ = ["AddItems"]


@functional_transform("add_items")
class AddItems(BaseTransform):
    """Appends items that nobody has interacted with yet (functional name: ``add_items``).

    The items that are there keep their numbers, so that :func:`mentor_pyg.models.extend` gives a
    trained model the new ones. Item graphs that a transform made go, as they are to be made anew.

    Args:
        features: Per modality the new items' features ``[num_new, channels]``; rows of zeros or NaN
            say that an item lacks it. New items lack modalities that are not named.
        raw_id: The new items' original ids, where the data have such. Where items are numbers, the
            new ones are the numbers that come next, which may be given here.

    Raises:
        ValueError: If there is nothing new, or it does not fit the data: a modality that they do
            not have or whose width is another, an id that is taken, a row that is infinite or NaN
            in part, an item graph of your own, or something else of every item.

    Examples:
        >>> from mentor_pyg import SyntheticMultimodal
        >>> data = SyntheticMultimodal("tiny")[0]
        >>> AddItems({"visual": torch.rand(2, 24)})(data)["item"].num_nodes
        82
    """

    def __init__(
        self,
        features: Mapping[Modality, Tensor] | None = None,
        raw_id: Sequence[str | int] | None = None,
    ) -> None:
        self.features = {m: torch.as_tensor(x) for m, x in (features or {}).items()}
        self.raw_id = listed(raw_id)
        counts = {f"features[{m!r}]": len(x) if x.dim() else 0 for m, x in self.features.items()}
        counts |= {} if self.raw_id is None else {"raw_id": len(self.raw_id)}
        if len(set(counts.values())) != 1 or not min(counts.values()):
            raise ValueError(f"'features' and 'raw_id' need a row for each new item (got {counts})")
        self.count = next(iter(counts.values()))

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the items appended."""
        self._check(data)
        drop_item_graphs(data)
        store, before = data[ITEM], num_items(data)
        for modality in modalities(data):
            store.pop(filled_key(modality), None)
            x, has = store[feature_key(modality)], presence(data, modality)
            new = x.new_zeros(self.count, x.size(1))
            if (given := self.features.get(modality)) is not None:
                new = given.to(x).nan_to_num(nan=0.0)
            has = torch.cat([has, new.any(dim=1)])
            store[feature_key(modality)] = torch.cat([x, new])
            if not has.all():
                store[presence_key(modality)] = has
        if (known := listed(store.get("raw_id"))) is not None:
            store.raw_id = [*known, *(self.raw_id or ())]
        store.num_nodes = before + self.count
        for kind in data.edge_types:
            for name, value in data[kind].items():  # An EdgeIndex has the number of items in it.
                if isinstance(value, EdgeIndex):
                    data[kind][name] = plain(value)
        return data

    def _check(self, data: HeteroData) -> None:
        store, count = data[ITEM], num_items(data)
        for modality, x in self.features.items():
            if modality not in modalities(data):
                raise ValueError(
                    f"'features' has {modality!r}, which the data does not have; its modalities "
                    f"are {list(modalities(data))}"
                )
            like = store[feature_key(modality)]
            given, lacking = x.to(like), x.isnan()
            in_part = lacking.any(dim=-1) & ~lacking.all(dim=-1)
            if given.shape[1:] != like.shape[1:] or given.isinf().any() or in_part.any():
                raise ValueError(
                    f"'features' needs finite rows of {like.size(1)} numbers for {modality!r}, or "
                    f"rows of NaN throughout (got the shape {list(x.shape)})"
                )
        if (known := listed(store.get("raw_id"))) is None:
            following = list(map(str, range(count, count + self.count)))
            if self.raw_id is not None and list(map(str, self.raw_id)) != following:
                raise ValueError(
                    f"the items of the data have no original ids, so the new ones are the numbers "
                    f"from {count} on (got {self.raw_id[:5]} as 'raw_id')"
                )
        elif self.raw_id is None:
            raise ValueError("'raw_id' needs the original ids of the new items, as the data have")
        elif taken := {*map(str, known)}.intersection(map(str, self.raw_id)):
            raise ValueError(f"'raw_id' has the item {min(taken)!r}, which is in the data already")
        elif len(set(map(str, self.raw_id))) < self.count:
            raise ValueError("'raw_id' has an item more than once; give each an id of its own")
        kept = {"num_nodes", "raw_id"}
        kept |= {
            key(m) for m in modalities(data) for key in (feature_key, presence_key, filled_key)
        }
        if other := sorted(set(store.keys()).difference(kept)):
            raise ValueError(
                f"data['item'] has {other}, which new items have no value of; take it out first"
            )

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.count}, modalities={list(self.features)})"
