"""BM3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastZero, Count, Share
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import cosine_loss
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation, ModalityProjection

__all__ = ["BM3", "BM3Config"]


@dataclass(frozen=True, kw_only=True)
class BM3Config(FeatureConfig):
    """Settings of :class:`BM3`; the paper chooses layers, dropout and penalty per dataset."""

    num_layers: Count = 1
    """Layers of propagation; published are 1 and 2."""
    mask_ratio: Share = 0.3
    """Share of entries that targets lose; published are 0.3 and 0.5."""
    modality_loss_weight: AtLeastZero = 2.0
    """Weight of the two losses of the modalities, as in the public code."""
    reg_weight: AtLeastZero = 0.1
    """Weight of the penalty on users and items; published are 0.1 and 0.01."""
    penalty: Literal["length", "squares"] = "length"
    """``"length"``: the lengths of all users and of all items, each as one vector, by the number
    of items, as in the public code, which the published weights are for. ``"squares"``: the
    squared lengths of the batch's users and items, as in the paper, averaged over the batch."""
    ranking_weight: AtLeastZero | None = None
    """Weight of a ranking loss, which the method is without. By default 0 where ``ranking_loss``
    is left at ``"bpr"``, so that there is none, and 1 where it is ``"softmax"``."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    features_need = "modality_loss_weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ranking_loss == "softmax" and self.ranking_weight == 0:
            raise ValueError(
                "'ranking_weight' needs to be above 0 with ranking_loss='softmax', which says what "
                "ranks (got 0.0); leave 'ranking_loss' out for BM3 as published"
            )


@register
class BM3(EmbeddingRecommender):
    r"""Users, items and modalities that predict each other's masked views, without negatives.

    From `"Bootstrap Latent Representations for Multi-modal Recommendation"
    <https://arxiv.org/abs/2207.05969>`_. With the tables :math:`\mathbf{x}`, the normalised graph
    :math:`\hat{\mathbf{A}}`, one predictor :math:`\tilde{\mathbf{h}} = \mathbf{W}_p \mathbf{h} +
    \mathbf{b}_p` for all, and targets :math:`\dot{\mathbf{h}}` that have entries dropped and no
    gradient,

    .. math::
        \hat{\mathbf{h}} = \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}^l \mathbf{x}, \qquad
        \mathbf{h}_u = \hat{\mathbf{h}}_u, \qquad
        \mathbf{h}_i = \hat{\mathbf{h}}_i + \mathbf{x}_i, \qquad
        \mathbf{h}_i^m = \mathbf{W}_m \mathbf{f}_i^m + \mathbf{b}_m

    .. math::
        \mathcal{L} = \mathrm{mean}_{(u, i)} \, C(\tilde{\mathbf{h}}_u, \dot{\mathbf{h}}_i) +
        C(\tilde{\mathbf{h}}_i, \dot{\mathbf{h}}_u) + w \sum_m \left( C(\tilde{\mathbf{h}}_i^m,
        \dot{\mathbf{h}}_i) + C(\tilde{\mathbf{h}}_i^m, \dot{\mathbf{h}}_i^m) \right) +
        \lambda \, \mathrm{penalty}(\mathbf{h}), \qquad C = 1 - \cos

    Scores are the dot products :math:`\tilde{\mathbf{h}}_u \cdot \tilde{\mathbf{h}}_i`: the fused
    view is what the predictor gives, and the view ``"id"`` is :math:`\mathbf{h}`. The sum over
    :math:`m` leaves out items that lack the modality, and its mean is over those that have it.

    The method has no ranking loss. With ``ranking_loss="softmax"``, or with a ``ranking_weight``,
    one of its scores is added; only BPR looks at negatives.

    Its random numbers are ``"keep/user"``, ``"keep/item"`` and ``"keep/<modality>"``, which
    entries of the targets of a batch are kept (bool ``[batch, d]``).

    The public code trains the features themselves too, from the data as they start; here they
    are data. It drops entries of all users and items at once, so that one that is twice in a
    batch has one target; here it has two.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "bm3"
    Config = BM3Config
    config: BM3Config

    def __init__(self, sizes: Sizes, config: BM3Config | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.projections = nn.ModuleDict(
            {m: ModalityProjection(c, dim) for m, c in sizes.channels.items()}
        )
        self.predictor = nn.Linear(dim, dim)
        self.propagation = LayeredPropagation(
            config.num_layers, layer_readout="mean", backend=config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; biases start as zero."""
        super().reset_parameters()
        nn.init.xavier_normal_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)
        for module in self.modules():
            if isinstance(module, ModalityProjection):
                module.reset_parameters()

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of the interactions."""
        return {"interaction": self.interaction_graph(data)}

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, what is predicted, and ``"id"``, what from."""
        return self.predicted(*self.propagated(inputs))

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the weighted terms ``reconstruct``, ``align``, ``mask`` and ``reg``.

        Where there is a ranking loss, ``bpr`` or ``softmax``, it is with them.
        """
        user, item = self.propagated(inputs)
        batch_user = F.embedding(batch.user, user)  # [batch, d]
        batch_item = F.embedding(batch.pos_item, item)
        user_target = self.target(batch_user, draws, "user")
        item_target = self.target(batch_item, draws, "item")
        reconstruct = cosine_loss(self.predictor(batch_user), item_target)
        reconstruct = reconstruct + cosine_loss(self.predictor(batch_item), user_target)
        align, mask = self.modality_losses(inputs, batch, item_target, draws)
        terms = {
            "reconstruct": reconstruct,
            "align": self.config.modality_loss_weight * align,
            "mask": self.config.modality_loss_weight * mask,
            "reg": self.config.reg_weight * self.penalty(user, item, batch),
        }
        if weight := self.ranking_weight():
            ranking = ranking_terms(self.predicted(user, item), batch, self.config)
            terms |= {name: weight * term for name, term in ranking.items()}
        return terms

    def propagated(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return users ``[num_users, d]`` and items ``[num_items, d]`` before the predictor."""
        h = self.propagation(self.ids, inputs.graphs["interaction"])
        user, item = h.split([self.num_users, self.num_items])
        return user, item + self.item_embedding

    def predicted(self, user: Tensor, item: Tensor) -> Representations:
        """Return the views of users and items that :meth:`propagated` gave."""
        return Representations(
            {FUSED: self.predictor(user), ID: user}, {FUSED: self.predictor(item), ID: item}
        )

    def target(self, rows: Tensor, draws: Draws, name: str) -> Tensor:
        """Return rows ``[batch, d]`` with entries dropped, without gradient."""
        rows = rows.detach()  # The cosine does not see dropout's rescaling.
        return rows * draws.keep(f"keep/{name}", rows, self.config.mask_ratio)

    def modality_losses(
        self, inputs: Inputs, batch: Batch, item_target: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the modalities against items and against themselves, as sums.

        Args:
            inputs: The inputs.
            batch: The batch, whose positive items are looked at.
            item_target: Their targets ``[batch, d]``.
            draws: Where random numbers come from.
        """
        align = mask = item_target.new_zeros(())
        if not self.config.modality_loss_weight:
            return align, mask
        for modality, projection in self.projections.items():
            rows = projection(inputs.features[modality][batch.pos_item])
            present = inputs.present.get(modality)
            if present is not None:
                present = present[batch.pos_item]
            prediction = self.predictor(rows)
            align = align + cosine_loss(prediction, item_target, present)
            mask = mask + cosine_loss(prediction, self.target(rows, draws, modality), present)
        return align, mask

    def penalty(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """Return the penalty on all users and items, or on the batch's, as the settings say."""
        if self.config.penalty == "length":
            return (user.norm() + item.norm()) / self.num_items
        rows = F.embedding(batch.user, user), F.embedding(batch.pos_item, item)
        return torch.stack([row.square().sum() for row in rows]).sum() / batch.user.numel()

    def ranking_weight(self) -> float:
        """Return the weight of the ranking loss; 0 where there is none."""
        if self.config.ranking_weight is not None:
            return self.config.ranking_weight
        return 1.0 if self.config.ranking_loss == "softmax" else 0.0
