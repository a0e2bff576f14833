"""The export of a trained model: one folder with all that serving needs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import fingerprint, modalities
from mentor_pyg.data.raw_ids import ids_as_text
from mentor_pyg.dependencies import require
from mentor_pyg.environment import describe_environment
from mentor_pyg.export.item_encoder import check_onnx, write_onnx
from mentor_pyg.export.item_table import DETAILS
from mentor_pyg.export.neighbours import ItemNeighbours, item_neighbours
from mentor_pyg.export.retrieval import IndexKind, ItemIndex, index_recall
from mentor_pyg.export.tables import EmbeddingTables, ranked_representations
from mentor_pyg.export.views import ScoreParts, score_parts
from mentor_pyg.files import check_replaceable, read_json, replace_folder, write_json
from mentor_pyg.graph import ItemLists
from mentor_pyg.models import Model
from mentor_pyg.tensor_files import save_tensors

__all__ = ["Export", "check_target", "read_export", "write_export"]

_FORMAT = 1
_DESCRIPTION = "export.json"
_TABLES, _VIEWS, _NEIGHBOURS = "tables.safetensors", "views.safetensors", "neighbours.safetensors"
_USERS, _ITEMS, _INDEX = "users.parquet", "items.parquet", "index.faiss"
_ENCODER = "item_encoder.onnx"
_FILES = {_TABLES, _VIEWS, _NEIGHBOURS, _USERS, _ITEMS, _INDEX, _ENCODER}
_K = 20  # The length of the lists whose recall through an index is measured.


@dataclass(frozen=True)
class Export:
    """What :func:`write_export` wrote.

    Args:
        description: ``export.json``; its ``version`` is a checksum of the whole.
        tables: Users, items and what users have seen.
        user_id: The users' original ids as text; their numbers where they have none.
        item_id: The items' likewise.
        details: ``title``, ``description``, ``link`` and ``image`` of every item, or ``None``.
        parts: What the views add to a score; ``None`` where it is no sum over views.
        neighbours: The nearest items; ``None`` where items have neither graphs nor features.
        index: The index; ``None`` where none was asked for.
    """

    description: dict[str, Any]
    tables: EmbeddingTables
    user_id: list[str]
    item_id: list[str]
    details: list[dict[str, str | None]]
    parts: ScoreParts | None
    neighbours: ItemNeighbours | None
    index: ItemIndex | None

    @property
    def version(self) -> str:
        """A checksum of all that the export holds."""
        return str(self.description["version"])


def write_export(
    model: Model,
    data: HeteroData,
    out: str | Path,
    *,
    index: IndexKind | None = None,
    items: pd.DataFrame | None = None,
    run: Mapping[str, Any] | None = None,
    onnx: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write a folder that serving needs nothing beside, whole or not at all.

    Args:
        model: A model that ranks by the dot product of users' and items' rows.
        data: The dataset that it was trained on.
        out: The folder to write.
        index: The kind of FAISS index to add; none by default.
        items: What items are called, as :func:`~mentor_pyg.export.read_item_table`
            gives it.
        run: What to note about the run beside the model, such as its metrics.
        onnx: Whether to add the model's ``ItemEncoder``.
        force: Whether to replace an export that is there.

    Returns:
        What was written to ``export.json``.

    Raises:
        OSError: If ``out`` holds an export without ``force``, or anything else, or is no folder.
        MissingPackageError: If pyarrow, for an index FAISS, or for ONNX a package is missing.
        ValueError: If the model does not rank by rows or has no encoder, or ``items`` names no
            item of the data.
    """
    require("pyarrow", extra="parquet", purpose="An export")
    if index is not None:
        require("faiss", extra="faiss", purpose="An index of items")
    if onnx:
        check_onnx()
    out = check_target(out, force)
    try:
        reps = ranked_representations(model, data)
    except TypeError as error:
        raise ValueError(
            f"the model {model.name} has no rows of users and items, which an export holds, but "
            f"scores items otherwise; `mentor-pyg recommend RUN --all` writes its lists"
        ) from error
    tables = EmbeddingTables.from_representations(reps, data)
    description: dict[str, Any] = {
        "format": _FORMAT,
        "model": {"name": model.name, "settings": model.config.to_dict()},
        "data": {"sha256": fingerprint(data), "modalities": list(modalities(data))},
        "users": tables.num_users,
        "items": tables.num_items,
        "run": dict(run or {}),
        "environment": describe_environment(tables.user.device),
    }
    with _replaced_folder(out) as folder:
        tables.save(folder / _TABLES)
        user_id = _unique(ids_as_text(tables.user_raw_id, tables.num_users))
        item_id = _unique(ids_as_text(tables.item_raw_id, tables.num_items))
        pd.DataFrame({"id": user_id}).to_parquet(folder / _USERS)
        details = _details(items, item_id)
        details.to_parquet(folder / _ITEMS)
        description["details"] = {name: int(details[name].notna().sum()) for name in DETAILS}
        description["views"] = _write_views(score_parts(reps), folder / _VIEWS)
        found = item_neighbours(model, data)
        description["neighbours"] = _write_neighbours(found, folder / _NEIGHBOURS)
        description["index"] = None
        if index is not None:
            built = ItemIndex.build(index, tables.item)
            (folder / _INDEX).write_bytes(built.to_bytes())
            k = min(_K, tables.num_items)
            recall = index_recall(built, tables.user, tables.item, k)
            description["index"] = {"kind": index, **built.parameters(), f"recall@{k}": recall}
        if onnx:
            difference = write_onnx(model, folder / _ENCODER)
            description["encoder"] = {"largest_difference_from_torch": difference}
        description["files"] = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
        }
        text = json.dumps(description, sort_keys=True)
        description["version"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        write_json(folder / _DESCRIPTION, description)
    return description


def read_export(folder: str | Path) -> Export:
    """Read an export, every file of which is checked against ``export.json``.

    Where the folder, or a link to it, is replaced meanwhile, what is returned is one whole export
    or an error.

    Raises:
        FileNotFoundError: If there is no export.
        MissingPackageError: If pyarrow, or for an index FAISS, is not installed.
        ValueError: If it is damaged, or of another version of this library.
    """
    require("pyarrow", extra="parquet", purpose="An export")
    folder = Path(folder).resolve()
    description = _read_description(folder / _DESCRIPTION)
    data = {name: _read_file(folder / name, sha) for name, sha in description["files"].items()}
    tensors = safetensors.torch.load(data[_TABLES])
    seen = ItemLists(tensors["seen.start"], tensors["seen.item"])
    tables = EmbeddingTables(tensors["user"], tensors["item"], seen)
    details = pd.read_parquet(io.BytesIO(data[_ITEMS]))
    views, near, index = (description[name] for name in ("views", "neighbours", "index"))
    return Export(
        description=description,
        tables=tables,
        user_id=pd.read_parquet(io.BytesIO(data[_USERS]))["id"].tolist(),
        item_id=details["id"].tolist(),
        details=details[[*DETAILS]].astype(object).where(details.notna(), None).to_dict("records"),
        parts=_read_views(views, tables.item, data.get(_VIEWS)),
        neighbours=_read_neighbours(near, data.get(_NEIGHBOURS)),
        index=index and ItemIndex.from_bytes(index["kind"], data[_INDEX]),
    )


def check_target(out: str | Path, force: bool) -> Path:
    """Return the folder, links followed, or raise if no export may be written there.

    Raises:
        OSError: If something is there that may not be replaced.
    """
    out = Path(out).resolve()
    check_replaceable(out, {_DESCRIPTION, *_FILES}, force)
    return out


@contextmanager
def _replaced_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` to write to, which becomes ``out`` once that has succeeded."""
    name = f".{out.name}.{uuid.uuid4().hex[:12]}"
    partial, before = out.with_name(f"{name}.partial"), out.with_name(f"{name}.before")
    partial.mkdir(parents=True)
    try:
        yield partial
        replace_folder(partial, out, before)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unique(ids: list[str]) -> list[str]:
    if (again := pd.Series(ids).duplicated()).any():
        one = ids[int(again.to_numpy().argmax())]
        raise ValueError(f"original ids need to be different (got {one!r} more than once)")
    return ids


def _details(items: pd.DataFrame | None, item_id: list[str]) -> pd.DataFrame:
    """Return the columns ``id`` and those of ``DETAILS``, a row an item."""
    found = pd.DataFrame(index=item_id) if items is None else items.reindex(item_id)
    if items is not None and not items.index.isin(item_id).any():
        raise ValueError(
            f"'items' needs the ids of the data, such as {item_id[0]!r} (got {items.index[0]!r}); "
            f"none of its {len(items)} is among them; give another table of items"
        )
    table = pd.DataFrame({"id": item_id})
    for name in DETAILS:
        column = found[name].tolist() if name in found else [None] * len(item_id)
        table[name] = pd.array(column, dtype="string")
    return table


def _write_views(parts: ScoreParts | None, path: Path) -> dict[str, Any] | None:
    if parts is None:
        return None
    if len({*parts.columns.values()}) == 1:  # A sum; views side by side are in the items' rows.
        save_tensors(parts.item, path)
    return {view: list(columns) for view, columns in parts.columns.items()}


def _read_views(views: Any, item: Tensor, data: bytes | None) -> ScoreParts | None:
    if views is None:
        return None
    columns = {view: (int(first), int(last)) for view, (first, last) in views.items()}
    if data is not None:
        return ScoreParts(columns, safetensors.torch.load(data))
    return ScoreParts(columns, {view: item[:, a:b] for view, (a, b) in columns.items()})


def _write_neighbours(found: ItemNeighbours | None, path: Path) -> dict[str, Any] | None:
    if found is None:
        return None
    save_tensors({"item": found.item, **{f"part.{m}": x for m, x in found.parts.items()}}, path)
    return {"modality_weights": found.weights, "from_model": found.from_model}


def _read_neighbours(near: Any, data: bytes | None) -> ItemNeighbours | None:
    if near is None or data is None:
        return None
    tensors, weights = safetensors.torch.load(data), near["modality_weights"]
    parts = {modality: tensors[f"part.{modality}"] for modality in weights}
    return ItemNeighbours(tensors["item"], parts, weights, near["from_model"])


def _read_description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} is no export (it has no {path.name}); give a folder that "
            f"`mentor-pyg export` wrote"
        )
    with read_json(path, "export the run anew, with --force") as found:
        description: dict[str, Any] = found
        version = description.pop("version")
        text = json.dumps(description, sort_keys=True)
        if version != hashlib.sha256(text.encode()).hexdigest()[:16]:
            raise ValueError("its checksum is not that of its contents")
        if not set(description["files"]) <= _FILES or description["format"] != _FORMAT:
            raise ValueError("it is of another format")
    return {**description, "version": version}


def _read_file(path: Path, sha256: str) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(
            f"{path} is not the file that export.json is about; if it is not being replaced, "
            f"export the run anew, with --force"
        )
    return data
