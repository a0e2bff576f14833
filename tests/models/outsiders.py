"""Models from outside of the library that ask more of the protocol than its own do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from mentor_pyg.data import Batch, Inputs, Representations, Scorer, Sizes
from mentor_pyg.graph import interaction_adjacency
from mentor_pyg.losses import bpr_loss
from mentor_pyg.models import BPRMF, Draws, LightGCN, ModelConfig, Objective, Recommender, register


@register
class PrunedLightGCN(LightGCN):
    """Propagates over another half of the interactions in every epoch, and over all to rank."""

    name = "pruned_lightgcn"

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        edge_index = inputs.interactions
        size = edge_index.size(1)
        kept = torch.randperm(size, generator=generator, device=edge_index.device)[: size // 2]
        graph = interaction_adjacency(edge_index[:, kept], self.num_users, self.num_items)
        return inputs.with_graphs(interaction=graph)


def sgd(parameters: Sequence[nn.Parameter], lr: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


@register
class AdversarialMF(BPRMF):
    """A critic tells users from items, by an optimiser of its own; the tables try to fool it."""

    name = "adversarial_mf"

    def __init__(self, sizes: Sizes, config: ModelConfig | None = None) -> None:
        super().__init__(sizes, config)
        self.critic = nn.Linear(self.config.embedding_dim, 1)

    def guesses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        user = F.embedding(batch.user, self.user_embedding)
        item = F.embedding(batch.pos_item, self.item_embedding)
        return self.critic(user).sigmoid().mean(), self.critic(item).sigmoid().mean()

    def critic_terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        user, item = self.guesses(batch)
        return {"critic": item - user}

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        user, item = self.guesses(batch)
        return {**super().terms(inputs, batch, draws), "fool": 0.1 * (user - item)}

    def objectives(self) -> tuple[Objective, ...]:
        tables = [self.user_embedding, self.item_embedding]
        critic = list(self.critic.parameters())
        return Objective(self.critic_terms, critic, sgd), Objective(self.terms, tables)


class NegativeDistances:
    """Scores that are no dot products: the closer the better."""

    def __init__(self, reps: Representations) -> None:
        self.user, self.item = reps.user["fused"], reps.item["fused"]
        self.num_users, self.num_items = len(self.user), len(self.item)

    def scores(self, user: Tensor) -> Tensor:
        return -torch.cdist(self.user[user], self.item)


@register
class MetricMF(BPRMF):
    """Ranks by distance, and has views of users that items do not have."""

    name = "metric_mf"

    def represent(self, inputs: Inputs) -> Representations:
        reps = super().represent(inputs)
        return Representations({**reps.user, "friends": self.user_embedding[:, :2]}, reps.item)

    def scorer(self, inputs: Inputs) -> Scorer:
        return NegativeDistances(self.represent(inputs))

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        user = F.embedding(batch.user, self.user_embedding)
        near, far = (
            -(user - F.embedding(item, self.item_embedding)).norm(dim=1)
            for item in (batch.pos_item, batch.neg_item)
        )
        return {"near": bpr_loss(near, far)}


OUTSIDERS: tuple[type[Recommender], ...] = (PrunedLightGCN, AdversarialMF, MetricMF)
