"""MENTOR: wiring of encoders, propagation, fusion and self-supervised heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import info_nce
from mentor_pyg.models.base import Recommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.item_graph import item_graph_transform, merged_item_adjacency
from mentor_pyg.models.mentor.config import MENTORConfig
from mentor_pyg.models.mentor.id_tables import IDTables
from mentor_pyg.models.mentor.released import translate_state_dict
from mentor_pyg.models.mentor.semantics import NEIGHBOUR_EPS, RULES
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import (
    CrossModalAlignment,
    FeatureMasking,
    ItemSemanticConv,
    LayeredPropagation,
    ModalityEncoder,
    ModalityFusion,
    encode_together,
)
from mentor_pyg.ops import Noise
from mentor_pyg.typing import Modality, View

__all__ = ["MENTOR"]

PERTURBED_VIEWS = ("view_a", "view_b")
Nodes = Mapping[View, Tensor]
"""Users and items of every view before propagation, ``[num_users + num_items, d]`` each."""


@register
class MENTOR(Recommender):
    r"""Multi-level self-supervised learning for multimodal recommendation.

    From `"MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation"
    <https://arxiv.org/abs/2402.19407>`_. Every modality and the item ids are a view of all users
    and items; each view is propagated over the interactions and enhanced over an item graph; the
    modalities are fused for ranking; alignment, feature masking and graph perturbation are
    trained beside it. ``docs/architecture.md`` maps the paper's sections to files.

    Its random numbers are ``"keep/user"`` and ``"keep/item"``, which entries feature masking
    keeps (bool, of the shape of the fused view), and ``"noise/<view>/<modality>/<layer>"``, draws
    from U[0, 1) ``[num_users + num_items, d]`` for ``view_a`` and ``view_b`` and layers from 1.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mentor"
    Config = MENTORConfig
    config: MENTORConfig

    def __init__(self, sizes: Sizes, config: MENTORConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, self.rules = self.config, RULES[self.config.semantics]
        self.modalities = tuple(sizes.channels)
        users, dim = self.num_users, config.embedding_dim

        def encoders(widths: Mapping[View, int]) -> nn.ModuleDict:
            return nn.ModuleDict({v: ModalityEncoder(c, dim, users) for v, c in widths.items()})

        self.encoders = encoders(sizes.channels)
        if config.id_guidance:
            self.item_embedding = nn.Parameter(torch.empty(self.num_items, dim))
            mlp = config.id_encoder == "mlp"
            self.encoders[ID] = ModalityEncoder(dim, dim, users) if mlp else IDTables(users, dim)
        self.perturbed_encoders = nn.ModuleDict()
        if not self.rules.shared_encoders:
            self.perturbed_encoders.update({v: encoders(sizes.channels) for v in PERTURBED_VIEWS})
        self.propagation = LayeredPropagation(config.num_layers, backend=config.backend)
        self.item_conv = ItemSemanticConv(config.num_item_layers, backend=config.backend)
        self.fusion = ModalityFusion(users, self.modalities, self.rules.softmax_weights)
        self.alignment = CrossModalAlignment(config.align_levels, config.statistics)
        blocks = len(self.modalities) + config.id_in_score
        self.masking = FeatureMasking(dim * blocks, config.mask_ratio)
        self.reset_parameters()

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
        super().reset_parameters()
        if self.config.id_guidance:
            nn.init.xavier_uniform_(self.item_embedding)
        for module in self.modules():
            if isinstance(module, ModalityEncoder | IDTables | ModalityFusion | FeatureMasking):
                module.reset_parameters()

    @classmethod
    def transform(cls, config: MENTORConfig) -> BaseTransform:
        """Return what puts the item graphs into a dataset."""
        return item_graph_transform(config) if config.item_graph else Compose([])

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of the interactions and that of the items."""
        graphs = {"interaction": self.interaction_graph(data)}
        if self.config.item_graph:
            graphs["item"] = merged_item_adjacency(
                data, self_neighbours=self.rules.self_neighbours, eps=NEIGHBOUR_EPS
            )
        return graphs

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` and every modality.

        Single views are ``[num_users | num_items, d]``, the fused one is ``num_modalities * d``
        wide, and ``d`` wider with the ID view in it.
        """
        return self.propagated(inputs, self.encoded(inputs)["clean"])

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the weighted other terms.

        Those are ``reg``, ``align``, ``mask`` and ``perturb``.
        """
        config = self.config
        nodes = self.encoded(inputs, perturbed=config.perturb_weight > 0)
        reps = self.propagated(inputs, nodes["clean"])
        zero = reps.user[FUSED].new_zeros(())
        terms = {
            **ranking_terms(reps, batch, config, self.rules.log_base),
            "reg": config.reg_weight * self.penalty(batch),
            "align": zero,
            "mask": zero,
            "perturb": zero,
        }
        if config.align_weight:
            levels = self.alignment(reps)
            terms["align"] = config.align_weight * sum(levels.values(), zero)
        if config.mask_weight:
            terms["mask"] = config.mask_weight * self.masking_loss(reps, draws)
        if config.perturb_weight:
            view_a = self.perturbed(inputs, nodes, draws, "view_a")
            view_b = self.perturbed(inputs, nodes, draws, "view_b")
            terms["perturb"] = config.perturb_weight * self.contrast_loss(view_a, view_b, batch)
        return terms

    # ---- representations ----------------------------------------------------------------------

    def encoded(self, inputs: Inputs, *, perturbed: bool = False) -> dict[str, Nodes]:
        """Return the nodes of every view before propagation, under ``"clean"``.

        Where perturbed views have encoders of their own, what those give is under ``"view_a"``
        and ``"view_b"`` if it is asked for.
        """
        encoders = {"clean": self.encoders}
        if perturbed:
            encoders |= cast(Mapping[str, nn.ModuleDict], dict(self.perturbed_encoders.items()))
        nodes: dict[str, dict[View, Tensor]] = {name: {} for name in encoders}
        if self.config.id_guidance:
            nodes["clean"][ID] = self.encoders[ID](self.item_embedding)
        for modality in self.modalities:
            together = {n: cast(ModalityEncoder, of[modality]) for n, of in encoders.items()}
            x, present = inputs.features[modality], inputs.present.get(modality)
            for name, encoded in encode_together(together, x, present).items():
                nodes[name][modality] = encoded
        return dict(nodes)

    def propagated(
        self,
        inputs: Inputs,
        nodes: Nodes,
        noise: Mapping[Modality, Sequence[Noise]] | None = None,
    ) -> Representations:
        """Propagate every view, enhance its items and fuse the modalities.

        Args:
            inputs: The inputs.
            nodes: The nodes of every view.
            noise: What is added to the layers of a modality; none for clean views.
        """
        user, item = {}, {}
        for view, x in nodes.items():
            layers = None if noise is None else noise[view]
            h = self.propagation(x, inputs.graphs["interaction"], noise=layers)
            user[view], item[view] = h.split([self.num_users, self.num_items])
            if self.config.item_graph:
                item[view] = self.item_conv(item[view], inputs.graphs["item"])
        # The item graph acts on columns one by one, so the fused items are enhanced by now.
        user[FUSED], item[FUSED] = self.fusion(user, item)
        if self.config.id_in_score and ID in nodes:
            for side in (user, item):
                side[FUSED] = torch.cat([side[FUSED], side[ID]], dim=1)
        return Representations(user, item)

    def perturbed(
        self, inputs: Inputs, nodes: Mapping[str, Nodes], draws: Draws, name: str
    ) -> Representations:
        """Return a perturbed view of the modalities: propagated with noise after every layer.

        The ID view has no part in it.
        """
        own, scale = nodes.get(name, nodes["clean"]), self.config.noise_scale
        layers = range(1, self.config.num_layers + 1)
        noise = {
            m: [draws.noise(f"noise/{name}/{m}/{n}", scale) for n in layers]
            for m in self.modalities
        }
        return self.propagated(inputs, {m: own[m] for m in self.modalities}, noise)

    # ---- losses -------------------------------------------------------------------------------

    def masking_loss(self, reps: Representations, draws: Draws) -> Tensor:
        """Return the loss of predicting the masked fused view, users and items."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.rules.masking_trains):
            user, item = reps.user[FUSED], reps.item[FUSED]
            keep_user = draws.keep("keep/user", user, self.masking.mask_ratio)
            keep_item = draws.keep("keep/item", item, self.masking.mask_ratio)
            total: Tensor = self.masking(user, keep_user) + self.masking(item, keep_item)
            return total

    def contrast_loss(
        self, view_a: Representations, view_b: Representations, batch: Batch
    ) -> Tensor:
        """Return InfoNCE between two perturbed views, users and items."""
        users: Tensor | slice = slice(None)
        items: Tensor | slice = slice(None)
        if self.config.contrast == "batch":
            users, items = batch.user.unique(), batch.pos_item.unique()
        settings = (self.config.temperature, "auto", self.config.precision)
        user = info_nce(view_a.user[FUSED][users], view_b.user[FUSED][users], *settings)
        item = info_nce(view_a.item[FUSED][items], view_b.item[FUSED][items], *settings)
        return user + item

    def penalty(self, batch: Batch) -> Tensor:
        """Return the mean square of the batch users' preferences and of the modality weights."""
        penalty = self.fusion.user_modality_weight().square().mean()
        for modality in self.modalities:
            encoder = cast(ModalityEncoder, self.encoders[modality])
            penalty = penalty + F.embedding(batch.user, encoder.user_preference).square().mean()
        return penalty
