import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg import dependencies, files
from mentor_pyg.data import ITEM, USER
from mentor_pyg.export import EmbeddingTables, best_items, folder, read_export, write_export
from mentor_pyg.export.neighbours import item_neighbours
from mentor_pyg.models import EASE, MENTOR, LightGCN, Recommender
from mentor_pyg.models.registry import build_model

pytest.importorskip("pyarrow")


def described(**columns: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=["007", "i5", "not there"])


def test_serves_what_the_model_recommends(named_data: HeteroData, tmp_path: Path) -> None:
    model = MENTOR.from_data(named_data)
    write_export(model, named_data, tmp_path / "out")
    export = read_export(tmp_path / "out")
    splits = ("train", "val", "test")
    expected = model.recommend(named_data, range(20), k=6, exclude=splits)  # type: ignore[arg-type]
    tables = export.tables
    for user in range(20):
        seen = tables.seen.of(torch.tensor([user]))[1]
        found, score = best_items(tables.item, tables.user[user], 6, seen, export.index)
        assert found.tolist() == expected[0][user].tolist()
        torch.testing.assert_close(score, expected[1][user])
    assert export.user_id == named_data[USER].raw_id
    assert export.item_id == named_data[ITEM].raw_id


@pytest.mark.parametrize("name", ["mentor", "mmgcn", "lightgcn"])
def test_what_explains_is_read_as_it_was(name: str, named_data: HeteroData, tmp_path: Path) -> None:
    model = build_model(name, named_data)
    assert isinstance(model, Recommender)
    write_export(model, named_data, tmp_path / "out")
    export = read_export(tmp_path / "out")
    assert (export.parts is None) == (name == "lightgcn")
    if export.parts is not None:
        split = export.parts.of(export.tables.user[4], 9)
        score = export.tables.user[4] @ export.tables.item[9]
        assert sum(split.values()) == pytest.approx(float(score), abs=1e-4)
    assert export.neighbours is not None
    near = item_neighbours(model, named_data)
    assert near is not None
    assert torch.equal(export.neighbours.item, near.item)
    assert export.neighbours.parts.keys() == near.parts.keys()
    assert export.neighbours.from_model == (name == "mentor")


def test_items_have_their_details(named_data: HeteroData, tmp_path: Path) -> None:
    items = described(title=["Seven", None, "Lost"], image=["http://x/7", None, None])
    about = write_export(LightGCN.from_data(named_data), named_data, tmp_path / "out", items=items)
    details = read_export(tmp_path / "out").details
    nothing = {"title": None, "description": None, "link": None, "image": None}
    assert details[1] == {**nothing, "title": "Seven", "image": "http://x/7"}
    assert details[0] == details[5] == nothing
    assert about["details"] == {"title": 1, "description": 0, "link": 0, "image": 1}


def test_without_original_ids_numbers_are_the_ids(tiny_data: HeteroData, tmp_path: Path) -> None:
    write_export(LightGCN.from_data(tiny_data), tiny_data, tmp_path / "out")
    assert read_export(tmp_path / "out").user_id[:3] == ["0", "1", "2"]


