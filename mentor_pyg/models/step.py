"""One training step of all objectives of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mentor_pyg.data import Batch, Inputs
from mentor_pyg.models.captured_step import CapturedStep
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.objective import Objective

__all__ = ["Step"]


class Step:
    """Minimise every objective by one step of its optimiser, one objective after the other.

    Args:
        objectives: What ``model.objectives()`` gives.
        lr: The learning rate of the optimisers.
        cuda_graph: Whether forward and backward of whole batches are replayed from a CUDA graph
            (see :class:`CapturedStep`); for one objective of static shapes and inputs that stay.
        backward: What runs the backward pass, called as ``Tensor.backward`` is.

    Attributes:
        optimizers: One optimiser for each objective.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        lr: float,
        *,
        cuda_graph: bool = False,
        backward: Callable[..., None] = Tensor.backward,
    ) -> None:
        self.objectives = tuple(objectives)
        self.optimizers = tuple(o.optimizer(o.parameters, lr) for o in self.objectives)
        self.cuda_graph = cuda_graph
        self._backward = backward
        self._captured: tuple[Inputs, CapturedStep] | None = None

    def __call__(self, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        """Take the step and return the weighted terms by name, without gradient."""
        found: dict[str, Tensor] = {}
        for objective, optimizer in zip(self.objectives, self.optimizers, strict=True):
            terms = self._replayed(objective, inputs, batch) if self.cuda_graph else None
            if terms is None:
                optimizer.zero_grad()
                terms = objective.terms(inputs, batch, Draws())
                loss = torch.stack(list(terms.values())).sum()
                self._backward(loss, inputs=list(objective.parameters))
            optimizer.step()
            found |= {name: term.detach() for name, term in terms.items()}
        return found

    def _replayed(
        self, objective: Objective, inputs: Inputs, batch: Batch
    ) -> dict[str, Tensor] | None:
        """Replay a whole batch; ``None`` for the last, short one. The first is recorded."""
        if self._captured is None or self._captured[0] is not inputs:

            def loss(*ids: Tensor) -> dict[str, Tensor]:
                return objective.terms(inputs, Batch(*ids), Draws())

            self._captured = inputs, CapturedStep(loss, objective.parameters, batch)
        step = self._captured[1]
        if not step.fits(batch):
            return None
        return dict(zip(step.terms, step(batch), strict=True))
