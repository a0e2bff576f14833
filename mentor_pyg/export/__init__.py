"""Embedding tables on disk, and recommendations from them at scale."""

from mentor_pyg.export.tables import EmbeddingTables

__all__ = ["EmbeddingTables"]
