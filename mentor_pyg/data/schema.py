"""Where everything lives in the :class:`~torch_geometric.data.HeteroData` of a dataset."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.graph.edges import plain
from mentor_pyg.typing import EdgeType, Modality, Split, View

__all__ = [
    "DEFAULT_MODALITY_WEIGHTS",
    "FUSED",
    "ID",
    "INTERACTS",
    "ITEM",
    "REV_INTERACTS",
    "SEMANTIC",
    "USER",
    "check_modality_name",
    "drop_item_graphs",
    "edge_label_index",
    "feature_key",
    "is_recorded",
    "knn_edge_type",
    "modalities",
    "num_items",
    "num_users",
    "presence",
    "presence_key",
    "resolve_modality_weights",
]

USER = "user"
"""The users: ``"user"``."""
ITEM = "item"
"""The items: ``"item"``."""
INTERACTS: EdgeType = (USER, "interacts", ITEM)
"""The interactions: ``("user", "interacts", "item")``."""
REV_INTERACTS: EdgeType = (ITEM, "rev_interacts", USER)
"""The train interactions the other way: ``("item", "rev_interacts", "user")``."""
SEMANTIC: EdgeType = (ITEM, "semantic", ITEM)
"""The merged item graph: ``("item", "semantic", "item")``."""

DEFAULT_MODALITY_WEIGHTS: dict[Modality, float] = {"visual": 0.1, "textual": 0.9}
"""Weights of the merged item graph that the MENTOR paper uses on the Amazon datasets."""


FUSED: View = "fused"
"""The view that ranks: ``"fused"``."""
ID: View = "id"
"""The view of the ids alone: ``"id"``."""

_RESERVED = (ID, FUSED)  # The views that models add beside the modalities.


def knn_edge_type(modality: Modality) -> EdgeType:
    """Return the edge type of a modality's item-item nearest-neighbour graph."""
    return (ITEM, f"{modality}_knn", ITEM)


def drop_item_graphs(data: HeteroData) -> None:
    """Remove all item graphs, where items are to change.

    Raises:
        ValueError: If one is somebody's own and not made by a transform of this library.
    """
    graphs = [kind for kind in data.edge_types if kind[::2] == (ITEM, ITEM)]
    if own := [kind for kind in graphs if not is_recorded(data, kind)]:
        raise ValueError(
            f"'data' has an item graph of your own, {own[0]}; take it out before its items change"
        )
    for kind in graphs:
        del data[kind]


def is_recorded(data: HeteroData, edge_type: str | EdgeType) -> bool:
    """Return whether a transform of this library made an item graph of ``data``.

    Such a graph may be replaced by one of other settings. A nearest-neighbour graph records the
    ``k`` that it was made with; the merged graph, a ``merge_weight`` on each of those it merges.
    A graph without a record is somebody's own, and a fact.
    """
    knn = [
        kind for kind in data.edge_types if kind[::2] == (ITEM, ITEM) and kind[1].endswith("_knn")
    ]
    if edge_type == SEMANTIC:
        return any("merge_weight" in data[kind] for kind in knn)
    return edge_type in knn and "k" in data[edge_type]


def feature_key(modality: Modality) -> str:
    """Return the attribute of the item store that holds a modality's features."""
    return f"x_{modality}"


def presence_key(modality: Modality) -> str:
    """Return the attribute of the item store that says which items have a modality."""
    return f"has_{modality}"


def check_modality_name(name: Modality, source: object) -> None:
    """Refuse a modality name that cannot name an attribute, or that means something else.

    Args:
        name: The name.
        source: Where it comes from, for the message.

    Raises:
        ValueError: If the name is refused.
    """
    if not name.isidentifier() or name in _RESERVED or hasattr(nn.ModuleDict, name):
        raise ValueError(
            f"{source}: the modality name needs to be a Python identifier other than 'id', "
            f"'fused' and the attributes of a torch module (got {name!r}); choose another name"
        )


def num_users(data: HeteroData) -> int:
    """Return the number of users; raise a ``ValueError`` if ``data`` does not say it."""
    return _num_nodes(data, USER)


def num_items(data: HeteroData) -> int:
    """Return the number of items; raise a ``ValueError`` if ``data`` does not say it."""
    return _num_nodes(data, ITEM)


def _num_nodes(data: HeteroData, node_type: str) -> int:
    count = data[node_type].get("num_nodes") if node_type in data.node_types else None
    if not isinstance(count, int) or count < 1:
        raise ValueError(
            f"data[{node_type!r}].num_nodes needs to be a positive integer (got {count!r}); set it "
            f"to the number of {node_type}s, those without interactions included"
        )
    return count


def modalities(data: HeteroData) -> tuple[Modality, ...]:
    """Return the modalities of ``data``: visual, textual, then the others by name."""
    found = {key[2:] for key in data[ITEM] if key.startswith("x_")}
    first = [m for m in DEFAULT_MODALITY_WEIGHTS if m in found]
    return (*first, *sorted(found.difference(first)))


def presence(data: HeteroData, modality: Modality) -> Tensor:
    """Return which items have ``modality``, as a bool tensor ``[num_items]``."""
    mask = data[ITEM].get(presence_key(modality))
    if mask is not None:
        return mask
    device = data[ITEM][feature_key(modality)].device
    return torch.ones(num_items(data), dtype=torch.bool, device=device)


def edge_label_index(data: HeteroData, split: Split) -> Tensor:
    """Return the interactions of a split, ``[2, num_interactions]`` of (user, item).

    They are a plain tensor where ``data`` has a PyG ``EdgeIndex``.

    Raises:
        ValueError: If ``split`` is unknown or ``data`` does not hold it.
    """
    if split not in ("train", "val", "test"):
        raise ValueError(f"'split' needs to be 'train', 'val' or 'test' (got {split!r})")
    key = "edge_index" if split == "train" else f"{split}_edge_label_index"
    index = data[INTERACTS].get(key)
    if index is None:
        raise ValueError(
            f"data['user', 'interacts', 'item'] has no '{key}'; add the {split} interactions "
            f"there, or split them off with mentor_pyg.transforms.RandomInteractionSplit"
        )
    return plain(index)


def resolve_modality_weights(
    modalities: Iterable[Modality], weights: Mapping[Modality, float] | None
) -> dict[Modality, float]:
    """Return one merge weight per modality.

    Args:
        modalities: The modalities that ``data`` holds.
        weights: The weights asked for. ``None`` means 0.1 visual and 0.9 textual where these
            two are the modalities, as in the MENTOR paper, and equal weights otherwise.

    Raises:
        ValueError: If a weight is for an unknown modality, missing, negative or not finite.
    """
    names = tuple(modalities)
    if weights is None:
        if set(names) == set(DEFAULT_MODALITY_WEIGHTS):
            return {name: DEFAULT_MODALITY_WEIGHTS[name] for name in names}
        return {name: 1.0 / len(names) for name in names}
    if unknown := sorted(set(weights).difference(names)):
        raise ValueError(
            f"'modality_weights' names {unknown}, which the data does not have; "
            f"its modalities are {list(names)}"
        )
    if missing := sorted(set(names).difference(weights)):
        raise ValueError(
            f"'modality_weights' gives no weight for {missing}; add one (0 leaves it out)"
        )
    for name in names:
        value = weights[name]
        if not math.isfinite(value) or value < 0:
            raise ValueError(
                f"'modality_weights' needs finite weights of at least 0 (got {value} for '{name}')"
            )
    if sum(weights.values()) == 0:
        raise ValueError("'modality_weights' needs at least one weight above 0")
    return {name: float(weights[name]) for name in names}
