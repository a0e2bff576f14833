"""SLMRec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastZero, Count, Positive, Share
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import Similarity, softmax_loss
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.batch_contrast import batch_contrast
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation
from mentor_pyg.ops import propagate, unit_rows

__all__ = ["SLMRec", "SLMRecConfig"]


@dataclass(frozen=True, kw_only=True)
class SLMRecConfig(FeatureConfig):
    """Settings of :class:`SLMRec`, with the values of the authors' public code."""

    ranking_loss: Literal["bpr", "softmax"] = "softmax"
    """``"softmax"``: against what ``ranking_negatives`` says. ``"bpr"``: against one negative."""
    ranking_similarity: Similarity = "cosine"
    """What the softmax compares, and the model then ranks by; BPR takes dot products."""
    ranking_temperature: Positive = 0.2
    """Temperature of the softmax."""
    ranking_negatives: Literal["batch", "all"] = "batch"
    """What the softmax is over: the positive items of the batch, as published, or all items."""
    num_layers: Count = 3
    """Layers of propagation."""
    ssl_task: Literal["fac", "fd", "fm", "fd+fm"] = "fac"
    """The self-supervised task. ``"fac"``: a fine to coarse chain of modalities. ``"fd"``: two
    views with entries dropped. ``"fm"``: two views that are each without one modality or the ids.
    ``"fd+fm"``: both at once."""
    ssl_weight: AtLeastZero = 0.1
    """Weight of the task; published are 0.01 to 1. At 0 it is not computed."""
    ssl_temperature: Positive = 0.2
    """Temperature of the task; published are 0.1 to 1."""
    drop_ratio: Share = 0.3
    """Share of entries that ``"fd"`` drops after every layer."""
    reg_weight: AtLeastZero = 1e-4
    """Weight of half the squares of all parameters, the public code's weight decay."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class SLMRec(EmbeddingRecommender):
    r"""Ids and modalities propagated side by side, and a task that ties them together.

    From `"Self-Supervised Learning for Multimedia Recommendation"
    <https://doi.org/10.1109/TMM.2022.3187556>`_. Users :math:`\mathbf{x}_u` are the same in all
    views, items start as ids :math:`\mathbf{x}_i` or as features of unit length, mapped by a
    linear layer. With the normalised graph :math:`\hat{\mathbf{A}}`,

    .. math::
        \mathbf{h}_m = \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}^l
        \big[\mathbf{x}_{\mathcal{U}} ; \mathbf{W}_m \tilde{\mathbf{f}}_m + \mathbf{b}_m\big],
        \qquad
        \mathbf{h}_u = \mathbf{W}_{\mathcal{U}} \big[\mathbf{h}_{u,id} \Vert
        \mathbf{h}_{u,1} \Vert \cdots\big] + \mathbf{b}_{\mathcal{U}}

    and :math:`\mathbf{h}_i` likewise with :math:`\mathbf{W}_{\mathcal{I}}`. The loss is InfoNCE of
    the users of a batch and their items among the items of the batch, :math:`\alpha` times that of
    the task, and :math:`\lambda / 2` times the squares of all parameters.

    ``"fac"`` goes down from the finest space, that of the ids, through a coarser one per modality
    :math:`m = 1, \dots, M`, whose last has half the width if there are several. Over the items of
    the batch,

    .. math::
        \mathbf{z}_0 = \mathbf{h}_{i,id}, \qquad \mathbf{z}_m = \mathbf{G}_m \mathbf{z}_{m-1} +
        \mathbf{g}_m, \qquad \mathcal{L} = \sum_m - \log \mathrm{softmax}_j \big(\mathbf{z}_{i,m}
        \cdot (\mathbf{P}_m \mathbf{h}_{j,m} + \mathbf{p}_m) / \tau\big)_{j=i}

    ``"fd"``, ``"fm"`` and their union make two views of all nodes by the same layers, and
    contrast them by cosines, over users and over items of the batch. ``"fd"`` drops entries after
    every layer; ``"fm"`` has the items of one space, ids or a modality, start as zeros, of another
    in each of the two views. Of a :class:`~mentor_pyg.data.UserBatch` every user counts once.

    Modalities are taken in the order of the dataset. An item that lacks one starts as zeros
    there, and holds what its users give it, in the task too.

    The random numbers are ``"keep/a/<layer>"`` and ``"keep/b/<layer>"``, which entries are kept
    (bool ``[num_nodes, (1 + modalities) * d]``), and ``"mask"``, a number for the ids and one
    for each modality: the two greatest say what the two views are without.

    The public code is trained on cosines but ranks by dot products; here cosines rank, as for all
    models (``ranking_similarity="dot"`` has both the other way). In ``"fm"`` it puts the masked
    input of one view beside the layers of the other; here a view is masked as a whole. A port of
    it to two modalities keeps a linear layer between them, of the one that is not there.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "slmrec"
    Config = SLMRecConfig
    config: SLMRecConfig

    def __init__(self, sizes: Sizes, config: SLMRecConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        dim, spaces = self.config.embedding_dim, len(sizes.channels) + 1
        self.projections = nn.ModuleDict({m: nn.Linear(c, dim) for m, c in sizes.channels.items()})
        self.user_fusion = nn.Linear(spaces * dim, dim)
        self.item_fusion = nn.Linear(spaces * dim, dim)
        if self.config.ssl_task == "fac" and self.config.ssl_weight:
            widths = dict.fromkeys(sizes.channels, dim)
            if len(widths) > 1:
                widths[list(widths)[-1]] = max(dim // 2, 1)
            self.coarser = nn.ModuleDict()
            self.into_space = nn.ModuleDict()
            finer = dim
            for modality, width in widths.items():
                self.coarser[modality] = nn.Linear(finer, width)
                self.into_space[modality] = nn.Linear(dim, width)
                finer = width
        self.propagation = LayeredPropagation(
            self.config.num_layers, layer_readout="mean", backend=self.config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
                nn.init.xavier_uniform_(module.weight)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of the interactions."""
        return {"interaction": self.interaction_graph(data)}

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` and every modality."""
        return self.representations(self.propagated(inputs, self.nodes(inputs)))

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``softmax`` or ``bpr``, the task's ``ssl``, and ``reg``."""
        config, nodes = self.config, self.nodes(inputs)
        reps = self.representations(self.propagated(inputs, nodes))
        ssl = nodes.new_zeros(())
        if config.ssl_weight:
            if config.ssl_task == "fac":
                loss = self.fine_to_coarse_loss(reps, batch)
            else:
                loss = self.view_loss(inputs, nodes, batch, draws)
            ssl = config.ssl_weight * loss
        squares = torch.stack([p.square().sum() for p in self.parameters()]).sum()
        return {
            **self.ranking_loss(reps, batch),
            "ssl": ssl,
            "reg": config.reg_weight / 2 * squares,
        }

    def nodes(self, inputs: Inputs) -> Tensor:
        """Return what is propagated, all spaces side by side.

        Returns:
            Users and items ``[num_users + num_items, spaces * d]``, the ids first.
        """
        items: list[Tensor] = [self.item_embedding]
        for modality, projection in self.projections.items():
            item = projection(unit_rows(inputs.features[modality]))
            if modality in inputs.present:
                item = item * inputs.present[modality].unsqueeze(-1)
            items.append(item)
        users = self.user_embedding.repeat(1, len(items))
        return torch.cat([users, torch.cat(items, dim=1)])

    def propagated(self, inputs: Inputs, nodes: Tensor) -> Tensor:
        """Return the mean over layers of what :meth:`nodes` gave, of the same shape."""
        out: Tensor = self.propagation(nodes, inputs.graphs["interaction"])
        return out

    def fused(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused users and items of all spaces side by side."""
        user, item = nodes.split([self.num_users, self.num_items])
        return self.user_fusion(user), self.item_fusion(item)

    def representations(self, nodes: Tensor) -> Representations:
        """Return the views of what :meth:`propagated` gave."""
        user, item = self.fused(nodes)
        spaces = nodes.split(self.config.embedding_dim, dim=1)
        views = dict(zip((ID, *self.sizes.channels), spaces, strict=True))
        split = {view: x.split([self.num_users, self.num_items]) for view, x in views.items()}
        return Representations(
            {FUSED: user, **{view: side[0] for view, side in split.items()}},
            {FUSED: item, **{view: side[1] for view, side in split.items()}},
        )

    def ranking_loss(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss by its name, among the items that the settings say."""
        if self.config.ranking_loss == "softmax" and self.config.ranking_negatives == "batch":
            item = F.embedding(batch.pos_item, reps.item[FUSED])
            reps = Representations({FUSED: reps.user[FUSED]}, {FUSED: item})
            columns = torch.arange(len(batch.pos_item), device=item.device)
            batch = batch._replace(pos_item=columns)
        return ranking_terms(reps, batch, self.config)

    def fine_to_coarse_loss(self, reps: Representations, batch: Batch) -> Tensor:
        """Return the sum over modalities of InfoNCE in the space that is theirs."""
        config, losses = self.config, []
        finer = F.embedding(batch.pos_item, reps.item[ID])
        own = torch.arange(len(finer), device=finer.device)
        for modality, coarser in self.coarser.items():
            finer = coarser(finer)
            item = F.embedding(batch.pos_item, reps.item[modality])
            item = self.into_space[modality](item)
            losses.append(
                softmax_loss(finer, own, item, config.ssl_temperature, precision=config.precision)
            )
        return torch.stack(losses).sum()

    def view_loss(self, inputs: Inputs, nodes: Tensor, batch: Batch, draws: Draws) -> Tensor:
        """Return InfoNCE between two views of the users, and of the items, of the batch.

        Args:
            inputs: The inputs.
            nodes: What :meth:`nodes` gave.
            batch: The batch.
            draws: Where random numbers come from.
        """
        masks = self.masks(nodes, draws)
        a, b = (
            self.fused(self.view(inputs, nodes * mask, name, draws))
            for name, mask in zip("ab", masks, strict=True)
        )
        return batch_contrast(a, b, batch, self.config.ssl_temperature, self.config.precision)

    def masks(self, nodes: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return what the start of each of two views is multiplied by, of the shape of nodes."""
        ones = torch.ones_like(nodes)
        if "fm" not in self.config.ssl_task:
            return ones, ones
        space = torch.arange(len(self.sizes.channels) + 1, device=nodes.device)
        first, second = draws.uniform("mask", space.to(nodes.dtype)).argsort(descending=True)[:2]
        dim, masks = self.config.embedding_dim, []
        for left_out in (first, second):
            kept = (space != left_out).to(nodes.dtype).repeat_interleave(dim)
            masks.append(torch.cat([ones[: self.num_users], ones[self.num_users :] * kept]))
        return masks[0], masks[1]

    def view(self, inputs: Inputs, nodes: Tensor, name: str, draws: Draws) -> Tensor:
        """Return the mean over layers, which lose entries where the task says so."""
        if "fd" not in self.config.ssl_task:
            return self.propagated(inputs, nodes)
        layers, ratio = [nodes], self.config.drop_ratio
        for layer in range(self.config.num_layers):
            h = propagate(inputs.graphs["interaction"], layers[-1], self.config.backend)
            layers.append(h * draws.keep(f"keep/{name}/{layer}", h, ratio) / (1 - ratio))
        return torch.stack(layers).mean(dim=0)
