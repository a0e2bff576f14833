"""A dataset whose items lack features -> the same with features made up for them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform, FeaturePropagation

from mentor_pyg.data import (
    ITEM,
    edge_label_index,
    feature_key,
    modalities,
    num_users,
    presence,
    presence_key,
)
from mentor_pyg.graph.interactions import joint_edges
from mentor_pyg.transforms.item_knn_graph import drop_knn_graph
from mentor_pyg.transforms.merge_item_graphs import drop_merged_graph
from mentor_pyg.typing import Modality

__all__ = ["FillMissing", "filled_key"]

_WAYS = ("mean", "propagate")


def filled_key(modality: Modality) -> str:
    """Return the attribute of the item store that says which items have a modality once filled."""
    return f"filled_{modality}"


@functional_transform("fill_missing")
class FillMissing(BaseTransform):
    r"""Fills the features that items lack, modality by modality, so that models read them.

    Without it, models treat a modality that an item lacks as absent: the item has no neighbours
    and no terms of it, which the field calls filling with zeros (functional name:
    ``fill_missing``).

    * ``"mean"``: the mean of the features of all items that have the modality.
    * ``"propagate"``: :class:`~torch_geometric.transforms.FeaturePropagation` over the train
      interactions, in which users have no features of their own and items keep those that they
      have, from `"On the Unreasonable Effectiveness of Feature Propagation in Learning on Graphs
      with Missing Node Features" <https://arxiv.org/abs/2111.12128>`_. Items that no interaction
      connects to one with the modality still lack it.

    A modality that no item has stays as it is, as does one that all have or that was filled before.
    Of others, item graphs that a transform made go, as they are to be made anew; one of your own is
    refused.

    Args:
        how: ``"mean"`` or ``"propagate"``.
        num_iterations: The number of propagations; an even number, as features go from items to
            users and back.

    Raises:
        ValueError: If ``how`` or ``num_iterations`` is none of these, or ``data`` has an item
            graph of your own.
    """

    def __init__(self, how: Literal["mean", "propagate"] = "mean", num_iterations: int = 40):
        if how not in _WAYS:
            raise ValueError(f"'how' needs to be one of {list(_WAYS)} (got {how!r})")
        if num_iterations < 2 or num_iterations % 2:
            raise ValueError(
                f"'num_iterations' needs to be even and positive (got {num_iterations})"
            )
        self.how, self.num_iterations = how, num_iterations

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the features filled in."""
        for modality in modalities(data):
            has = presence(data, modality)
            before = data[ITEM].get(record := filled_key(modality))
            if has.all() or not has.any() or (before is not None and torch.equal(has, before)):
                continue
            drop_merged_graph(data)
            drop_knn_graph(data, modality)
            x = data[ITEM][feature_key(modality)]
            if self.how == "mean":
                filled = torch.where(has.unsqueeze(1), x, x[has].mean(dim=0))
                has = torch.ones_like(has)
            else:
                filled = self._propagated(data, x, has)
                has = has | filled.any(dim=1)
            data[ITEM][feature_key(modality)] = filled
            if has.all():
                del data[ITEM][presence_key(modality)]
            else:
                data[ITEM][presence_key(modality)] = data[ITEM][record] = has
        return data

    def _propagated(self, data: HeteroData, x: Tensor, has: Tensor) -> Tensor:
        """Return the features of all items ``[num_items, channels]``, zeros where none arrived."""
        users = num_users(data)
        edge_index = joint_edges(edge_label_index(data, "train"), users)
        missing = torch.cat([has.new_ones(users), ~has])
        nodes = Data(x=torch.cat([x.new_zeros(users, x.size(1)), x]), edge_index=edge_index)
        mask = missing.unsqueeze(1).expand(-1, x.size(1))
        propagation = FeaturePropagation(mask, self.num_iterations)
        filled: Tensor = propagation(nodes).x[users:]
        return filled

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.how!r})"
