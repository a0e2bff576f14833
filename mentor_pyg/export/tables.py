"""Embedding tables that recommend without the model, its features or its graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, num_users
from mentor_pyg.graph import ItemLists
from mentor_pyg.models import Recommender
from mentor_pyg.ops import recommend_items

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EmbeddingTables"]

_NAMES = {"user", "item", "seen.start", "seen.item"}


@dataclass(frozen=True)
class EmbeddingTables:
    """Final user and item representations, and what every user has seen.

    Args:
        user: Users ``[num_users, width]``.
        item: Items ``[num_items, width]``.
        seen: The train items of every user.
    """

    user: Tensor
    item: Tensor
    seen: ItemLists

    @classmethod
    @torch.no_grad()
    def from_model(cls, model: Recommender, data: HeteroData) -> Self:
        """Encode once and keep the fused view."""
        reps = model.encode(data).detach()
        seen = ItemLists.from_edge_index(data[INTERACTS].edge_index, num_users(data))
        return cls(reps.user["fused"], reps.item["fused"], seen)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: If the file is not such a file.
        """
        try:
            tensors = safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
        if set(tensors) != _NAMES:
            raise ValueError(
                f"{path} needs the tensors {sorted(_NAMES)} (got {sorted(tensors)}); "
                f"write it with EmbeddingTables.save"
            )
        if tensors["user"].shape[1:] != tensors["item"].shape[1:]:
            raise ValueError(
                f"{path} holds users of shape {list(tensors['user'].shape)} and items of shape "
                f"{list(tensors['item'].shape)}, which need one width"
            )
        seen = ItemLists(tensors["seen.start"], tensors["seen.item"])
        return cls(tensors["user"], tensors["item"], seen)

    def save(self, path: str | Path) -> None:
        """Write the tables to a safetensors file."""
        tensors = {
            "user": self.user,
            "item": self.item,
            "seen.start": self.seen.start,
            "seen.item": self.seen.item,
        }
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path)

    def recommend(
        self, user: Tensor, k: int = 20, exclude_seen: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return item ids and scores ``[batch, k]`` for user ids ``[batch]``, best first.

        Ids are -1 where a user has fewer than ``k`` unseen items.

        Raises:
            ValueError: If a user id or ``k`` is out of range.
        """
        return recommend_items(self.user, self.item, user, k, self.seen if exclude_seen else None)

    def recommend_all(
        self, k: int = 20, exclude_seen: bool = True, batch_size: int = 1024
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield user ids ``[batch]``, item ids and scores ``[batch, k]``, over all users."""
        for user in torch.arange(self.user.size(0), device=self.user.device).split(batch_size):
            yield user, *self.recommend(user, k, exclude_seen)

    def to_frame(
        self, k: int = 20, exclude_seen: bool = True, batch_size: int = 1024
    ) -> pd.DataFrame:
        """Return every user's recommendations with the columns user, rank, item and score.

        Ranks start from 1. A user with fewer than ``k`` unseen items has fewer rows.
        """
        import pandas as pd  # Here, since nothing else needs its second of import time.

        blocks = []
        for user, item, score in self.recommend_all(k, exclude_seen, batch_size):
            row, rank = (item >= 0).nonzero(as_tuple=True)
            columns = {"user": user[row], "rank": rank + 1, "item": item[row, rank]}
            columns["score"] = score[row, rank]
            blocks.append(pd.DataFrame({name: x.cpu().numpy() for name, x in columns.items()}))
        return pd.concat(blocks, ignore_index=True)
