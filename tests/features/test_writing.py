import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from mentor_pyg.features import (
    Report,
    UnusableError,
    check_same_encoder,
    feature_path,
    write_features,
)


def read(item: int) -> int:
    if item in (0, 5):
        raise UnusableError(f"there is nothing of {item}")
    return item


def encode(items: list[int]) -> Any:
    return np.array([[item, item**2, 1] for item in items], dtype=np.float32)


def written(path: Path, **options: Any) -> Report:
    given = {"read": read, "encode": encode, "about": {"model": "squares"}, "batch_size": 3}
    return write_features(path, 10, **{**given, **options})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text_feat.npy"


def test_a_row_an_item_and_nan_for_those_without(path: Path) -> None:
    report = written(path)
    found = np.load(path)
    assert report.shape == found.shape == (10, 3) and found.dtype == np.float32
    for item in range(10):
        if item in (0, 5):
            assert np.isnan(found[item]).all()
        else:
            assert found[item].tolist() == [item, item**2, 1]
    assert report.missing == {0: "there is nothing of 0", 5: "there is nothing of 5"}
    text = json.loads((path.parent / "text_report.json").read_text())
    assert text["missing"] == {"0": "there is nothing of 0", "5": "there is nothing of 5"}
    assert (text["items_with_features"], text["shape"]) == (8, [10, 3])
    assert text["about"]["model"] == "squares"
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "text_feat.npy",
        "text_report.json",
    ]


def test_rows_that_readers_would_take_for_none_are_reported(path: Path) -> None:
    def strange(items: list[int]) -> Any:
        rows = encode(items)
        rows[[item == 3 for item in items]] = 0
        rows[[item == 7 for item in items], 1] = np.inf
        return rows

    report = written(path, encode=strange)
    assert report.missing[3] == "its features are all zero"
    assert report.missing[7] == "its features are not finite"
    assert np.isnan(np.load(path)[[3, 7]]).all()


def interrupted(encode: Callable[..., Any], at: int) -> Callable[..., Any]:
    def stop(items: list[int]) -> Any:
        if at in items:
            raise KeyboardInterrupt
        return encode(items)

    return stop


def counting(encode: Callable[..., Any]) -> tuple[list[int], Callable[..., Any]]:
    """Return a list, and an encoder that puts what it is asked for there."""
    asked: list[int] = []

    def counted(items: list[int]) -> Any:
        asked.extend(items)
        return encode(items)

    return asked, counted


def test_goes_on_after_the_last_whole_batch(path: Path) -> None:
    path.write_bytes(b"what was there")
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(encode, 7))
    assert path.read_bytes() == b"what was there"
    asked, counted = counting(encode)
    report = written(path, encode=counted)
    assert asked == [6, 7, 8, 9]
    assert report.missing.keys() == {0, 5}
    found = np.load(path)
    assert found[1].tolist() == [1, 1, 1] and found[9].tolist() == [9, 81, 1]


def test_a_batch_whose_line_was_cut_off_is_made_again(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(encode, 9))
    journal = path.with_name(f".{path.name}.partial.json")
    journal.write_text(journal.read_text()[:-3])
    asked, counted = counting(interrupted(encode, 9))
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=counted)
    assert asked == [6, 7, 8, 9]  # The line of 6 to 8 was cut off.
    assert written(path, encode=encode).missing.keys() == {0, 5}
    assert np.load(path)[8].tolist() == [8, 64, 1]


@pytest.mark.parametrize("change", [{"about": {"model": "cubes"}}, {"batch_size": 2}])
def test_starts_anew_for_another_model(path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(encode, 7))
    asked, cubes = counting(lambda items: encode(items)[:, :2] ** 3)
    written(path, encode=cubes, **change)
    assert asked == [1, 2, 3, 4, 6, 7, 8, 9]
    assert np.load(path).shape == (10, 2)


@pytest.mark.parametrize("journal", ["", "{{", "[1]", "\xff", "{about}\n1", "{about}\n{{}}"])
def test_starts_anew_if_the_journal_is_damaged(
    path: Path, journal: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(encode, 7))
    place = path.with_name(f".{path.name}.partial.json")
    about = place.read_text().splitlines()[0]
    place.write_bytes(journal.format(about=about).encode("latin-1"))
    asked, counted = counting(encode)
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(counted, 7))
    assert written(path, encode=counted).missing.keys() == {0, 5}
    assert asked == [1, 2, 3, 4, 6, 7, 8, 9]  # The second time it went on.
    found = np.load(path)
    assert found[1].tolist() == [1, 1, 1] and found[9].tolist() == [9, 81, 1]
    # What is about something else is no damage.
    assert (f"made of {path} so far is damaged" in caplog.text) == (journal != "[1]")


