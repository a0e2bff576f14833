"""MENTOR: wiring of encoders, propagation, fusion and self-supervised heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    ITEM,
    Representations,
    feature_key,
    modalities,
    num_items,
    num_users,
    presence_key,
)
from mentor_pyg.graph import Adjacency, interaction_adjacency, semantic_adjacency
from mentor_pyg.losses import bpr_loss, info_nce
from mentor_pyg.models.base import Recommender
from mentor_pyg.models.mentor_config import MENTORConfig
from mentor_pyg.models.random_draws import PERTURBED_VIEWS, RandomDraws
from mentor_pyg.models.released import translate_state_dict
from mentor_pyg.models.semantics import RULES
from mentor_pyg.nn import (
    CrossModalAlignment,
    FeatureMasking,
    GraphPerturbation,
    ItemSemanticConv,
    LayeredPropagation,
    ModalityEncoder,
    ModalityFusion,
    encode_together,
)
from mentor_pyg.ops import Noise
from mentor_pyg.typing import Modality, View

__all__ = ["MENTOR"]


class MENTOR(Recommender):
    r"""Multi-level self-supervised learning for multimodal recommendation.

    From `"MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation"
    <https://arxiv.org/abs/2402.19407>`_. Every modality and the item ids are a view of all users
    and items; each view is propagated over the interactions and enhanced over an item graph; the
    modalities are fused for ranking; alignment, feature masking and graph perturbation are
    trained beside it. ``docs/architecture.md`` maps the paper's sections to files.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        channels: The width of the raw item features of every modality.
        config: The settings.
    """

    config: MENTORConfig

    def __init__(
        self,
        num_users: int,
        num_items: int,
        channels: Mapping[Modality, int],
        config: MENTORConfig | None = None,
    ) -> None:
        super().__init__(num_users, num_items, config or MENTORConfig())
        if not channels:
            raise ValueError(
                "MENTOR needs at least one modality; add features as data['item'].x_<modality>, "
                "or train a model of interactions alone, such as LightGCN"
            )
        config, self.rules = self.config, RULES[self.config.semantics]
        self.channels = dict(channels)
        self.modalities = tuple(channels)
        dim = config.embedding_dim

        def encoders(widths: Mapping[View, int]) -> nn.ModuleDict:
            return nn.ModuleDict({v: ModalityEncoder(c, dim, num_users) for v, c in widths.items()})

        views = dict(channels)
        if config.id_guidance:
            self.item_embedding = nn.Parameter(torch.empty(num_items, dim))
            views["id"] = dim
        self.encoders = encoders(views)
        self.perturbed_encoders = nn.ModuleDict()
        if not self.rules.shared_encoders:
            self.perturbed_encoders.update({v: encoders(channels) for v in PERTURBED_VIEWS})
        self.propagation = LayeredPropagation(config.num_layers, backend=config.backend)
        self.item_conv = ItemSemanticConv(config.num_item_layers, backend=config.backend)
        self.fusion = ModalityFusion(num_users, self.modalities, self.rules.softmax_weights)
        self.alignment = CrossModalAlignment(config.align_levels, self.rules.statistics)
        self.masking = FeatureMasking(dim * len(channels), config.mask_ratio)
        self.perturbation = GraphPerturbation(config.noise_scale)
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, config: MENTORConfig | None = None) -> Self:
        """Build a model with fresh parameters for the modalities of ``data``."""
        channels = {m: data[ITEM][feature_key(m)].size(1) for m in modalities(data)}
        return cls(num_users(data), num_items(data), channels, config)

    @classmethod
    def from_released_state_dict(
        cls, state_dict: Mapping[str, Any], data: HeteroData, config: MENTORConfig | None = None
    ) -> Self:
        """Build a model with the parameters of MENTOR's released code.

        Args:
            state_dict: Tensors or arrays under the released code's names (``weight_u``,
                ``id_feat``, ``v_gcn.preference``, ...).
            data: The dataset, with visual and textual features.
            config: The settings; their semantics need to be ``"released"``, the default here.

        Raises:
            ValueError: If the semantics are others, or names or shapes do not fit.
        """
        config = config or MENTORConfig(semantics="released")
        if config.semantics != "released":
            raise ValueError(
                "'config' needs semantics='released' to take the released code's parameters "
                f"(got {config.semantics!r})"
            )
        model = cls.from_data(data, config)
        model.load_state_dict(translate_state_dict(state_dict, model.state_dict()))
        return model

    @property
    def has_static_shapes(self) -> bool:
        """Whether all users and items are contrasted, rather than those that a batch holds."""
        return self.config.contrast == "full" or not self.config.perturb_weight

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        if self.config.id_guidance:
            nn.init.xavier_uniform_(self.item_embedding)
        for module in self.modules():
            if isinstance(module, ModalityEncoder | ModalityFusion | FeatureMasking):
                module.reset_parameters()

    def check_fits(self, data: HeteroData) -> None:
        """Raise also if the modalities or their widths are others."""
        super().check_fits(data)
        got = {m: data[ITEM][feature_key(m)].size(1) for m in modalities(data)}
        if got != self.channels:
            raise ValueError(
                f"'data' has features of the widths {got}, but the model was built for "
                f"{self.channels}; build one with {type(self).__name__}.from_data(data, config)"
            )

    def encode(self, data: HeteroData) -> Representations:
        """Return the views ``"fused"``, ``"id"`` and every modality.

        Single views are ``[num_users | num_items, d]``, the fused one is ``num_modalities * d``
        wide.
        """
        self.check_fits(data)
        (nodes,) = self._nodes(data, self.encoders)
        return self._represent(data, nodes)

    def loss(
        self,
        data: HeteroData,
        user: Tensor,
        pos_item: Tensor,
        neg_item: Tensor,
        draws: RandomDraws | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms ``bpr``, ``reg``, ``align``, ``mask`` and ``perturb``.

        Args:
            data: The dataset.
            user: User ids ``[batch]``.
            pos_item: Items that the users interacted with ``[batch]``.
            neg_item: Items that they did not ``[batch]``.
            draws: Random numbers to use in place of fresh ones.
        """
        self.check_fits(data)
        config, draws = self.config, draws or RandomDraws()
        # None of their own where they share those of ranking.
        perturbed = self.perturbed_encoders.values() if config.perturb_weight else []
        nodes, *perturbed_nodes = self._nodes(data, self.encoders, *perturbed)
        reps = self._represent(data, nodes)
        pos_score = self.score(reps, user, pos_item)
        neg_score = self.score(reps, user, neg_item)
        terms = dict.fromkeys(("align", "mask", "perturb"), pos_score.new_zeros(()))
        if config.align_weight:
            levels = self.alignment(reps)
            terms["align"] = config.align_weight * sum(levels.values(), terms["align"])
        if config.mask_weight:
            terms["mask"] = config.mask_weight * self._mask(reps, draws)
        if config.perturb_weight:
            users, items = self._contrasted(user, pos_item)
            contrast = self._perturb(data, perturbed_nodes or [nodes] * 2, draws, users, items)
            terms["perturb"] = config.perturb_weight * contrast
        return {
            "bpr": bpr_loss(pos_score, neg_score, self.rules.log_base),
            "reg": config.reg_weight * self._penalty(user),
            **terms,
        }

    def _nodes(self, data: HeteroData, *sets: nn.Module) -> list[dict[View, Tensor]]:
        """Return every view's users and items before propagation, for each set of encoders."""
        encoders = [cast(nn.ModuleDict, one) for one in sets]
        nodes: list[dict[View, Tensor]] = [{} for _ in encoders]
        if self.config.id_guidance:
            nodes[0]["id"] = encoders[0]["id"](self.item_embedding)
        for modality in self.modalities:
            x = data[ITEM][feature_key(modality)]
            present = data[ITEM].get(presence_key(modality))
            together = [cast(ModalityEncoder, one[modality]) for one in encoders]
            for view, node in zip(nodes, encode_together(together, x, present), strict=True):
                view[modality] = node
        return nodes

    def _represent(
        self,
        data: HeteroData,
        nodes: Mapping[View, Tensor],
        perturbed: tuple[str, RandomDraws] | None = None,
    ) -> Representations:
        """Propagate, enhance the items and fuse; perturbed views are of the modalities only."""
        adjacency = interaction_adjacency(data)
        item_graph = self._item_graph(data)
        user, item = {}, {}
        for view in nodes if perturbed is None else self.modalities:
            noise = None if perturbed is None else self._noise(*perturbed, view)
            h = self.propagation(nodes[view], adjacency, noise=noise)
            user[view], item[view] = h.split([self.num_users, self.num_items])
            if item_graph is not None:
                item[view] = self.item_conv(item[view], item_graph)
        # The item graph acts on columns one by one, so the fused items are enhanced by now.
        user["fused"], item["fused"] = self.fusion(user, item)
        return Representations(user, item)

    def _item_graph(self, data: HeteroData) -> Adjacency | None:
        if not self.config.item_graph:
            return None
        return semantic_adjacency(data, self.config.semantics)

    def _noise(self, view: str, draws: RandomDraws, modality: Modality) -> list[Noise]:
        layers = range(1, self.config.num_layers + 1)
        return [self.perturbation.noise(draws.noise.get((view, modality, n))) for n in layers]

    def _mask(self, reps: Representations, draws: RandomDraws) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.rules.masking_trains):
            user: Tensor = self.masking(reps.user["fused"], draws.keep.get("user"))
            item: Tensor = self.masking(reps.item["fused"], draws.keep.get("item"))
            return user + item

    def _perturb(
        self,
        data: HeteroData,
        nodes: Sequence[Mapping[View, Tensor]],
        draws: RandomDraws,
        users: Tensor | slice,
        items: Tensor | slice,
    ) -> Tensor:
        a, b = [
            self._represent(data, of_view, (view, draws))
            for view, of_view in zip(PERTURBED_VIEWS, nodes, strict=True)
        ]
        contrast = partial(
            info_nce, temperature=self.config.temperature, precision=self.config.precision
        )
        return contrast(a.user["fused"][users], b.user["fused"][users]) + contrast(
            a.item["fused"][items], b.item["fused"][items]
        )

    def _contrasted(self, user: Tensor, pos_item: Tensor) -> tuple[Tensor | slice, Tensor | slice]:
        if self.config.contrast == "full":
            return slice(None), slice(None)
        return user.unique(), pos_item.unique()

    def _penalty(self, user: Tensor) -> Tensor:
        penalty = self.fusion.user_modality_weight().square().mean()
        for modality in self.modalities:
            encoder = cast(ModalityEncoder, self.encoders[modality])
            penalty = penalty + F.embedding(user, encoder.user_preference).square().mean()
        return penalty
