"""What MGCN, GUME and SMORE share: modalities that are weighed by behaviour and added to it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.batch_contrast import batch_contrast
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.nn import BehaviourAwareFusion, LayeredPropagation, PurifiedViews
from mentor_pyg.transforms import ItemKNNGraph

__all__ = ["BehaviourRecommender", "PurifiedRecommender"]


class BehaviourRecommender(EmbeddingRecommender):
    """Base of the models that add to behaviour, the propagated ids, what it prefers of modalities.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings, among them ``num_layers``, ``k``, ``temperature`` and ``backend``.
    """

    config: Any

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        self.propagation = LayeredPropagation(
            self.config.num_layers, layer_readout="mean", backend=self.config.backend
        )

    @classmethod
    def transform(cls, config: Any) -> BaseTransform:
        """Return what puts the nearest neighbours of every modality into a dataset."""
        return ItemKNNGraph(config.k)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, and their block from items to users."""
        edge_index = edge_label_index(data, "train")
        users, items = self.num_users, self.num_items
        return {
            "interaction": self.interaction_graph(data),
            "user": Adjacency.normalized(edge_index.flip(0), num_nodes=(items, users)),
        }

    def behaviour(self, inputs: Inputs) -> Tensor:
        """Return the ids of users and items propagated ``[num_users + num_items, d]``."""
        out: Tensor = self.propagation(self.ids, inputs.graphs["interaction"])
        return out

    def terms_of(self, side: Tensor, behaviour: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, ``contrast`` and ``reg``.

        Args:
            side: What the modalities add ``[num_users + num_items, d]``.
            behaviour: What :meth:`behaviour` gave.
            batch: The batch.
        """
        config = self.config
        reps = Representations.from_nodes({FUSED: behaviour + side}, self.num_users)
        contrast = side.new_zeros(())
        if config.contrast_weight:
            contrast = config.contrast_weight * self.contrast_loss(side, behaviour, batch)
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, config)
        return {
            **ranking_terms(reps, batch, config),
            "contrast": contrast,
            "reg": config.reg_weight * penalty,
        }

    def contrast_loss(self, side: Tensor, behaviour: Tensor, batch: Batch) -> Tensor:
        """Return InfoNCE of modalities against behaviour, users and positive items of a batch.

        Args:
            side: What the modalities add ``[num_users + num_items, d]``.
            behaviour: What :meth:`behaviour` gave.
            batch: The batch.
        """
        sizes = [self.num_users, self.num_items]
        a, b = side.split(sizes), behaviour.split(sizes)
        return batch_contrast(a, b, batch, self.config.temperature, self.config.precision)


class PurifiedRecommender(BehaviourRecommender):
    """Base of the models that gate item ids by features and fuse the views as MGCN does.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings, ``num_item_layers`` among them.
    """

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__(sizes, config)
        config, dim = self.config, self.config.embedding_dim
        self.views = PurifiedViews(sizes.channels, dim, config.num_item_layers, config.backend)
        self.fusion = BehaviourAwareFusion(sizes.channels, dim)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.reset_tables()
        self.views.reset_parameters()
        self.fusion.reset_parameters()

    def reset_tables(self) -> None:
        """Draw the tables anew, which come before the layers; a subclass adds its own."""
        super().reset_parameters()

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` (behaviour) and every modality."""
        behaviour, views = self.behaviour(inputs), self.modality_views(inputs)
        nodes = {
            FUSED: behaviour + self.fusion(views, behaviour),
            ID: behaviour,
            **dict(zip(self.sizes.channels, views, strict=True)),
        }
        return Representations.from_nodes(nodes, self.num_users)

    def modality_views(self, inputs: Inputs) -> Tensor:
        """Return every modality's users and items ``[modalities, num_users + num_items, d]``."""
        graphs = inputs.graphs
        items = {m: graphs[f"item/{m}"] for m in self.sizes.channels}
        views: Tensor = self.views(
            self.item_embedding, inputs.features, inputs.present, items, graphs["user"]
        )
        return views
