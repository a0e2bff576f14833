import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.preparation import Preparation, prepare
from mentor_pyg.preparation import features as module


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Eight items in another order than their ids', of which i4 is missing and i1 there twice."""
    ids = ["i7", "other", "i1", "i0", "i1", "i6", "i5", "i3", "i2"]
    rows: list[dict[str, Any]] = [
        {"asin": one, "title": f"Item {one}", "imUrl": f"http://x/{one}"} for one in ids
    ]
    rows[0].update(description=["one", "two"], images=[{"large": "L", "hi_res": None}])
    rows[2].update(title="")
    path = tmp_path / "meta.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def vectors(path: Path, rows: int = 9, dtype: str = "float16") -> Path:
    np.save(path, (np.arange(rows)[:, None] + np.array([0.25, 1])).astype(dtype))
    return path


def write_records(path: Path, ids: list[str]) -> Path:
    records = np.zeros(len(ids), dtype=module._RECORD)
    records["id"], records["x"] = ids, 1 + np.arange(len(ids))[:, None]
    records.tofile(path)
    return path


def test_items_are_described_in_their_order(reviews: Path, items: Path, tmp_path: Path) -> None:
    said = list[str]()
    prepare([reviews], tmp_path / "out", Preparation(items=str(items)), say=said.append)
    assert f"left out: 1 rows of {items}, whose items have a row before" in said
    table = pd.read_parquet(tmp_path / "out" / "items.parquet").set_index("id")
    assert list(table.index) == [f"i{n}" for n in range(8)]
    assert table["itemID"].tolist() == list(range(8))
    assert table.loc["i7", ["title", "description", "image"]].tolist() == [
        "Item i7", "one two", "L",
    ]  # fmt: skip
    assert table.loc["i0", "title"] == "Item i0"
    assert table["title"].isna().tolist() == [n in (1, 4) for n in range(8)]
    card = (tmp_path / "out" / "card.md").read_text()
    assert "| title | 6 | 75.0% |" in card
    assert f"1 rows of {items} are left out: their items have a row before." in card


def test_rows_follow_the_items(
    reviews: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8)  # several blocks
    text = vectors(tmp_path / "text.npy")
    prepare(
        [reviews], tmp_path / "out", Preparation(items=str(items), features={"text": str(text)})
    )
    written = np.load(tmp_path / "out" / "text_feat.npy")
    assert written.dtype == np.float16
    np.testing.assert_array_equal(written[:, 0], [3.25, 2.25, 8.25, 7.25, np.nan, 6.25, 5.25, 0.25])
    assert "| text_feat.npy | 7 | 87.5% |" in (tmp_path / "out" / "card.md").read_text()
    data = InteractionFolder(tmp_path / "out")[0]
    assert data["item"].has_textual.tolist() == [n != 4 for n in range(8)]


def test_rows_that_are_not_finite_are_missing(reviews: Path, items: Path, tmp_path: Path) -> None:
    matrix = np.load(vectors(tmp_path / "text.npy", dtype="float64"))
    matrix[0, 1], matrix[3, 0], matrix[5, 1] = np.inf, np.nan, 1e300  # i7, i0 and i6
    matrix[6], matrix[7] = 0, np.nan  # i5 and i3, which just lack it
    np.save(tmp_path / "text.npy", matrix)
    said = list[str]()
    settings = Preparation(items=str(items), features={"text": str(tmp_path / "text.npy")})
    prepare([reviews], tmp_path / "out", settings, say=said.append)
    written = np.load(tmp_path / "out" / "text_feat.npy")
    np.testing.assert_array_equal(written[:, 0], [np.nan, 2.25, 8.25, *[np.nan] * 5])
    assert np.isnan(written[[0, 3, 4, 5, 6, 7]]).all()
    data = InteractionFolder(tmp_path / "out")[0]
    assert data["item"].has_textual.tolist() == [n in (1, 2) for n in range(8)]
    assert "text_feat.npy: 3 rows are not finite, and missing" in said
    card = (tmp_path / "out" / "card.md").read_text()
    assert "3 rows of text_feat.npy are not finite, and missing." in card
    assert "| text_feat.npy | 2 | 25.0% |" in card


