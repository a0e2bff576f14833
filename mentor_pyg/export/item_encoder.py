"""The row of an item without interactions, from its features, as an ONNX model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mentor_pyg.dependencies import require
from mentor_pyg.files import replaced_whole
from mentor_pyg.models import MENTOR, MENTORPlus, Model
from mentor_pyg.nn import ModalityEncoder
from mentor_pyg.typing import Modality

__all__ = ["ItemEncoder", "check_onnx", "write_onnx"]

_TOLERANCE = 1e-4


class ItemEncoder(nn.Module):
    r"""Gives an item that nobody has interacted with the row that its features alone make.

    It is what the model itself gives an item that has neither interactions nor neighbours in the
    item graph; its dot products with users' rows rank it among the others. For MENTOR that is

    .. math::
        \Vert_m \frac{\mathrm{MLP}_m(\mathbf{f}_m)}{\lVert \mathrm{MLP}_m(\mathbf{f}_m) \rVert}

    and for MENTORPlus, with an id of zeros,
    :math:`\tfrac{1}{L + 1} \sum_m (\mathbf{W}_m \mathbf{f}_m / \lVert \mathbf{f}_m \rVert +
    \mathbf{b}_m)`; of unit length where the model ranks by cosines. A row of zeros is a modality
    that the item lacks; what the model has learned to stand in for it does so, if it was trained
    with ``missing="learned"``.

    Args:
        model: A :class:`~mentor_pyg.models.MENTOR` whose score has no ID view, or a
            :class:`~mentor_pyg.models.MENTORPlus` with content.

    Shapes:
        - **input:** per modality, in the order of :attr:`channels`, features :math:`(N, C_m)`
        - **output:** :math:`(N, width)`

    Raises:
        ValueError: If the rows of the model's items are no function of features.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.side_by_side = isinstance(model, MENTOR) and not model.config.id_in_score
        if isinstance(model, MENTOR) and self.side_by_side:
            self.parts = nn.ModuleDict({m: model.encoders[m] for m in model.modalities})
            self.scale = 1.0
        elif isinstance(model, MENTORPlus) and model.projections:
            self.parts = model.projections
            self.scale = 1 / (model.config.num_layers + 1)
        else:
            raise ValueError(
                f"an item encoder needs items whose rows are made of features alone, as those of "
                f"mentor without 'id_in_score' and mentor_plus with 'content' (got {model.name})"
            )
        if model.config.missing in ("mean", "propagate"):
            raise ValueError(
                f"an item encoder sees no other items, of which missing={model.config.missing!r} "
                f"makes the features that an item lacks; train with 'zero' or 'learned'"
            )
        self.missing_features = model.missing_features
        self.cosine = model.config.ranking_loss == "softmax" and (
            model.config.ranking_similarity == "cosine"
        )
        self.channels: Mapping[Modality, int] = {m: model.sizes.channels[m] for m in self.parts}

    def forward(self, *features: Tensor) -> Tensor:
        """Return the rows."""
        given = dict(zip(self.parts, features, strict=True))
        present = {m: (x != 0).any(dim=1) for m, x in given.items()}
        if self.missing_features is not None:
            given, present = self.missing_features(given, present), {}
        rows = []
        for modality, part in self.parts.items():
            x = given[modality]
            if isinstance(part, ModalityEncoder):
                row = F.normalize(part.items(x))
            else:
                row = part(F.normalize(x))
            there = present.get(modality)
            rows.append(row if there is None else row * there.unsqueeze(1))
        out = torch.cat(rows, dim=1) if self.side_by_side else torch.stack(rows).sum(dim=0)
        return F.normalize(out) if self.cosine else out * self.scale


def check_onnx() -> None:
    """Raise a ``MissingPackageError`` if a package for ONNX is missing."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="onnx", purpose="An ONNX model")


def write_onnx(model: Model, path: str | Path) -> float:
    """Write a model's :class:`ItemEncoder` to an ONNX file and check what ONNX Runtime makes of it.

    Its inputs have the modalities' names, its output is ``row``; the number of items is free.

    Args:
        model: The model.
        path: The file; it is replaced whole.

    Returns:
        The greatest difference from torch, on random features.

    Raises:
        MissingPackageError: If a package of the extra ``onnx`` is missing.
        ValueError: If the model has no such encoder, or ONNX Runtime differs from torch.
    """
    check_onnx()
    onnxruntime = importlib.import_module("onnxruntime")
    encoder = ItemEncoder(model).eval()
    draw = torch.Generator().manual_seed(0)

    def features(items: int) -> tuple[Tensor, ...]:
        some = [torch.randn(items, c, generator=draw) for c in encoder.channels.values()]
        some[0][0] = 0  # It lacks the first modality.
        return tuple(some)

    dynamic = ({0: torch.export.Dim("items")},) * len(encoder.channels)
    program = torch.export.export(encoder, features(3), dynamic_shapes={"features": dynamic})
    onnx = torch.onnx.export(
        program, input_names=[*encoder.channels], output_names=["row"], verbose=False
    )
    assert onnx is not None
    data = onnx.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    worst = 0.0
    for items in (1, 7):
        given = features(items)
        inputs = {m: x.numpy() for m, x in zip(encoder.channels, given, strict=True)}
        with torch.no_grad():
            expected = encoder(*given).numpy()
        worst = max(worst, float(np.abs(session.run(None, inputs)[0] - expected).max()))
    if not worst < _TOLERANCE:
        raise ValueError(f"ONNX Runtime differs from torch by {worst:g}; report this as a bug")
    with replaced_whole(path) as partial:
        partial.write_bytes(data)
    return worst
