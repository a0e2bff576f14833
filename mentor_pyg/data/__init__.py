"""The data model: names of stores and attributes, validation, and representations."""

from mentor_pyg.data.batch import Batch, UserBatch
from mentor_pyg.data.checksum import fingerprint
from mentor_pyg.data.inputs import Inputs
from mentor_pyg.data.representations import Representations, Scorer
from mentor_pyg.data.schema import (
    DEFAULT_MODALITY_WEIGHTS,
    FUSED,
    ID,
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    SEMANTIC,
    USER,
    check_modality_name,
    edge_label_index,
    feature_key,
    knn_edge_type,
    modalities,
    num_items,
    num_users,
    presence,
    presence_key,
    resolve_modality_weights,
)
from mentor_pyg.data.sizes import Sizes
from mentor_pyg.data.validate import validate_data

__all__ = [
    "DEFAULT_MODALITY_WEIGHTS",
    "FUSED",
    "ID",
    "INTERACTS",
    "ITEM",
    "REV_INTERACTS",
    "SEMANTIC",
    "USER",
    "Batch",
    "Inputs",
    "Representations",
    "Scorer",
    "Sizes",
    "UserBatch",
    "check_modality_name",
    "edge_label_index",
    "feature_key",
    "fingerprint",
    "knn_edge_type",
    "modalities",
    "num_items",
    "num_users",
    "presence",
    "presence_key",
    "resolve_modality_weights",
    "validate_data",
]