def test_says_what_it_is_of(named_data: HeteroData, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    model = LightGCN.from_data(named_data)
    run = {"val": {"recall@20": 0.5}}
    about = write_export(model, named_data, tmp_path / "out", index="hnsw", run=run)
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == about
    assert about["model"] == {"name": "lightgcn", "settings": model.config.to_dict()}
    assert about["run"] == run
    assert about["index"]["recall@20"] == 1
    assert about["environment"]["torch"] == torch.__version__
    export = read_export(tmp_path / "out")
    assert export.index is not None
    assert export.index.kind == "hnsw"
    assert export.version == about["version"]


def test_the_version_is_of_the_contents(named_data: HeteroData, tmp_path: Path) -> None:
    model = LightGCN.from_data(named_data)
    titles = described(title=["Seven", "Five", None])
    given = (None, None, titles)
    versions = [
        write_export(model, named_data, tmp_path / str(n), items=items)["version"]
        for n, items in enumerate(given)
    ]
    assert versions[0] == versions[1] != versions[2]


def test_tables_can_be_read_alone(named_data: HeteroData, tmp_path: Path) -> None:
    model = LightGCN.from_data(named_data)
    write_export(model, named_data, tmp_path / "out")
    tables = EmbeddingTables.load(tmp_path / "out" / "tables.safetensors")
    assert tables.recommend("u003", k=2)[0].shape == (1, 2)


def test_every_damage_is_found(named_data: HeteroData, tmp_path: Path) -> None:
    write_export(MENTOR.from_data(named_data), named_data, tmp_path / "out")
    files = list((tmp_path / "out").iterdir())
    assert len(files) == 5
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        with pytest.raises(ValueError, match=f"{path.name} is"):
            read_export(tmp_path / "out")
        path.write_bytes(whole)
    read_export(tmp_path / "out")
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    about["users"] += 1
    (tmp_path / "out" / "export.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="is damaged or not of this version"):
        read_export(tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["", "[1]", "1", '"a"', "null", "{}", '{"version": 1, "files": 1}']
)
def test_a_description_that_is_none_is_damage(text: str, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(ValueError, match=r"export.json is damaged .*; export the run anew"):
        read_export(tmp_path)


def test_reads_no_file_beside_its_own(named_data: HeteroData, tmp_path: Path) -> None:
    write_export(LightGCN.from_data(named_data), named_data, tmp_path / "out")
    path = tmp_path / "out" / "export.json"
    about = json.loads(path.read_text())
    del about["version"]
    about["files"]["../secret"] = "0"
    text = json.dumps(about, sort_keys=True).encode()
    about["version"] = hashlib.sha256(text).hexdigest()[:16]
    path.write_text(json.dumps(about))
    with pytest.raises(ValueError, match="is damaged or not of this version"):
        read_export(tmp_path / "out")


def test_replaces_an_export_only_when_told_to(named_data: HeteroData, tmp_path: Path) -> None:
    first = write_export(LightGCN.from_data(named_data), named_data, tmp_path / "out")
    second = MENTOR.from_data(named_data)
    with pytest.raises(FileExistsError, match="give --force to replace it"):
        write_export(second, named_data, tmp_path / "out")
    assert read_export(tmp_path / "out").version == first["version"]
    write_export(second, named_data, tmp_path / "out", force=True)
    assert read_export(tmp_path / "out").description["model"]["name"] == "mentor"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_never_replaces_what_is_no_export(named_data: HeteroData, tmp_path: Path) -> None:
    model = LightGCN.from_data(named_data)
    write_export(model, named_data, tmp_path / "out")
    (tmp_path / "out" / "notes").write_text("mine")  # An export's export.json is beside it.
    for force in (True, False):
        with pytest.raises(FileExistsError, match="what would be lost, notes; move it away"):
            write_export(model, named_data, tmp_path / "out", force=force)
    with pytest.raises(NotADirectoryError, match="notes is no folder"):
        write_export(model, named_data, tmp_path / "out" / "notes", force=True)
    with pytest.raises(NotADirectoryError, match="notes is no folder; give another one than"):
        write_export(model, named_data, tmp_path / "out" / "notes" / "a" / "b")
    assert (tmp_path / "out" / "notes").read_text() == "mine"


def test_a_failed_export_leaves_the_one_before(
    named_data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LightGCN.from_data(named_data)
    before = write_export(model, named_data, tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(folder, "save_tensors", full)
    with pytest.raises(OSError, match="no space left"):
        write_export(model, named_data, tmp_path / "out", force=True)
    assert read_export(tmp_path / "out").version == before["version"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_replacement_leaves_the_one_before(
    named_data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LightGCN.from_data(named_data)
    before = write_export(model, named_data, tmp_path / "out")
    rename = os.rename

    def stopped(source: Path, target: Path) -> None:
        if source.name.endswith(".partial"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_export(model, named_data, tmp_path / "out", force=True)
    assert read_export(tmp_path / "out").version == before["version"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(
    named_data: HeteroData, tmp_path: Path
) -> None:
    write_export(LightGCN.from_data(named_data), named_data, tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write_export(MENTOR.from_data(named_data), named_data, tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert read_export(tmp_path / "real").description["model"]["name"] == "mentor"


def test_adds_the_item_encoder(named_data: HeteroData, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    about = write_export(MENTOR.from_data(named_data), named_data, tmp_path / "out", onnx=True)
    assert about["encoder"]["largest_difference_from_torch"] < 1e-5
    assert "item_encoder.onnx" in read_export(tmp_path / "out").description["files"]
    with pytest.raises(ValueError, match="an item encoder needs items whose rows are made of"):
        write_export(LightGCN.from_data(named_data), named_data, tmp_path / "other", onnx=True)
    assert not (tmp_path / "other").exists()


def test_refuses_a_model_without_rows(named_data: HeteroData, tmp_path: Path) -> None:
    model = EASE.from_data(named_data).fit(named_data)
    with pytest.raises(ValueError, match=r"ease has no rows of users and items.*recommend RUN"):
        write_export(model, named_data, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_refuses_items_of_other_data(named_data: HeteroData, tmp_path: Path) -> None:
    items = pd.DataFrame({"title": ["x"]}, index=["elsewhere"])
    with pytest.raises(ValueError, match=r"'items' needs the ids of the data, such as 'NA'"):
        write_export(LightGCN.from_data(named_data), named_data, tmp_path / "out", items=items)
    assert not list(tmp_path.iterdir())


def test_refuses_ids_that_are_not_different(named_data: HeteroData, tmp_path: Path) -> None:
    named_data[ITEM].raw_id[3:5] = [7, "7"]  # Different, but not in a table of text.
    with pytest.raises(ValueError, match=r"ids need to be different \(got '7'"):
        write_export(LightGCN.from_data(named_data), named_data, tmp_path / "out")


@pytest.mark.parametrize(
    ("package", "extra"), [("pyarrow", "parquet"), ("faiss", "faiss"), ("onnxscript", "onnx")]
)
def test_names_the_extra_before_it_begins(
    package: str,
    extra: str,
    named_data: HeteroData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != package)
    model, out = LightGCN.from_data(named_data), tmp_path / "out"
    with pytest.raises(ImportError, match=f"'{package}'.*extra '{extra}'"):
        write_export(model, named_data, out, index="exact", onnx=True)
    assert not list(tmp_path.iterdir())


def test_no_export(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no export \(it has no export.json\)"):
        read_export(tmp_path)
