import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest

from mentor_pyg.preparation import Preparation, prepare, sources
from mentor_pyg.preparation.database import open_database
from mentor_pyg.preparation.reading import read_interactions
from mentor_pyg.preparation.sources import open_source
from tests.preparation.conftest import Made, interactions, read_back


def write_json(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", lines=True)


def write_zstd(table: pd.DataFrame, path: Path) -> None:
    import duckdb

    kind = "json" if "json" in path.name else "csv"
    with duckdb.connect() as connection:
        connection.register("rows", table)
        connection.execute(f"COPY rows TO '{path}' (FORMAT {kind}, COMPRESSION zstd)")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "a.tsv": lambda table, path: table.to_csv(path, sep="\t", index=False),
    "a.csv.gz": lambda table, path: table.to_csv(path, index=False),
    "a.csv.zst": write_zstd,
    "a.parquet": lambda table, path: table.to_parquet(path),
    "a.jsonl": write_json,
    "a.json.gz": write_json,
    "a.ndjson.zst": write_zstd,
    "a.txt": lambda table, path: table.to_csv(path, sep="|", index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same(name: str, make: Made, reviews: Path, tmp_path: Path) -> None:
    WRITERS[name](interactions(), tmp_path / name)
    assert make(tmp_path / name, name="x").equals(make(reviews, name="x"))


def test_several_files_in_any_order_give_the_same(
    make: Made, reviews: Path, tmp_path: Path
) -> None:
    table = interactions().sample(frac=1, random_state=1)
    (tmp_path / "parts").mkdir()
    write_json(table[:11], tmp_path / "parts" / "z.jsonl")
    # Of another layout, and with a line that the other file has too.
    renamed = table[10:].rename(columns={"userID": "user_id", "itemID": "asin"})
    renamed[["asin", "timestamp", "user_id", "rating"]].to_csv(
        tmp_path / "parts" / "a.csv", index=False
    )
    assert make(f"{tmp_path}/parts/*").equals(make(reviews))


LAYOUTS = {
    "Amazon 2014 and 2018": ["reviewerID", "asin", "overall", "unixReviewTime"],
    "Amazon 2023": ["user_id", "parent_asin", "rating", "timestamp"],
    "MicroLens": ["user", "item", "stars", "timestamp"],
    "MovieLens": ["userId", "movieId", "rating", "timestamp"],
    "RecBole": ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_usual_columns_are_found(layout: str, make: Made, reviews: Path, tmp_path: Path) -> None:
    table = interactions().set_axis(LAYOUTS[layout], axis=1)
    table.insert(0, "asin" if layout == "Amazon 2023" else "other", "same")
    table.to_csv(tmp_path / "layout.csv", index=False)
    assert make(tmp_path / "layout.csv").equals(make(reviews))


def test_movielens_without_a_header(make: Made, tmp_path: Path) -> None:
    rows = [f"{user}::{9 - user}{item}::5::{100 + item}" for user in range(4) for item in range(3)]
    (tmp_path / "ratings.dat").write_text("\n".join(rows))
    made = make(tmp_path / "ratings.dat")
    assert len(made) == 12
    assert made.loc[0, ["user", "item", "rating", "timestamp"]].tolist() == ["0", "90", 5, 100]


def test_columns_of_a_file_without_a_header(make: Made, reviews: Path, tmp_path: Path) -> None:
    table = interactions()[["itemID", "userID", "rating", "timestamp"]]
    table.to_csv(tmp_path / "bare.csv", index=False, header=False)
    assert make(tmp_path / "bare.csv", columns=("item", "user", "rating", "time")).equals(
        make(reviews)
    )
    with pytest.raises(ValueError, match=r"bare.csv: 'columns' needs the 4 names"):
        make(tmp_path / "bare.csv", columns=("item", "user"))


def test_ids_stay_the_text_that_they_are(make: Made, tmp_path: Path) -> None:
    ids = [
        "007",
        "7",
        "a@b.org",
        "tab\there",
        'quo"te',
        "line\nbreak",
        "cr\rhere",
        " space",
        "NA",
        "é",
    ]
    rows = [(user, f"0{item}") for user in ids for item in range(3)]
    path = tmp_path / "odd.csv"
    path.write_bytes(
        pd.DataFrame(rows, columns=["user", "item"])
        .to_csv(index=False, lineterminator="\r\n")
        .encode("utf-8-sig")
    )
    made = make(path)
    assert sorted(made["user"].unique()) == sorted(ids)
    assert sorted(made["item"].unique()) == ["00", "01", "02"]
    from mentor_pyg.datasets import InteractionFolder

    data = InteractionFolder(tmp_path / "made-0")[0]
    assert data["user"].raw_id[:2] == ["007", "7"] and sorted(data["user"].raw_id) == sorted(ids)


def test_numbers_are_in_order(make: Made, tmp_path: Path) -> None:
    rows = "".join(f"{user}\t{item}\n" for user in (10, 9, 100) for item in (3, 20, 1))
    (tmp_path / "a.tsv").write_text("user\titem\n" + rows)
    made = make(tmp_path / "a.tsv")
    assert dict(zip(made["user"].astype(str), made["userID"], strict=True)) == {
        "9": 0, "10": 1, "100": 2,
    }  # fmt: skip


BROKEN = {
    "a.csv": (
        'user,item,rating,timestamp\na,b,5,1\n"x\ny",b,4,1\nshort,b\na,c,5,1\nlong,b,1,2,3\n'
        "bad,b,high,1\nlate,b,3,soon\na,d,5,1\n",
        [
            (4, "missing columns"),
            (6, "too many columns"),
            (7, "no number, high"),
            (8, "none, soon"),
        ],
    ),
    "a.jsonl": (
        '{"user":"a","item":"b","rating":5,"timestamp":1}\n{"user":"x"\n'
        '{"user":"a","item":"c","rating":"high"}\n[1]\n{"user":"a","item":"d","timestamp":"soon"}\n'
        '{"user":"a","item":"c"}\n \n{"user":"a","item":"{d"}\n\n{"user":"a","item":["d"]}\n'
        '{"user":{"id":1},"item":"b"}\n',
        [
            (2, "no record"),
            (3, "no number, high"),
            (4, "no record"),
            (5, "none, soon"),
            (10, 'the item is no single value, ["d"]'),
            (11, 'the user is no single value, {"id":1}'),
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_lines_are_named(name: str, tmp_path: Path) -> None:
    text, wrong = BROKEN[name]
    path = tmp_path / name
    path.write_text(text)
    many = len(wrong)
    with pytest.raises(
        ValueError, match=rf"{many} lines are malformed, more than .* \({many - 1}\)"
    ):
        prepare([path], tmp_path / "out", Preparation(max_errors=many - 1))
    assert [one.name for one in tmp_path.iterdir()] == [name]
    prepared = prepare([path], tmp_path / "out", Preparation(max_errors=many))
    assert [one.line for one in prepared.malformed] == [line for line, _ in wrong]
    for found, (_, reason) in zip(prepared.malformed, wrong, strict=True):
        assert reason in str(found) and str(path) in str(found)
    assert prepared.steps[0].interactions == (4 if name == "a.csv" else 3)
    assert f"{many} were left out" in (tmp_path / "out" / "card.md").read_text()


ROWS = "".join(f"u{n % 9},i{n},nice\n" for n in range(40))
SWALLOWING = {
    "never ends": f'{ROWS}u,i,"good\n{ROWS}',
    "never ends, in tabs": f'{ROWS}u,i,"good\n{ROWS}'.replace(",", "\t"),
    "never ends, for long": f'{ROWS}u,i,"{"good" * 3000}\n{ROWS}',
    "never ends, for 40 MB": f'{ROWS}u,i,"good\n{ROWS * 100_000}',
    "goes on after its end": f'{ROWS}u,i,"good\n{ROWS}u,j,"nice"\n{ROWS}',
    "ends in a row of more columns": f'{ROWS}u,i,"good\n{ROWS}u,j,nice",3\n{ROWS}',
    "ends in a row of fewer columns": f'{ROWS}u,"i,good\n{ROWS}nice"\n{ROWS}',
    "ends in a row that is too long": f'{ROWS}u,i,"good\n{"u,i,nice" * 300_000}\nu,j,nice"\n',
}


@pytest.mark.parametrize("case", SWALLOWING)
def test_a_quote_that_takes_in_rows_is_always_an_error(case: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SWALLOWING[case].replace("u", "user,item,text\nu", 1))
    if "tabs" in case:
        (tmp_path / "a.txt").write_text("user\titem\ttext\n" + SWALLOWING[case])
    with pytest.raises(ValueError, match=r"a\.txt, line 42: a malformed row goes over .* \.inter"):
        prepare([tmp_path / "a.txt"], tmp_path / "out", Preparation(max_errors=99))
    assert not (tmp_path / "out").exists()


def test_a_stray_quote_of_one_line_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'user,item,text\n{ROWS}u,i,"12" disc"\n{ROWS}\n\nshort\n\n')
    (tmp_path / "b.csv").write_bytes(
        b'user,item,text\na,b,"gr\xfcn\nblau"\na,b,"blau\ngr\xfcn"\n' + ROWS.encode()
    )
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    prepared = prepare(files, tmp_path / "out", Preparation(max_errors=4))
    assert [one.line for one in prepared.malformed] == [42, 85, 2, 3]
    assert prepared.steps[0].interactions == 120


def test_lines_within_quotes_are_told(tmp_path: Path) -> None:
    text = f'user,item,text\n{ROWS}a,b,"one\n\ntwo"\nu,i,"good\n{ROWS}u,j,nice"\n{ROWS}'
    (tmp_path / "a.csv").write_text(text)
    said = list[str]()
    prepared = prepare([tmp_path / "a.csv"], tmp_path / "out", say=said.append)
    assert prepared.steps[0].interactions == 82 and prepared.malformed == []
    (line,) = (one for one in said if "quoted text" in one)
    assert line.startswith("2 rows have quoted text of several lines, 43 lines more than rows")
    assert "most, 41, has that of user u and item i. If no text is that long, a stray" in line
    assert line in (tmp_path / "out" / "card.md").read_text()
    # Where quotes are part of the text.
    (tmp_path / "a.inter").write_text(text)
    prepared = prepare([tmp_path / "a.inter"], tmp_path / "out2", Preparation(max_errors=3))
    assert prepared.steps[0].interactions == 123
    assert "quoted text" not in (tmp_path / "out2" / "card.md").read_text()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("time", ["1e25", "-1e20"])
def test_a_time_that_cannot_be_is_malformed(time: str, name: str, tmp_path: Path) -> None:
    table = interactions().astype({"timestamp": "float64"})
    table.loc[3, "timestamp"] = float(time)
    if name == "a.csv":
        table.to_csv(tmp_path / name, index=False)
    else:
        WRITERS[name](table, tmp_path / name)
    prepared = prepare([tmp_path / name], tmp_path / "out", Preparation(max_errors=1))
    (found,) = prepared.malformed
    assert found.line == 4 + (name == "a.csv") and "the time is none, " in found.reason
    assert prepared.steps[0].interactions == 29


def test_times_may_be_numbers_and_dates_in_one_column(tmp_path: Path) -> None:
    rows = "a,b,unknown\na,c,2020-05-05\na,d,1588687728\na,e,\na,f,inf\n"
    (tmp_path / "a.csv").write_text(f"user,item,time\n{rows}")
    database = tmp_path / "database"
    database.mkdir()
    with open_database(database, "1GiB", threads=1) as connection:
        connection.execute(
            "CREATE TABLE raw "
            "(user VARCHAR, item VARCHAR, rating DOUBLE, time DOUBLE, breaks INTEGER)"
        )
        source = open_source(connection, tmp_path / "a.csv")
        columns = {"user": "user", "item": "item", "time": "time"}
        malformed = read_interactions(connection, source, columns)
        times = connection.execute("SELECT item, time FROM raw ORDER BY item").fetchall()
    assert [str(one) for one in malformed] == [
        f"{tmp_path / 'a.csv'}, line 2: the time is none, unknown"
    ]
    assert times == [("c", 1588636800), ("d", 1588687728), ("e", None), ("f", None)]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_empty_rating_is_none(name: str, make: Made, tmp_path: Path) -> None:
    table = interactions().astype({"rating": str})
    table.loc[3, "rating"] = ""
    if name == "a.csv":
        table.to_csv(tmp_path / name, index=False)
    else:
        write_json(table, tmp_path / name)
    assert len(make(tmp_path / name)) == 30
    assert "have no rating" in (tmp_path / "made-0" / "card.md").read_text()


def late_columns(path: Path, first: int) -> Path:
    """Write records that have ratings and times from the third, or a later, on."""
    rows = interactions(40).to_dict("records")
    for row in rows[:first]:
        del row["rating"], row["timestamp"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_columns_that_begin_late_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = late_columns(tmp_path / "late.jsonl", 150)
    settings, asked = Preparation(min_rating=3), Preparation(rating="rating", min_rating=3)
    kept = prepare([path], tmp_path / "guessed", settings).steps[2].interactions
    assert kept == 30
    monkeypatch.setattr(sources, "_SAMPLED", 100)
    with pytest.raises(ValueError, match="which column is the rating"):
        prepare([path], tmp_path / "out", settings)
    assert prepare([path], tmp_path / "asked", asked).steps[2].interactions == kept
    with pytest.raises(ValueError, match="no column 'stars' for 'rating'"):
        prepare([path], tmp_path / "out", Preparation(rating="stars"))


@pytest.mark.parametrize("exact", [False, True])
def test_whole_numbers_in_parquet_are_integers(exact: bool, make: Made, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = interactions()
    for side in ("userID", "itemID"):
        table[side] = table[side].str[1:].astype(float)
    lacking = pd.DataFrame([[float("nan"), 1.0, 5, 7], [1.5, 1.0, 5, 7]], columns=table.columns)
    columns = {name: column.to_numpy() for name, column in pd.concat([table, lacking]).items()}
    arrow = pa.table(columns)  # NaN, where pandas has null
    if exact:
        whole = pa.array(columns["itemID"]).cast(pa.decimal128(20, 2))
        arrow = arrow.set_column(1, "itemID", whole)
    parquet.write_table(arrow, tmp_path / "a.parquet")
    made = make(tmp_path / "a.parquet")
    assert sorted(made["user"].unique()) == ["0", "1", "1.5", "2", "3", "4", "5"]
    assert sorted(made["item"].unique()) == [str(n) for n in range(8)]


def test_a_bad_value_in_parquet_is_named(make: Made, tmp_path: Path) -> None:
    table = interactions().astype(str)
    table.loc[3, "rating"] = "high"
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet, line 4: the rating is no number, high"):
        make(tmp_path / "a.parquet")


def test_rows_without_an_id_are_dropped_and_counted(reviews: Path, tmp_path: Path) -> None:
    with reviews.open("a") as file:
        file.write(",i1,5,7\nu1,,5,7\n,,,\n")
    prepared = prepare([reviews], tmp_path / "out")
    assert [step.interactions for step in prepared.steps] == [33, 30, 30]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ((1588687728923, 1588687728), (1588687728.923, 1588687728)),
        (("2020-05-05", "2020-05-05 14:08:48"), (1588636800, 1588687728)),
        ((1588687728923456, 1588687728923456789), (1588687728.923456, 1588687728.923457)),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_times_are_in_seconds(
    times: tuple[Any, Any], seconds: tuple[float, float], kind: str, make: Made, tmp_path: Path
) -> None:
    table = pd.DataFrame(
        {"user": ["a"] * 4, "item": [*"wxyz"], "time": [times[0]] * 3 + [times[1]]}
    )
    if kind == "csv":
        table.to_csv(tmp_path / "a.csv", index=False)
    else:
        write_json(table, tmp_path / "a.jsonl")
    made = make(tmp_path / f"a.{kind}")
    assert made["timestamp"].tolist() == pytest.approx([*[seconds[0]] * 3, seconds[1]], abs=1e-6)


def test_a_fraction_after_many_whole_times(make: Made, tmp_path: Path) -> None:
    rows = "".join(f"u{n % 2000},i{n // 2000},{1000 + n}\n" for n in range(30_000))
    (tmp_path / "a.csv").write_text(f"user,item,time\n{rows}u1,i99,1588687728923\n")
    made = make(tmp_path / "a.csv", split="leave-one-out")
    assert made["timestamp"].max() == 1588687728.923


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_odd_names_of_files_and_columns(
    kind: str, make: Made, reviews: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"it's [1] *?.{kind}"
    table = interactions().rename(columns={"userID": 'who\'s "it"', "rating": "a b"})
    if kind == "csv":
        table.to_csv(path, index=False, quoting=csv.QUOTE_ALL, quotechar='"', doublequote=True)
    else:
        WRITERS[f"a.{kind}"](table, path)
    made = make(path, user='who\'s "it"', rating="a b")
    assert made.equals(make(reviews))


def test_columns_that_some_rows_lack_are_left_out(make: Made, tmp_path: Path) -> None:
    table = interactions()
    table["rating"] = table["rating"].where(table.index != 3)
    table.to_csv(tmp_path / "a.csv", index=False)
    assert "rating" not in make(tmp_path / "a.csv") and "timestamp" in make(tmp_path / "a.csv")
    assert "have no rating" in (tmp_path / "made-0" / "card.md").read_text()


def test_a_line_of_3_mb_is_malformed(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 9},i{n}\n" for n in range(40))
    (tmp_path / "a.csv").write_text(f"user,item\n{rows}{'x' * 3_000_000},1\n{rows}")
    with pytest.raises(ValueError, match=r"a.csv, line 42: line size over maximum"):
        prepare([tmp_path / "a.csv"], tmp_path / "out")
    prepared = prepare([tmp_path / "a.csv"], tmp_path / "out", Preparation(max_errors=1))
    assert prepared.steps[0].interactions == 80
    (tmp_path / "b.csv").write_text(f"{'x' * 3_000_000},1\nuser,item\n{rows}")
    with pytest.raises(ValueError, match=r"b.csv cannot be read .*Maximum line size of 2000000"):
        prepare([tmp_path / "b.csv"], tmp_path / "out2")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_a_line_that_duckdb_would_drop_is_an_error(name: str, tmp_path: Path) -> None:
    rows = "u1,i1\n" * 4_500_000  # Up to where one of its buffers ends within the line.
    text = f"user,item\n{rows}{'x' * 9_000_000},1\nu2,i2\n"
    with pyarrow.output_stream(str(tmp_path / name)) as file:  # Compressed by its name.
        file.write(text.encode())
    with pytest.raises(ValueError, match=f"{name} has a line of over 4,000,000 bytes"):
        prepare([tmp_path / name], tmp_path / "out", Preparation(max_errors=1))


@pytest.mark.parametrize("name", ["long.jsonl", "long.csv"])
def test_a_line_of_100_mb_is_an_error(name: str, tmp_path: Path) -> None:
    long = "x" * 100_000_000
    record = f'{{"user":"{long}","item":1}}\n' if name == "long.jsonl" else f"{long},1\n"
    good = '{"user":"a","item":1}\n' if name == "long.jsonl" else "user,item\na,1\n"
    (tmp_path / name).write_text(good + record)
    with pytest.raises(ValueError, match=name) as caught:
        prepare([tmp_path / name], tmp_path / "out")
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "out").exists()


def test_a_first_line_of_100_mb_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x" * 100_000_000 + ",1\n")
    with pytest.raises(ValueError, match=r"a\.csv") as caught:
        prepare([tmp_path / "a.csv"], tmp_path / "out")
    assert len(str(caught.value)) < 1000


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"user,item\n", "no interactions are left"),
    "blank.csv": (b"\n\n\n", "first line needs columns separated by"),
    "one.csv": (b"user\na\n", "first line needs columns separated by"),
    "twice.csv": (b"user,item,user\na,b,c\n", "names the column 'user' twice"),
    "unknown.csv": (b"who,what\na,b\n", "which column is the user.*who, what with --user"),
    "a.xlsx": (b"PK", "needs a name that ends in .csv"),
    "a.parquet": (b"user,item\na,b\n", "a.parquet cannot be read"),
    "a.csv.gz": (b"user,item\na,b\n", "a.csv.gz cannot be read"),
    "cut.csv.gz": (gzip.compress(b"user,item\n" + b"a,b\n" * 9999)[:60], "cut.csv.gz cannot be"),
    "array.json": (json.dumps([{"user": 1, "item": 2}]).encode(), "one a line"),
    "python.json": (b"{'user': 'a', 'item': 'b'}\n", "JSON proper"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_files_that_are_none(name: str, make: Made, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        make(tmp_path / name)


def test_refuses_paths_that_are_no_files(make: Made, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; give its files"):
        make(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        make(tmp_path / "*.csv")
    (tmp_path / "a.csv").write_text("user,item\na,b\n")
    with pytest.raises(ValueError, match="no column 'who' for 'user'; it has user, item"):
        make(tmp_path / "a.csv", user="who")
    with pytest.raises(ValueError, match="'item' cannot be the user and the item; name another"):
        make(tmp_path / "a.csv", user="item")


ZONED = [
    "2021-11-07T01:30:00-04:00",
    "2021-11-07 01:00:00-05",
    "2021-11-07T06:30:00Z",
    "2021-11-07 02:00:00 America/New_York",
]
"""Half an hour between each two, over the end of summer time."""


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_zones_of_times_count(name: str, make: Made, tmp_path: Path) -> None:
    table = pd.DataFrame({"user": ["u"] * 4, "item": [*"abcd"], "time": ZONED})
    if name == "a.csv":
        table.to_csv(tmp_path / name, index=False)
    elif name == "a.jsonl":
        table.to_json(tmp_path / name, orient="records", lines=True)
    else:
        table["time"] = pd.date_range("2021-11-07T05:30Z", periods=4, freq="30min")
        table.to_parquet(tmp_path / name)
    made = make(tmp_path / name, split="leave-one-out").sort_values("item")
    assert made["timestamp"].diff().iloc[1:].tolist() == [1800] * 3
    assert made["timestamp"].iloc[0] == 1636263000
    assert made["x_label"].tolist() == [0, 0, 1, 2]


def test_the_zone_of_the_machine_does_not_count(tmp_path: Path) -> None:
    table = interactions()
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="s")
    table.to_csv(tmp_path / "a.csv", index=False)
    code = "import sys; from mentor_pyg.preparation import prepare; prepare([sys.argv[1]], 'out')"
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.csv"],
        cwd=tmp_path,
        env={**os.environ, "TZ": "America/New_York"},
        check=True,
    )
    made = read_back(tmp_path / "out")["timestamp"].sort_values().tolist()
    assert made == sorted(interactions()["timestamp"])


@pytest.mark.parametrize("time", ["2021-05-01 01:00 PM", "2021-05-01 00:00 bananas"])
def test_what_follows_a_time_is_not_left_out(time: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"user,item,time\nu,i,2021-05-01 00:00\nu,j,{time}\n")
    with pytest.raises(ValueError, match=f"line 3: the time is none, {time}"):
        prepare([tmp_path / "a.csv"], tmp_path / "out")


def test_globs_go_down_folders(make: Made, tmp_path: Path) -> None:
    for place, row in (("logs", "u,a"), ("logs/2023", "u,b"), ("logs/2024/01", "u,c")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "a.csv").write_text(f"user,item\n{row}\n")
    assert make(tmp_path / "logs/**/*.csv")["item"].tolist() == [*"abc"]


def test_folders_name_columns_that_a_file_lacks_alone(make: Made, tmp_path: Path) -> None:
    folder = tmp_path / "user=me" / "time=2024-01-02"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"user": ["u"] * 10, "item": [f"i{n}" for n in range(10)]})
    table.to_parquet(folder / "a.parquet")
    assert set(make(folder / "a.parquet")["user"]) == {"u"}
    assert set(make(folder / "a.parquet")["timestamp"]) == {1704153600}
    escaped = tmp_path / "time=2024-01-02%2001%3A00"
    escaped.mkdir()
    table.drop(columns="user").to_parquet(escaped / "user=x.parquet")
    with pytest.raises(ValueError, match=r"which column is the user\? Name one of item, time with"):
        make(escaped / "user=x.parquet")
    numbered = tmp_path / "user=007" / escaped.name
    numbered.mkdir(parents=True)
    table.drop(columns="user").to_parquet(numbered / "a.parquet")
    made = make(numbered / "a.parquet")
    assert set(made["user"]) == {"007"} and set(made["timestamp"]) == {1704157200}


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("user,item\nJosé,i\nu,i\n".encode("latin1"))
    with pytest.raises(ValueError, match=r"`iconv -f latin1 -t utf-8 a.csv`.*, or give --max-err"):
        prepare([tmp_path / "a.csv"], tmp_path / "out")
    lines = '{"user":"a","item":"i"}\n\n{"user":"b"\n{"user":"José","item":"i"}\n\n[]\n'
    (tmp_path / "a.jsonl").write_bytes(lines.encode("latin1"))
    with pytest.raises(
        ValueError, match=r"line 4: the line is not utf-8.*`iconv -f latin1 .* a.jsonl`"
    ):
        prepare([tmp_path / "a.jsonl"], tmp_path / "out")
    (tmp_path / "ratings.dat").write_text("1::2::3::4\n")
    (tmp_path / "movies.dat").write_bytes("2::Café::Drama\n".encode("latin1"))
    settings = Preparation(items=str(tmp_path / "movies.dat"))
    with pytest.raises(ValueError, match=r"`iconv -f latin1 -t utf-8 movies.dat`"):
        prepare([tmp_path / "ratings.dat"], tmp_path / "out", settings)
    (tmp_path / "of shop.csv").write_text("user,item\nu,i\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"`iconv -f utf-16 -t utf-8 'of shop.csv'`"):
        prepare([tmp_path / "of shop.csv"], tmp_path / "out")
    (tmp_path / "a.csv").write_text("user,item\nu,i\n", encoding="utf-16")
    (tmp_path / "a.jsonl").write_text('{"user": "u", "item": "i"}\n', encoding="utf-16")
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(ValueError, match=rf"not in UTF-8; .*`iconv -f utf-16 -t utf-8 {name}`"):
            prepare([tmp_path / name], tmp_path / "out")


def test_lines_of_json_lines_may_end_in_any_way(tmp_path: Path) -> None:
    good = '{"user":"a","item":"b","rating":1}'
    lines = f"{good}\r\n\f\n{good}\n\r\n" + '{"user":"a","item":"c","rating":"é"}\n[]\n'
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    with pytest.raises(ValueError, match=r"line 5: the rating is no number, é; .* line 6: no rec"):
        prepare([path], tmp_path / "out")


def test_a_folder_may_say_that_there_is_no_value(make: Made, tmp_path: Path) -> None:
    folder = tmp_path / "user=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    items = pd.DataFrame({"item": [f"i{n}" for n in range(10)]})
    items.to_parquet(folder / "a.parquet")
    items.assign(user="u").to_parquet(tmp_path / "b.parquet")
    assert set(make(folder / "a.parquet", tmp_path / "b.parquet")["user"]) == {"u"}


def test_lists_of_numbers_may_describe_items(reviews: Path, make: Made, tmp_path: Path) -> None:
    table = pd.DataFrame({"item": ["i1"], "description": [[1.5, 2.5]]})
    table.to_parquet(tmp_path / "items.parquet")
    make(reviews, items=str(tmp_path / "items.parquet"))
    found = pd.read_parquet(tmp_path / "made-0" / "items.parquet").set_index("id")
    assert found.loc["i1", "description"] == "1.5 2.5"


def test_text_without_the_mark_of_text_is_text(make: Made, tmp_path: Path) -> None:
    table = interactions().assign(userID=lambda t: ("ü" + t["userID"]).str.encode("utf-8"))
    table.to_parquet(tmp_path / "a.parquet")  # As bytes.
    assert make(tmp_path / "a.parquet")["user"].str.startswith("üu").all()


@pytest.mark.parametrize("value", [["i0", "i1"], {"id": 1}])
def test_ids_are_single_values(value: Any, tmp_path: Path) -> None:
    table = interactions()
    table.assign(itemID=[value] * len(table)).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet: the item is in column 'itemID', .* --item"):
        prepare([tmp_path / "a.parquet"], tmp_path / "out")


def test_nested_texts_of_items_are_their_parts(tmp_path: Path, reviews: Path) -> None:
    table = pd.DataFrame(
        {"item": ["i0"], "description": [["Soft.", "Red."]], "image": [[{"large": "http://x/l"}]]}
    )
    table.to_parquet(tmp_path / "items.parquet")
    prepare([reviews], tmp_path / "out", Preparation(items=str(tmp_path / "items.parquet")))
    made = pd.read_parquet(tmp_path / "out" / "items.parquet").set_index("id").loc["i0"]
    assert (made["description"], made["image"]) == ("Soft. Red.", "http://x/l")
    table.assign(item=[["i0"]]).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(ValueError, match=r"items.parquet: the id of an item is in column 'item'"):
        prepare([reviews], tmp_path / "two", Preparation(items=str(tmp_path / "items.parquet")))


def written(name: str, rows: Sequence[Sequence[str]], folder: Path) -> Path:
    """Write rows of user, item, rating and time."""
    table = pd.DataFrame(rows, columns=["user", "item", "rating", "time"])
    if name.endswith(".csv"):
        table.to_csv(folder / name, index=False, sep=";")
    else:
        WRITERS[name](table, folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_times_and_ratings_of_another_form(name: str, tmp_path: Path) -> None:
    rows = [
        *(("u", f"i{n}", f"{n},5", f"0{n}.02.2024 12:30") for n in range(1, 7)),
        ("u", "i7", "4.5", "07.02.2024 12:30"),
        ("u", "i8", "", ""),
        ("u", "x1", "1.234,5", "07.02.2024 12:30"),
        ("u", "x2", "1,5", "2024-02-07 12:30"),
        ("u", "x3", "1,5", "1700000000"),
    ]
    path = written(name, rows, tmp_path)
    form = "%d.%m.%Y %H:%M"
    settings = {"time_format": form, "decimal_comma": True, "threads": 1, "max_errors": 3}
    prepared = prepare([path], tmp_path / "out", Preparation(**settings))
    first = 9 + (name == "a.csv")
    assert [(one.line, one.reason) for one in prepared.malformed] == [
        (first, "the rating is no number, 1.234,5"),
        (first + 1, f"the time is none, 2024-02-07 12:30, not {form}"),
        (first + 2, f"the time is none, 1700000000, not {form}"),
    ]
    card = (tmp_path / "out" / "card.md").read_text()
    assert f"--time-format '{form}' --decimal-comma --max-errors 3" in card
    rows = rows[:7]
    prepare([written(name, rows, tmp_path)], tmp_path / "two", Preparation(**settings))
    made = read_back(tmp_path / "two")
    assert made["rating"].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 4.5]
    noon = pd.Timestamp("2024-02-01 12:30").timestamp()
    assert made["timestamp"].tolist() == [noon + 86400 * day for day in range(7)]


def test_says_which_forms_are_read(tmp_path: Path) -> None:
    rows = [("u", f"i{n}", "3", "1") for n in range(3)]
    rows += [("u", "x", "3,5", "1"), ("u", "y", "3", "01.01.2024 12:30")]
    path = written("a.csv", rows, tmp_path)
    with pytest.raises(
        ValueError,
        match=r"line 5: the rating has a decimal comma, 3,5; .* line 6: the time is none, 01\.01\."
        r".* or give --decimal-comma \(times are numbers, dates such as 2024-05-01 12:30, .* or "
        r"what --time-format '%d.%m.%Y %H:%M' says\), or give --max-errors 2 to leave them out",
    ):
        prepare([path], tmp_path / "out")
    path = written("a.csv", rows[2:], tmp_path)
    with pytest.raises(ValueError, match=r"2 lines are malformed") as raised:
        prepare([path], tmp_path / "out")
    assert "--max-errors" not in str(raised.value)
    with pytest.raises(ValueError, match=r"\(every time needs the form '%d'; numbers and dates"):
        prepare([path], tmp_path / "out", Preparation(time_format="%d"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_format": "%d.%Q"}, r"'time_format' needs a form of times .* \(got '%d.%Q'\)"),
        ({"time_format": "%d.%m.%Y"}, "which column is the time"),
        ({"decimal_comma": True}, "which column is the rating"),
    ],
)
def test_forms_need_a_column(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\na,b\n")
    with pytest.raises(ValueError, match=message):
        prepare([tmp_path / "a.csv"], tmp_path / "out", Preparation(**settings))
