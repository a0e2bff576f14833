"""Original ids of users and items, and the bytes that keep them in a file of tensors."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["RawIds", "from_bytes", "ids_as_text", "listed", "to_bytes"]

RawIds: TypeAlias = Sequence[str | int | float]


def listed(raw_id: Any) -> RawIds | None:
    """Return original ids, a sequence, an array or a tensor, as a list of its own."""
    if raw_id is None:
        return None
    ids: RawIds = raw_id.tolist() if hasattr(raw_id, "tolist") else list(raw_id)
    return ids


def ids_as_text(raw_id: Any, count: int) -> list[str]:
    """Return original ids as text; the numbers of all ``count`` where there are none."""
    ids = listed(raw_id)
    return [str(one) for one in (range(count) if ids is None else ids)]


def to_bytes(ids: RawIds) -> Tensor:
    """Return original ids as the UTF-8 bytes of a JSON list, uint8 ``[num_bytes]``."""
    text = json.dumps(list(ids), ensure_ascii=False, default=lambda number: number.item())
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def from_bytes(text: Tensor | None) -> RawIds | None:
    """Return the original ids that :func:`to_bytes` wrote.

    Raises:
        ValueError: If these are no such bytes.
    """
    if text is None:
        return None
    ids = json.loads(text.numpy().tobytes())
    if not isinstance(ids, list):
        raise ValueError(f"original ids need to be a JSON list (got {ids!r})")
    return ids
