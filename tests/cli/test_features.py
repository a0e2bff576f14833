import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mentor_pyg.cli.main import main
from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.features import Report
from tests.cli.conftest import copy_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_folder(tmp_path / "data")


def run(*args: object) -> None:
    main(["features", *map(str, args)])


def test_columns_become_features_that_models_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = InteractionFolder(folder)[0]["item"].num_nodes
    lines = [f"{item}\t{item * 2}\t{'ab'[item % 2]}" for item in range(count + 2) if item != 3]
    (folder / "items.tsv").write_text("\n".join(["itemID\tprice\tbrand", *lines]))
    options = ("--items", folder / "items.tsv", "--columns", "price, brand", "--name", "facts")
    run("columns", folder, *options)
    said = capsys.readouterr().out
    assert f"facts_feat.npy: {count - 1:,} of {count:,} items" in said and "5 wide" in said
    assert f"2 rows of {folder / 'items.tsv'} are of no item of {folder}" in said
    assert "without: 1 items: it has no value in any column (3)" in said
    assert "price: a number\nbrand: 2 categories\n" in said
    data = InteractionFolder(folder)[0]
    assert data["item"].x_facts.shape == (count, 5)
    assert (~data["item"].has_facts).nonzero().flatten().tolist() == [3]
    report = json.loads((folder / "facts_report.json").read_text())
    assert report["about"]["kind"] == "columns" and list(report["missing"]) == ["3"]


def test_a_slip_in_a_column_is_named_by_its_item(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = InteractionFolder(folder)[0]["item"].num_nodes
    ids = "".join(f"a{item}\t{item}\n" for item in range(count))
    (folder / "i_id_mapping.csv").write_text(f"asin\titemID\n{ids}")
    prices = "".join(f"a{item},{item}.5\n" for item in range(10, 30))
    (folder / "items.csv").write_text(f"item,price\n{prices}a7,n/a\n")
    with pytest.raises(SystemExit):
        run("columns", folder, "--columns", "price")
    assert "the column 'price': 'n/a' of item a7 is no number" in capsys.readouterr().err


def test_texts_of_movielens_need_no_columns(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoder() -> Any:
        return lambda texts: np.array([[len(text), 1.0] for text in texts])

    monkeypatch.setattr("mentor_pyg.features.TextEncoder", encoder)
    movies = folder.parent / "movies.csv"
    movies.write_text("movieId,title,genres\n3,Heat (1995),Action\n")
    run("text", folder, "--items", movies, "--name", "words")
    assert f"columns of {movies}: title\n" in capsys.readouterr().out
    assert np.load(folder / "words_feat.npy")[3].tolist() == [len("Heat (1995)"), 1]
    assert json.loads((folder / "words_report.json").read_text())["about"]["columns"] == ["title"]


def test_an_array_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = InteractionFolder(folder)[0]["item"].num_nodes
    rows = np.random.default_rng(0).normal(size=(count - 5, 3))
    np.save(folder.parent / "mine.npy", rows)
    ids = folder.parent / "ids.txt"
    ids.write_text("\n".join(map(str, reversed(range(5, count)))))
    run("array", folder, "--array", folder.parent / "mine.npy", "--ids", ids, "--name", "mine")
    assert "without: 5 items: there is no row for it (0, 1, 2, 3, 4)" in capsys.readouterr().out
    x = InteractionFolder(folder)[0]["item"].x_mine
    np.testing.assert_allclose(x[5:].numpy(), rows[::-1], rtol=1e-6)


def test_images_become_features(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers: Any = pytest.importorskip("transformers")
    pillow: Any = pytest.importorskip("PIL.Image")
    model, photos = folder.parent / "model", folder.parent / "photos"
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[6], depths=[1])
    transformers.ResNetModel(config).save_pretrained(model)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(model)
    photos.mkdir()
    for item in (2, 5):
        pillow.new("RGB", (40, 30), (item, 9, 9)).save(photos / f"{item}.png")
    for item in (7, 8):
        (photos / f"{item}.png").write_text("no image")
    run("image", folder, "--files", photos, "--model", model, "--name", "photo")
    said = capsys.readouterr().out
    assert "6 wide" in said
    assert "without: 2 items: its image cannot be read (UnidentifiedImageError) (7, 8)" in said
    missing = json.loads((folder / "photo_report.json").read_text())["missing"]
    assert missing["7"] == "its image cannot be read (UnidentifiedImageError): 7.png"
    data = InteractionFolder(folder)[0]
    assert data["item"].has_photo.nonzero().flatten().tolist() == [2, 5]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["columns", "DIR"], "need --columns"),
        (["columns", "DIR", "--columns", "price"], "need --items"),
        (["array", "DIR"], "need --array"),
        (["audio", "DIR", "--items", "ARRAY"], "need --columns"),
        (["text", "DIR", "--device", "banana"], "'device' needs to be"),
        (["array", "DIR", "--device", "cpu"], "--device is for text, image, audio, not for array"),
        (["array", "DIR", "--array", "ARRAY", "--model", "x"], "--model is for text, image, audio"),
        (["array", "DIR", "--array", "ARRAY", "--files", "x"], "--files is for image, audio, not"),
        (["array", "DIR", "--array", "ARRAY", "--columns", "x"], "--columns is for text, image"),
        (["array", "DIR", "--array", "ARRAY", "--items", "x"], "--items is for text, image"),
        (["text", "DIR", "--files", "x"], "--files is for image, audio, not for text; leave it"),
        (["text", "DIR", "--array", "x"], "--array is for array, not for text; leave it out"),
        (["columns", "DIR", "--ids", "x"], "--ids is for array, not for columns; leave it out"),
        (["columns", "none", "--columns", "price"], "there is no data folder none"),
        (["smell", "DIR"], "smell"),
        (["array", "DIR", "--array", "ARRAY"], "visual_feat.npy exists|mine.npy needs a row"),
        (["array", "DIR", "--array", "ARRAY", "--batch-size", "0"], "needs a row|batch_size"),
    ],
)
def test_says_what_is_wrong(
    folder: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder.parent / "mine.npy", np.ones((2, 2)))
    known = {"DIR": str(folder), "ARRAY": str(folder.parent / "mine.npy")}
    with pytest.raises(SystemExit) as raised:
        run(*(known.get(arg, arg) for arg in args))
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert any(part in error for part in message.split("|"))


