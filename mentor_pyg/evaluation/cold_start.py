"""Items that a model has not seen in training, held out to evaluate it on them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    Scorer,
    edge_label_index,
    num_items,
)
from mentor_pyg.data.schema import drop_item_graphs

__all__ = ["AmongItems", "hold_out_items"]


_INDICES = ("edge_index", "val_edge_label_index", "test_edge_label_index")
"""For PyG, what has as many columns as there are train interactions is an attribute of these."""


class AmongItems:
    """A scorer that ranks some items among each other, before all others.

    Args:
        scorer: What scores all items.
        is_candidate: Which items can be recommended, bool ``[num_items]``, *e.g.* those of
            :func:`~mentor_pyg.evaluation.cold_items`. All others come after them.
    """

    def __init__(self, scorer: Scorer, is_candidate: Tensor) -> None:
        self.num_users, self.num_items = scorer.num_users, scorer.num_items
        if is_candidate.shape != (self.num_items,) or is_candidate.dtype != torch.bool:
            raise ValueError(
                f"'is_candidate' needs to be bool of shape [{self.num_items}] (got "
                f"{is_candidate.dtype} of shape {list(is_candidate.shape)})"
            )
        self._scorer, self._is_other = scorer, ~is_candidate

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        scores = self._scorer.scores(user)
        return scores.masked_fill(self._is_other.to(scores.device), torch.finfo(scores.dtype).min)


def hold_out_items(
    data: HeteroData, share: float = 0.2, seed: int = 0
) -> tuple[HeteroData, HeteroData]:
    """Split a dataset by items, for strict cold-start evaluation.

    A share of the items is drawn, and every interaction with them leaves train: half of these
    items have all their interactions in validation, the other half in test. So settings can be
    chosen on items that are not those of test. Items with no interaction at all are not drawn.

    A model is trained on the first dataset, :func:`~mentor_pyg.models.extend` gives it the items
    of the second, and :func:`~mentor_pyg.evaluation.recall_by_item_group` with
    :func:`~mentor_pyg.evaluation.cold_items` tells warm and cold items apart.

    Args:
        data: A split dataset, without item graphs but such as this library makes again.
        share: The share of the items with interactions that is held out.
        seed: Equal seeds hold out equal items; the global generator is left alone.

    Returns:
        The dataset without the held-out items, and the one with all items, where those held out
        come last. Users are the same in both; other splits keep the interactions of warm items.

    Raises:
        ValueError: If the share is not between 0 and 1, leaves no item or holds out fewer than 2,
            or there is an item graph of your own, whose items would have other numbers.
    """
    if not 0 < share < 1:
        raise ValueError(f"'share' needs to be between 0 and 1 (got {share})")
    splits = {split: edge_label_index(data, split) for split in ("train", "val", "test")}
    known = torch.cat([index[1] for index in splits.values()]).unique().cpu()
    count = math.floor(share * known.numel() + 1e-9)
    if not 2 <= count < known.numel():
        raise ValueError(
            f"'share' needs to hold out at least 2 items and leave some, of the {known.numel()} "
            f"with interactions (got {share}, which holds out {count})"
        )
    generator = torch.Generator().manual_seed(seed)
    cold = known[torch.randperm(known.numel(), generator=generator)[:count]]
    whole = _reordered(data, splits, cold.to(splits["train"].device))
    return _first_items(whole, num_items(data) - count), whole


def _reordered(data: HeteroData, splits: dict[str, Tensor], cold: Tensor) -> HeteroData:
    """Return all items, the cold ones last, their interactions in validation and test alone."""
    count = num_items(data)
    is_warm = torch.ones(count, dtype=torch.bool, device=cold.device)
    is_warm[cold] = False
    order = torch.cat([is_warm.nonzero().flatten(), cold])
    number = torch.empty_like(order)
    number[order] = torch.arange(count, device=order.device)
    first_cold, first_test = count - cold.numel(), count - (cold.numel() + 1) // 2
    moved = {split: torch.stack([user, number[item]]) for split, (user, item) in splits.items()}
    of_cold = torch.cat(list(moved.values()), dim=1)
    of_cold = of_cold[:, of_cold[1] >= first_cold]
    is_test = of_cold[1] >= first_test
    found = _with_items(data, order)
    store = found[INTERACTS]
    kept = is_warm[splits["train"][1]].nonzero().flatten()
    for name in set(store.edge_attrs()).difference(_INDICES):
        store[name] = store[name][kept]
    store.edge_index = moved["train"][:, kept]
    for split, cold_ones in (("val", of_cold[:, ~is_test]), ("test", of_cold[:, is_test])):
        index = torch.cat([moved[split][:, moved[split][1] < first_cold], cold_ones], dim=1)
        store[f"{split}_edge_label_index"] = index[:, _by_user(index)]
    found[REV_INTERACTS].edge_index = store.edge_index.flip(0)
    return found


def _by_user(index: Tensor) -> Tensor:
    """Return the order of interactions by user and item."""
    by_item = index[1].argsort(stable=True)
    return by_item[index[0][by_item].argsort(stable=True)]


def _first_items(data: HeteroData, count: int) -> HeteroData:
    """Return the dataset of the first items alone."""
    found = _with_items(data, torch.arange(count, device=edge_label_index(data, "train").device))
    for split in ("val", "test"):
        index = edge_label_index(data, split)
        found[INTERACTS][f"{split}_edge_label_index"] = index[:, index[1] < count]
    return found


def _with_items(data: HeteroData, order: Tensor) -> HeteroData:
    """Return a copy whose item store has some items, in an order; interactions as they were."""
    found = data.clone()
    drop_item_graphs(found)
    count = num_items(data)
    for name, value in data[ITEM].items():
        if isinstance(value, Tensor) and value.dim() and len(value) == count:
            found[ITEM][name] = value[order]
        elif isinstance(value, np.ndarray) and value.ndim and len(value) == count:
            found[ITEM][name] = value[order.numpy(force=True)]
        elif isinstance(value, list | tuple) and len(value) == count:
            found[ITEM][name] = [value[place] for place in order.tolist()]
    found[ITEM].num_nodes = order.numel()
    return found
