"""What every model is: sizes, settings, and a scorer made of a dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg import config as settings
from mentor_pyg.data import USER, Inputs, Scorer, Sizes, validate_data
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import recommend_items, seen_items
from mentor_pyg.transforms import FillMissing
from mentor_pyg.typing import Split

__all__ = ["Model", "fits_shape"]


class Model(nn.Module, ABC):
    """Base of all models, of trained ones (:class:`Recommender`) and of those that are fitted.

    A model holds parameters or what was fitted, its sizes and its config, nothing else: what it
    reads comes in with every call and results go out as values.

    Args:
        sizes: The sizes of the dataset that the model is for.
        config: The settings; by default the config's defaults.
    """

    name: ClassVar[str]
    """The name under which the model is registered, saved and asked for."""
    Config: ClassVar[type[settings.Config]]
    """The class of its settings."""
    uses_features: ClassVar[bool] = True
    """Whether the model reads item features."""

    config: settings.Config

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__()
        self.sizes = sizes
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise TypeError(
                f"'config' needs to be a {self.Config.__name__} (got {type(config).__name__})"
            )

    @classmethod
    def from_data(cls, data: HeteroData, config: Any = None) -> Self:
        """Build a model for the users, items and features of ``data``, with nothing learned yet."""
        return cls(Sizes.of(data, features=cls.uses_features), config)

    @property
    def num_users(self) -> int:
        """The number of users that the model was built for."""
        return self.sizes.num_users

    @property
    def num_items(self) -> int:
        """The number of items that the model was built for."""
        return self.sizes.num_items

    # ---- what a subclass says -----------------------------------------------------------------

    @classmethod
    def transform(cls, config: Any) -> BaseTransform:
        """Return what puts the graphs that the model needs into a dataset; nothing by default."""
        return Compose([])

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the adjacencies of a transformed dataset by name; none by default."""
        return {}

    @abstractmethod
    def scorer(self, inputs: Inputs) -> Scorer:
        """Return what scores all items for any users."""

    def state_shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """Return the shape of every tensor of the saved model; ``None`` where it may be any."""
        return {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}

    @classmethod
    def ranks_by_rows(cls) -> bool:
        """Return whether dot products of users' and items' rows rank, which an export needs."""
        return False

    # ---- for everybody ------------------------------------------------------------------------

    @final
    @classmethod
    def new_users(cls) -> str:
        """Return how a user who was not there in training gets a list, or that none does."""
        if cls.ranks_by_rows():
            return "from the items they chose, by FoldIn of its export"
        return "not without training anew, since it does not rank by rows"

    @final
    def transformed(self, data: HeteroData) -> HeteroData:
        """Return a dataset with missing features filled, as far as settings say, and item graphs.

        It is what :meth:`prepare` does first; a dataset that has all of it is taken as it is.
        """
        if (how := getattr(self.config, "missing", None)) in ("mean", "propagate"):
            data = FillMissing(how)(data)
        ready: HeteroData = self.transform(self.config)(data)
        return ready

    @final
    def prepare(self, data: HeteroData) -> Inputs:
        """Return what the model reads of a dataset, its graphs laid out, on the data's device.

        What the dataset lacks is made here, by :meth:`transformed`; the dataset is left as
        it is. Everything takes the result in the dataset's place, and does not prepare it again.

        Raises:
            ValueError: If the dataset is not as :func:`~mentor_pyg.data.validate_data` needs it,
                or the model was built for another one.
        """
        validate_data(data, absent_modalities=True)
        self.check_fits(data)
        data = self.transformed(data)
        return Inputs.from_data(data, self.sizes.channels, self.graphs(data))

    @final
    @torch.no_grad()
    def recommend(
        self,
        data: HeteroData,
        user: int | str | Sequence[int | str] | Tensor,
        k: int = 20,
        exclude_seen: bool = True,
        exclude: Sequence[Split] = ("train",),
    ) -> tuple[Tensor, Tensor]:
        """Return the best items for some users.

        The model is run afresh; to serve many requests, export it once (see
        :mod:`mentor_pyg.export`).

        Args:
            data: The dataset.
            user: One user or several, by number or, as text, by original id (see
                :func:`mentor_pyg.ops.user_ids`).
            k: The number of items.
            exclude_seen: Whether to leave out what the users interacted with.
            exclude: The splits that hold it.

        Returns:
            Item ids and scores, both ``[batch, k]``, best first; ``batch`` is 1 for a single
            user. Ids are -1 where a user has fewer than ``k`` items left.

        Raises:
            TypeError: If ``data`` is no dataset, or ``k`` no integer.
            ValueError: If a user or ``k`` is out of range, or ``data`` has no such split.
        """
        if not isinstance(data, HeteroData):
            raise TypeError(
                f"'data' needs to be a HeteroData (got {type(data).__name__}); a model holds no "
                f"data of its own: call recommend(data, user, k), or recommend(user, k) of "
                f"mentor_pyg.EmbeddingTables.from_model(model, data)"
            )
        inputs = self.prepare(data)
        seen = seen_items(data, exclude) if exclude_seen else None
        with self.evaluating():
            scorer = self.scorer(inputs)
            return recommend_items(scorer, user, k, seen, raw_id=data[USER].get("raw_id"))

    @final
    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run in evaluation mode for a while; every module has its own mode back afterwards."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    @final
    def check_fits(self, data: HeteroData) -> None:
        """Raise a ``ValueError`` if the model was built for data of other sizes."""
        self._check_fits(Sizes.of(data, features=self.uses_features), "data")

    def _inputs(self, data: HeteroData | Inputs) -> Inputs:
        if not isinstance(data, Inputs):
            return self.prepare(data)
        channels = {m: x.size(1) for m, x in data.features.items()}
        self._check_fits(Sizes(data.num_users, data.num_items, channels), "inputs")
        return data

    def _check_fits(self, got: Sizes, name: str) -> None:
        mend = f"build one with {type(self).__name__}.from_data(data, config)"
        counts = (got.num_users, got.num_items)
        if counts != (self.num_users, self.num_items):
            raise ValueError(
                f"'{name}' has {counts[0]} users and {counts[1]} items, but the model was built "
                f"for {self.num_users} and {self.num_items}; {mend}"
            )
        if self.uses_features and got.channels != self.sizes.channels:
            raise ValueError(
                f"'{name}' has features of the widths {dict(got.channels)}, but the model was "
                f"built for {dict(self.sizes.channels)}; {mend}"
            )


def fits_shape(found: tuple[int, ...] | None, expected: tuple[int | None, ...] | None) -> bool:
    """Return whether a shape is as :meth:`Model.state_shapes` says; ``None`` is no such tensor."""
    if found is None or expected is None or len(found) != len(expected):
        return False
    return all(want in (None, got) for got, want in zip(found, expected, strict=True))
