import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mentor_pyg.export import read_export
from tests.cli.conftest import GOLDEN, SMALL, Command, copy_folder

pytest.importorskip("pyarrow", reason='the extra "parquet" is not installed')


def test_exports_a_run(command: Command, finished: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.tsv"
    items.write_text("item\ttitle\tlink\n3\tThree\tjavascript:x\n5\t\thttp://x/5\n900\tLost\t\n")
    done = command("export", finished, "--out", tmp_path / "out", "--items", items)
    assert (done.status, done.err) == (0, "")
    export = read_export(tmp_path / "out")
    assert done.out.splitlines() == [
        f"written to {tmp_path / 'out'}: 60 users and 80 items of lightgcn, "
        f"version {export.version}",
        "items: 1 with title, 0 with description, 1 with link, 0 with image",
        "views: scores are no sum over views",
    ]
    assert export.details[3]["title"] == "Three"
    metrics = json.loads((finished / "metrics.json").read_text())
    about = export.description
    assert about["run"] == {key: metrics[key] for key in ("val", "test", "best_epoch")}
    assert about["model"]["settings"]["embedding_dim"] == 8
    settings = json.loads((finished / "settings.json").read_text())
    assert about["data"]["sha256"] == settings["data"]["sha256"]


def test_items_are_called_as_the_data_folder_says(
    command: Command, refused: Callable[..., None], finished: Path, tmp_path: Path
) -> None:
    data = copy_folder(tmp_path / "data")
    for text, line in (
        ("itemID,title\n3,Three\n", "items: 1 with title"),
        ("itemID\n3\n", "views"),
    ):
        (data / "items.csv").write_text(text)
        done = command("export", finished, "--out", tmp_path / "out", "--data", data, "--force")
        assert (done.status, done.err) == (0, "") and done.out.splitlines()[1].startswith(line)
    (data / "items.csv").write_text("sku,title\n3,Three\n")
    done = command("export", finished, "--out", tmp_path / "out", "--data", data, "--force")
    assert done.status == 0 and "no titles of the data folder: " in done.err
    (data / "items.csv").write_text("item,title\nB001,Three\n")
    done = command("export", finished, "--out", tmp_path / "out", "--data", data, "--force")
    assert done.status == 0 and "none of its ids, such as B001, is of the data" in done.err
    refused("'items' needs the ids of the data", "export", finished, "--out", tmp_path / "out",
            "--force", "--items", data / "items.csv")  # fmt: skip


def test_prints_the_recall_of_an_index(command: Command, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    done = command("export", finished, "--out", tmp_path / "out", "--index", "exact")
    assert done.out.endswith("index: kind exact, recall@20 1.0\n")


def test_exports_a_refitted_model(command: Command, finished: Path, tmp_path: Path) -> None:
    assert command("export", finished / "refit", "--out", tmp_path / "out").status == 0
    assert read_export(tmp_path / "out").description["run"] == {}


def test_refuses_before_it_reads_the_model(
    refused: Callable[..., None], finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    refused("holds what would be lost, mine", "export", "absent", "--out", tmp_path, "--force")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished / "settings.json", run)
    refused("there is no table of items", "export", run, "--out", tmp_path / "out", "--items",
            "absent.csv")  # fmt: skip
    refused("is no run folder", "export", "absent", "--out", tmp_path / "out")


def test_refuses_a_model_without_rows(
    command: Command, refused: Callable[..., None], tmp_path: Path
) -> None:
    data = copy_folder(tmp_path / "data")
    command("train", "--model", "popularity", "--data", data, "--out", tmp_path / "run",
            *SMALL[2:])  # fmt: skip
    refused("popularity has no rows of users and items", "export", tmp_path / "run", "--out",
            tmp_path / "out")  # fmt: skip


def test_items_that_came_after_training_are_in_it(
    command: Command, refused: Callable[..., None], finished: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "items.tsv").write_text("item\ttitle\tprice\n80\tNew\t3\n81\tNewer\t\n")
    rows = np.load(GOLDEN / "text_feat.npy")[:2]
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "ids.txt").write_text("81\n80\n")
    made = command("features", "array", new, "--name", "text", "--array", tmp_path / "rows.npy",
                   "--ids", tmp_path / "ids.txt")  # fmt: skip
    assert (made.status, made.err) == (0, "")
    assert np.array_equal(np.load(new / "text_feat.npy"), rows[::-1])
    refused("encoded by their own means", "features", "columns", new, "--columns", "price")
    out = tmp_path / "out"
    (tmp_path / "items.csv").write_text("item,title,link\n3,Three,\n80,,http://x/80\n81,Other,\n")
    done = command("export", finished, "--out", out, "--new-items", new, "--items",
                   tmp_path / "items.csv")  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("new items: 2; visual of 0, textual of 2\n")
    export = read_export(out)
    titles = [export.details[item]["title"] for item in (3, 80, 81)]
    assert export.tables.num_items == 82 and titles == ["Three", "New", "Other"]
    assert export.details[80]["link"] == "http://x/80"
    before = command("export", finished, "--out", tmp_path / "before")
    assert before.status == 0
    old = read_export(tmp_path / "before").tables.item
    assert torch.equal(export.tables.item[:80], old)
    data = copy_folder(tmp_path / "data")
    for folder, weights in ((data, "aa"), (new, "bb")):
        about = {"about": {"model": "MiniLM", "sha256": weights}}
        (folder / "text_report.json").write_text(json.dumps(about))
    refused("which has other weights", "export", finished, "--out", out, "--force", "--data", data,
            "--new-items", new)  # fmt: skip
    (new / "items.tsv").write_text("item\n3\n4\n")
    refused(rf"{new}: the items .* are the numbers from 80 on", "export", finished, "--out", out,
            "--force", "--new-items", new)  # fmt: skip


def test_says_which_new_items_have_no_features(
    command: Command, finished: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new ones"
    new.mkdir()
    (new / "items.csv").write_text("item\n80\n81\n")
    args = ("export", finished, "--out", tmp_path / "out", "--force", "--new-items", new)
    done = command(*args)
    assert done.out.startswith("new items: 2; visual of 0, textual of 0\n")
    assert done.err == (
        f"new items without features: 2; all get one row, the mean over all items; give them some "
        f"by `mentor-pyg features image '{new}' --files FOLDER`\n"
    )
    rows = np.load(GOLDEN / "text_feat.npy")[:2]
    np.save(new / "text_feat.npy", rows)
    done = command(*args)
    assert (done.status, done.err) == (0, "")
    np.save(new / "text_feat.npy", rows * [[1], [0]])
    assert command(*args).err == (
        f"new items without features: 1; all get one row, the mean over all items; give them some "
        f"by `mentor-pyg features image '{new}' --files FOLDER`\n"
    )
    np.save(new / "image_feat.npy", np.load(GOLDEN / "image_feat.npy")[:2] * [[0], [1]])
    assert command(*args).err == ""
    np.save(new / "image_feat.npy", np.load(GOLDEN / "image_feat.npy")[:2] * [[1], [0]])
    assert command(*args).err.endswith(f" '{new}' --files FOLDER --force`\n")
    (new / "text_feat.npy").unlink()
    assert command(*args).err.endswith(f"`mentor-pyg features text '{new}'`\n")
