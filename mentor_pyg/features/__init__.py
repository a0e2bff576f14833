"""Texts, images, sound and columns of items -> the features that models read."""

from mentor_pyg.features.array import ArrayRows
from mentor_pyg.features.audio import AudioEncoder, open_sound
from mentor_pyg.features.columns import ColumnEncoder
from mentor_pyg.features.files import ItemFiles
from mentor_pyg.features.image import ImageEncoder, open_image
from mentor_pyg.features.table import ItemTable, read_item_columns
from mentor_pyg.features.text import TextEncoder, joined_text
from mentor_pyg.features.writing import (
    Report,
    UnusableError,
    check_same_encoder,
    feature_path,
    write_features,
)

__all__ = [
    "ArrayRows",
    "AudioEncoder",
    "ColumnEncoder",
    "ImageEncoder",
    "ItemFiles",
    "ItemTable",
    "Report",
    "TextEncoder",
    "UnusableError",
    "check_same_encoder",
    "feature_path",
    "joined_text",
    "open_image",
    "open_sound",
    "read_item_columns",
    "write_features",
]
