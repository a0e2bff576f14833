"""MMSSL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive, Share
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency, ItemLists
from mentor_pyg.losses import info_nce
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.objective import Objective
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import CrossModalAttention, RelationCritic
from mentor_pyg.ops import propagate, rank_items, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["MMSSL", "MMSSLConfig"]

Views = dict[Modality, tuple[Tensor, Tensor]]
"""Users ``[num_users, d]`` and items ``[num_items, d]`` of every modality."""


@dataclass(frozen=True, kw_only=True)
class MMSSLConfig(FeatureConfig):
    """Settings of :class:`MMSSL`, with the values of the authors' public code."""

    num_layers: Count = 2
    """Layers of propagation of the fused ids."""
    num_heads: AtLeastOne = 4
    """Heads of the attention between modalities; a divisor of ``embedding_dim``."""
    k: AtLeastOne = 10
    """Items that a modality relates every user to, beside those of the interactions. The public
    code takes a share of 1e-4 of the items, which is none to two of them."""
    drop_ratio: Share = 0.2
    """Share of entries of the projected features that training drops."""
    attention_weight: AtLeastZero = 0.36
    """How far the ids of a node's related nodes go into its own."""
    modality_weight: AtLeastZero = 0.55
    """How far the features of every modality go into what ranks."""
    contrast_weight: AtLeastZero = 0.03
    """Weight of the contrast of users; at 0 it is not computed."""
    temperature: Positive = 0.5
    """Temperature of the contrast."""
    adversarial_weight: AtLeastZero = 1e-4
    """Weight of fooling the critic; at 0 there is no critic."""
    critic_lr: Positive = 3e-4
    """Learning rate of the critic."""
    critic_dim: AtLeastOne = 64
    """Width of the critic's first layer; the public code has a quarter of the number of items."""
    gradient_penalty: AtLeastZero = 0.3
    """Weight of the penalty on the critic's gradient."""
    relation_scale: AtLeastZero = 100.0
    """How far the fused similarities go into the relations that count as real."""
    noise_scale: AtLeastZero = 2e-3
    """Scale of the Gumbel noise of observed relations; the public code's 1e-5 by its temperature
    of 0.005."""
    reg_weight: AtLeastZero = 1e-5
    """Weight of the batch's squared representations."""
    feature_reg_weight: AtLeastZero = 1e-5
    """Weight of the squared features of all nodes."""
    weight_decay: AtLeastZero = 0.01
    """Weight decay of AdamW, which trains all but the critic."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class MMSSL(EmbeddingRecommender):
    r"""Relations that modalities give, made to look like observed ones, and a contrast across them.

    From `"Multi-Modal Self-Supervised Learning for Recommendation"
    <https://arxiv.org/abs/2302.10632>`_. With :math:`\mathbf{A}_{ui} = 1 / \sqrt{d_u}` and
    :math:`\mathbf{A}_{iu} = 1 / \sqrt{d_i}` for interactions, and features :math:`\mathbf{F}_m`
    that lose entries in training,

    .. math::
        \mathbf{f}_u^m &= \mathbf{A}_{u \cdot}\, \mathrm{drop}(\mathbf{F}_m \mathbf{W}_m +
        \mathbf{b}_m), \qquad \mathbf{f}_i^m = \mathbf{A}_{i \cdot}\, \mathbf{f}^m_{\mathcal{U}} \\
        \mathbf{e}_u^m &= \mathbf{A}^m_{u \cdot} \mathbf{x}_{\mathcal{I}}, \qquad
        \mathbf{e}_i^m = \mathbf{A}^m_{i \cdot} \mathbf{x}_{\mathcal{U}}, \qquad
        \bar{\mathbf{e}} = \mathrm{attend}(\mathbf{e}^1, \mathbf{e}^2, \dots) \\
        \mathbf{h}^{(0)} &= \mathbf{x} + \omega \bar{\mathbf{e}} / \lVert \bar{\mathbf{e}} \rVert,
        \qquad \mathbf{h}_u^{(l)} = \mathbf{A}_{u \cdot} \mathbf{h}_{\mathcal{I}}^{(l-1)}, \qquad
        \mathbf{h}_i^{(l)} = \mathbf{A}_{i \cdot} \mathbf{h}_{\mathcal{U}}^{(l)} \\
        \mathbf{h} &= \mathrm{mean}_l\, \mathbf{h}^{(l)} + \eta \textstyle\sum_m
        \mathbf{f}^m / \lVert \mathbf{f}^m \rVert

    where :math:`\mathbf{A}^m`, normalised likewise, relates every user to the :math:`k` items of
    the highest :math:`\mathbf{f}_u^m \cdot \mathbf{f}_i^m` that it did not interact with, of which
    those of zero, as of nodes that hold nothing in a modality, relate nothing; the last layer goes
    through a softmax over its columns; and *attend* is :class:`~mentor_pyg.nn.CrossModalAttention`.
    Relations are found anew for every epoch, and to rank. Users and items are ranked by the dot
    product of :math:`\mathbf{h}`.

    Two objectives take turns. The critic :math:`D` (:class:`~mentor_pyg.nn.RelationCritic`), by an
    Adam of its own, minimises :math:`D(\mathbf{s}^m_u) - D(\mathbf{r}_u)` and the penalty on its
    gradient between the two, over the batch's users and the modalities. There
    :math:`\mathbf{s}^m_u` are the similarities :math:`\mathbf{f}_u^m \cdot \mathbf{f}_i^m` to
    unseen items, of unit length, and :math:`\mathbf{r}_u` is a softmax of Gumbel noise over the
    user's items plus ``relation_scale`` times the like similarities of :math:`\mathbf{h}`, of unit
    length too. All else, by AdamW, minimises the ranking loss, the squared representations and
    features, :math:`- D(\mathbf{s}^m_u)`, and for every modality the contrast of the batch's users

    .. math::
        - \log \frac{\exp(\cos(\mathbf{e}_u^m, \mathbf{h}_u) / \tau)}{\sum_v
        \exp(\cos(\mathbf{e}_u^m, \mathbf{h}_v) / \tau) + \sum_{v \ne u} \exp(\cos(\mathbf{e}_u^m,
        \mathbf{e}_v^m) / \tau)}

    The rows of the adversary, users times items in the public code, are never formed, here without
    approximation; see the critic.

    Its random numbers are ``"keep/<modality>"`` (bool ``[num_items, d]``), ``"gumbel"``
    (``[num_interactions]``), ``"mix"`` (``[modalities * users, 1]``) and
    ``"keep/critic/<pass>/<layer>"`` for the passes ``real``, ``fake``, ``mixed`` and ``fool``.

    The public code gathers relations in an epoch's first batch and uses them in its third; the
    others have none, so that :math:`\mathbf{e}^m` is zero there, but for the run's first two, which
    have the interactions. Here they last for an epoch, as in the paper, and are found without
    dropout. Its attention multiplies the values of the modality that asks, whatever the keys are,
    so that it is a linear map of each modality; here it is the paper's. Its critic's LeakyReLU has
    the slope 1, so that it is none, and its first layer a quarter of the items squared as weights.
    Its softmax of observed relations is over all items, of which those of a user get a few
    thousandths; here they get all, as in the paper. Users who are twice in a batch count once in
    critic and contrast. As there, the critic standardises real and fake rows each among themselves,
    so that it tells them apart by more than their means.

    An item that lacks a modality starts as zeros there, and holds what its users give it.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mmssl"
    Config = MMSSLConfig
    config: MMSSLConfig

    def __init__(self, sizes: Sizes, config: MMSSLConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.projections = nn.ModuleDict({m: nn.Linear(c, dim) for m, c in sizes.channels.items()})
        self.attention = CrossModalAttention(dim, config.num_heads)
        self.critic: RelationCritic | None = None
        if config.adversarial_weight:
            width, backend = config.critic_dim, config.backend
            self.critic = RelationCritic(self.num_items, width, backend=backend)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for projection in self.projections.values():
            assert isinstance(projection, nn.Linear)
            projection.reset_parameters()
            nn.init.xavier_uniform_(projection.weight)
        self.attention.reset_parameters()
        if self.critic is not None:
            self.critic.reset_parameters()

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions from items to users and from users to items."""
        user, item = self.both_ways(edge_label_index(data, "train"))
        return {"user": user, "item": item}

    def both_ways(self, edge_index: Tensor) -> tuple[Adjacency, Adjacency]:
        """Return pairs of (user, item) from items to users and back, by roots of degrees."""
        found = []
        for source, sizes in (
            (1, (self.num_items, self.num_users)),
            (0, (self.num_users, self.num_items)),
        ):
            edges = edge_index[[source, 1 - source]]
            degree = torch.bincount(edges[1], minlength=sizes[1]).to(self.user_embedding.dtype)
            weight = degree.rsqrt()[edges[1]]
            found.append(Adjacency.from_edge_index(edges, weight, num_nodes=sizes))
        return found[0], found[1]

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the relations that the modalities give to start with."""
        with torch.no_grad():
            return self.with_relations(inputs, self.feature_views(self.completed(inputs)))

    @property
    def has_static_shapes(self) -> bool:
        """Whether shapes depend on the batch's size alone: every user of a batch counts once."""
        return False

    def objectives(self) -> tuple[Objective, ...]:
        """Return the critic's objective and that of all else."""
        adamw = partial(_adamw, weight_decay=self.config.weight_decay)
        if self.critic is None:
            return (Objective(self.on_completed(self.terms), [*self.parameters()], adamw),)
        of_critic = [*self.critic.parameters()]
        others = [p for name, p in self.named_parameters() if not name.startswith("critic.")]
        critic_adam = partial(_critic_adam, critic_lr=self.config.critic_lr)
        return (
            Objective(self.on_completed(self.critic_terms), of_critic, critic_adam),
            Objective(self.on_completed(self.terms), others, adamw),
        )

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"`` and every modality."""
        return self.fused(inputs, self.feature_views(inputs))[0]

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return ``bpr`` or ``softmax``, ``reg``, ``feature_reg``, ``contrast`` and ``fool``."""
        config, users = self.config, batch.user.unique()
        views = self.feature_views(inputs, draws)
        reps, ids = self.fused(inputs, views)
        contrast = fool = reps.user[FUSED].new_zeros(())
        if config.contrast_weight:
            anchors = [F.embedding(users, x) for x in ids]
            final = F.embedding(users, reps.user[FUSED])
            losses = [self.contrast_loss(anchor, final) for anchor in anchors]
            contrast = config.contrast_weight * torch.stack(losses).sum()
        if self.critic is not None:
            rows = self.generated_rows(self.critic, inputs, views, users)
            fool = -config.adversarial_weight * self.judged(self.critic, rows, "fool", draws).mean()
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, config)
        squares = torch.stack([x.square().sum() for sides in views.values() for x in sides]).sum()
        return {
            **ranking_terms(reps, batch, config),
            "reg": config.reg_weight * penalty,
            "feature_reg": config.feature_reg_weight * squares / (2 * self.num_items),
            "contrast": contrast,
            "fool": fool,
        }

    def critic_terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return ``critic_fake``, ``critic_real`` and ``critic_penalty``."""
        critic, users = self.critic, batch.user.unique()
        if critic is None:
            raise RuntimeError("there is no critic, since 'adversarial_weight' is 0")
        with torch.no_grad():
            views = self.feature_views(inputs, draws)
            reps = self.fused(inputs, views)[0]
        fake = self.generated_rows(critic, inputs, views, users)
        real = self.observed_rows(critic, inputs, reps, draws)
        real = F.embedding(users, real).repeat(len(views), 1)
        mix = draws.uniform("mix", fake[:, :1].detach())
        mixed = mix * real + (1 - mix) * fake
        penalty = critic.gradient_penalty(mixed, self.kept(critic, mixed, "mixed", draws))
        return {
            "critic_fake": self.judged(critic, fake, "fake", draws).mean(),
            "critic_real": -self.judged(critic, real, "real", draws).mean(),
            "critic_penalty": self.config.gradient_penalty * penalty,
        }

    def feature_views(self, inputs: Inputs, draws: Draws | None = None) -> Views:
        """Return the features of users and items, some entries dropped where there are draws."""
        views, ratio = {}, self.config.drop_ratio
        for modality, projection in self.projections.items():
            x = projection(inputs.features[modality])
            # Squares of it are added up, for which float16, under autocast, has no room.
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            if modality in inputs.present:
                x = x * inputs.present[modality].unsqueeze(-1)
            if draws is not None:
                x = x * draws.keep(f"keep/{modality}", x, ratio) / (1 - ratio)
            user = propagate(inputs.graphs["user"], x, self.config.backend)
            views[modality] = user, propagate(inputs.graphs["item"], user, self.config.backend)
        return views

    def with_relations(self, inputs: Inputs, views: Views) -> Inputs:
        """Return the inputs with every modality's relations, found a block of users at a time.

        Args:
            inputs: The inputs.
            views: The features of users and items.
        """
        seen = ItemLists.from_edge_index(inputs.interactions, self.num_users)
        users = torch.arange(self.num_users, device=inputs.device)
        k, graphs = min(self.config.k, self.num_items), dict[str, Adjacency]()
        for modality, (user, item) in views.items():
            reps = Representations({FUSED: user.detach()}, {FUSED: item.detach()})
            found, score = rank_items(reps, users, k, seen)
            pairs = torch.stack([users.unsqueeze(1).expand_as(found), found])
            # Equal scores of zero would be told apart by chance.
            both = self.both_ways(pairs[:, score.isfinite() & (score != 0)])
            graphs |= {f"user/{modality}": both[0], f"item/{modality}": both[1]}
        return inputs.with_graphs(**graphs)

    def fused(self, inputs: Inputs, views: Views) -> tuple[Representations, Tensor]:
        """Return the views of users and items, and the users' ids of every modality.

        Args:
            inputs: The inputs; relations that they do not have are found.
            views: The features of users and items.

        Returns:
            The representations, and the ids ``[modalities, num_users, d]``.
        """
        config = self.config
        if any(f"user/{m}" not in inputs.graphs for m in views):
            inputs = self.with_relations(inputs, views)

        def related(side: str, x: Tensor) -> Tensor:
            graphs = [inputs.graphs[f"{side}/{m}"] for m in views]
            return torch.stack([propagate(graph, x, config.backend) for graph in graphs])

        ids = related("user", self.item_embedding), related("item", self.user_embedding)
        mixed = [unit_rows(self.attention(x)) for x in ids]
        user = self.user_embedding + config.attention_weight * mixed[0]
        item = self.item_embedding + config.attention_weight * mixed[1]
        layers = [(user, item)]
        for layer in range(1, config.num_layers + 1):
            is_last = layer == config.num_layers
            user = propagate(inputs.graphs["user"], item, config.backend)
            user = user.softmax(dim=1) if is_last else user
            item = propagate(inputs.graphs["item"], user, config.backend)
            item = item.softmax(dim=1) if is_last else item
            layers.append((user, item))
        sides = []
        for side, states in enumerate(zip(*layers, strict=True)):
            features = torch.stack([unit_rows(x[side]) for x in views.values()]).sum(dim=0)
            sides.append(torch.stack(states).mean(dim=0) + config.modality_weight * features)
        reps = Representations(
            {FUSED: sides[0], **{m: x[0] for m, x in views.items()}},
            {FUSED: sides[1], **{m: x[1] for m, x in views.items()}},
        )
        return reps, ids[0]

    def contrast_loss(self, anchor: Tensor, final: Tensor) -> Tensor:
        """Return the contrast of a modality's ids with final rows, both ``[users, d]``."""
        temperature, precision = self.config.temperature, self.config.precision
        return info_nce(anchor, final, temperature, precision=precision, intra_view=True)

    def generated_rows(
        self, critic: RelationCritic, inputs: Inputs, views: Views, users: Tensor
    ) -> Tensor:
        """Return the critic's first layer of what modalities give ``[modalities * users, h]``."""
        rows = []
        for user, item in views.values():
            product, _ = critic.similarity(user, item, inputs.graphs["user"])
            rows.append(F.embedding(users, product))
        return torch.cat(rows)

    def observed_rows(
        self, critic: RelationCritic, inputs: Inputs, reps: Representations, draws: Draws
    ) -> Tensor:
        """Return the critic's first layer of what counts as real ``[num_users, h]``."""
        seen, scale = inputs.graphs["user"], self.config.relation_scale
        uniform = draws.uniform("gumbel", seen.weight)
        gumbel = -(-(uniform + 1e-8).log() + 1e-8).log()
        odds = (self.config.noise_scale * gumbel).exp()
        total = critic.gathered(seen.with_weight(odds)).squeeze(1)
        weight = odds / total[seen.target]
        product, length = critic.similarity(reps.user[FUSED], reps.item[FUSED], seen)
        product = critic.gathered(seen.with_weight(weight), critic.item_weight) + scale * product
        squares = critic.gathered(seen.with_weight(weight.square())) + (scale * length).square()
        return product / squares.clamp(min=1e-12).sqrt()

    def judged(self, critic: RelationCritic, rows: Tensor, name: str, draws: Draws) -> Tensor:
        """Return what the critic says of rows ``[rows]``, with entries dropped."""
        out: Tensor = critic(rows, self.kept(critic, rows, name, draws))
        return out

    def kept(self, critic: RelationCritic, rows: Tensor, name: str, draws: Draws) -> list[Tensor]:
        """Return which entries the critic keeps after each of its layers."""
        return [
            draws.keep(f"keep/critic/{name}/{layer}", rows.new_empty(len(rows), width), ratio)
            for layer, (width, ratio) in enumerate(
                zip(critic.widths, critic.drop_ratios, strict=True)
            )
        ]


def _adamw(parameters: Sequence[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def _critic_adam(parameters: Sequence[nn.Parameter], lr: float, critic_lr: float) -> Optimizer:
    """Return the critic's Adam, whose learning rate is its own and not the run's."""
    return torch.optim.Adam(parameters, lr=critic_lr, betas=(0.5, 0.9), fused=True)