def test_does_not_overwrite_unless_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = InteractionFolder(folder)[0]["item"].num_nodes
    np.save(folder.parent / "mine.npy", np.ones((count, 2)))
    options = ("--array", folder.parent / "mine.npy", "--name", "mine")
    run("array", folder, *options)
    with pytest.raises(SystemExit):
        run("array", folder, *options)
    assert "mine_feat.npy exists; give --force" in capsys.readouterr().err
    run("array", folder, *options, "--force")


def test_files_are_named_by_one_column(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "items.csv").write_text("item,image,more\n0,a.png,b.png\n")
    with pytest.raises(SystemExit):
        run("audio", folder, "--files", folder, "--columns", "image,more")
    assert "--columns needs one column, of files (got image, more)" in capsys.readouterr().err


def test_starts_anew_for_other_items(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abouts = []

    def write(path: Path, num_items: int, read: Any, encode: Any, about: Any, **_: Any) -> Any:
        abouts.append(about)
        return Report(path=path, shape=(num_items, 1), missing={}, about=about, seconds=0)

    monkeypatch.setattr("mentor_pyg.features.write_features", write)
    new = folder.parent / "new"
    new.mkdir()
    array = folder.parent / "mine.npy"
    np.save(array, np.ones((2, 2)))
    for ids in ("a\nb", "a\nb", "b\na"):
        (new / "items.csv").write_text(f"item\n{ids}\n")
        run("array", new, "--array", array)
    assert abouts[0] == abouts[1] != abouts[2]
