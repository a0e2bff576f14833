"""What each view of a model adds to a score, where a score is a sum over views."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise, permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.data import FUSED, Representations
from mentor_pyg.typing import View

__all__ = ["ScoreParts", "score_parts"]


@dataclass(frozen=True)
class ScoreParts:
    """A split of the items' fused rows whose parts' scores sum to the score.

    Args:
        columns: Which columns of a user's fused row a view's part meets, first and after last.
        item: The part of every item ``[num_items, columns]``, by view.
    """

    columns: dict[View, tuple[int, int]]
    item: dict[View, Tensor]

    def of(self, query: Tensor, item: int) -> dict[View, float]:
        """Return what each view adds to the score of an item for a query ``[width]``."""
        return {
            view: float(query[first:last] @ self.item[view][item])
            for view, (first, last) in self.columns.items()
        }


def score_parts(reps: Representations) -> ScoreParts | None:
    """Return what the views of the items add to scores, or ``None`` where it cannot be said.

    It can where the fused rows of the items are views side by side (MENTOR, GRCN, PGL, COHESION)
    or the sum or mean of views (MMGCN, DualGNN), whatever the users' rows and the rows' lengths.
    It cannot where views are mixed by attention or gates (MGCN, GUME, SMORE), or where there is
    only the fused one (MENTORPlus, LightGCN).
    """
    fused = reps.item[FUSED]
    views = {view: x for view, x in reps.item.items() if view != FUSED}
    for count in range(2, len(views) + 1):
        for names in permutations(views, count):
            joined = [views[name] for name in names]
            if sum(x.size(1) for x in joined) == fused.size(1) and _same(
                torch.cat(joined, 1), fused
            ):
                ends = pairwise(accumulate((x.size(1) for x in joined), initial=0))
                columns = dict(zip(names, ends, strict=True))
                return ScoreParts(columns, {v: fused[:, a:b] for v, (a, b) in columns.items()})
        for names in combinations(views, count):
            added = [views[name] for name in names]
            if any(x.shape != fused.shape for x in added):
                continue
            total = torch.stack(added).sum(dim=0)
            if _same(total, fused):
                scale = fused.norm(dim=1, keepdim=True) / total.norm(dim=1, keepdim=True)
                parts = {name: views[name] * scale.nan_to_num() for name in names}
                return ScoreParts(dict.fromkeys(names, (0, fused.size(1))), parts)
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether rows are the same but for their lengths."""
    return torch.allclose(F.normalize(a), F.normalize(b), atol=1e-5)
