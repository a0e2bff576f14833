"""What a model is built for: the counts and widths of a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from torch_geometric.data import HeteroData

from mentor_pyg.data.schema import ITEM, feature_key, modalities, num_items, num_users
from mentor_pyg.typing import Modality

__all__ = ["Sizes"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a dataset that parameters depend on.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        channels: The width of the raw item features of every modality, in the order in which
            models take the modalities.
    """

    num_users: int
    num_items: int
    channels: Mapping[Modality, int] = field(default_factory=dict)

    @classmethod
    def of(cls, data: HeteroData, *, features: bool = True) -> Self:
        """Return the sizes of a dataset, those of its features too unless they do not matter."""
        names = modalities(data) if features else ()
        channels = {m: int(data[ITEM][feature_key(m)].size(1)) for m in names}
        return cls(num_users(data), num_items(data), channels)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain values, for ``Sizes(**values)``."""
        return dataclasses.asdict(self)
