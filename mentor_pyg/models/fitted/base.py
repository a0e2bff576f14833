"""What models without gradients share: they are fitted to a dataset in one call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self, final

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs, Scorer
from mentor_pyg.models.model import Model, fits_shape

__all__ = ["FittedModel"]


class FittedModel(Model):
    """Base of all models without gradients.

    What a model was fitted to is kept in buffers, which it has none of before. A subclass names
    itself and its config, and says in :meth:`solve` what to keep, in :meth:`state_shapes` of
    which shapes, and in :meth:`fitted_scorer` how that scores.
    """

    uses_features = False

    @abstractmethod
    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return what the train interactions make of the model, by the names of its buffers."""

    @abstractmethod
    def state_shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """Return the shape of every buffer; ``None`` where the interactions decide."""

    @abstractmethod
    def fitted_scorer(self, inputs: Inputs) -> Scorer:
        """Return what scores items, from the buffers."""

    @final
    def fit(self, data: HeteroData | Inputs) -> Self:
        """Fit the model to the train interactions of a dataset and return it.

        Args:
            data: The dataset, or what :meth:`~.Model.prepare` made of it, which saves time.
        """
        inputs = self._inputs(data)
        for name, tensor in self.solve(inputs).items():
            self.register_buffer(name, tensor.to(inputs.device))
        return self

    def scorer(self, inputs: Inputs) -> Scorer:
        """Return what scores items.

        Raises:
            RuntimeError: If the model is not fitted.
        """
        if not self.state_dict():
            raise RuntimeError(f"the model {self.name} is not fitted yet; call fit(data) first")
        return self.fitted_scorer(inputs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take a copy of the buffers of a fitted model of this class and of the same sizes.

        Raises:
            RuntimeError: If there are others, or one has another shape.
        """
        for name, expected in self.state_shapes().items():
            if name not in state_dict:
                continue
            tensor = state_dict[name]
            if not fits_shape(tuple(tensor.shape), expected):
                raise RuntimeError(
                    f"{type(self).__name__} needs {name!r} of shape {list(expected)} "
                    f"(got {list(tensor.shape)})"
                )
            self.register_buffer(name, torch.empty_like(tensor))
        return super().load_state_dict(state_dict, strict, assign)
