"""Item features -> one nearest-neighbour graph per modality."""

from collections.abc import Sequence

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
from mentor_pyg.graph import knn_graph
from mentor_pyg.typing import Modality

__all__ = ["ItemKNNGraph", "check_num_neighbours"]


def check_num_neighbours(k: object) -> int:
    """Return ``k`` if it can be a number of neighbours.

    Raises:
        ValueError: If ``k`` is not a positive integer.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(
            f"'k' needs to be a positive integer smaller than the number of items (got {k!r})"
        )
    return k


@functional_transform("item_knn_graph")
class ItemKNNGraph(BaseTransform):
    r"""Connects every item to the :math:`k` items with the most similar features.

    Per modality ``m`` it writes ``data["item", "<m>_knn", "item"]`` with ``edge_index``
    ``[2, num_present_items * k]`` from neighbour to item (grouped by item, the most similar
    neighbour first, no item its own neighbour) and ``edge_weight``, the cosine similarities.
    Items that lack the modality get no edges. The search is exact and runs in blocks
    (functional name: :obj:`item_knn_graph`).

    Args:
        k: The number of neighbours.
        modalities: The modalities to build graphs for; by default all that ``data`` has.

    Raises:
        ValueError: If ``k`` is not a positive integer or a modality has too few items for it,
            or if ``modalities`` names one that ``data`` does not have.
    """

    def __init__(self, k: int = 10, modalities: Sequence[Modality] | None = None) -> None:
        if isinstance(modalities, str):
            raise TypeError(f"'modalities' needs a sequence of names (got {modalities!r})")
        self.k = check_num_neighbours(k)
        self.modalities = None if modalities is None else tuple(modalities)

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with the graphs added."""
        found = modalities(data)
        for modality in found if self.modalities is None else self.modalities:
            if modality not in found:
                raise ValueError(
                    f"'modalities' names '{modality}', which the data does not have; "
                    f"its modalities are {list(found)}"
                )
            self._add_graph(data, modality)
        return data

    def _add_graph(self, data: HeteroData, modality: Modality) -> None:
        present = presence(data, modality)
        count = int(present.sum())
        if self.k >= count:
            raise ValueError(
                f"'k' needs to be a positive integer smaller than the number of items that have "
                f"the modality '{modality}', {count} (got {self.k})"
            )
        edge_index, similarity = knn_graph(data[ITEM][feature_key(modality)], self.k, present)
        store = data[knn_edge_type(modality)]
        store.edge_index, store.edge_weight = edge_index, similarity

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(k={self.k}, modalities={self.modalities})"
