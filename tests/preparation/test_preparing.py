import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mentor_pyg.data import num_items, num_users
from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.export import read_item_table
from mentor_pyg.features import read_item_columns
from mentor_pyg.preparation import Preparation, prepare
from mentor_pyg.preparation import preparing as module
from mentor_pyg.preparation.database import open_database
from mentor_pyg.preparation.folder import held
from tests.preparation.conftest import Made, interactions, read_back

REAL = Path(__file__).parents[3] / "shared" / "data" / "baby"
MADE = {
    "card.html", "card.md", "i_id_mapping.csv", "items.parquet", "out.inter", "u_id_mapping.csv",
    "users.parquet",
}  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_can_be_read(reviews: Path, tmp_path: Path) -> None:
    prepared = prepare([reviews], tmp_path / "out", Preparation(split="leave-one-out"))
    assert prepared.folder == tmp_path / "out"
    assert names(tmp_path) == {"reviews.csv", "out"} and names(tmp_path / "out") == MADE
    data = InteractionFolder(tmp_path / "out")[0]
    assert (num_users(data), num_items(data)) == (6, 8)
    assert data["user"].raw_id == [f"u{n}" for n in range(6)]
    store = data["user", "interacts", "item"]
    table = read_back(tmp_path / "out")
    original = interactions().set_index(["userID", "itemID"])
    for row in table.itertuples():
        assert (row.rating, row.timestamp) == tuple(original.loc[(row.user, row.item)])
    assert store.test_edge_label_index.tolist() == [[*range(6)], [(n + 4) % 8 for n in range(6)]]
    assert store.edge_index.size(1) == 18 and store.time.numel() == 18


def test_what_is_there_is_never_lost(reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([reviews], out)
    first = (out / "out.inter").read_text()
    with pytest.raises(FileExistsError, match="exists; give --force to replace it"):
        prepare([reviews], out)
    InteractionFolder(out)  # which leaves its cache
    (out / "text_feat.npy").write_text("of hours")
    with pytest.raises(FileExistsError, match=r"would be lost, text_feat.npy; move it away"):
        prepare([reviews], out, force=True)
    (out / "text_feat.npy").unlink()
    prepare([reviews], out, Preparation(seed=1), force=True)
    assert names(out) == MADE and names(tmp_path) == {"reviews.csv", "out"}
    assert (out / "out.inter").read_text() != first
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError):
        prepare([reviews], tmp_path / "file", force=True)


