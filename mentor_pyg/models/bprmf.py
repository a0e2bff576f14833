"""Matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mentor_pyg.config import AtLeastZero
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes
from mentor_pyg.models.base import ModelConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register

__all__ = ["BPRMF", "BPRMFConfig"]


@dataclass(frozen=True, kw_only=True)
class BPRMFConfig(ModelConfig):
    """Settings of :class:`BPRMF`."""

    reg_weight: AtLeastZero = 1e-4
    """Weight of the batch's squared embeddings."""


@register
class BPRMF(EmbeddingRecommender):
    r"""Users and items as two embedding tables, ranked by their dot product.

    From `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_.

    Args:
        sizes: The numbers of users and items.
        config: The settings.
    """

    name = "bprmf"
    Config = BPRMFConfig
    uses_features = False
    config: BPRMFConfig

    def __init__(self, sizes: Sizes, config: BPRMFConfig | None = None) -> None:
        super().__init__(sizes, config)
        self.reset_parameters()

    def represent(self, inputs: Inputs) -> Representations:
        """Return the two tables as the fused view."""
        return Representations({FUSED: self.user_embedding}, {FUSED: self.item_embedding})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        return {
            **ranking_terms(self.represent(inputs), batch, self.config),
            "reg": self.config.reg_weight * self.embedding_penalty(batch),
        }

    def embedding_penalty(self, batch: Batch) -> Tensor:
        """Return half the squared length of the batch's embeddings, averaged over the batch.

        Negatives count where the ranking loss looks at them.
        """
        return batch_penalty(self.user_embedding, self.item_embedding, batch, self.config)
