"""Embedding tables that recommend without the model, its features or its graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import FUSED, ITEM, USER, Representations
from mentor_pyg.data.raw_ids import RawIds, from_bytes, listed, to_bytes
from mentor_pyg.graph import ItemLists
from mentor_pyg.models import Model, Recommender
from mentor_pyg.ops import recommend_items, seen_items, user_ids
from mentor_pyg.tensor_files import save_tensors
from mentor_pyg.typing import Split

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EmbeddingTables", "list_frame", "ranked_representations"]

_NAMES = {"user", "item", "seen.start", "seen.item"}
_RAW_IDS = {"user.raw_id", "item.raw_id"}


@dataclass(frozen=True)
class EmbeddingTables:
    """Final user and item representations, and what every user has seen.

    It is a :class:`~mentor_pyg.data.Scorer`.

    Args:
        user: Users ``[num_users, width]``.
        item: Items ``[num_items, width]``.
        seen: What to leave out for every user.
        user_raw_id: The users' original ids, if they have any.
        item_raw_id: The items' original ids, if they have any.

    Raises:
        ValueError: If these do not fit together.
    """

    user: Tensor
    item: Tensor
    seen: ItemLists
    user_raw_id: RawIds | None = None
    item_raw_id: RawIds | None = None

    def __post_init__(self) -> None:
        counts = {USER: self.representations.num_users, ITEM: self.representations.num_items}
        if self.user.dtype != self.item.dtype or not self.user.is_floating_point():
            raise ValueError(
                f"users and items need one floating-point type "
                f"(got {self.user.dtype} and {self.item.dtype})"
            )
        _check_seen(self.seen, *counts.values())
        for side, ids in self._raw_ids.items():
            if ids is not None and len(ids) != counts[side]:
                raise ValueError(f"{side}_raw_id needs {counts[side]} ids (got {len(ids)})")

    @classmethod
    @torch.no_grad()
    def from_model(
        cls, model: Recommender, data: HeteroData, exclude: Sequence[Split] | None = None
    ) -> Self:
        """Encode once and keep the fused view, in memory of its own.

        Args:
            model: The model, which is encoded in evaluation mode.
            data: The dataset. Original ids that it has are kept.
            exclude: The splits that hold what users have seen; by default all that the data has,
                since whom the tables serve has made these interactions too.

        Raises:
            TypeError: If the model does not rank by representations.
            ValueError: If a split is unknown, or named and not in the data.
        """
        return cls.from_representations(ranked_representations(model, data), data, exclude)

    @classmethod
    def from_representations(
        cls, reps: Representations, data: HeteroData, exclude: Sequence[Split] | None = None
    ) -> Self:
        """Keep the fused view, in memory of its own; see :meth:`from_model`."""
        user, item = _own(reps.user[FUSED]), _own(reps.item[FUSED])
        raw_ids = (listed(data[side].get("raw_id")) for side in (USER, ITEM))
        return cls(user, item, seen_items(data, exclude), *raw_ids)

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
        if set(tensors) - _RAW_IDS != _NAMES:
            raise ValueError(
                f"{path} needs the tensors {sorted(_NAMES)} (got {sorted(tensors)}); "
                f"write it with EmbeddingTables.save"
            )
        try:
            return cls(
                tensors["user"],
                tensors["item"],
                ItemLists(tensors["seen.start"], tensors["seen.item"]),
                from_bytes(tensors.get("user.raw_id")),
                from_bytes(tensors.get("item.raw_id")),
            )
        except ValueError as error:
            raise ValueError(f"{path} holds tables that do not fit together: {error}") from error

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the tables to a safetensors file, whole or not at all.

        Original ids are in it as the UTF-8 bytes of a JSON list.

        Args:
            path: The file to write or to replace; its folder is made if need be.
            metadata: What the file says about the tables.
        """
        tensors = {
            "user": self.user,
            "item": self.item,
            "seen.start": self.seen.start,
            "seen.item": self.seen.item,
        }
        for side, ids in self._raw_ids.items():
            if ids is not None:
                tensors[f"{side}.raw_id"] = to_bytes(ids)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_tensors(tensors, path, metadata)

    @property
    def representations(self) -> Representations:
        """The tables as the fused view."""
        return Representations({FUSED: self.user}, {FUSED: self.item})

    @property
    def _raw_ids(self) -> dict[str, RawIds | None]:
        return {USER: self.user_raw_id, ITEM: self.item_raw_id}

    @property
    def num_users(self) -> int:
        """The number of users."""
        return self.user.size(0)

    @property
    def num_items(self) -> int:
        """The number of items."""
        return self.item.size(0)

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        return self.representations.scores(user)

    def recommend(self, user: Any, k: int = 20, exclude_seen: bool = True) -> tuple[Tensor, Tensor]:
        """Return item ids and scores ``[batch, k]``, best first.

        Ids are -1 where a user has fewer than ``k`` unseen items.

        Args:
            user: One user (a ``batch`` of 1) or several, by number or, as text, by original id
                (see :func:`mentor_pyg.ops.user_ids`).
            k: The number of items.
            exclude_seen: Whether to leave out what the users have seen.

        Raises:
            TypeError: If ``k`` is no integer.
            ValueError: If a user or ``k`` is out of range.
        """
        seen = self.seen if exclude_seen else None
        return recommend_items(self.representations, user, k, seen, raw_id=self.user_raw_id)

    def recommend_all(
        self, k: int = 20, exclude_seen: bool = True, batch_size: int = 1024, *, user: Any = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield user ids ``[batch]``, item ids and scores ``[batch, k]``, over all users.

        Args:
            k: The number of items.
            exclude_seen: Whether to leave out what the users have seen.
            batch_size: Users at a time.
            user: The users, as :meth:`recommend` takes them, in place of all.
        """
        if user is None:
            users = torch.arange(self.num_users, device=self.user.device)
        else:
            users = user_ids(user, self.num_users, self.user_raw_id)
        for some in users.split(batch_size):
            yield some, *self.recommend(some, k, exclude_seen)

    def to_frame(
        self,
        k: int = 20,
        exclude_seen: bool = True,
        batch_size: int = 1024,
        *,
        user: Any = None,
        original_ids: bool = False,
    ) -> pd.DataFrame:
        """Return every user's recommendations with the columns user, rank, item and score.

        Ranks start from 1. A user with fewer than ``k`` unseen items has fewer rows.

        Args:
            k: The number of items.
            exclude_seen: Whether to leave out what the users have seen.
            batch_size: Users at a time.
            user: The users, as :meth:`recommend` takes them, in place of all.
            original_ids: Whether to give original ids of users and items, not numbers.

        Raises:
            ValueError: If original ids are asked for, but users or items have none.
        """
        import pandas as pd

        raw_ids = self._raw_ids if original_ids else {}
        if missing := [side for side, ids in raw_ids.items() if ids is None]:
            raise ValueError(
                f"'original_ids' needs original ids of users and items (the tables have none of "
                f"the {missing[0]}s); set data['{missing[0]}'].raw_id before from_model"
            )
        names = {side: np.array(ids, dtype=object) for side, ids in raw_ids.items()}
        blocks = self.recommend_all(k, exclude_seen, batch_size, user=user)
        frame = pd.concat((list_frame(*block, names) for block in blocks), ignore_index=True)
        return frame.infer_objects()


def list_frame(
    user: Tensor, item: Tensor, score: Tensor, names: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return lists as rows of the columns user, rank from 1, item and score.

    Args:
        user: User ids ``[batch]``.
        item: Item ids ``[batch, k]``, best first, -1 where there is none.
        score: Their scores ``[batch, k]``.
        names: The original ids of ``"user"`` and ``"item"``, in the place of numbers.
    """
    import pandas as pd  # Here, since nothing else needs its second of import time.

    row, rank = (item >= 0).cpu().nonzero(as_tuple=True)
    columns = {"user": user.cpu()[row], "rank": rank + 1, "item": item.cpu()[row, rank]}
    columns["score"] = score.cpu()[row, rank]
    frame = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
    for side, ids in names.items():
        frame[side] = ids[frame[side]]
    return frame


def ranked_representations(model: Model, data: HeteroData) -> Representations:
    """Return the representations whose dot products a model ranks by.

    Raises:
        TypeError: If the model scores items otherwise.
    """
    if not isinstance(model, Recommender) or not model.ranks_by_rows():
        raise TypeError(
            f"'model' needs to rank by the dot product of Representations to be kept in tables, "
            f"but {type(model).__name__} scores items otherwise; recommend from the model itself"
        )
    return model.encode(data)


def _own(table: Tensor) -> Tensor:
    return table.detach().clone(memory_format=torch.contiguous_format)


def _check_seen(seen: ItemLists, num_users: int, num_items: int) -> None:
    start, item = seen.start, seen.item
    if start.dtype != torch.long or item.dtype != torch.long:
        raise ValueError(f"seen items need to be int64 (got {start.dtype} and {item.dtype})")
    if start.shape != (num_users + 1,) or item.dim() != 1:
        raise ValueError(
            f"seen items need the shapes [{num_users + 1}] and [num_seen] "
            f"(got {list(start.shape)} and {list(item.shape)})"
        )
    if start[0] != 0 or start[-1] != item.numel() or bool((start.diff() < 0).any()):
        raise ValueError("seen items need lists that start one after another and hold every item")
    if item.numel() and not 0 <= int(item.min()) <= int(item.max()) < num_items:
        raise ValueError(
            f"seen items need ids from 0 to {num_items - 1} "
            f"(got {int(item.min())} to {int(item.max())})"
        )
