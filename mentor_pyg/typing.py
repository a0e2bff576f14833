"""Type aliases shared by the whole library."""

from typing import Literal, TypeAlias

__all__ = ["EdgeType", "Modality", "Semantics", "Split", "View"]

EdgeType: TypeAlias = tuple[str, str, str]
Modality: TypeAlias = str
View: TypeAlias = str
"""A key of :class:`~mentor_pyg.data.Representations`: ``"fused"``, ``"id"`` or a modality."""
Semantics: TypeAlias = Literal["paper", "released"]
Split: TypeAlias = Literal["train", "val", "test"]
