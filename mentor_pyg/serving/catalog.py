"""What requests ask of an export, by original ids."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mentor_pyg.export import Export, FoldIn, best_items

__all__ = ["Catalog", "UnknownIdError"]

_WORDS = 12  # A title is found by each of its first words.
_LONGEST = 200
"""Characters of a title that are compared, twice as many as a request may have."""
_START = re.compile(r"(?<!\S)\S|\b\w")
"""Where a word begins: after space, or after its own punctuation."""


class UnknownIdError(LookupError):
    """A user or an item that the export does not have; the message names it."""


class Catalog:
    """Answers of one export, as plain values that JSON can hold. It never changes.

    Args:
        export: The export.
    """

    def __init__(self, export: Export) -> None:
        self.export = export
        self.version = export.version
        self._number = {
            "user": {one: n for n, one in enumerate(export.user_id)},
            "item": {one: n for n, one in enumerate(export.item_id)},
        }
        titles = [one["title"] for one in export.details]
        self._prefixes = {
            "user": _Prefixes(export.user_id, [None] * len(export.user_id)),
            "item": _Prefixes(export.item_id, titles),
        }
        self._fold_in = FoldIn(export.tables)
        self._length = export.tables.item.norm(dim=1).clamp(min=1e-12)

    def for_user(self, user: str, k: int) -> list[dict[str, Any]]:
        """Return the best items that a user has not seen.

        Raises:
            UnknownIdError: If there is no such user.
        """
        return self._scored(*self._best(*self._of_user(user), k))

    def for_items(self, items: Sequence[str], k: int) -> list[dict[str, Any]]:
        """Return the best items for somebody who chose some, these left out.

        Raises:
            UnknownIdError: If there is no such item.
        """
        return self._scored(*self._best(*self._of_items(items), k))

    def similar(self, item: str, k: int) -> list[dict[str, Any]]:
        """Return the items whose rows are nearest to an item's by cosine.

        Raises:
            UnknownIdError: If there is no such item.
        """
        number, table = self._find("item", item), self.export.tables.item
        score = (table @ table[number]) / (self._length * self._length[number])
        score[number] = -torch.inf
        best, found = score.topk(min(k, score.numel() - 1))
        return self._scored(found, best)

    def search(self, kind: Literal["item", "user"], text: str, k: int) -> list[dict[str, Any]]:
        """Return users or items whose id, or a part of whose title from a word on, begins so."""
        found = self._prefixes[kind].find(text, k)
        if kind == "user":
            return [{"id": self.export.user_id[number]} for number in found]
        return [self._described(number) for number in found]

    def why(
        self, item: str, user: str | None = None, items: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return what stands behind an item: its nearest items and, for somebody, its score.

        Args:
            item: The item.
            user: For this user, or
            items: for somebody who chose these.

        Raises:
            UnknownIdError: If there is no such user or item.
        """
        number, export = self._find("item", item), self.export
        chosen: set[int] = set()
        answer: dict[str, Any] = {**self._described(number), "score": None, "views": None}
        if user is not None or items is not None:
            query, seen = self._of_items(items or ()) if user is None else self._of_user(user)
            chosen = set(seen.tolist())
            answer["score"] = float(export.tables.item[number] @ query)
            answer["views"] = export.parts and export.parts.of(query, number)
        answer["neighbours"] = self._neighbours(number, chosen)
        near = export.neighbours
        answer["graph"] = near and {
            "from_model": near.from_model,
            "modality_weights": near.weights,
        }
        return answer

    def _of_user(self, user: str) -> tuple[Tensor, Tensor]:
        """Return a user's row ``[width]`` and what they have seen ``[num_seen]``."""
        number, tables = self._find("user", user), self.export.tables
        first, last = tables.seen.start[number : number + 2].tolist()
        return tables.user[number], tables.seen.item[first:last]

    def _of_items(self, items: Sequence[str]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor([self._find("item", one) for one in items])
        return self._fold_in(chosen), chosen

    def _best(self, query: Tensor, without: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return best_items(self.export.tables.item, query, k, without, self.export.index)

    def _find(self, kind: Literal["item", "user"], one: str) -> int:
        number = self._number[kind].get(one)
        if number is None:
            raise UnknownIdError(f"there is no {kind} {one!r}")
        return number

    def _described(self, number: int) -> dict[str, Any]:
        return {"id": self.export.item_id[number], **self.export.details[number]}

    def _scored(self, items: Tensor, scores: Tensor) -> list[dict[str, Any]]:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        return [{**self._described(number), "score": score} for number, score in pairs]

    def _neighbours(self, number: int, chosen: set[int]) -> list[dict[str, Any]]:
        if (near := self.export.neighbours) is None:
            return []
        parts = {modality: table[number].tolist() for modality, table in near.parts.items()}
        return [
            {
                **self._described(other),
                "chosen": other in chosen,
                "modalities": {modality: values[rank] for modality, values in parts.items()},
            }
            for rank, other in enumerate(near.item[number].tolist())
            if other >= 0
        ]


class _Prefixes:
    """Ids and titles, sorted, in which those that begin with a text are found by bisection."""

    def __init__(self, ids: Sequence[str], titles: Sequence[str | None]) -> None:
        keys = [(_folded(one), n) for n, one in enumerate(ids)]
        for n, title in enumerate(titles):
            words = _folded(title or "").split()
            text, head = " ".join(words), " ".join(words[:_WORDS])
            starts = [word.start() for word in _START.finditer(head)]
            keys += [(text[start : start + _LONGEST], n) for start in starts]
        keys.sort()
        self._texts = [text for text, _ in keys]
        self._numbers = [n for _, n in keys]

    def find(self, text: str, k: int) -> list[int]:
        """Return at most ``k`` numbers, each once."""
        text = " ".join(_folded(text).split())
        found: dict[int, None] = {}
        for place in range(bisect_left(self._texts, text), len(self._texts)):
            if not text or len(found) == k or not self._texts[place].startswith(text):
                break
            found[self._numbers[place]] = None
        return list(found)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
