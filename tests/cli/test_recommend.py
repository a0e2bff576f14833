from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from mentor_pyg import dependencies
from mentor_pyg.cli import recommend
from mentor_pyg.data import ITEM, USER
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.models import load_model
from tests.cli.conftest import SMALL, Command


def table(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text))


def test_gives_what_the_model_recommends(command: Command, finished: Path) -> None:
    done = command("recommend", finished, "--user", 7, 0, "--k", 4)
    assert (done.status, done.err) == (0, "")
    found = table(done.out)
    data = read_source(str(finished.parent / "data"))
    item, score = load_model(finished / "model.safetensors").recommend(
        data, [7, 0], k=4, exclude=("train", "val", "test")
    )
    assert found["user"].tolist() == [7] * 4 + [0] * 4
    assert found["rank"].tolist() == [1, 2, 3, 4] * 2
    assert found["item"].tolist() == item.flatten().tolist()
    assert found["score"].tolist() == pytest.approx(score.flatten().tolist())


def test_all_users_in_blocks(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = command("recommend", finished, "--all", "--k", 3).out
    monkeypatch.setattr(recommend, "_ROWS", 50)  # 16 users at a time; there are 60
    out = tmp_path / "all.csv"
    done = command("recommend", finished, "--all", "--k", 3, "--out", out)
    assert done.out == f"written to {out}\n"
    assert out.read_text() == whole
    assert table(whole)["user"].unique().tolist() == list(range(60))


def test_excludes_splits(command: Command, finished: Path) -> None:
    def items(*args: str) -> int:
        return len(table(command("recommend", finished, "--user", 5, "--k", 80, *args).out))

    data = read_source(str(finished.parent / "data"))
    seen = {split: 0 for split in ("train", "val", "test")}
    store = data[USER, "interacts", ITEM]
    seen["train"] = int((store.edge_index[0] == 5).sum())
    seen["val"] = int((store.val_edge_label_index[0] == 5).sum())
    assert items("--exclude", "") == 80
    assert items("--exclude", "train") == 80 - seen["train"]
    assert items("--exclude", "train,val") == 80 - seen["train"] - seen["val"]
    assert items() == items("--exclude", "train,val,test") < 80 - seen["train"] - seen["val"]


def test_original_ids(
    command: Command, refused: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    for side, name, count in (("u", "user", 60), ("i", "item", 80)):
        rows = [f"{side}{n:03}\t{n}" for n in range(count)]
        text = "\n".join([f"original\t{name}ID", *rows])
        (folder / f"{side}_id_mapping.csv").write_text(text)
    out = tmp_path / "out"
    command("train", "--model", "bprmf", "--data", folder, "--out", out,
            "--training.epochs", 1, *SMALL)  # fmt: skip
    found = table(command("recommend", out, "--user", "u009", "u003", "--k", 2).out)
    assert found["user"].tolist() == ["u009", "u009", "u003", "u003"]
    assert found["item"].str.fullmatch(r"i0[0-7]\d").all()
    refused(
        r"'user' has '9', which is no user of the data; .* such as \['u000', 'u001'",
        "recommend",
        out,
        "--user",
        "9",
    )


def test_never_overwrites_unless_told_to(
    command: Command, refused: Callable[..., None], finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "items.csv"
    out.write_text("mine")
    args = ["recommend", finished, "--user", 1, "--out", out]
    refused("items.csv exists; give --force to replace it", *args)
    assert out.read_text() == "mine"
    refused("'k' needs", *args, "--force", "--k", 81)
    assert out.read_text() == "mine"
    command(*args, "--force", "--k", 2)
    assert len(table(out.read_text())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["items.csv"]


def test_parquet(command: Command, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "items.parquet"
    assert command("recommend", finished, "--all", "--out", out, "--k", 3).status == 0
    printed = table(command("recommend", finished, "--all", "--k", 3).out)
    pd.testing.assert_frame_equal(pd.read_parquet(out), printed, check_dtype=False)


def test_parquet_names_its_extra(
    refused: Callable[..., None], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "pyarrow")
    message = "needs the package 'pyarrow'.*the extra 'parquet'.*or write a .csv file"
    refused(message, "recommend", finished, "--all", "--out", "items.parquet")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "either --user ID ... or --all"),
        (["--all", "--user", "1"], "either --user ID ... or --all"),
        (["--user", "60"], r"'user' needs ids from 0 to 59 \(got 60"),
        (["--user", "carol"], r"'user' needs numbers from 0 to 59 \(got 'carol'\)"),
        (["--all", "--k", "81"], "'k' needs to be .* up to the number of items, 80"),
        (["--all", "--k", "0"], "'k' needs to be a positive integer"),
        (["--all", "--exclude", "nope"], "'exclude' needs a sequence of splits among"),
        (["--all", "--out", "items.txt"], r"'out' needs to end in .csv or .parquet"),
        (["--all", "--out", "absent/items.csv"], "there is no folder absent for"),
    ],
)
def test_refuses_in_one_line(
    args: list[str], message: str, refused: Callable[..., None], finished: Path
) -> None:
    refused(message, "recommend", finished, *args)
