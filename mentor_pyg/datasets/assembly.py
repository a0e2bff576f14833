"""Interactions and features -> the validated :class:`~torch_geometric.data.HeteroData`."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    USER,
    feature_key,
    presence_key,
    validate_data,
)
from mentor_pyg.typing import Modality

__all__ = ["Interactions", "assemble"]


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """The interactions of a dataset, split, each split sorted by user and item.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        train: Train interactions ``[2, num_train]`` of (user, item).
        val: Validation interactions ``[2, num_val]``.
        test: Test interactions ``[2, num_test]``.
        rating: The ratings of the train interactions ``[num_train]``, where the source has them.
        time: Their timestamps ``[num_train]``, likewise.
    """

    num_users: int
    num_items: int
    train: Tensor
    val: Tensor
    test: Tensor
    rating: Tensor | None = None
    time: Tensor | None = None


def assemble(
    interactions: Interactions, features: Mapping[Modality, tuple[Tensor, Tensor]]
) -> HeteroData:
    """Build a dataset and check it.

    Args:
        interactions: The interactions.
        features: Per modality the features ``[num_items, channels]``, zero where an item lacks
            the modality, and which items have it, bool ``[num_items]``. May be empty.
    """
    data = HeteroData()
    data[USER].num_nodes = interactions.num_users
    data[ITEM].num_nodes = interactions.num_items
    for modality, (x, present) in features.items():
        data[ITEM][feature_key(modality)] = x
        if not bool(present.all()):
            data[ITEM][presence_key(modality)] = present
    store = data[INTERACTS]
    store.edge_index = interactions.train
    if interactions.rating is not None:
        store.rating = interactions.rating
    if interactions.time is not None:
        store.time = interactions.time
    store.val_edge_label_index = interactions.val
    store.test_edge_label_index = interactions.test
    data[REV_INTERACTS].edge_index = interactions.train.flip(0)
    validate_data(data)
    return data
