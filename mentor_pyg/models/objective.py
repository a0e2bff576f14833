"""What one optimiser minimises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mentor_pyg.data import Batch, Inputs
from mentor_pyg.models.draws import Draws

__all__ = ["Objective", "Terms", "adam"]

Terms: TypeAlias = Callable[[Inputs, Batch, Draws], dict[str, Tensor]]
"""Returns the weighted terms of a batch by name."""


def adam(parameters: Sequence[nn.Parameter], lr: float) -> Optimizer:
    """Return Adam in its fused form."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


@dataclass(frozen=True)
class Objective:
    """Named terms, the parameters that their sum is minimised over, and by what.

    Args:
        terms: Returns the weighted terms of a batch by name.
        parameters: What the step changes; no other parameter gets a gradient from it.
        optimizer: Makes the optimiser from the parameters and the run's learning rate.
    """

    terms: Terms
    parameters: Sequence[nn.Parameter]
    optimizer: Callable[[Sequence[nn.Parameter], float], Optimizer] = adam
