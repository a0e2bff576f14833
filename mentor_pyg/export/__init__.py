"""Embedding tables on disk, recommendations from them at scale, and exports that are served."""

from mentor_pyg.export.fold_in import FoldIn
from mentor_pyg.export.folder import Export, read_export, write_export
from mentor_pyg.export.item_table import read_item_table
from mentor_pyg.export.neighbours import ItemNeighbours
from mentor_pyg.export.retrieval import ItemIndex, best_items
from mentor_pyg.export.tables import EmbeddingTables
from mentor_pyg.export.views import ScoreParts

__all__ = [
    "EmbeddingTables",
    "Export",
    "FoldIn",
    "ItemIndex",
    "ItemNeighbours",
    "ScoreParts",
    "best_items",
    "read_export",
    "read_item_table",
    "write_export",
]
