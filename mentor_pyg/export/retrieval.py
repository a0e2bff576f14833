"""The best items for a query, by all items' scores or through an index."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from mentor_pyg.dependencies import require

__all__ = ["IndexKind", "ItemIndex", "best_items", "index_recall"]

IndexKind: TypeAlias = Literal["exact", "hnsw", "ivfpq"]

_OVERSAMPLE = 4  # Candidates of an approximate index for each item wanted; the best ones stay.
_POINTS = 39  # The fewest points that FAISS's k-means wants for each centroid.


def best_items(
    item: Tensor, query: Tensor, k: int, without: Tensor, index: ItemIndex | None = None
) -> tuple[Tensor, Tensor]:
    """Return the items with the greatest dot products with a query, best first.

    Args:
        item: Items ``[num_items, width]``.
        query: What to compare them with ``[width]``.
        k: The number of items.
        without: Items to leave out ``[num_without]``.
        index: Where to look for candidates, whose scores are then exact; without it, or where it
            finds too few, all items.

    Returns:
        Item ids and scores, at most ``[k]``: fewer where fewer items are left.
    """
    if index is not None:
        found = index.candidates(query, k + without.numel())
        found = found[~torch.isin(found, without)]
        if found.numel() >= k:
            score, order = (item[found] @ query).topk(k)
            return found[order], score
    score = item @ query
    score[without] = -torch.inf
    best, found = score.topk(min(k, score.numel()))
    left = best > -torch.inf
    return found[left], best[left]


@dataclass(frozen=True)
class ItemIndex:
    """A FAISS index of item rows by dot product.

    Args:
        kind: ``"exact"`` compares with all rows; ``"hnsw"`` walks a graph of near ones;
            ``"ivfpq"`` compares with compressed rows of near clusters, in a fraction of the memory.
        index: The index.
    """

    kind: IndexKind
    index: Any

    @classmethod
    def build(cls, kind: IndexKind, item: Tensor) -> Self:
        """Index items ``[num_items, width]``, with sizes that fit their number.

        HNSW has 32 neighbours a node. IVF-PQ has about 4 sqrt(num_items) clusters, of which an
        eighth is searched, and a code of up to 8 bits for every 4 columns; both as far as there
        are 39 items for each centroid.

        Raises:
            MissingPackageError: If FAISS is not installed.
            ValueError: If the kind is unknown, or there are too few items for it.
        """
        if kind not in get_args(IndexKind):
            raise ValueError(f"'index' needs to be one of {get_args(IndexKind)} (got {kind!r})")
        faiss = _faiss()
        rows, width = item.shape
        if kind == "exact":
            index = faiss.IndexFlatIP(width)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 200
        else:
            if rows < 2 * _POINTS:
                raise ValueError(
                    f"'index' ivfpq needs at least {2 * _POINTS} items (got {rows}); take exact"
                )
            lists = max(1, min(int(4 * math.sqrt(rows)), rows // _POINTS))
            bits = min(8, int(math.log2(rows / _POINTS)))
            codes = max(n for n in range(1, max(1, width // 4) + 1) if width % n == 0)
            index = faiss.IndexIVFPQ(
                faiss.IndexFlatIP(width), width, lists, codes, bits, faiss.METRIC_INNER_PRODUCT
            )
            index.nprobe = max(1, lists // 8)
        table = item.detach().float().contiguous().numpy()
        index.train(table)
        index.add(table)
        return cls(kind, index)

    @classmethod
    def from_bytes(cls, kind: IndexKind, data: bytes) -> Self:
        """Read what :meth:`to_bytes` gave."""
        return cls(kind, _faiss().deserialize_index(np.frombuffer(data, dtype=np.uint8)))

    def to_bytes(self) -> bytes:
        """Return the index as FAISS writes it."""
        return _faiss().serialize_index(self.index).tobytes()

    def parameters(self) -> dict[str, int]:
        """Return the sizes that were chosen."""
        if self.kind == "hnsw":
            return {"neighbours": 32, "efConstruction": self.index.hnsw.efConstruction}
        if self.kind == "ivfpq":
            pq = self.index.pq
            return {
                "clusters": self.index.nlist,
                "searched": self.index.nprobe,
                "codes": pq.M,
                "bits": pq.nbits,
            }
        return {}

    def candidates(self, query: Tensor, count: int) -> Tensor:
        """Return at least ``count`` items that are likely to be a query's best, as far as found."""
        wanted, options = count, {}
        if self.kind != "exact":
            wanted *= _OVERSAMPLE
        wanted = min(wanted, self.index.ntotal)
        if self.kind == "hnsw":
            options["params"] = _faiss().SearchParametersHNSW(efSearch=max(128, wanted))
        row = query.detach().float().reshape(1, -1).numpy()
        found = self.index.search(row, wanted, **options)[1][0]
        return torch.from_numpy(found[found >= 0])


def index_recall(index: ItemIndex, user: Tensor, item: Tensor, k: int) -> float:
    """Return the share of users' exact best items that are found through an index.

    Args:
        index: The index of ``item``.
        user: Users ``[num_users, width]``, of whom at most 1,000 are asked, evenly spread.
        item: Items ``[num_items, width]``.
        k: The number of items.
    """
    nothing = torch.empty(0, dtype=torch.long)
    hits = total = 0
    for query in user[:: max(1, -(-user.size(0) // 1000))]:
        truth = best_items(item, query, k, nothing)[0]
        hits += int(torch.isin(best_items(item, query, k, nothing, index)[0], truth).sum())
        total += truth.numel()
    return hits / total


def _faiss() -> Any:
    require("faiss", extra="faiss", purpose="An index of items")
    return importlib.import_module("faiss")
