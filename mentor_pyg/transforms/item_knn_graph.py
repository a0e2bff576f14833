"""Item features -> one nearest-neighbour graph per modality."""

import logging
from collections.abc import Mapping, Sequence
from numbers import Integral

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import (
    ITEM,
    feature_key,
    knn_edge_type,
    modalities,
    presence,
)
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import knn_graph
from mentor_pyg.transforms.item_graph_cache import cached_knn_graph
from mentor_pyg.transforms.merge_item_graphs import drop_merged_graph
from mentor_pyg.typing import Modality

__all__ = ["ItemKNNGraph", "check_num_neighbours", "drop_knn_graph"]

_logger = logging.getLogger(__name__)


def check_num_neighbours(k: object) -> int:
    """Return ``k`` as an ``int`` if it can be a number of neighbours.

    Raises:
        ValueError: If ``k`` is not a positive integer.
    """
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise ValueError(f"'k' needs to be a positive integer, or one per modality (got {k!r})")
    return int(k)


def drop_knn_graph(data: HeteroData, modality: Modality) -> None:
    """Remove the graph that a transform made of a modality's features, which are to change.

    Raises:
        ValueError: If it is one of somebody's own.
    """
    kind = knn_edge_type(modality)
    if kind in data.edge_types:
        if not is_recorded(data, kind):
            raise ValueError(
                f"'data' has an item graph of your own, {kind}, made of features that are to "
                f"change; take it out first"
            )
        del data[kind]


@functional_transform("item_knn_graph")
class ItemKNNGraph(BaseTransform):
    r"""Connects every item to the :math:`k` items with the most similar features.

    Per modality ``m`` it writes ``data["item", "<m>_knn", "item"]`` with ``edge_index``
    ``[2, num_present_items * k]`` from neighbour to item (grouped by item, the most similar
    neighbour first, no item its own neighbour), ``edge_weight``, the cosine similarities, and
    ``k``, the number of neighbours asked for. Items that lack the modality get no edges. Where a
    modality has fewer items than asked for, each is connected to all others, which is logged
    (functional name: ``item_knn_graph``).

    The search is exact and runs in blocks. What it found is kept on disk, by a checksum of the
    features: the same features are not searched twice on one machine.

    A graph that ``data`` has already stays as it is if it records the same ``k``, and is replaced
    if it records another; delete it if features have changed since. A graph without a record is
    your own and stays as it is. With a graph that is made or replaced, a merged graph that
    :class:`~mentor_pyg.transforms.MergeItemGraphs` made goes.

    Args:
        k: The number of neighbours, or one number per modality.
        modalities: The modalities to build graphs for; by default all that ``data`` has.
        cache: Whether to keep found neighbours on disk, in ``mentor_pyg/item_graphs`` in the
            user's cache folder.

    Raises:
        ValueError: If ``k`` is not a positive integer, or if ``k`` or ``modalities`` name a
            modality that ``data`` does not have, or ``k`` lacks one.
    """

    def __init__(
        self,
        k: int | Mapping[Modality, int] = 10,
        modalities: Sequence[Modality] | None = None,
        *,
        cache: bool = True,
    ) -> None:
        if isinstance(modalities, str):
            raise TypeError(f"'modalities' needs a sequence of names (got {modalities!r})")
        self.k: int | dict[Modality, int]
        if isinstance(k, Mapping):
            self.k = {modality: check_num_neighbours(count) for modality, count in k.items()}
        else:
            self.k = check_num_neighbours(k)
        self.modalities = None if modalities is None else tuple(modalities)
        self.cache = cache

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the graphs added."""
        for modality, k in self._num_neighbours(modalities(data)).items():
            kind = knn_edge_type(modality)
            if kind in data.edge_types and (not is_recorded(data, kind) or data[kind].k == k):
                continue
            drop_merged_graph(data)
            edge_index, similarity = self._search(data, modality, k)
            if kind in data.edge_types:
                del data[kind]
            data[kind].edge_index, data[kind].edge_weight = edge_index, similarity
            data[kind].k = k
        return data

    def _num_neighbours(self, found: tuple[Modality, ...]) -> dict[Modality, int]:
        """Return the number of neighbours of every modality to build a graph for."""
        names = found if self.modalities is None else self.modalities
        if unknown := [name for name in names if name not in found]:
            raise ValueError(
                f"'modalities' names '{unknown[0]}', which the data does not have; "
                f"its modalities are {list(found)}"
            )
        if not isinstance(self.k, dict):
            return dict.fromkeys(names, self.k)
        if set(self.k) != set(names):
            raise ValueError(
                f"'k' needs a number for each of the modalities {list(names)} and for no other "
                f"(got {self.k})"
            )
        return {name: self.k[name] for name in names}

    def _search(self, data: HeteroData, modality: Modality, k: int) -> tuple[Tensor, Tensor]:
        x, present = data[ITEM][feature_key(modality)], presence(data, modality)
        others = max(int(present.sum()) - 1, 0)
        if k > others:
            _logger.warning(
                "The item graph of modality '%s' has k=%d and not the %d asked for: no more other "
                "items have the modality", modality, others, k,
            )  # fmt: skip
        if others == 0:
            return torch.empty(2, 0, dtype=torch.long, device=x.device), x.new_empty(0).float()
        search = cached_knn_graph if self.cache else knn_graph
        return search(x, min(k, others), present)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(k={self.k}, modalities={self.modalities})"
