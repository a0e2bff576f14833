"""The protocol that every trained recommender keeps."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from mentor_pyg.config import AtLeastOne
from mentor_pyg.data import Batch, Inputs, Representations, Scorer, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency, interaction_adjacency
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.model import Model
from mentor_pyg.models.objective import Objective, Terms
from mentor_pyg.models.ranking import RankingConfig, as_ranked
from mentor_pyg.nn import MissingFeatures

__all__ = ["FeatureConfig", "GraphFeatureConfig", "ModelConfig", "Recommender"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(RankingConfig):
    """What the settings of all trained models share."""

    embedding_dim: AtLeastOne = 64
    """Width of a view."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(ModelConfig):
    """What the settings of models that read item features share."""

    missing: Literal["zero", "mean", "propagate", "learned"] = "zero"
    """What stands in for features that items lack. ``"zero"``: nothing, and no item graph has the
    item. ``"mean"``, ``"propagate"``: what :class:`~mentor_pyg.transforms.FillMissing` makes of the
    dataset at hand, which may be another with other items. ``"learned"``: a vector per modality,
    :class:`~mentor_pyg.nn.MissingFeatures`, which stays as it was drawn where no item lacks the
    modality in training; item graphs are as with ``"zero"``."""
    features_need: ClassVar[str | None] = None
    """The setting without which the model reads no features, so that none can be learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = self.features_need
        if self.missing == "learned" and needed and not getattr(self, needed):
            raise ValueError(
                f"'missing' cannot be 'learned' without {needed!r}: nothing else reads features"
            )


@dataclass(frozen=True, kw_only=True)
class GraphFeatureConfig(FeatureConfig):
    """What the settings of models share in which features reach items over item graphs alone.

    Items that lack a modality are not in its graph, so no vector could be learned for them.
    """

    missing: Literal["zero", "mean", "propagate"] = "zero"
    """What stands in for features that items lack, see :class:`FeatureConfig`."""


class Recommender(Model):
    """Base of all trained models.

    A subclass names itself and its config, builds its parameters from the sizes, and says in
    :meth:`~.Model.graphs`, :meth:`represent` and :meth:`terms` what it reads, what it makes of it
    and what it minimises.

    Args:
        sizes: The sizes of the dataset that the model has parameters for.
        config: The settings; by default the config's defaults.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    """The class of its settings."""

    config: ModelConfig
    missing_features: MissingFeatures | None
    """What :meth:`completed` puts in; ``None`` where the settings ask for none."""

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__(sizes, config)
        learned = getattr(self.config, "missing", None) == "learned"
        self.missing_features = MissingFeatures(sizes.channels) if learned else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew; here what stands in for missing features."""
        reset(self.missing_features)

    # ---- what a subclass says -----------------------------------------------------------------

    @abstractmethod
    def represent(self, inputs: Inputs) -> Representations:
        """Return the representations of all users and items, from the current parameters."""

    @abstractmethod
    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the weighted loss terms by name; the training loss is their sum.

        Args:
            inputs: What :meth:`~.Model.prepare` gave, or :meth:`resample` after it.
            batch: Users, their positive and negative items ``[batch]``.
            draws: Where all random numbers come from.
        """

    def scorer(self, inputs: Inputs) -> Scorer:
        """Return what scores items: the representations, unless the model scores otherwise."""
        return as_ranked(self.represent(self.completed(inputs)), self.config)

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs of an epoch, for models that draw a graph anew; unchanged by default.

        Args:
            inputs: What :meth:`~.Model.prepare` gave; never what an earlier epoch had.
            epoch: The epoch, from 0.
            generator: Where random numbers come from, seeded by the run's seed and the epoch.
        """
        return inputs

    def objectives(self) -> tuple[Objective, ...]:
        """Return what a step minimises, one after the other; all terms over all parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return (Objective(self.on_completed(self.terms), parameters),)

    @property
    def has_static_shapes(self) -> bool:
        """Whether the shapes in :meth:`terms` depend on the size of the batch alone."""
        return True

    @final
    def interaction_graph(self, data: HeteroData) -> Adjacency:
        """Return the normalised graph of the interactions, users before items, for ``graphs``."""
        return interaction_adjacency(
            edge_label_index(data, "train"), self.num_users, self.num_items
        )

    @classmethod
    def ranks_by_rows(cls) -> bool:
        """Return whether :meth:`scorer` is not overridden, so that representations rank."""
        return cls.scorer is Recommender.scorer

    # ---- for everybody ------------------------------------------------------------------------

    @final
    def encode(self, data: HeteroData | Inputs) -> Representations:
        """Return the representations of all users and items, as they are scored: without dropout.

        Where the model is trained on cosines, rows of the fused view have unit length.

        Args:
            data: The dataset, or what :meth:`~.Model.prepare` made of it, which saves time.
        """
        inputs = self._inputs(data)
        with self.evaluating():
            return as_ranked(self.represent(self.completed(inputs)), self.config)

    @final
    def loss(
        self,
        data: HeteroData | Inputs,
        user: Tensor,
        pos_item: Tensor,
        neg_item: Tensor,
        draws: Draws | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted loss terms by name; the training loss is their sum.

        Args:
            data: The dataset, or what :meth:`~.Model.prepare` made of it, which saves time.
            user: User ids ``[batch]``.
            pos_item: Items that the users interacted with ``[batch]``.
            neg_item: Items that they did not ``[batch]``.
            draws: Random numbers to use in place of fresh ones.

        Raises:
            ValueError: If the ids are not three vectors of one length, or the dataset is wrong.
        """
        shapes = [list(ids.shape) for ids in (user, pos_item, neg_item)]
        if user.dim() != 1 or shapes != [shapes[0]] * 3:
            raise ValueError(
                f"'user', 'pos_item' and 'neg_item' need one id each per interaction, [batch] (got "
                f"the shapes {shapes[0]}, {shapes[1]} and {shapes[2]})"
            )
        inputs = self.completed(self._inputs(data))
        return self.terms(inputs, Batch(user, pos_item, neg_item), draws or Draws())

    forward = loss
    """What wraps a module calls this, as DistributedDataParallel does."""

    @final
    def completed(self, inputs: Inputs) -> Inputs:
        """Return the inputs with learned features where items lack some, if the settings say so.

        What is called from outside completes them: :meth:`encode`, :meth:`loss`, :meth:`scorer` and
        :meth:`objectives`. So :meth:`represent` and :meth:`terms` get inputs that are complete, and
        who overrides ``scorer``, ``objectives`` (see :meth:`on_completed`) or reads features in
        :meth:`resample` completes them there.
        """
        if self.missing_features is None:
            return inputs
        features = self.missing_features(inputs.features, inputs.present)
        return dataclasses.replace(inputs, features=features, present={})

    @final
    def on_completed(self, terms: Terms) -> Terms:
        """Return terms of an :class:`Objective` that complete the inputs first."""
        return terms if self.missing_features is None else partial(self._after_completing, terms)

    def _after_completing(
        self, terms: Terms, inputs: Inputs, batch: Batch, draws: Draws
    ) -> dict[str, Tensor]:
        return terms(self.completed(inputs), batch, draws)
