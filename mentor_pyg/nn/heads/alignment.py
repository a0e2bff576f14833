"""Multilevel cross-modal alignment."""

import itertools
from collections.abc import Iterable
from enum import StrEnum

from torch import Tensor, nn

from mentor_pyg.data import FUSED, ID, Representations
from mentor_pyg.losses import Moments, Statistics, gaussian_alignment_loss, moments
from mentor_pyg.typing import View

__all__ = ["AlignmentLevel", "CrossModalAlignment"]


class AlignmentLevel(StrEnum):
    """Which pairs of views are pulled together."""

    ID_FUSED = "id_fused"
    ID_MODALITY = "id_modality"
    FUSED_MODALITY = "fused_modality"
    MODALITY_MODALITY = "modality_modality"


class CrossModalAlignment(nn.Module):
    r"""Pull together the distributions of views, level by level.

    Every view is summarised by a Gaussian over all users and items, and a pair of views costs
    :math:`|\mu_a - \mu_b| + |\sigma^2_a - \sigma^2_b|`. From section "Multilevel Cross-Modal
    Alignment" of `MENTOR <https://arxiv.org/abs/2402.19407>`_. A narrow view meets the fused
    one as copies of itself, one beside each modality's columns.

    Args:
        levels: The levels to use; all by default.
        statistics: ``"dimension"`` takes a mean and variance per column and averages the cost
            over columns. ``"scalar"`` takes one of each over all entries, narrow views counted
            as often as the fused view has modalities: what MENTOR's released code does.

    Shapes:
        - **input:** :class:`~mentor_pyg.data.Representations`
        - **output:** per level a scalar, the sum over its pairs
    """

    def __init__(
        self,
        levels: Iterable[AlignmentLevel | str] = tuple(AlignmentLevel),
        statistics: Statistics = "dimension",
    ) -> None:
        super().__init__()
        self.levels = tuple(_level(level) for level in levels)
        self.statistics: Statistics = statistics

    def pairs(self, level: AlignmentLevel, views: Iterable[View]) -> list[tuple[View, View]]:
        """Return the pairs of ``views`` that a level aligns."""
        views = tuple(views)
        modalities = [v for v in views if v not in (ID, FUSED)]
        pairs: list[tuple[View, View]]
        if level == AlignmentLevel.ID_FUSED:
            pairs = [(ID, FUSED)]
        elif level == AlignmentLevel.ID_MODALITY:
            pairs = [(ID, m) for m in modalities]
        elif level == AlignmentLevel.FUSED_MODALITY:
            pairs = [(FUSED, m) for m in modalities]
        else:
            pairs = list(itertools.combinations(modalities, 2))
        return [(a, b) for a, b in pairs if a in views and b in views]

    def forward(self, reps: Representations) -> dict[AlignmentLevel, Tensor]:
        """Return every level's cost; a level without pairs costs 0."""
        pairs = {level: self.pairs(level, reps.views) for level in self.levels}
        needed = {view for level in pairs.values() for pair in level for view in pair}
        summary = {view: self._summary(reps, view) for view in needed}
        zero = reps.user[FUSED].new_zeros(())
        return {
            level: sum((gaussian_alignment_loss(summary[a], summary[b]) for a, b in ab), zero)
            for level, ab in pairs.items()
        }

    def _summary(self, reps: Representations, view: View) -> Moments:
        nodes = reps.nodes(view)  # [num_users + num_items, width]
        width = reps.user[FUSED].size(1)
        copies, rest = divmod(width, nodes.size(1))
        if rest or not copies:
            raise ValueError(
                f"the view {view!r} needs a width that the fused view's {width} columns are a "
                f"multiple of (got {nodes.size(1)})"
            )
        return moments(nodes, self.statistics, copies=copies).repeat(copies)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"levels={[level.value for level in self.levels]}, statistics={self.statistics!r}"


def _level(level: AlignmentLevel | str) -> AlignmentLevel:
    try:
        return AlignmentLevel(level)
    except ValueError:
        raise ValueError(
            f"'levels' needs names among {[e.value for e in AlignmentLevel]} (got {level!r})"
        ) from None
