"""HeteroData -> adjacency: the two matrices that models propagate over, each built once."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdRef, WeakTensorKeyDictionary
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from mentor_pyg.data import (
    INTERACTS,
    SEMANTIC,
    knn_edge_type,
    modalities,
    num_items,
    num_users,
    resolve_modality_weights,
)
from mentor_pyg.graph.adjacency import Adjacency
from mentor_pyg.graph.normalize import normalize_rows, normalize_symmetric
from mentor_pyg.typing import Modality, Semantics

__all__ = [
    "interaction_adjacency",
    "merge_item_graphs",
    "released_item_graph",
    "semantic_adjacency",
]

_T = TypeVar("_T")
_BUILT: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Per tensor of a graph, the adjacencies built from it; gone with the tensor."""

_RELEASED_EPS = 1e-7
"""What the released code adds to the number of neighbours before it divides."""


def interaction_adjacency(data: HeteroData) -> Adjacency:
    """Return the normalised adjacency of the train interactions, users before items.

    It is built once per ``edge_index`` tensor and device and then remembered for as long as the
    tensor lives.

    Args:
        data: The dataset; only its train interactions and node counts are read.

    Returns:
        The symmetric matrix ``[num_users + num_items, num_users + num_items]``.
    """
    edge_index = data[INTERACTS].edge_index
    users, items = num_users(data), num_items(data)

    def build() -> Adjacency:
        user, item = edge_index[0], edge_index[1] + users
        joint = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
        weight = normalize_symmetric(joint, users + items)
        return Adjacency.from_edge_index(joint, weight, num_nodes=users + items, is_symmetric=True)

    return _remember((edge_index,), ("interaction", users, items), build)


def semantic_adjacency(data: HeteroData, semantics: Semantics) -> Adjacency:
    """Return the merged item graph.

    Args:
        data: The dataset with its item graphs.
        semantics: ``"paper"`` takes the merged graph of ``data``; ``"released"`` derives the one
            of the released code from the nearest-neighbour graphs: every item is its own first
            neighbour, and rows are divided by ``k + 1e-7``.

    Returns:
        The matrix ``[num_items, num_items]``; row ``i`` holds the neighbours of item ``i``.

    Raises:
        ValueError: If ``data`` has no item graph, or ``semantics`` is unknown.
    """
    if semantics not in ("paper", "released"):
        raise ValueError(f"'semantics' needs to be 'paper' or 'released' (got {semantics!r})")
    items = num_items(data)
    if SEMANTIC not in data.edge_types:
        raise ValueError(
            "data['item', 'semantic', 'item'] is missing; apply mentor_pyg.transforms."
            "ItemKNNGraph and MergeItemGraphs, or switch the item graph off in the config"
        )
    store = data[SEMANTIC]
    sources: tuple[Tensor, ...]
    merge_weights: tuple[tuple[Modality, float], ...]
    if semantics == "paper":
        sources, merge_weights = (store.edge_index, store.edge_weight), ()
    else:
        merge_weights = tuple(_merge_weights(data).items())
        neighbours = [data[knn_edge_type(m)] for m, _ in merge_weights]
        sources = tuple(x for s in neighbours for x in (s.edge_index, s.edge_weight))

    def build() -> Adjacency:
        if semantics == "paper":
            edge_index, edge_weight = sources
        else:
            edge_index, edge_weight = released_item_graph(data)
        return Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=items)

    return _remember(sources, (semantics, items, merge_weights), build)


def merge_item_graphs(
    graphs: Mapping[Modality, tuple[Tensor, Tensor]],
    modality_weights: Mapping[Modality, float],
    num_items: int,
) -> tuple[Tensor, Tensor]:
    """Add up item graphs, each times its modality's weight.

    An item that lacks a modality has no edges in that graph; the weights of its other
    modalities are scaled up so that its row sums to what a complete item's row sums to.

    Args:
        graphs: Per modality the edges ``[2, num_edges]`` and weights ``[num_edges]``.
        modality_weights: Per modality its weight.
        num_items: The number of items.

    Returns:
        The edges ``[2, num_merged_edges]``, coalesced, and their weights.
    """
    total = float(sum(modality_weights[m] for m in graphs))
    available = torch.zeros(num_items)
    for modality, (edge_index, _) in graphs.items():
        available = available.to(edge_index.device)
        has_edges = torch.bincount(edge_index[1], minlength=num_items) > 0
        available += modality_weights[modality] * has_edges
    scale = torch.where(available > 0, total / available, 0.0)
    # Complete items keep their weights to the last bit.
    scale[torch.isclose(available, torch.tensor(total, device=available.device))] = 1.0
    edges, weights = [], []
    for modality, (edge_index, edge_weight) in graphs.items():
        edges.append(edge_index)
        weights.append(modality_weights[modality] * edge_weight * scale[edge_index[1]])
    merged, weight = coalesce(
        torch.cat(edges, dim=1), torch.cat(weights), num_nodes=num_items, reduce="sum"
    )
    return merged, weight


def released_item_graph(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the edges and weights of the merged item graph as the released code builds it.

    Args:
        data: The dataset with one nearest-neighbour graph per modality.

    Returns:
        The edges ``[2, num_edges]`` from neighbour to item and the weights ``[num_edges]``.

    Raises:
        ValueError: If ``data`` has no nearest-neighbour graph.
    """
    items = num_items(data)
    graphs, weights = {}, _merge_weights(data)
    for modality in weights:
        store = data[knn_edge_type(modality)]
        edge_index = _with_self_as_first_neighbour(store.edge_index, store.edge_weight)
        graphs[modality] = (edge_index, normalize_rows(edge_index, items, eps=_RELEASED_EPS))
    return merge_item_graphs(graphs, weights, items)


def _with_self_as_first_neighbour(edge_index: Tensor, similarity: Tensor) -> Tensor:
    """Replace every item's least similar neighbour by the item itself."""
    perm = similarity.argsort(descending=True, stable=True)
    perm = perm[edge_index[1, perm].argsort(stable=True)]
    edge_index = edge_index[:, perm]  # Grouped by item, by falling similarity within.
    target = edge_index[1]
    is_last = torch.ones_like(target, dtype=torch.bool)
    is_last[:-1] = target[1:] != target[:-1]
    loops = target[is_last].expand(2, -1)
    return torch.cat([edge_index[:, ~is_last], loops], dim=1)


def _merge_weights(data: HeteroData) -> dict[Modality, float]:
    """Return the weight of every modality that has a graph; the defaults where none is stored."""
    found = [m for m in modalities(data) if knn_edge_type(m) in data.edge_types]
    if not found:
        raise ValueError(
            "data['item', '<modality>_knn', 'item'] is missing for every modality; apply "
            "mentor_pyg.transforms.ItemKNNGraph and MergeItemGraphs"
        )
    stored = {m: data[knn_edge_type(m)].get("merge_weight") for m in found}
    return resolve_modality_weights(found, None if None in stored.values() else stored)


def _remember(sources: tuple[Tensor, ...], key: tuple[object, ...], build: Callable[[], _T]) -> _T:
    """Build once for ``key`` and these very tensors, and again when one was changed in place."""
    state = [(WeakIdRef(x), None if x.is_inference() else x._version) for x in sources]
    built = _BUILT.setdefault(sources[0], {})
    if key not in built or built[key][0] != state:
        # Autograd cannot save what is made in inference mode, where a model may be run first.
        with torch.inference_mode(False):
            built[key] = state, build()
    return built[key][1]
