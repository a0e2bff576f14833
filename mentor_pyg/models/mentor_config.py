"""Settings of MENTOR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mentor_pyg.models.config import ModelConfig, check_at_least_zero
from mentor_pyg.nn import AlignmentLevel
from mentor_pyg.typing import Precision, Semantics

__all__ = ["Contrast", "MENTORConfig"]

Contrast = Literal["full", "batch"]

_LEVELS = tuple(level.value for level in AlignmentLevel)


@dataclass(frozen=True, kw_only=True)
class MENTORConfig(ModelConfig):
    """Settings of :class:`~mentor_pyg.models.MENTOR`, with the published values.

    A loss whose weight is 0 is not computed.
    """

    semantics: Semantics = "paper"
    """``"paper"``: the method of the paper. ``"released"``: what its public code computes."""
    num_layers: int = 2
    """Layers of propagation over the interactions."""
    num_item_layers: int = 1
    """Times that the item graph is applied."""
    item_graph: bool = True
    """Whether items are enhanced over the semantic graph."""
    id_guidance: bool = True
    """Whether there is an ID view for the modalities to align with."""
    align_levels: tuple[str, ...] = _LEVELS
    """The levels of alignment, by the names of :class:`~mentor_pyg.nn.AlignmentLevel`."""
    align_weight: float = 0.1
    """Weight of the alignment."""
    mask_weight: float = 1.5
    """Weight of feature masking."""
    mask_ratio: float = 0.5
    """Share of entries that feature masking drops."""
    perturb_weight: float = 1e-3
    """Weight of graph perturbation."""
    noise_scale: float = 0.1
    """Length of the noise after every layer of a perturbed view."""
    temperature: float = 0.2
    """Temperature of the contrast between perturbed views."""
    contrast: Contrast = "full"
    """``"full"``: all users and items are negatives, exactly. ``"batch"``: those of the batch."""
    precision: Precision = "ieee"
    """What the products of the contrast are rounded to; see :func:`mentor_pyg.losses.info_nce`."""
    reg_weight: float = 1e-3
    """Weight of the penalty on preferences and modality weights."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.semantics not in get_args(Semantics):
            raise ValueError(
                f"'semantics' needs to be 'paper' or 'released' (got {self.semantics!r})"
            )
        if self.contrast not in get_args(Contrast):
            raise ValueError(f"'contrast' needs to be 'full' or 'batch' (got {self.contrast!r})")
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"'precision' needs to be one of {list(get_args(Precision))} "
                f"(got {self.precision!r})"
            )
        check_at_least_zero(self, "num_layers", "num_item_layers", "noise_scale", "reg_weight")
        check_at_least_zero(self, "align_weight", "mask_weight", "perturb_weight")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"'temperature' needs to be finite and above 0 (got {self.temperature})"
            )
        if not 0 <= self.mask_ratio < 1:
            raise ValueError(f"'mask_ratio' needs to be in [0, 1) (got {self.mask_ratio})")
        if unknown := set(self.align_levels).difference(_LEVELS):
            raise ValueError(
                f"'align_levels' needs names among {list(_LEVELS)} (got {sorted(unknown)})"
            )
        # Lists are what JSON gives back.
        object.__setattr__(self, "align_levels", tuple(str(level) for level in self.align_levels))
