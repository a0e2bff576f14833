"""Type aliases shared by the whole library."""

from typing import Literal, TypeAlias

__all__ = ["EdgeType", "Modality", "Precision", "Split", "View"]

EdgeType: TypeAlias = tuple[str, str, str]
"""Source, relation and target, as in ``("user", "interacts", "item")``."""
Modality: TypeAlias = str
"""The name of a modality, such as ``"visual"``."""
Precision: TypeAlias = Literal["ieee", "tf32x3", "tf32", "bf16"]
"""What products of float32 matrices are rounded to; sums are float32 in all of them."""
View: TypeAlias = str
"""A key of :class:`~mentor_pyg.data.Representations`: ``"fused"``, ``"id"`` or a modality."""
Split: TypeAlias = Literal["train", "val", "test"]
"""A part of the interactions."""
