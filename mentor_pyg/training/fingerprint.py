"""Checksums of datasets."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

__all__ = ["fingerprint"]


def fingerprint(data: HeteroData) -> str:
    """Return a checksum of everything that a dataset holds: the same for equal ones only."""
    digest = hashlib.sha256()
    for store, attributes in sorted(data.to_dict().items(), key=lambda entry: str(entry[0])):
        for name, value in sorted(attributes.items()):
            digest.update(f"{store} {name} ".encode())
            if isinstance(value, Tensor):
                digest.update(f"{value.dtype} {list(value.shape)} ".encode())
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            elif isinstance(value, np.ndarray):
                digest.update(f"{value.dtype} {value.tolist()}".encode())
            else:
                digest.update(repr(value).encode())
    return digest.hexdigest()[:16]
