import json
from pathlib import Path

import pandas as pd
import pytest

from mentor_pyg.export import read_item_table


def test_ids_are_text_and_what_is_empty_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("title,item,price\nOne,007,1\n,NA,2\n")
    table = read_item_table(path)
    assert table["title"].to_dict() == {"007": "One", "NA": None}
    assert list(table) == ["title"]


def test_formats_agree(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["a,b", None], "image": ["http://x/1", None]})
    frame.to_parquet(tmp_path / "items.parquet")
    frame.to_csv(tmp_path / "items.csv", index=False)
    frame.to_csv(tmp_path / "items.tsv", index=False, sep="\t")
    read = [read_item_table(tmp_path / f"items.{kind}") for kind in ("parquet", "csv", "tsv")]
    assert read[0].to_dict() == {
        "title": {"1": "a,b", "2": None},
        "image": {"1": "http://x/1", "2": None},
    }
    for other in read[1:]:
        assert other.to_dict() == read[0].to_dict()


def test_lists_are_the_texts_that_they_hold(tmp_path: Path) -> None:
    rows = [
        {"asin": "a", "description": ["Soft.", "Washable."], "image": ["http://x/1", "http://x/2"]},
        {"asin": "b", "description": [], "image": []},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    table = read_item_table(path)
    assert table["description"].to_dict() == {"a": "Soft. Washable.", "b": None}
    assert table["image"].to_dict() == {"a": "http://x/1", "b": None}
    images = [[{"large": "http://x/l", "hi_res": "http://x/h", "thumb": "http://x/t"}]]
    pd.DataFrame({"id": ["a"], "image": images}).to_parquet(tmp_path / "items.parquet")
    assert read_item_table(tmp_path / "items.parquet")["image"].to_dict() == {"a": "http://x/h"}
    images = [{"hi_res": [None, "http://x/h"], "large": ["http://x/l", "http://x/m"]}]
    pd.DataFrame({"id": [3.0], "image": images}).to_parquet(tmp_path / "items.parquet")
    assert read_item_table(tmp_path / "items.parquet")["image"].to_dict() == {"3": "http://x/h"}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.org/a?b", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,AA", False),
        ("//example.org/a", False),
        ("a.png", False),
        ("http://", False),
        ("http://[::1", False),
    ],
)
def test_links_and_images_are_of_the_web(url: str, kept: bool, tmp_path: Path) -> None:
    path = tmp_path / "items.tsv"
    path.write_text(f"id\tlink\timage\ttitle\n1\t{url}\t{url}\t{url}\n")
    row = read_item_table(path).loc["1"]
    assert row["link"] == row["image"] == (url if kept else None)
    assert row["title"] == url


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "name,title\n1,x\n",
            r"a\.csv needs a column of items, one of item, .*\['name', 'title'\]",
        ),
        ("a.csv", "item,price\n1,2\n", "one of the columns title, description, link, image"),
        ("a.csv", "item,title\n1,x\n1,y\n", "the item '1' is there more than once"),
        ("a.csv", "", "cannot be read as a table of items"),
        ("a.csv", 'item,title\n1,"x\n', "cannot be read as a table of items"),
        ("a.tsv", 'item\ttitle\n1\t"x\n2\ty\n', "a quote is not closed"),
        ("a.tsv", 'item\ttitle\n1\t"x\n2\ty"\n3\tz\n', "quote in row 1, column 'title', takes"),
        ("a.csv", "item,title,title\n1,x,y\n", "it has 2 columns 'title'; keep one"),
        ("a.jsonl", "{}\n", "needs a column of items"),
        ("a.txt", "item,title\n", r"needs to end in \.csv, \.tsv, \.jsonl or"),
        ("a.parquet", "no", "cannot be read as a table of items"),
    ],
)
def test_refuses_what_is_no_table_of_items(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_item_table(tmp_path / name)


def test_refuses_an_item_without_an_id(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item": ["a", None], "title": ["x", "y"]}).to_parquet(path)
    with pytest.raises(ValueError, match="the item of row 2 has no item"):
        read_item_table(path)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no table of items .*a\.csv"):
        read_item_table(tmp_path / "a.csv")