@pytest.mark.parametrize("left", [0, 50, -60])
def test_starts_anew_if_the_features_were_cut_off(
    path: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(path, encode=interrupted(encode, 7))
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(partial.read_bytes()[:left])
    written(path)
    assert np.load(path)[4].tolist() == [4, 16, 1]
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("at", [1, 6])
def test_a_full_disk_is_an_error_that_says_what_to_do(path: Path, at: int) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills(items: list[int]) -> Any:
        if at in items:  # The file has 248 bytes, and the rows from item 6 on begin at 200.
            resource.setrlimit(resource.RLIMIT_FSIZE, (190, before[1]))
        return encode(items)

    try:
        with pytest.raises(OSError, match=r"text_feat\.npy could not be written .*; make room"):
            written(path, encode=fills)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = list(path.parent.iterdir())
    assert len(left) == (0 if at == 1 else 2)
    asked, counted = counting(encode)
    written(path, encode=counted)
    assert asked[0] == at
    assert np.load(path)[[4, 9]].tolist() == [[4, 16, 1], [9, 81, 1]]


def test_all_room_is_taken_before_work_goes_on(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_features(
            path, 10**5, read, interrupted(encode, 7), {"model": "squares"}, batch_size=3
        )
    partial = path.with_name(f".{path.name}.partial").read_bytes()
    rows = np.frombuffer(partial[-12 * 10**5 :], dtype=np.float32).reshape(-1, 3)
    assert rows[4].tolist() == [4, 16, 1]
    assert np.isnan(rows[6:]).all()


def test_no_features_at_all_are_an_error_and_leave_nothing(path: Path) -> None:
    def nothing(item: int) -> int:
        raise UnusableError("there is no text")

    with pytest.raises(ValueError, match=r"no item has features for .*; of the first: there is no"):
        written(path, read=nothing)
    assert not list(path.parent.iterdir())


def test_one_process_at_a_time(path: Path) -> None:
    with (
        FileLock(path.with_name(f".{path.name}.lock")),
        pytest.raises(OSError, match="another process is writing"),
    ):
        written(path)


def test_does_not_overwrite_unless_told(tmp_path: Path) -> None:
    assert feature_path(tmp_path, "text", force=False) == tmp_path / "text_feat.npy"
    np.save(tmp_path / "text_feat.npy", np.ones((2, 2)))
    with pytest.raises(FileExistsError, match=r"text_feat.npy exists; give --force"):
        feature_path(tmp_path, "text", force=False)
    assert feature_path(tmp_path, "text", force=True) == tmp_path / "text_feat.npy"
    with pytest.raises(FileExistsError, match=r"text_feat\.npy exists; move it away"):
        feature_path(tmp_path, "textual", force=True)  # The same modality by another name.
    with pytest.raises(ValueError, match="'name': the modality name needs to be"):
        feature_path(tmp_path, "my text", force=False)


def test_tells_features_of_another_encoder(tmp_path: Path) -> None:
    for name, weights in (("old", "aa"), ("same", "aa"), ("other", "bb")):
        (tmp_path / name).mkdir()
        about = {"model": f"the {name} one", "sha256": weights, "values": name}
        written(tmp_path / name / "text_feat.npy", about=about)
    check_same_encoder(tmp_path / "same", like=tmp_path / "old")
    message = r"other/text_feat.npy was made by the other one, those of .*old by the old one"
    with pytest.raises(ValueError, match=message):
        check_same_encoder(tmp_path / "other", like=tmp_path / "old")
    (tmp_path / "old" / "text_feat.npy").rename(tmp_path / "old" / "text_feat.pt")
    with pytest.raises(ValueError, match=message):
        check_same_encoder(tmp_path / "other", like=tmp_path / "old")


@pytest.mark.parametrize("text", [None, "{", "[]", '{"about": {"kind": "array"}}'])
@pytest.mark.parametrize("unknown", ["old", "new"])
def test_of_features_of_unknown_origin_nothing_is_said(
    unknown: str, text: str | None, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "text_feat.npy", about={"model": name, "sha256": name})
    report = tmp_path / unknown / "text_report.json"
    report.unlink() if text is None else report.write_text(text)
    check_same_encoder(tmp_path / "new", like=tmp_path / "old")
    (tmp_path / "old" / "text_feat.npy").unlink()
    check_same_encoder(tmp_path / "new", like=tmp_path / "old")
