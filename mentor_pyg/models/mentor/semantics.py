"""What the paper's MENTOR and its released code do differently, as settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mentor_pyg.models.mentor.config import Semantics

__all__ = ["NEIGHBOUR_EPS", "RULES", "SemanticsRules"]

NEIGHBOUR_EPS = 1e-7
"""What the released code adds to an item's number of neighbours before it divides."""


@dataclass(frozen=True, kw_only=True)
class SemanticsRules:
    """One column of the table in ``docs/deviations.md``."""

    log_base: float
    """Base of the logarithm in the ranking loss."""
    softmax_weights: bool
    """Whether user modality weights stay a softmax, rather than only start as one."""
    masking_trains: bool
    """Whether feature masking has a gradient; without, it is a constant."""
    shared_encoders: bool
    """Whether perturbed views run through the model's encoders, rather than through their own."""
    self_neighbours: bool
    """Whether an item is its own first neighbour in the item graph."""


RULES: dict[Semantics, SemanticsRules] = {
    "paper": SemanticsRules(
        log_base=math.e,
        softmax_weights=True,
        masking_trains=True,
        shared_encoders=True,
        self_neighbours=False,
    ),
    "released": SemanticsRules(
        log_base=2,
        softmax_weights=False,
        masking_trains=False,
        shared_encoders=False,
        self_neighbours=True,
    ),
}
