"""Checksums of datasets."""

import json

import numpy as np
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data.schema import is_recorded
from mentor_pyg.tensor_files import checksum

__all__ = ["fingerprint"]


def fingerprint(data: HeteroData) -> str:
    """Return a checksum of the facts that a dataset holds: the same for equal ones only.

    Facts are the counts, features, presence masks, interactions of all splits, original ids and
    everything else that ``data`` was given. Item graphs that the transforms of this library made
    of them are none: with and without them, data has the same fingerprint. An item graph of your
    own, without a record of how it was made, is a fact.

    Args:
        data: The dataset, on any device.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, object] = {}
    for store, attributes in data.to_dict().items():
        if is_recorded(data, store):
            continue
        for name, value in attributes.items():
            key = json.dumps([store, name])
            if isinstance(value, Tensor):
                tensors[key] = value
            elif isinstance(value, np.ndarray):
                values[key] = [str(value.dtype), value.tolist()]
            elif name != "merge_weight":  # which a transform leaves on a graph of your own, too
                values[key] = value
    return checksum(tensors, json.dumps(values, sort_keys=True, default=repr))[:16]
