from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from mentor_pyg.features import ArrayRows, UnusableError

IDS = ["a", "b", "c"]
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def save(path: Path, rows: np.ndarray, ids: list[str] | None) -> Path:
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        arrays = {"x": rows} if ids is None else {"x": rows, "ids": np.array(ids)}
        np.savez(path, **arrays)  # type: ignore[arg-type]
    elif path.suffix == ".safetensors":
        numbers = {} if ids is None else {"ids": np.array([int(one) for one in ids])}
        safetensors.numpy.save_file({"x": rows, **numbers}, path)
    else:
        pd.DataFrame({"id": ids, "vector": rows.tolist()}).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_without_ids_rows_are_in_the_order_of_the_items(tmp_path: Path, suffix: str) -> None:
    found = ArrayRows(save(tmp_path / f"x{suffix}", ROWS, None), IDS)
    assert [found.read(item).tolist() for item in range(3)] == ROWS.tolist()
    with pytest.raises(ValueError, match="needs a row for each of the 2 items"):
        ArrayRows(tmp_path / f"x{suffix}", IDS[:2])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_ids_in_the_file_say_whose_rows_they_are(tmp_path: Path, suffix: str) -> None:
    found = ArrayRows(save(tmp_path / f"x{suffix}", ROWS, ["30", "10", "99"]), ["10", "20", "30"])
    assert found.read(0).tolist() == [2, 3] and found.read(2).tolist() == [0, 1]
    with pytest.raises(UnusableError, match="there is no row for it"):
        found.read(1)
    assert found([found.read(0), found.read(2)]).tolist() == [[2, 3], [0, 1]]


@pytest.mark.parametrize("name", ["ids", "movieId", "ITEM_ID", "parent_asin"])
def test_ids_have_the_names_of_tables_of_items(tmp_path: Path, name: str) -> None:
    ids = np.array(["c", "a", "b"])
    np.savez(tmp_path / "x.npz", **{name: ids, "item": ROWS})  # type: ignore[arg-type]
    pd.DataFrame({"x": ROWS.tolist(), name: ids}).to_parquet(tmp_path / "x.parquet")
    for suffix in (".npz", ".parquet"):
        found = ArrayRows(tmp_path / f"x{suffix}", IDS)
        assert [found.read(item)[0] for item in range(3)] == [2, 4, 0]


def test_parquet_needs_ids_and_one_column_of_lists(tmp_path: Path) -> None:
    for extra in ({}, {"id": IDS, "more": IDS}):
        pd.DataFrame({"x": ROWS.tolist(), **extra}).to_parquet(tmp_path / "x.parquet")
        with pytest.raises(ValueError, match=r"needs a column item or .* or ids, and one of lists"):
            ArrayRows(tmp_path / "x.parquet", IDS)


def test_ids_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy", ROWS, None)
    ids = tmp_path / "ids.txt"
    ids.write_text("c\nx\na\n", encoding="utf-8-sig")
    found = ArrayRows(path, IDS, ids)
    assert found.read(0).tolist() == [4, 5] and found.read(2).tolist() == [0, 1]
    for text in ("c\nx\n", "c\nx\nc\n"):
        ids.write_text(text)
        with pytest.raises(ValueError, match="needs 3 different ids, one for each row"):
            ArrayRows(path, IDS, ids)
    ids.write_bytes("ä\nb\nc\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"ids\.txt needs to be text in UTF-8"):
        ArrayRows(path, IDS, ids)
    ids.write_text("")
    with pytest.raises(ValueError, match="none of the ids of"):
        ArrayRows(save(tmp_path / "none.npz", ROWS[:0], None), IDS, ids)
    ids.write_text("x\ny\nz\n")
    with pytest.raises(ValueError, match=r"none of the ids of .*, such as 'x', is one of an item"):
        ArrayRows(path, IDS, ids)


def test_files_are_what_they_hold_whatever_their_name(tmp_path: Path) -> None:
    save(tmp_path / "x.npz", ROWS, IDS[::-1]).rename(tmp_path / "zipped.npy")
    save(tmp_path / "x.npy", ROWS, None).rename(tmp_path / "plain.npz")
    assert ArrayRows(tmp_path / "zipped.npy", IDS).read(0).tolist() == [4, 5]
    assert ArrayRows(tmp_path / "plain.npz", IDS).read(0).tolist() == [0, 1]


def test_bfloat16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"x": torch.tensor(ROWS).bfloat16()}, path)
    assert ArrayRows(path, IDS).read(2).tolist() == [4, 5]


def test_one_id_without_a_dimension(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=ROWS[:1], ids=np.array(20))
    assert ArrayRows(tmp_path / "x.npz", ["10", "20"]).read(1).tolist() == [0, 1]


def test_a_row_of_nan_says_that_the_item_has_none(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[1] = np.nan
    found = ArrayRows(save(tmp_path / "x.npy", rows, None), IDS)
    with pytest.raises(UnusableError, match="its row is NaN"):
        found.read(1)


def test_refuses_what_is_no_matrix_of_numbers(tmp_path: Path) -> None:
    for name, rows in (("flat", ROWS[0]), ("text", ROWS.astype(str)), ("empty", ROWS[:, :0])):
        np.save(tmp_path / f"{name}.npy", rows)
        with pytest.raises(ValueError, match=r"needs numbers of the shape \[rows, channels\]"):
            ArrayRows(tmp_path / f"{name}.npy", IDS)
    np.save(tmp_path / "pickled.npy", np.array([object()]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "x.txt").write_text("1 2")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "cut.npz", ROWS)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-30])
    (tmp_path / "cut.safetensors").write_bytes(b"\0\0")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    for name in (
        *("pickled.npy", "two.npz", "cut.npy", "x.txt"),
        *("empty.npz", "cut.npz", "cut.safetensors", "cut.parquet"),
    ):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an array: \w"):
            ArrayRows(tmp_path / name, IDS)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ArrayRows(tmp_path / "none.npy", IDS)
