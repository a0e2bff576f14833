import errno
import gzip
import logging
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    INTERACTS,
    REV_INTERACTS,
    fingerprint,
    modalities,
    num_items,
    num_users,
    presence,
)
from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.datasets import interaction_folder as module
from mentor_pyg.datasets.inter_file import read_inter_file


def rows_with(position: int, text: str, line: int = 4) -> list[str]:
    """Replace one value; ``line`` counts from 1 with the header."""
    rows = [
        f"{user}\t{(2 * user + step) % 12}\t{label}"
        for user in range(6)
        for step, label in enumerate((0, 0, 0, 1, 2))
    ]
    fields = rows[line - 2].split("\t")
    fields[position] = text
    rows[line - 2] = "\t".join(fields)
    return rows


def features(file: str = "image_feat.npy", **change: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    array = rng.normal(size=(change.get("rows", 12), 8)).astype(change.get("dtype", "float32"))
    for row, value in change.get("fill", {}).items():
        array[row] = value
    return {file: array}


def test_layout(write_folder: Any) -> None:
    root = write_folder()
    dataset = InteractionFolder(root)
    data = dataset[0]
    assert len(dataset) == 1
    assert repr(dataset) == "InteractionFolder('small')"
    assert isinstance(data, HeteroData)
    assert (num_users(data), num_items(data)) == (6, 12)
    assert modalities(data) == ("visual", "textual")
    assert data["item"].x_visual.shape == (12, 8)
    assert data["item"].x_visual.dtype == data["item"].x_textual.dtype == torch.float32
    assert "has_visual" not in data["item"]
    store = data[INTERACTS]
    assert store.edge_index.shape == (2, 18)
    key = store.edge_index[0] * 12 + store.edge_index[1]
    assert bool((key.diff() > 0).all())
    assert torch.equal(data[REV_INTERACTS].edge_index, store.edge_index.flip(0))
    assert store.val_edge_label_index.shape == store.test_edge_label_index.shape == (2, 6)
    assert store.val_edge_label_index[:, 0].tolist() == [0, 3]
    assert data.edge_types == [INTERACTS, REV_INTERACTS]  # facts only


def test_pyg_file_names(write_folder: Any) -> None:
    root = write_folder()
    dataset = InteractionFolder(root)
    assert sorted(Path(path) for path in dataset.raw_paths) == sorted(
        root / name for name in ("small.inter", "image_feat.npy", "text_feat.npy")
    )
    (cached,) = dataset.processed_paths
    assert Path(cached).parent == root / "processed"
    assert [path.name for path in (root / "processed").iterdir()] == [Path(cached).name]


def write_ids(root: Path, first: str) -> None:
    rows = [f"{first if n == 0 else f'B{n:02}'}\t{n}" for n in range(12)]
    (root / "i_id_mapping.csv").write_text("\n".join(["asin\titemID", *rows]))


def test_original_ids(write_folder: Any) -> None:
    root = write_folder()
    assert "raw_id" not in InteractionFolder(root)[0]["item"]
    write_ids(root, "first")
    for dataset in (InteractionFolder(root), InteractionFolder(root)):  # Read, then cached.
        assert dataset[0]["item"].raw_id == ["first", *(f"B{n:02}" for n in range(1, 12))]
        assert "raw_id" not in dataset[0]["user"]
    assert root / "i_id_mapping.csv" in map(Path, dataset.raw_paths)


def test_pt_features_equal_npy_features(write_folder: Any, tmp_path: Path) -> None:
    array = features()["image_feat.npy"]
    as_npy = write_folder(features={"image_feat.npy": array}, folder="npy")
    as_pt = write_folder(features={}, folder="pt")
    torch.save(torch.from_numpy(array), as_pt / "visual_feat.pt")
    first, second = (InteractionFolder(root)[0] for root in (as_npy, as_pt))
    assert torch.equal(first["item"].x_visual, second["item"].x_visual)


@pytest.mark.parametrize("names", [(), ("audio",), ("image", "text", "tabular")])
def test_any_number_of_modalities(write_folder: Any, names: tuple[str, ...]) -> None:
    arrays = {f"{name}_feat.npy": features()["image_feat.npy"] for name in names}
    data = InteractionFolder(write_folder(features=arrays))[0]
    alias = {"image": "visual", "text": "textual", "audio": "acoustic"}
    assert modalities(data) == tuple(alias.get(name, name) for name in names)


def test_rating_and_time_belong_to_their_edges(write_folder: Any) -> None:
    rows = [
        f"{label}\t{1000 * user + step}\t{step}\t{user}\t{user + step / 2}"
        for user in reversed(range(5))
        for step, label in enumerate((0, 0, 1, 2))
    ]
    header = "x_label:float\ttimestamp:float\titemID:token\tuserID:token\trating:float"
    store = InteractionFolder(write_folder(rows=rows, header=header, features={}))[0][INTERACTS]
    user, item = store.edge_index
    assert store.time.dtype == torch.long
    assert torch.equal(store.time, 1000 * user + item)
    assert torch.equal(store.rating, user + item / 2)


def test_rows_without_features(write_folder: Any) -> None:
    data = InteractionFolder(write_folder(features=features(fill={3: np.nan, 7: 0.0})))[0]
    assert torch.nonzero(~presence(data, "visual")).flatten().tolist() == [3, 7]
    assert data["item"].has_visual.dtype == torch.bool
    assert not data["item"].x_visual[[3, 7]].any()


def test_features_say_how_many_items_there_are(write_folder: Any) -> None:
    root = write_folder(features=features(rows=14))
    assert num_items(InteractionFolder(root)[0]) == 14
    with pytest.raises(ValueError, match=r"image_feat.npy needs one row per item, 13 \(got 14\)"):
        InteractionFolder(root, num_items=13)
    write_folder(rows=rows_with(1, "14"), features=features(rows=14))
    with pytest.raises(
        ValueError, match=r"rows of .*image_feat.npy needs.*itemID of .*small.inter.*14 \(got 14\)"
    ):
        InteractionFolder(root)


def test_feature_files_agree_on_the_number_of_items(write_folder: Any) -> None:
    root = write_folder(features={**features(rows=14), **features("text_feat.npy", rows=13)})
    with pytest.raises(
        ValueError, match=r"text_feat.npy needs .*as many as .*image_feat.npy has, 14 \(got 13\)"
    ):
        InteractionFolder(root)


def test_num_items_without_features(write_folder: Any) -> None:
    root = write_folder(rows=rows_with(1, "13"), features={})
    with pytest.raises(ValueError, match=r"InteractionFolder\(\.\.\., num_items=14\)"):
        InteractionFolder(root)
    assert num_items(InteractionFolder(root, num_items=np.int64(15))[0]) == 15
    with pytest.raises(ValueError, match=r"'num_items'.*largest is 13 \(got 13\)"):
        InteractionFolder(root, num_items=13)
    with pytest.raises(
        ValueError, match=r"'num_items' needs to be a positive integer \(got 14.0\)"
    ):
        InteractionFolder(root, num_items=14.0)  # type: ignore[arg-type]


def compress(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_reads_compressed_interactions(write_folder: Any) -> None:
    root = write_folder()
    plain = InteractionFolder(root)[0]
    compress(root / "small.inter")
    for dataset in (InteractionFolder(root), InteractionFolder(root, "small")):
        assert dataset.name == "small"
        assert fingerprint(dataset[0]) == fingerprint(plain)
    write_folder()
    for name in (None, "small"):
        with pytest.raises(ValueError, match=r"\['small.inter', 'small.inter.gz'\]; remove one"):
            InteractionFolder(root, name)


def test_logs_counts(write_folder: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = rows_with(2, "1", line=2)
    rows[1:3] = [row[:-1] + "2" for row in rows[1:3]]  # user 0 has no train interaction left
    with caplog.at_level(logging.INFO, logger="mentor_pyg"):
        InteractionFolder(write_folder(rows=rows))
    (record,) = caplog.records
    assert "6 users (1 without train interactions)" in record.getMessage()


def test_transform_runs_on_access(write_folder: Any) -> None:
    def mark(data: HeteroData) -> HeteroData:
        data.marked = True
        return data

    dataset = InteractionFolder(write_folder(), transform=mark)
    assert dataset[0].marked
    assert "marked" not in dataset._data


def test_name_chooses_among_several(write_folder: Any) -> None:
    root = write_folder(name="one")
    write_folder(name="two", rows=rows_with(2, "0", line=2))
    with pytest.raises(ValueError, match=r"several .inter files, \['one.inter', 'two.inter'\]"):
        InteractionFolder(root)
    assert InteractionFolder(root, "two").name == "two"
    with pytest.raises(FileNotFoundError, match=r"three.inter does not exist.*one.inter"):
        InteractionFolder(root, "three")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'root' needs to be a folder.*nowhere"):
        InteractionFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=rf"{re.escape(str(tmp_path))} holds no .inter"):
        InteractionFolder(tmp_path)


BAD_INTERACTIONS = {
    "missing column": ({"header": "userID\titem\tx_label"}, "missing itemID"),
    "comma separated": ({"header": "userID,itemID,x_label"}, "tab-separated"),
    "text": ({"rows": rows_with(1, "b01")}, "line 4: column 'itemID' needs a number.*'b01'"),
    "empty field": ({"rows": rows_with(0, "")}, "line 4: column 'userID' needs a number.*''"),
    "short row": ({"rows": [*rows_with(0, "0"), "5\t3"]}, "line 32: column 'x_label'.*''"),
    "negative id": ({"rows": rows_with(0, "-1")}, "line 4: column 'userID'.*at least 0.*'-1'"),
    "fractional id": ({"rows": rows_with(1, "1.5")}, "line 4: column 'itemID'.*integer.*'1.5'"),
    "not a finite id": ({"rows": rows_with(1, "nan")}, "line 4: column 'itemID'.*'nan'"),
    "huge id": ({"rows": rows_with(1, "1e20")}, "line 4: column 'itemID'.*'1e20'"),
    "sparse users": (
        {"rows": rows_with(0, "9")},
        r"column 'userID'.*dense from 0 \(3 of the ids 0 to 9 are missing, the first of them 6\)",
    ),
    "sparse items": (
        {"rows": rows_with(1, "13"), "features": {}},
        r"column 'itemID'.*\(1 of the ids 0 to 13.*first of them 12\); renumber.*num_items=14",
    ),
    "unknown label": ({"rows": rows_with(2, "3")}, "line 4: column 'x_label' needs 0, 1 or 2"),
    "no rows": ({"rows": []}, "holds no interactions"),
    "no train": ({"rows": ["0\t0\t1", "0\t1\t2"]}, "no train interactions.*x_label 0"),
    "no validation": ({"rows": ["0\t0\t0", "0\t1\t2"]}, "no val interactions.*x_label 1"),
    "no test": ({"rows": ["0\t0\t0", "0\t1\t1"]}, "no test interactions.*x_label 2"),
}


@pytest.mark.parametrize(("change", "message"), BAD_INTERACTIONS.values(), ids=BAD_INTERACTIONS)
def test_refuses_interactions(write_folder: Any, change: dict[str, Any], message: str) -> None:
    root = write_folder(**change)
    with pytest.raises(ValueError, match=f"(?s)small.inter.*{message}"):
        InteractionFolder(root)
    assert not list((root / "processed").iterdir())


BAD_FEATURES = {
    "too few rows": (features(rows=11), r"largest is 11 \(got 11\)"),
    "infinite": (features(fill={5: np.inf}), "row 5 holds infinite values"),
    "partly NaN": (features(fill={(5, 2): np.nan}), "row 5 is NaN in part"),
    "integers": (features(dtype="int64"), "floating-point features.*int64.*astype"),
    "complex": (features(dtype="complex64"), "floating-point features.*complex64"),
    "one dimension": ({"image_feat.npy": np.ones(12)}, r"\[num_items, channels\] \(got \[12\]\)"),
    "nothing": ({"image_feat.npy": np.zeros((12, 3))}, "only rows of NaN or zeros"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES)
def test_refuses_features(write_folder: Any, arrays: dict[str, np.ndarray], message: str) -> None:
    root = write_folder(features=arrays)
    with pytest.raises(ValueError, match=f"image_feat.npy.*{message}"):
        InteractionFolder(root)


def test_refuses_two_files_of_one_modality(write_folder: Any) -> None:
    root = write_folder(features={**features("image_feat.npy"), **features("visual_feat.npy")})
    with pytest.raises(ValueError, match=r"'visual', image_feat.npy and visual_feat.npy"):
        InteractionFolder(root)


@pytest.mark.parametrize("name", ["id", "fused", "my-text", "3d"])
def test_refuses_modality_names(write_folder: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}_feat.npy.*Python identifier.*'{name}'"):
        InteractionFolder(write_folder(features=features(f"{name}_feat.npy")))


def test_refuses_pickled_features(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder(features={})
    (root / "image_feat.npy").write_bytes(pickle.dumps([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"image_feat.npy cannot be read.*pickled objects"):
        InteractionFolder(root)


def test_refuses_cache_dir_that_is_no_folder(write_folder: Any) -> None:
    root = write_folder()
    below_a_file = root / "small.inter" / "cache"
    with pytest.raises(PermissionError, match=rf"'cache_dir'.*{re.escape(str(below_a_file))}"):
        InteractionFolder(root, cache_dir=below_a_file)


@pytest.fixture
def processed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record which sources are read."""
    calls: list[Path] = []

    def spy(path: Path, *arguments: Any) -> Any:
        calls.append(path)
        return read_inter_file(path, *arguments)

    monkeypatch.setattr(module, "read_inter_file", spy)
    return calls


def test_cache_is_used(write_folder: Any, processed: list[Path]) -> None:
    root = write_folder(features=features(fill={3: np.nan}))
    first, second = (InteractionFolder(root) for _ in range(2))
    assert len(processed) == 1
    assert str(first[0]) == str(second[0])
    assert fingerprint(first[0]) == fingerprint(second[0])
    InteractionFolder(root, force_reload=True)
    assert len(processed) == 2


@pytest.mark.parametrize("change", ["num_items", "inter", "ids", "features", "modality"])
def test_cache_is_never_stale(write_folder: Any, processed: list[Path], change: str) -> None:
    root, arguments = write_folder(), {}
    write_ids(root, "one")
    InteractionFolder(root)
    if change == "num_items":
        arguments["num_items"] = 12
    elif change == "inter":
        write_folder(rows=rows_with(2, "1", line=2))
    elif change == "ids":
        write_ids(root, "other")
    elif change == "features":
        write_folder(features=features())
    else:
        (root / "image_feat.npy").rename(root / "audio_feat.npy")
    InteractionFolder(root, **arguments)
    assert len(processed) == 2
    assert len(list((root / "processed").iterdir())) == 1  # What it was before is gone.


def test_damaged_cache_is_written_anew(
    write_folder: Any, processed: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(features=features(fill={3: np.nan}))
    dataset = InteractionFolder(root)
    (cached,) = dataset.processed_paths
    expected, content = fingerprint(dataset[0]), bytearray(Path(cached).read_bytes())
    content[-100] ^= 1
    Path(cached).write_bytes(content)
    assert fingerprint(InteractionFolder(root)[0]) == expected
    assert len(processed) == 2
    assert [record.levelname for record in caplog.records if cached in record.getMessage()] == [
        "WARNING"
    ]
    InteractionFolder(root)
    assert len(processed) == 2


def test_a_full_disk_leaves_what_was_there(
    write_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder()
    (cached,) = InteractionFolder(root).processed_paths
    before = Path(cached).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=rf"{re.escape(cached)} could not .* untouched \(No space"):
        InteractionFolder(root, force_reload=True)
    assert [path.read_bytes() for path in (root / "processed").iterdir()] == [before]


def test_read_only_root_uses_the_user_cache(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processed: list[Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_folder()
    before = sorted(root.iterdir())
    root.chmod(0o555)
    try:
        (cached,) = InteractionFolder(root).processed_paths
        InteractionFolder(root)
        assert sorted(root.iterdir()) == before
    finally:
        root.chmod(0o755)
    assert Path(cached).parent == tmp_path / "cache" / "mentor_pyg"
    assert len(processed) == 1


def test_cache_dir_holds_the_cache(write_folder: Any, tmp_path: Path) -> None:
    root, cache_dir = write_folder(), tmp_path / "deep" / "cache"
    InteractionFolder(root, cache_dir=cache_dir)
    assert len(list(cache_dir.iterdir())) == 1
    assert not (root / "processed").exists()


@pytest.mark.parametrize("cache", ["cache", "data/processed"])
def test_a_cache_dir_that_several_share_holds_all(
    cache: str, write_folder: Any, tmp_path: Path
) -> None:
    root, cache_dir = write_folder(), tmp_path / cache
    InteractionFolder(root, cache_dir=cache_dir)
    InteractionFolder(root, cache_dir=cache_dir, num_items=12)
    assert len(list(cache_dir.iterdir())) == 2


def test_a_full_cache_dir_is_read_without_writing(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache_dir = write_folder(), tmp_path / "cache"
    InteractionFolder(root, cache_dir=cache_dir)
    monkeypatch.setattr(module, "write_cache", lambda *_: pytest.fail("wrote"))
    monkeypatch.setattr(InteractionFolder, "_prepare_cache_folder", lambda _: pytest.fail("wrote"))
    InteractionFolder(root, cache_dir=cache_dir)


def test_a_copied_folder_shares_the_file_name(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder()
    copied = Path(shutil.copytree(root, tmp_path / "copy"))
    names = {Path(InteractionFolder(path).processed_paths[0]).name for path in (root, copied)}
    assert len(names) == 1
