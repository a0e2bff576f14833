"""MMGCN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from mentor_pyg.config import AtLeastOne, AtLeastZero
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency
from mentor_pyg.graph.interactions import joint_edges
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import batch_mean_squares, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.ops import propagate, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["MMGCN", "MMGCNConfig"]

Combination = Literal["concat", "sum"]


@dataclass(frozen=True, kw_only=True)
class MMGCNConfig(FeatureConfig):
    """Settings of :class:`MMGCN`, with the defaults of the authors' public code."""

    num_layers: AtLeastOne = 3
    """Layers of every modality."""
    latent_dims: Mapping[Modality, AtLeastOne] | None = None
    """Widths that features are mapped to before the first layer; modalities that are not named
    enter at the width that they have. By default 256 for visual alone, as published."""
    combination: Combination = "concat"
    """Whether a layer puts a node beside its neighbours, or adds the two."""
    reg_weight: AtLeastZero = 1e-5
    """Weight of the batch's squared ids and of the squared preferences; published are 1e-4 and
    0.1."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


class ModalityLayer(nn.Module):
    r"""One layer of one modality of :class:`MMGCN`.

    Args:
        in_channels: The width of the input.
        embedding_dim: The width of the output and of the ids.
        combination: ``"concat"`` or ``"sum"``.
        backend: How :func:`mentor_pyg.ops.propagate` runs.

    Shapes:
        - **input:** nodes :math:`(N, C)`, their ids :math:`(N, d)` and the matrix :math:`(N, N)`
          that averages over neighbours
        - **output:** nodes :math:`(N, d)`
    """

    def __init__(
        self, in_channels: int, embedding_dim: int, combination: Combination, backend: str
    ) -> None:
        super().__init__()
        self.combination, self.backend = combination, backend
        self.neighbours = nn.Linear(in_channels, in_channels, bias=False)
        self.itself = nn.Linear(in_channels, embedding_dim)
        beside = embedding_dim if combination == "concat" else 0
        self.combine = nn.Linear(in_channels + beside, embedding_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for linear in (self.neighbours, self.itself, self.combine):
            linear.reset_parameters()
            nn.init.xavier_normal_(linear.weight)

    def forward(self, x: Tensor, ids: Tensor, adjacency: Adjacency) -> Tensor:
        """Return the nodes after the layer."""
        h = F.leaky_relu(propagate(adjacency, self.neighbours(x), self.backend))
        own = F.leaky_relu(self.itself(x)) + ids
        if self.combination == "concat":
            return F.leaky_relu(self.combine(torch.cat([h, own], dim=1)))
        return F.leaky_relu(self.combine(h) + own)


@register
class MMGCN(EmbeddingRecommender):
    r"""A graph network per modality over the interactions, tied together by ids.

    From `"MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of
    Micro-video" <https://doi.org/10.1145/3343031.3351034>`_. In modality :math:`m`, users start as
    learned preferences and items as their features, at first mapped by a linear layer where
    ``latent_dims`` says so, as rows of unit length. With :math:`\phi` the LeakyReLU and ids
    :math:`\mathbf{x}_{id}`, every layer is

    .. math::
        \mathbf{h}_{v,m} &= \phi\Big(\tfrac{1}{|\mathcal{N}_v|} \textstyle\sum_{w \in
        \mathcal{N}_v} \mathbf{W}_{1,m} \mathbf{x}_{w,m}\Big), \qquad
        \hat{\mathbf{x}}_{v,m} = \phi(\mathbf{W}_{2,m} \mathbf{x}_{v,m} + \mathbf{b}_{2,m}) +
        \mathbf{x}_{v,id} \\
        \mathbf{x}_{v,m} &\leftarrow \phi\big(\mathbf{W}_{3,m} [\mathbf{h}_{v,m} \Vert
        \hat{\mathbf{x}}_{v,m}] + \mathbf{b}_{3,m}\big) \quad \text{or} \quad
        \phi\big(\mathbf{W}_{3,m} \mathbf{h}_{v,m} + \mathbf{b}_{3,m} +
        \hat{\mathbf{x}}_{v,m}\big)

    Users and items are ranked by the dot product of the mean of their modalities. The loss is
    the ranking loss and the mean squares of the batch's ids and of all preferences.

    Three layers, the concatenation, and the mean rather than the sum over modalities are what the
    authors' public code runs. That code leaves ids and preferences as they were drawn, since its
    optimiser does not know them, and counts visual preferences alone in the penalty; here all are
    trained and counted.

    An item that lacks a modality starts as zeros there, and then holds what its users and its id
    give it.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mmgcn"
    Config = MMGCNConfig
    config: MMGCNConfig

    def __init__(self, sizes: Sizes, config: MMGCNConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        latent = _latent_dims(config, sizes.channels)
        self.projections = nn.ModuleDict(
            {m: nn.Linear(sizes.channels[m], width) for m, width in latent.items()}
        )
        widths = {**sizes.channels, **latent}
        self.user_preference = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(self.num_users, width)) for m, width in widths.items()}
        )
        self.layers = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    ModalityLayer(n, dim, config.combination, config.backend)
                    for n in (width, *[dim] * (config.num_layers - 1))
                )
                for m, width in widths.items()
            }
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset(self.missing_features)
        for table in (self.user_embedding, self.item_embedding, *self.user_preference.values()):
            nn.init.xavier_normal_(table)
        for module in self.modules():
            if isinstance(module, ModalityLayer):
                module.reset_parameters()
        for projection in self.projections.values():
            projection.reset_parameters()  # type: ignore[operator]

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, in both directions, as averages over neighbours."""
        joint = joint_edges(edge_label_index(data, "train"), self.num_users)
        nodes = self.num_users + self.num_items
        return {"interaction": Adjacency.normalized(joint, num_nodes=nodes, by="rows")}

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"`` and every modality."""
        views = {m: self.modality_view(inputs, m) for m in self.sizes.channels}
        views[FUSED] = torch.stack(list(views.values())).mean(dim=0)
        return Representations.from_nodes(views, self.num_users)

    def modality_view(self, inputs: Inputs, modality: Modality) -> Tensor:
        """Return a modality's users and items ``[num_users + num_items, d]``."""
        item = inputs.features[modality]
        if modality in self.projections:
            item = self.projections[modality](item)
        if modality in inputs.present:
            item = item * inputs.present[modality].unsqueeze(-1)
        x = unit_rows(torch.cat([self.user_preference[modality], item]))
        ids = self.ids
        for layer in cast(nn.ModuleList, self.layers[modality]):
            x = layer(x, ids, inputs.graphs["interaction"])
        return x

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        penalty = batch_mean_squares(self.user_embedding, self.item_embedding, batch, self.config)
        for preference in self.user_preference.values():
            penalty = penalty + preference.square().mean()
        return {
            **ranking_terms(self.represent(inputs), batch, self.config),
            "reg": self.config.reg_weight * penalty,
        }


def _latent_dims(config: MMGCNConfig, channels: Mapping[Modality, int]) -> dict[Modality, int]:
    """Return the widths that modalities are mapped to, of those that are."""
    if config.latent_dims is None:
        return {m: 256 for m in channels if m == "visual"}
    if unknown := sorted(set(config.latent_dims).difference(channels)):
        raise ValueError(
            f"'latent_dims' names {unknown}, which the data does not have; its modalities are "
            f"{list(channels)}"
        )
    return dict(config.latent_dims)