def test_binary_features_of_2014(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 2 * module._RECORD.itemsize)
    path = write_records(tmp_path / "image.b", ["other", "i5", "i0", "none", "i2"])
    prepare([reviews], tmp_path / "out", Preparation(features={"image": str(path)}))
    written = np.load(tmp_path / "out" / "image_feat.npy")
    assert written.shape == (8, 4096) and written.dtype == np.float32
    np.testing.assert_array_equal(written[:, 7], [3, *[np.nan], 5, *[np.nan] * 2, 2, *[np.nan] * 2])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("short.npy", lambda p: vectors(p, 8), r"a row for every row of the file of items, 9"),
        ("int.npy", lambda p: vectors(p, dtype="int64"), "needs floating-point features"),
        ("narrow.npy", lambda p: np.save(p, np.ones((9, 0))), r"\[num_items, channels\]"),
        ("flat.npy", lambda p: np.save(p, np.ones(9)), r"\[num_items, channels\]"),
        ("nan.npy", lambda p: np.save(p, np.full((9, 2), np.nan)), "no features of the items"),
        ("none.b", lambda p: write_records(p, ["other"]), "no features of the items"),
        ("none.npy", lambda p: None, "there is no file"),
        ("text.npy", lambda p: p.write_text("x"), "cannot be read as a .npy"),
        ("cut.b", lambda p: p.write_bytes(b"x" * 16393), "records of 16,394 bytes"),
        ("x.pt", lambda p: p.write_text("x"), "needs to be a .npy array, or"),
    ],
)
def test_refuses_other_features(
    name: str, make: Any, message: str, reviews: Path, items: Path, tmp_path: Path
) -> None:
    make(tmp_path / name)
    settings = Preparation(items=str(items), features={"text": str(tmp_path / name)})
    with pytest.raises((ValueError, OSError), match=message):
        prepare([reviews], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_rows_need_a_file_that_names_them(reviews: Path, tmp_path: Path) -> None:
    text = str(vectors(tmp_path / "text.npy"))
    with pytest.raises(ValueError, match="give the file that names them as 'items'"):
        prepare([reviews], tmp_path / "out", Preparation(features={"text": text}))
    # A malformed line would move all rows that follow.
    (tmp_path / "items.csv").write_text("item,title\ni0\ni1,One\n")
    settings = Preparation(features={"text": text}, items=str(tmp_path / "items.csv"), max_errors=9)
    with pytest.raises(ValueError, match=r"items.csv, line 2: .*features go by the rows"):
        prepare([reviews], tmp_path / "out", settings)


def test_malformed_lines_of_items_count(reviews: Path, items: Path, tmp_path: Path) -> None:
    with items.open("a") as file:
        file.write('{"asin":\n')
    with pytest.raises(ValueError, match=r"meta.json, line 10: there is no id"):
        prepare([reviews], tmp_path / "out", Preparation(items=str(items)))
    prepare([reviews], tmp_path / "out", Preparation(items=str(items), max_errors=1))


def test_lines_of_items_without_an_id_are_those_of_the_file(reviews: Path, tmp_path: Path) -> None:
    made = {
        "items.jsonl": '{"item": "i0"}\n\n{"item": {"sku": 1}}\n\n{"item": ""}\n{"item": "[1"}\n',
        "items.csv": "item,title\ni0\n,One\n,Two\ni1,Three\n",
    }
    found = {}
    for name, text in made.items():
        (path := tmp_path / name).write_text(text)
        settings = Preparation(items=str(path), max_errors=9)
        prepared = prepare([reviews], tmp_path / name.replace(".", "-"), settings)
        found[name] = [(one.line, one.reason) for one in prepared.malformed]
    none, nested = "there is no id", "the id is no single value"
    assert found["items.jsonl"] == [(3, nested), (5, none)]
    assert [line for line, _ in found["items.csv"]] == [2, 3, 4]
    assert {reason for _, reason in found["items.csv"][1:]} == {none}
