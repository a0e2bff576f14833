"""The dataset that a run measures on: made once, read by every case's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cases import Setting
from torch_geometric.data import HeteroData

from mentor_pyg import InteractionFolder, SyntheticMultimodal
from mentor_pyg.data import feature_key, modalities, num_items, num_users

__all__ = ["load", "make_setting"]


def make_setting(data: Path | None, size: str, scratch: Path, **options: Any) -> Setting:
    """Read a folder, or make the synthetic dataset of a size, and leave it in a file.

    Args:
        data: The folder; ``None`` for a synthetic dataset.
        size: The size of the synthetic dataset.
        scratch: The folder to leave the file in.
        **options: The other fields of :class:`cases.Setting`.
    """
    dataset = InteractionFolder(data)[0] if data else SyntheticMultimodal(size)[0]
    path = scratch / "dataset.pt"
    torch.save(dataset.to_dict(), path)
    return Setting(
        dataset=path,
        name=str(data) if data else f"synthetic {size}",
        num_users=num_users(dataset),
        num_items=num_items(dataset),
        channels={m: dataset["item"][feature_key(m)].size(1) for m in modalities(dataset)},
        **options,
    )


def load(setting: Setting) -> HeteroData:
    """Return the dataset on the setting's device."""
    data = HeteroData.from_dict(torch.load(setting.dataset, weights_only=True))
    return data.to(setting.device)