def test_of_runs_that_start_together_one_is_refused(reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused: list[FileExistsError] = []

    def say(message: str) -> None:
        if not refused:  # The database is open.
            with pytest.raises(FileExistsError, match="another process is preparing") as error:
                prepare([reviews], out)
            refused.append(error.value)

    prepare([reviews], out, say=say)
    assert refused and names(out) == MADE
    assert names(tmp_path) == {"reviews.csv", "out"}


def test_a_folder_is_held_before_anything_is_in_it(tmp_path: Path) -> None:
    with held(tmp_path / "new" / "out"):
        again = held(tmp_path / "new" / "out")
        with pytest.raises(FileExistsError, match="another process is preparing"):
            again.__enter__()
        assert names(tmp_path / "new") == {".out.lock"}
    assert names(tmp_path / "new") == set()


def test_links_are_followed(reviews: Path, tmp_path: Path) -> None:
    link, before = tmp_path / "link", tmp_path / ".out.before"
    link.symlink_to(tmp_path / "out")
    before.symlink_to(tmp_path)  # As versions before left it.
    for seed in (0, 1, 2):
        prepare([reviews], link, Preparation(seed=seed), force=True)
    assert (
        link.is_symlink() and f"with the seed {seed}." in (tmp_path / "out" / "card.md").read_text()
    )
    assert names(tmp_path) == {"reviews.csv", "link", "out"}


def test_takes_one_path_and_refuses_none(reviews: Path, tmp_path: Path) -> None:
    prepare(str(reviews), tmp_path / "out")
    assert names(tmp_path / "out") == MADE
    with pytest.raises(ValueError, match="'files' needs at least one path"):
        prepare([], tmp_path / "other")
    assert names(tmp_path) == {"reviews.csv", "out"}


def test_a_failure_leaves_nothing_and_what_was_before(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare([reviews], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "write_card", fail)
    with pytest.raises(OSError, match="No space"):
        prepare([reviews], out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names(tmp_path) == {"reviews.csv", "out"}


_ENDLESS = """
import sys, time
from mentor_pyg.preparation import prepare, preparing
def wait(*args): print("there", flush=True); time.sleep(60)
preparing.write_id_mappings = wait
prepare([sys.argv[1]], sys.argv[2])
"""


def test_a_killed_run_is_cleared_away_and_a_running_one_is_not(
    reviews: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(reviews), str(out)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        with pytest.raises(FileExistsError, match="another process is preparing"):
            prepare([reviews], out)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == {"reviews.csv", ".out.partial", ".out.lock"}
    prepare([reviews], out)
    assert names(tmp_path) == {"reviews.csv", "out"}


@pytest.mark.parametrize(
    "at",
    ["read_interactions", "keep_complete", "keep_first", "keep_core", "split_interactions",
     "write_id_mappings", "write_card"],
)  # fmt: skip
def test_an_interrupted_run_goes_on_to_the_same_folder(
    at: str, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, said = Preparation(core=2, name="out"), list[str]()
    prepare([reviews], tmp_path / "whole", settings)

    stopped: BaseException = KeyboardInterrupt() if at == "keep_first" else SystemExit(143)

    def stop(*args: Any) -> None:
        original(*args)  # Its tables are made, and have to go again.
        raise stopped

    original = getattr(module, at)
    with monkeypatch.context() as patch, pytest.raises(type(stopped)):
        patch.setattr(module, at, stop)
        prepare([reviews], tmp_path / "out", settings, say=said.append)
    assert "the same command goes on" in said[-1] and not (tmp_path / "out").exists()
    prepared = prepare([reviews], tmp_path / "out", settings, say=said.append)
    assert (f"done before: reading {reviews}" in said) == (at != "read_interactions")
    for name in MADE - {"card.md", "card.html"}:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [step.interactions for step in prepared.steps] == [30, 30, 30, 30]
    assert names(tmp_path) == {"reviews.csv", "out", "whole"}


@pytest.mark.parametrize("changed", ["settings", "file", "database"])
def test_what_was_done_of_something_else_does_not_count(
    changed: str, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "split_interactions", stop)
        prepare([reviews], tmp_path / "out")
    if changed == "file":
        interactions()[::-1].to_csv(reviews, index=False)  # No other size.
    if changed == "database":
        (tmp_path / ".out.partial" / "work" / "work.duckdb").write_bytes(b"half")
    said = list[str]()
    settings = Preparation(seed=int(changed == "settings"))
    prepare([reviews], tmp_path / "out", settings, say=said.append)
    assert not any("done before" in line for line in said)


def test_the_card_says_how_it_was_made(reviews: Path, tmp_path: Path) -> None:
    table = interactions()
    again = table[:2].assign(timestamp=0, rating=5)
    pd.concat([table, again]).to_csv(reviews, index=False)
    settings = Preparation(min_rating=2, core=2, split="global-temporal", user="userID")
    prepare([reviews], tmp_path / "out", settings)
    card = (tmp_path / "out" / "card.md").read_text()
    for line in (
        "| read | 32 |  |  | 0 |",
        "| with user and item | 32 | 6 | 8 | 0 |",
        "| rated 2 or better | 26 | 6 | 8 | 6 |",
        "| first of each user and item | 25 | 6 | 8 | 1 |",
        "| train is before validation, and that before test | 0 |",
        "| no interaction is in two splits | 0 |",
        "| 2–3 | 0 |\n| 4–7 | 6 |\n",
    ):
        assert line in card, line
    (command,) = re.findall(r"^mentor-pyg prepare .*$", card, re.MULTILINE)
    assert shlex.split(command)[2:] == [
        str(reviews), "--out", str(tmp_path / "out"), "--user", "userID", "--min-rating", "2.0",
        "--core", "2", "--split", "global-temporal",
    ]  # fmt: skip
    page = (tmp_path / "out" / "card.html").read_text()
    assert page.count("<svg") == 2 and "src=" not in page and "href=" not in page
    assert "<title>4–7: " in page


def test_the_card_has_the_columns_of_every_file(reviews: Path, tmp_path: Path) -> None:
    other = interactions(9).rename(columns={"userID": "user_id", "timestamp": "time"})
    other.to_csv(tmp_path / "z.csv", index=False)
    prepare([reviews, tmp_path / "z.csv"], tmp_path / "out")
    card = (tmp_path / "out" / "card.md").read_text()
    for line in (
        f"| {reviews} | user userID, item itemID, rating rating, time timestamp | ",
        f"| {tmp_path / 'z.csv'} | user user_id, item itemID, rating rating, time time | ",
    ):
        assert line in card, card


def test_the_card_counts_users_without_train(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{item}", 10 * item + user) for user in range(4) for item in range(9)]
    rows.append(("late", "i0", 1000))
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv(tmp_path / "a.csv", index=False)
    prepare([tmp_path / "a.csv"], tmp_path / "out", Preparation(split="global-temporal"))
    card = (tmp_path / "out" / "card.md").read_text()
    assert "1 users have no train interactions" in card
    assert num_users(InteractionFolder(tmp_path / "out")[0]) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_ratio": 0.0}, "'val_ratio' and 'test_ratio'"),
        ({"val_ratio": 0.5, "test_ratio": 0.5}, "leave something for train"),
        ({"split": "other"}, "'split'"),
        ({"core": 0}, "'core'"),
        ({"name": "a/b"}, "'name'"),
        ({"features": {"image": "a", "visual": "b"}}, "one name of a modality .*'visual'"),
    ],
)
def test_refuses_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preparation(**settings)  # type: ignore[arg-type]


def test_refuses_what_leaves_nothing(reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no interactions are left after the step '9-core"):
        prepare([reviews], tmp_path / "out", Preparation(core=9))
    with pytest.raises(ValueError, match="'memory' needs a size such as 2GiB"):
        prepare([reviews], tmp_path / "out", Preparation(memory="much"))
    with pytest.raises(ValueError, match="which column is the rating"):
        pd.DataFrame({"user": ["a"], "item": ["b"]}).to_csv(reviews, index=False)
        prepare([reviews], tmp_path / "out", Preparation(min_rating=4))
    assert names(tmp_path) == {"reviews.csv"}


def test_too_little_memory_is_an_error(tmp_path: Path) -> None:
    rows = "".join(f"user-{n},item-{n % 9}\n" for n in range(200_000))
    (tmp_path / "a.csv").write_text("user,item\n" + rows)
    with pytest.raises(ValueError, match="'memory' of 8MiB is too little"):
        prepare([tmp_path / "a.csv"], tmp_path / "out", Preparation(memory="8MiB", threads=1))
    assert names(tmp_path) == {"a.csv"}


def test_ctrl_c_in_a_query_ends_as_elsewhere(tmp_path: Path) -> None:
    endless = "SELECT sum(range % 7) FROM range(1000000000000)"
    # What is started in the background of a shell ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            open_database(tmp_path, "1GiB", threads=1) as connection,
        ):
            timer.start()
            connection.execute(endless)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.realdata
def test_baby_keeps_its_ids(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"no {REAL}")
    prepare(
        [REAL / "baby.inter"],
        tmp_path / "baby",
        Preparation(core=5, items=str(REAL / "item_text.tsv")),
    )
    made = read_back(tmp_path / "baby").sort_values(["userID", "itemID"])
    original = pd.read_csv(REAL / "baby.inter", sep="\t").sort_values(["userID", "itemID"])
    for side in ("userID", "itemID"):
        assert made[side].tolist() == original[side].tolist()
    items = pd.read_parquet(tmp_path / "baby" / "items.parquet")
    assert items["title"].notna().sum() == 3416


@pytest.mark.parametrize("name", ["SKU-{}", "{}", "i{}@shop"])
def test_items_are_read_by_their_original_ids(tmp_path: Path, name: str) -> None:
    table = interactions()
    table["itemID"] = [name.format(int(item[1:]) + 1) for item in table["itemID"]]
    table.to_csv(tmp_path / "reviews.csv", index=False)
    ids = sorted(set(table["itemID"]))
    titles = pd.DataFrame({"item_id": ids, "title": [f"title of {one}" for one in ids]})
    titles.to_csv(tmp_path / "items.tsv", index=False, sep="\t")
    settings = Preparation(items=str(tmp_path / "items.tsv"), threads=1)
    prepare([tmp_path / "reviews.csv"], tmp_path / "out", settings)
    path = tmp_path / "out" / "items.parquet"
    found = read_item_table(path)["title"].to_dict()
    assert found == {one: f"title of {one}" for one in ids}
    known = list(map(str, InteractionFolder(tmp_path / "out")[0]["item"].raw_id))
    of_features = read_item_columns(path, ["title"], known).columns["title"]
    assert of_features == [f"title of {one}" for one in known]


def test_movielens_titles_without_a_header(reviews: Path, make: Made, tmp_path: Path) -> None:
    movies = tmp_path / "movies.dat"
    movies.write_text("\n".join(f"{item}::Film {item}::Drama|War" for item in range(8)) + "\n")
    table = interactions()
    table["itemID"] = table["itemID"].str[1:]
    table.to_csv(reviews, index=False)
    make(reviews, items=str(movies))
    titles = pd.read_parquet(tmp_path / "made-0" / "items.parquet").set_index("id")["title"]
    assert titles.to_dict() == {str(item): f"Film {item}" for item in range(8)}


def test_needs_one_table_of_items(reviews: Path, make: Made, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"items-{name}.csv").write_text("item,title\ni1,One\n")
    with pytest.raises(ValueError, match=r"'items' needs one file \(got .*a.csv and .*b.csv by"):
        make(reviews, items=str(tmp_path / "items-*.csv"))
