from pathlib import Path

import pytest

from mentor_pyg.export import read_item_table
from mentor_pyg.features import read_item_columns
from mentor_pyg.item_tables import ITEM_COLUMNS, find_columns, find_table, item_ids, read_table
from mentor_pyg.preparation import Preparation, prepare


def test_a_role_has_the_first_of_its_names_that_is_there() -> None:
    assert find_columns(["price", "itemID", "ID"]) == {"item": "ID"}
    assert find_columns(["itemid"]) == {"item": "itemid"}
    assert find_columns(["Title", "title", "MOVIEID"]) == {"item": "MOVIEID", "title": "Title"}
    assert find_columns(["name", "URL", "imurl"]) == {
        "title": "name", "image": "imurl", "link": "URL",
    }  # fmt: skip
    assert find_columns(["x"]) == {}
    assert find_columns(["B", "c"], {"one": ("a", "b"), "two": ("d",)}) == {"one": "B"}


def test_the_documentation_lists_the_names() -> None:
    page = (Path(__file__).parents[1] / "docs" / "preparation.md").read_text()
    for usual in ITEM_COLUMNS.values():
        assert f"| {', '.join(f'`{name}`' for name in usual)} |" in page


def test_no_name_has_two_roles() -> None:
    names = [name.lower() for usual in ITEM_COLUMNS.values() for name in usual]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("item", ITEM_COLUMNS["item"])
@pytest.mark.parametrize("change", [str.lower, str.upper, str])
def test_all_that_read_items_take_the_same_names(
    item: str, change: type[str], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    names = [change(name) for name in (item, "name", "imUrl", "url")]
    path = tmp_path / "items.csv"
    rows = [f"i{n},Item {n},http://x/{n},http://y/{n}" for n in range(3)]
    path.write_text("\n".join([",".join(names), *rows]))
    assert find_table(tmp_path) == path
    assert item_ids(read_table(path), path) == ["i0", "i1", "i2"]
    columns = read_item_columns(path, None, ["i2", "i1"]).columns
    assert columns == {names[1]: ["Item 2", "Item 1"]}
    of_export = read_item_table(path)
    assert of_export.loc["i1"].to_dict() == {
        "title": "Item 1", "link": "http://y/1", "image": "http://x/1",
    }  # fmt: skip
    ratings = tmp_path / "ratings.csv"
    rows = [f"u{user},i{n},{n}" for user in range(3) for n in range(3)]
    ratings.write_text("\n".join([f"user,{change('movieId')},time", *rows]))
    settings = Preparation(items=str(path), split="leave-one-out", threads=1)
    prepare([ratings], tmp_path / "out", settings)
    assert read_item_table(tmp_path / "out" / "items.parquet")[[*of_export]].equals(of_export)


def test_text_that_parquet_holds_as_bytes_is_text(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"item": ["ü1".encode(), b"2"], "title": ["Tür".encode(), None]})
    parquet.write_table(table, tmp_path / "items.parquet")
    assert read_item_table(tmp_path / "items.parquet")["title"].to_dict() == {
        "ü1": "Tür",
        "2": None,
    }


@pytest.mark.parametrize("mark", [",", ";", "|", "\t"])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_the_first_line_says_what_separates_columns(mark: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / f"items.{kind}"
    path.write_text(f'\ufeffitem{mark}title\n007{mark}"Milk, 1 l"\n', encoding="utf-8")
    table = read_table(path)
    assert table.column_names == ["item", "title"]
    assert table.to_pylist() == [{"item": "007", "title": "Milk, 1 l"}]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("items.tsv", "item\na, b\n", ["item"]),
        ("items.csv", "item\na\n", ["item"]),
        ("items.csv", "item,of::shop\na,b\n", ["item", "of::shop"]),
        ("items.csv", "\n\nitem;title\na;b, c\n", ["item", "title"]),
    ],
)
def test_a_first_line_of_one_column_or_after_blank_ones(
    name: str, text: str, columns: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)
    table = read_table(tmp_path / name)
    assert table.column_names == columns and table.num_rows == 1
