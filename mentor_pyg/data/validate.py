"""Checks that a :class:`~torch_geometric.data.HeteroData` follows the data model."""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import BaseStorage

from mentor_pyg.data.schema import (
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    SEMANTIC,
    USER,
    check_modality_name,
    feature_key,
    knn_edge_type,
    modalities,
    num_items,
    num_users,
    presence_key,
)

__all__ = ["validate_data"]


def validate_data(data: HeteroData, *, absent_modalities: bool = False) -> None:
    """Check that ``data`` follows the data model that models, samplers and metrics rely on.

    Checked are the node counts; original ids; shape, dtype and range of every edge index; that
    there are train interactions and that every interaction is in one split, once; that features
    are finite, in float32 and with one row per item; presence masks; and the weights of item
    graphs. Parts that a dataset need not have (original ids, evaluation splits, features, item
    graphs) are checked where they are present.

    Args:
        data: The dataset.
        absent_modalities: Whether there may be modalities that no item has, as
            :class:`~mentor_pyg.transforms.RemoveModalities` can leave them: a model can be given
            them, but not be trained on them.

    Raises:
        TypeError: If ``data`` is no :class:`~torch_geometric.data.HeteroData`.
        ValueError: If something does not hold; the message names the store and the attribute,
            what is wrong and how to mend it.
    """
    if not isinstance(data, HeteroData):
        raise TypeError(f"'data' needs to be a HeteroData (got {type(data).__name__})")
    for node_type, count in ((USER, num_users(data)), (ITEM, num_items(data))):
        if (raw_id := data[node_type].get("raw_id")) is not None:
            _check_raw_id(raw_id, f"{_name(node_type)}.raw_id", node_type, count)
    _check_interactions(data)
    for modality in modalities(data):
        check_modality_name(modality, f"{_name(ITEM)}.{feature_key(modality)}")
        _check_features(data, modality, absent_modalities)
    _check_masks_have_features(data)
    for edge_type in (*map(knn_edge_type, modalities(data)), SEMANTIC):
        if edge_type in data.edge_types:
            _check_item_graph(data[edge_type], _name(*edge_type), num_items(data))


def _name(*store: str) -> str:
    """Return how a store is written in code."""
    return f"data[{', '.join(map(repr, store))}]"


def _check_raw_id(raw_id: object, name: str, node_type: str, count: int) -> None:
    if isinstance(raw_id, np.ndarray | Tensor) and raw_id.ndim == 1:
        raw_id = raw_id.tolist()
    if not isinstance(raw_id, list | tuple):
        raise ValueError(
            f"{name} needs to be a list, or a one-dimensional array or tensor, of ids "
            f"(got {type(raw_id).__name__})"
        )
    if len(raw_id) != count:
        raise ValueError(f"{name} needs one entry per {node_type}, {count} (got {len(raw_id)})")
    try:
        counted = Counter(raw_id).most_common(1)
    except TypeError as error:
        raise ValueError(f"{name} needs strings or numbers as ids ({error})") from error
    if counted[0][1] > 1:
        raise ValueError(
            f"{name} needs every id once (got {counted[0][0]!r} {counted[0][1]} times); give each "
            f"{node_type} an id of its own, or remove raw_id"
        )


def _check_interactions(data: HeteroData) -> None:
    name = _name(*INTERACTS)
    store = data[INTERACTS] if INTERACTS in data.edge_types else {}
    if store.get("edge_index") is None:
        raise ValueError(f"{name}.edge_index is missing; set it to the train interactions")
    sizes = (num_users(data), num_items(data))
    keys = {}
    for attribute in ("edge_index", "val_edge_label_index", "test_edge_label_index"):
        if (index := store.get(attribute)) is not None:
            index = _check_index(index, f"{name}.{attribute}", sizes)
            keys[attribute] = _keys(index, sizes[1])
    if keys["edge_index"].numel() == 0:
        raise ValueError(f"{name}.edge_index is empty; training needs train interactions")
    _check_every_interaction_is_there_once(keys, name)
    if REV_INTERACTS in data.edge_types:
        name, index = f"{_name(*REV_INTERACTS)}.edge_index", data[REV_INTERACTS].get("edge_index")
        reverse = _keys(_check_index(index, name, sizes[::-1]).flip(0), sizes[1])
        num_edges = keys["edge_index"].numel()
        forward = keys["edge_index"]
        if not (torch.equal(reverse, forward) or torch.equal(reverse.sort()[0], forward.sort()[0])):
            raise ValueError(
                f"{name} needs the {num_edges} train interactions reversed (got {reverse.numel()} "
                f"edges, some of them others); set it to the flipped edge_index"
            )


def _keys(index: Tensor, num_items: int) -> Tensor:
    """Return one number per (user, item)."""
    return index[0] * num_items + index[1]


