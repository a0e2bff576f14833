"""VBPR."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mentor_pyg.config import AtLeastZero
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import ModalityProjection

__all__ = ["VBPR", "VBPRConfig"]


@dataclass(frozen=True, kw_only=True)
class VBPRConfig(FeatureConfig):
    """Settings of :class:`VBPR`; the paper chooses the penalties per dataset.

    ``embedding_dim`` is the width of the ids' factors and, once more, of the features' factors.
    """

    reg_weight: AtLeastZero = 1e-4
    """Weight of the batch's squared factors and biases."""
    projection_reg_weight: AtLeastZero = 0.0
    """Weight of the squared projections of features, and of their bias; 0 leaves it out."""
    item_bias: bool | None = None
    """Whether items have a bias, of their own and of their features. By default they do, as in
    the paper, except where cosines rank, to which a bias is one more column."""
    unit_features: bool | None = None
    """Whether features are scaled to unit length, item by item. By default they are where cosines
    rank: projected as they come, long features are nearly all of a row's length at the start, so
    that ids are slow to learn. BPR takes them as they come, as the paper does."""

    @property
    def ranks_by_cosines(self) -> bool:
        """Whether the fused rows are compared by their directions alone."""
        return self.ranking_loss == "softmax" and self.ranking_similarity == "cosine"


@register
class VBPR(EmbeddingRecommender):
    r"""Matrix factorisation with factors that are projected from item features.

    From `"VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1510.01784>`_, with any modalities :math:`m` beside each other:

    .. math::
        s_{ui} = \beta_i + \gamma_u \cdot \gamma_i +
        \theta_u \cdot \sum_m \mathbf{E}_m \mathbf{f}_i^m + \sum_m \beta'_m \cdot \mathbf{f}_i^m

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_{(u, i, j)} - \log \sigma(s_{ui} - s_{uj}) +
        \frac{\lambda}{2} \left( \|\gamma_u\|^2 + \|\theta_u\|^2 + \sum_{n \in \{i, j\}}
        (\|\gamma_n\|^2 + \beta_n^2) \right) + \frac{\lambda_E}{2} \sum_m \left(
        \|\mathbf{E}_m\|^2 + \|\beta'_m\|^2 \right)

    The fused view is :math:`(\gamma_u, \theta_u, 1)` of users and :math:`(\gamma_i, \sum_m
    \mathbf{E}_m \mathbf{f}_i^m, \beta_i + \sum_m \beta'_m \cdot \mathbf{f}_i^m)` of items, so that
    the score is a dot product. The paper's offset and user biases change no ranking and are left
    out. Of a modality that an item lacks there are no terms; an item without any is one of
    matrix factorisation.

    Where cosines rank, which is not in the paper, features are of unit length
    (``unit_features``) and there are no biases.

    The field's public code has no biases of items (``item_bias=False``) but one constant in the
    projection, which changes no ranking; it penalises lengths, not their squares, and of the
    projected features rather than of the projection.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "vbpr"
    Config = VBPRConfig
    config: VBPRConfig

    def __init__(self, sizes: Sizes, config: VBPRConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim

        def projections(width: int) -> nn.ModuleDict:
            channels = sizes.channels.items()
            return nn.ModuleDict({m: ModalityProjection(c, width, bias=False) for m, c in channels})

        self.user_feature_embedding = nn.Parameter(torch.empty(self.num_users, dim))
        self.projections = projections(dim)
        has_bias = config.item_bias
        if has_bias is None:
            has_bias = not config.ranks_by_cosines
        self.item_bias = nn.Parameter(torch.empty(self.num_items, 1)) if has_bias else None
        self.feature_biases = projections(1) if has_bias else None
        self.has_unit_features = config.unit_features
        if self.has_unit_features is None:
            self.has_unit_features = config.ranks_by_cosines
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; biases start as zero."""
        super().reset_parameters()
        nn.init.xavier_uniform_(self.user_feature_embedding)
        for projection in self.projections.parameters():
            nn.init.xavier_normal_(projection)
        if self.item_bias is not None and self.feature_biases is not None:
            for bias in (self.item_bias, *self.feature_biases.parameters()):
                nn.init.zeros_(bias)

    def represent(self, inputs: Inputs) -> Representations:
        """Return the fused view, ids beside projected features, and the bias if there is one."""
        user: list[Tensor] = [self.user_embedding, self.user_feature_embedding]
        item: list[Tensor] = [self.item_embedding, self.summed(self.projections, inputs)]
        if self.item_bias is not None and self.feature_biases is not None:
            user.append(self.item_bias.new_ones(self.num_users, 1))
            item.append(self.item_bias + self.summed(self.feature_biases, inputs))
        return Representations({FUSED: torch.cat(user, dim=1)}, {FUSED: torch.cat(item, dim=1)})

    def summed(self, projections: nn.ModuleDict, inputs: Inputs) -> Tensor:
        """Return the sum of projections over the modalities that an item has ``[num_items, d]``."""
        projected = []
        for modality, projection in projections.items():
            x = inputs.features[modality]
            x = F.normalize(x) if self.has_unit_features else x
            projected.append(projection(x, inputs.present.get(modality)))
        return torch.stack(projected).sum(dim=0)

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        reg = self.config.reg_weight * self.embedding_penalty(batch)
        if self.config.projection_reg_weight:
            reg = reg + self.config.projection_reg_weight * self.projection_penalty()
        return {**ranking_terms(self.represent(inputs), batch, self.config), "reg": reg}

    def embedding_penalty(self, batch: Batch) -> Tensor:
        """Return half the squared length of the batch's factors and biases, averaged over it."""
        users = [self.user_embedding, self.user_feature_embedding]
        items = [t for t in (self.item_embedding, self.item_bias) if t is not None]
        return batch_penalty(users, items, batch, self.config)

    def projection_penalty(self) -> Tensor:
        """Return half the squared length of what features are multiplied by."""
        found = [m.weight for m in self.modules() if isinstance(m, ModalityProjection)]
        return torch.stack([weight.square().sum() for weight in found]).sum() / 2
