import json
from pathlib import Path

import pandas as pd
import pytest

from mentor_pyg.features import read_item_columns

IDS = ["a", "007", "NA"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_rows_come_in_the_order_of_the_items(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"items{suffix}"
    frame = pd.DataFrame(
        {"id": ["NA", "x", "007"], "title": ['none, "or" so', "y", "é"], "price": ["1", "2", ""]}
    )
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    elif suffix == ".csv":
        frame.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    else:
        path.write_text("\n".join("\t".join(r) for r in [list(frame), *frame.values.tolist()]))
    table = read_item_columns(path, ["title", "price"], IDS)
    assert table.columns["title"] == [None, "é", 'none, "or" so']
    assert table.columns["price"] == [None, "", "1"]
    assert table.unknown == 1
    again, other = (read_item_columns(path, c, IDS) for c in (["title", "price"], ["title"]))
    assert again.sha256() == table.sha256() != other.sha256()


def test_where_none_are_named_columns_are_those_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text("movieId,title,genres\n007,One,Drama\n")
    assert read_item_columns(path, None, IDS).columns == {"title": [None, "One", None]}
    path.write_text("movieId,Description,price,NAME\n007,Long,2,One\n")
    columns = read_item_columns(path, None, IDS).columns
    assert columns == {"NAME": [None, "One", None], "Description": [None, "Long", None]}
    path.write_text("movieId,genres\n007,Drama\n")
    with pytest.raises(ValueError, match="has no column of titles or descriptions; name those"):
        read_item_columns(path, None, IDS)


def test_ids_of_digits_are_text(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,title\n007,x\n08,y\n", encoding="utf-8-sig")
    assert read_item_columns(path, ["title"], ["8", "007"]).columns["title"] == [None, "x"]


@pytest.mark.parametrize("start", ["", "\n\n", "\ufeff"])
@pytest.mark.parametrize("name", ["price (USD, net)", 'a "price"', "two\nlines"])
def test_columns_are_text_whatever_the_header(tmp_path: Path, name: str, start: str) -> None:
    path, quoted = tmp_path / "items.csv", name.replace('"', '""')
    path.write_text(f'{start}item,"{quoted}"\n007,08\n', encoding="utf-8")
    assert read_item_columns(path, [name], ["7", "007"]).columns[name] == [None, "08"]


def test_dates_of_json_lines_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    row = {"item": "2012-01-01", "title": "1984-06-08 10:00:00", "price": 2.5}
    path.write_text(json.dumps({**row, "more": {"days": ["2012-01-01", None]}, "sold": [3]}))
    table = read_item_columns(path, ["title", "price", "more", "sold"], ["2012-01-01"])
    assert table.columns == {
        "title": ["1984-06-08 10:00:00"],
        "price": [2.5],
        "more": [{"days": ["2012-01-01", None]}],
        "sold": [[3]],
    }


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_lines_break_within_quotes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"items{suffix}"
    text = 'id,title\n007,"x ""y\n"""\na,"one\ntwo"\n\n'
    path.write_text(text.replace(",", "\t") if suffix == ".tsv" else text)
    assert read_item_columns(path, ["title"], IDS).columns["title"] == ["one\ntwo", 'x "y\n"', None]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_row_without_end_is_an_error_not_a_full_memory(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mentor_pyg.item_tables._BLOCK", 2**12)
    path, long = tmp_path / f"items{suffix}", "x" * 2**16
    text = json.dumps({"id": "a", "title": long})
    separator = "," if suffix == ".csv" else "\t"
    rows = f"id{separator}title\na{separator}{long}\nb{separator}c\n"
    path.write_text(f"{text}\n{text}\n" if suffix == ".jsonl" else rows)
    with pytest.raises(ValueError, match=rf"items\{suffix} cannot be read as a table of items"):
        read_item_columns(path, ["title"], IDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title\nx\n", "needs a column of items, one of item, "),
        ("id,name\na,x\n", r"has no column 'title'; it has \['id', 'name'\]"),
        ("id,title\nb,x\n", "none of the 1 rows of .* needs ids such as 'a'"),
        ("id,title\na,x\nb,x\na,y\n", "has the item 'a' 2 times; keep one row"),
        ("id,title\na,x,y\n", "cannot be read as a table"),
        ('id,title\na,"x\n007,y\n', "a quote is not closed"),
        ("", "cannot be read as a table"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_item_columns(path, ["title"], IDS)


def test_needs_a_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="correct --items"):
        read_item_columns(tmp_path / "items.csv", ["title"], IDS)
    (tmp_path / "items.txt").write_text("id\n")
    with pytest.raises(ValueError, match="needs to end in"):
        read_item_columns(tmp_path / "items.txt", ["title"], IDS)
