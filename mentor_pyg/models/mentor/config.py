"""Settings of MENTOR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive, Share
from mentor_pyg.losses import Statistics
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.nn import AlignmentLevel
from mentor_pyg.typing import Modality

__all__ = ["MENTORConfig", "Semantics"]

Semantics = Literal["paper", "released"]


@dataclass(frozen=True, kw_only=True)
class MENTORConfig(FeatureConfig):
    """Settings of :class:`~mentor_pyg.models.MENTOR`, with the published values.

    A loss whose weight is 0 is not computed.
    """

    semantics: Semantics = "paper"
    """``"paper"``: the method of the paper. ``"released"``: what its public code computes."""
    num_layers: Count = 2
    """Layers of propagation over the interactions."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs; for all modalities, or for each."""
    modality_weights: Mapping[Modality, AtLeastZero] | None = None
    """Weights of the item graphs in the merged one. By default 0.1 visual and 0.9 textual where
    these two are the modalities, as published for Amazon, and equal weights otherwise."""
    num_item_layers: Count = 1
    """Times that the item graph is applied."""
    item_graph: bool = True
    """Whether items are enhanced over the item graph."""
    id_guidance: bool = True
    """Whether there is an ID view for the modalities to align with."""
    id_encoder: Literal["mlp", "table"] = "mlp"
    """Whether the items' ID table goes through an MLP, as features do, or is the view itself."""
    id_in_score: bool = False
    """Whether the fused view, which ranks, has the ID view beside the modalities."""
    align_levels: tuple[AlignmentLevel, ...] = tuple(AlignmentLevel)
    """The levels of alignment."""
    statistics: Statistics = "scalar"
    """What alignment summarises a view by: one mean and variance, or ``"dimension"``, one per
    column, which the paper leaves open."""
    align_weight: AtLeastZero = 0.1
    """Weight of the alignment."""
    mask_weight: AtLeastZero = 1.5
    """Weight of feature masking."""
    mask_ratio: Share = 0.5
    """Share of entries that feature masking drops."""
    perturb_weight: AtLeastZero = 1e-3
    """Weight of graph perturbation."""
    noise_scale: AtLeastZero = 0.1
    """Length of the noise after every layer of a perturbed view."""
    temperature: Positive = 0.2
    """Temperature of the contrast between perturbed views."""
    contrast: Literal["full", "batch"] = "full"
    """``"full"``: all users and items are negatives, exactly. ``"batch"``: those of the batch."""
    reg_weight: AtLeastZero = 1e-3
    """Weight of the penalty on preferences and modality weights."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id_in_score and not self.id_guidance:
            raise ValueError("'id_in_score' needs the ID view; leave 'id_guidance' on")