def _check_every_interaction_is_there_once(keys: Mapping[str, Tensor], name: str) -> None:
    """Refuse what would count double, and evaluating what was trained on or counts elsewhere."""
    every = torch.cat([*keys.values()])
    if every.unique().numel() == every.numel():
        return
    for attribute, key in keys.items():
        if repeated := key.numel() - key.unique().numel():
            raise ValueError(
                f"{name}.{attribute} holds {repeated} interactions more than once, which would "
                f"count double; pass it through torch_geometric.utils.coalesce"
            )
    for first, second in combinations(keys, 2):
        if shared := int(torch.isin(keys[second], keys[first]).sum()):
            raise ValueError(
                f"{name}.{second} holds {shared} interactions that {first} holds too; an "
                f"interaction belongs to one split, so remove them from {second}"
            )


def _check_index(index: object, name: str, sizes: tuple[int, int]) -> Tensor:
    """Return ``index`` as a plain tensor if its ids are below ``sizes``."""
    if not isinstance(index, Tensor) or index.dtype != torch.long:
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise ValueError(f"{name} needs to be an int64 tensor (got {got})")
    if index.dim() != 2 or index.size(0) != 2:
        raise ValueError(f"{name} needs the shape [2, num_edges] (got {list(index.shape)})")
    plain = index.as_tensor() if isinstance(index, EdgeIndex) else index
    for row, size in zip(plain, sizes, strict=True):
        if row.numel() and (int(row.min()) < 0 or int(row.max()) >= size):
            bad = row[(row < 0) | (row >= size)][0]
            raise ValueError(
                f"{name} needs ids from 0 to {size - 1} here (got {int(bad)}); "
                f"renumber the ids or correct num_nodes"
            )
    if isinstance(index, EdgeIndex):
        _check_edge_index(index, name, sizes)
    return plain


def _check_edge_index(index: EdgeIndex, name: str, sizes: tuple[int, int]) -> None:
    """Refuse what an ``EdgeIndex`` says wrongly of itself: kernels would believe it."""
    claimed = index.sparse_size()
    if any(claim not in (None, size) for claim, size in zip(claimed, sizes, strict=True)):
        raise ValueError(
            f"{name} is an EdgeIndex of sparse_size {sizes} or of none (got {claimed}); "
            f"make it anew with sparse_size={sizes}"
        )
    try:
        index.validate()
    except ValueError as error:
        raise ValueError(f"{name}: {error}; make it anew from {name}.as_tensor()") from error


def _check_features(data: HeteroData, modality: str, may_be_absent: bool) -> None:
    name = f"{_name(ITEM)}.{feature_key(modality)}"
    x, items = data[ITEM][feature_key(modality)], num_items(data)
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        mend = f"; set it to {name}.float()" if isinstance(x, Tensor) else ""
        raise ValueError(f"{name} needs to be a float32 tensor (got {got}){mend}")
    if x.dim() != 2 or x.size(0) != items or x.size(1) == 0:
        raise ValueError(f"{name} needs the shape [{items}, channels] (got {list(x.shape)})")
    if not bool(x.isfinite().all()):
        row = int((~x.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(
            f"{name} needs finite values (row {row} has NaN or infinity); set the rows of items "
            f"without this modality to zero and {presence_key(modality)} to False there"
        )
    mask = data[ITEM].get(presence_key(modality))
    if mask is None:
        return
    name = f"{_name(ITEM)}.{presence_key(modality)}"
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (items,):
        actual = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask)
        raise ValueError(f"{name} needs to be a bool tensor of shape [{items}] (got {actual})")
    if not may_be_absent and not bool(mask.any()):
        raise ValueError(f"{name} is False for every item; remove the modality instead")


def _check_masks_have_features(data: HeteroData) -> None:
    known = {presence_key(modality) for modality in modalities(data)}
    for key in data[ITEM]:
        if key.startswith("has_") and key not in known:
            raise ValueError(
                f"{_name(ITEM)}.{key} has no features x_{key[4:]} beside it; add or remove one"
            )


def _check_item_graph(store: BaseStorage, name: str, items: int) -> None:
    weight = store.get("edge_weight")
    num_edges = _check_index(store.get("edge_index"), f"{name}.edge_index", (items, items)).size(1)
    if weight is not None:
        if not isinstance(weight, Tensor) or weight.shape != (num_edges,):
            got = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            raise ValueError(f"{name}.edge_weight needs the shape [{num_edges}] (got {got})")
        if not weight.is_floating_point() or not bool(weight.isfinite().all()):
            raise ValueError(
                f"{name}.edge_weight needs finite floating-point values (got {weight.dtype}, "
                f"{int((~weight.isfinite()).sum())} of them NaN or infinite)"
            )
    merge_weight = store.get("merge_weight", 0.0)
    if not math.isfinite(merge_weight) or merge_weight < 0:
        raise ValueError(
            f"{name}.merge_weight needs to be finite and at least 0 (got {merge_weight})"
        )
