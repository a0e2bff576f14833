"""The random numbers of a training step of MENTOR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from mentor_pyg.typing import Modality

__all__ = ["PERTURBED_VIEWS", "RandomDraws"]

PERTURBED_VIEWS = ("view_a", "view_b")


@dataclass(frozen=True, kw_only=True)
class RandomDraws:
    """The random numbers of one step, for a caller who wants to fix them.

    Args:
        noise: Draws from U[0, 1) ``[num_users + num_items, d]`` by perturbed view (``"view_a"``,
            ``"view_b"``), modality and layer (from 1).
        keep: Which entries feature masking keeps, bool ``[num_users | num_items, width]``, under
            ``"user"`` and ``"item"``.
    """

    noise: Mapping[tuple[str, Modality, int], Tensor] = field(default_factory=dict)
    keep: Mapping[str, Tensor] = field(default_factory=dict)
