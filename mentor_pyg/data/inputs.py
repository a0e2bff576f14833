"""What a model's forward pass reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data.schema import (
    ITEM,
    edge_label_index,
    feature_key,
    num_items,
    num_users,
    presence_key,
)
from mentor_pyg.devices import check_is_device
from mentor_pyg.graph import Adjacency
from mentor_pyg.typing import Modality

__all__ = ["Inputs"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Adjacencies and tensors of a dataset, built once and read by every step.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        interactions: The train interactions ``[2, num_interactions]`` of (user, item).
        features: Per modality the raw item features ``[num_items, channels]``.
        present: Which items have a modality, bool ``[num_items]``, for those that some items lack.
        graphs: The adjacencies that the model declares, by name: ``"interaction"``, ``"item"``...
    """

    num_users: int
    num_items: int
    interactions: Tensor
    features: Mapping[Modality, Tensor] = field(default_factory=dict)
    present: Mapping[Modality, Tensor] = field(default_factory=dict)
    graphs: Mapping[str, Adjacency] = field(default_factory=dict)

    @classmethod
    def from_data(
        cls,
        data: HeteroData,
        modalities: Iterable[Modality] = (),
        graphs: Mapping[str, Adjacency] | None = None,
    ) -> Self:
        """Take what is read from a dataset.

        Args:
            data: The dataset.
            modalities: The modalities whose features are read.
            graphs: The adjacencies.
        """
        names = tuple(modalities)
        masks = {m: data[ITEM].get(presence_key(m)) for m in names}
        return cls(
            num_users(data),
            num_items(data),
            edge_label_index(data, "train"),
            {m: data[ITEM][feature_key(m)] for m in names},
            {m: mask for m, mask in masks.items() if mask is not None},
            graphs or {},
        )

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors."""
        return self.interactions.device

    def with_graphs(self, **graphs: Adjacency) -> Inputs:
        """Return the same inputs with some graphs put in or put in the place of others."""
        return dataclasses.replace(self, graphs={**self.graphs, **graphs})

    def to(self, device: torch.device | str) -> Inputs:
        """Return the same inputs on ``device``.

        Raises:
            TypeError: If it is no device: ids stay integers, and what is computed in another type
                is under autocast.
        """
        check_is_device(device)
        return dataclasses.replace(
            self,
            interactions=self.interactions.to(device),
            features={m: x.to(device) for m, x in self.features.items()},
            present={m: x.to(device) for m, x in self.present.items()},
            graphs={name: graph.to(device) for name, graph in self.graphs.items()},
        )
