import gzip
import warnings
from pathlib import Path

import pytest
import torch

from mentor_pyg.datasets.inter_file import read_inter_file

HEADER = "userID\titemID\tx_label"
ROWS = ["0\t1\t0", "0\t0\t0", "0\t2\t1", "1\t2\t2", "1\t0\t0"]


def write(path: Path, rows: list[str], header: str = HEADER, newline: str = "\n") -> Path:
    path.write_bytes((newline.join([header, *rows]) + newline).encode())
    return path


def test_reads_sorted_splits(tmp_path: Path) -> None:
    read = read_inter_file(write(tmp_path / "a.inter", ROWS))
    assert (read.num_users, read.num_items) == (2, 3)
    assert read.train.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert read.val.tolist() == [[0], [2]]
    assert read.test.tolist() == [[1], [2]]
    assert read.rating is None
    assert read.time is None


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("header", [HEADER, "\ufeff" + HEADER, "userID:token\titemID:x\tx_label"])
def test_reads_what_editors_write(tmp_path: Path, header: str, newline: str) -> None:
    read = read_inter_file(write(tmp_path / "a.inter", ROWS, header, newline))
    assert read.train.size(1) == 3


def write_compressed(path: Path, rows: list[str]) -> Path:
    path.write_bytes(gzip.compress(write(path, rows).read_bytes(), mtime=0))
    return path


def test_reads_compressed_files(tmp_path: Path) -> None:
    read = read_inter_file(write_compressed(tmp_path / "a.inter.gz", ROWS))
    assert read.train.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_names_the_line_of_a_compressed_file(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.inter.gz", [*ROWS, "1\tb01\t0"])
    with pytest.raises(ValueError, match=r"a.inter.gz, line 7: column 'itemID'.*'b01'"):
        read_inter_file(path)


def test_damaged_compressed_files_are_named(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.inter.gz", ROWS * 20)
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        for bad in (bytes(damaged), content[:position]):
            path.write_bytes(bad)
            try:
                with warnings.catch_warnings(action="ignore"):
                    read = read_inter_file(path)
            except ValueError as error:
                assert "a.inter.gz" in str(error)
            else:  # the time and the file system that are written into the header do not matter
                assert read.train.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_ignores_other_columns(tmp_path: Path) -> None:
    rows = [f"word\t{row}" for row in ROWS]
    read = read_inter_file(write(tmp_path / "a.inter", rows, f"comment\t{HEADER}"))
    assert read.train.size(1) == 3


def test_integral_floats_are_ids(tmp_path: Path) -> None:
    rows = [row.replace("\t0\t", "\t0.0\t") for row in ROWS]
    assert read_inter_file(write(tmp_path / "a.inter", rows)).train.size(1) == 3


def test_fractional_times_stay_fractional(tmp_path: Path) -> None:
    rows = [f"{row}\t{index}.5" for index, row in enumerate(ROWS)]
    read = read_inter_file(write(tmp_path / "a.inter", rows, f"{HEADER}\ttimestamp"))
    assert read.time is not None
    assert read.time.tolist() == [1.5, 0.5, 4.5]


@pytest.mark.parametrize(("name", "text"), [("rating", "good"), ("timestamp", "inf")])
def test_refuses_attributes(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / "a.inter", [f"{row}\t{text}" for row in ROWS], f"{HEADER}\t{name}")
    with pytest.raises(ValueError, match=rf"a.inter, line 2: column '{name}'.*'{text}'"):
        read_inter_file(path)


def test_repeated_rows_are_dropped_with_one_warning(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.inter",
        ["0\t1\t0\t5", "0\t1\t0\t4", "0\t1\t0\t3", "0\t0\t1\t1", "0\t0\t1\t1", "0\t2\t2\t1"],
        f"{HEADER}\trating",
    )
    with pytest.warns(UserWarning, match=r"a.inter: 3 rows repeat") as caught:
        read = read_inter_file(path)
    assert len(caught) == 1
    assert read.train.tolist() == [[0], [1]]
    assert read.val.tolist() == [[0], [0]]
    assert read.rating is not None
    assert read.rating.tolist() == [5.0]  # of the first row


def test_the_earliest_split_keeps_a_shared_pair(tmp_path: Path) -> None:
    rows = ["0\t0\t2", "0\t0\t0", "0\t1\t2", "0\t1\t1", "0\t2\t2"]
    path = write(tmp_path / "a.inter", rows)
    with pytest.warns(UserWarning, match=r"a.inter: 2 rows .* earlier split") as caught:
        read = read_inter_file(path)
    assert len(caught) == 1
    assert [split.tolist() for split in (read.train, read.val, read.test)] == [
        [[0], [0]],
        [[0], [1]],
        [[0], [2]],
    ]


def test_num_items_allows_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.inter", ["0\t1\t0", "0\t4\t1", "0\t3\t2"])
    with pytest.raises(ValueError, match=r"2 of the ids 0 to 4 are missing, the first of them 0"):
        read_inter_file(path)
    assert read_inter_file(path, num_items=7).num_items == 7


def test_refuses_binary_files(tmp_path: Path) -> None:
    path = tmp_path / "a.inter"
    path.write_bytes(b"\x93NUMPY\xff\xfe")
    with pytest.raises(ValueError, match=r"a.inter needs to be a UTF-8 text file"):
        read_inter_file(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a.inter"):
        read_inter_file(tmp_path / "a.inter")


def test_many_rows_keep_int64_ids(tmp_path: Path) -> None:
    rows = [f"{user}\t{user % 70}\t{min(user // 400, 2)}" for user in range(1_200)]
    read = read_inter_file(write(tmp_path / "a.inter", rows))
    assert read.train.dtype == torch.long
    assert read.train[0].tolist() == list(range(400))
