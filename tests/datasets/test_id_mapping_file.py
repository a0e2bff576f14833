from pathlib import Path

import pytest

from mentor_pyg.datasets.id_mapping_file import find_id_mappings, read_id_mapping


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "i_id_mapping.csv"


def test_finds_the_files_that_are_there(path: Path) -> None:
    assert find_id_mappings(path.parent) == {}
    path.touch()
    assert find_id_mappings(path.parent) == {"item": path}
    user = path.with_name("u_id_mapping.csv")
    user.touch()
    assert find_id_mappings(path.parent) == {"user": user, "item": path}


@pytest.mark.parametrize("header", ["asin\titemID", "itemID\tasin"])
def test_gives_original_ids_in_the_order_of_ids(path: Path, header: str) -> None:
    rows = [("B00X", "2"), ("007", "0"), ("NA", "1"), ("a, \u00e4", "3")]
    if header.startswith("itemID"):
        rows = [(number, raw) for raw, number in rows]
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]), encoding="utf-8")
    # Text stays text, and no word means that nothing is there. What is beyond the count is left.
    assert read_id_mapping(path, "item", 3) == ["007", "NA", "B00X"]
    assert read_id_mapping(path, "item", 4)[3] == "a, \u00e4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asin\tuserID\na\t0", r"two tab-separated columns, .* and itemID \(got \['asin', 'user"),
        ("asin,itemID\na,0", r"two tab-separated columns"),
        ("asin\ttitle\titemID\na\tb\t0", r"two tab-separated columns"),
        ("", r"needs to be a tab-separated UTF-8 file"),
        ("asin\titemID\na\t0\nb\t-1", r"itemID needs integers of at least 0 \(got '-1'\)"),
        ("asin\titemID\na\t0\nb\t1.0", r"itemID needs integers of at least 0 \(got '1.0'\)"),
        ("asin\titemID\na\t0\nb\t", r"itemID needs integers of at least 0 \(got ''\)"),
        ("asin\titemID\na\t0\nb\t0", r"every itemID may occur once \(0 is there again\)"),
        ("asin\titemID\na\t0\na\t1", r"every original id may occur once \(a is there again\)"),
        ("asin\titemID\na\t0\nb\t2", r"of all 2 items \(itemID 1 is not there\); complete it"),
    ],
)
def test_refuses(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path.name}.*{message}"):
        read_id_mapping(path, "item", 2)


def test_refuses_other_encodings(path: Path) -> None:
    path.write_bytes("asin\titemID\n\u00e4\t0".encode("utf-16"))
    with pytest.raises(ValueError, match="needs to be a tab-separated UTF-8 file"):
        read_id_mapping(path, "item", 1)
