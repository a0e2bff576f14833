from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mentor_pyg.preparation import Preparation, prepare

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

pytest.importorskip("duckdb", reason="needs the extra 'prepare'")

Made = Callable[..., pd.DataFrame]


def interactions(users: int = 6, items: int = 8) -> pd.DataFrame:
    """Each user with five items, at times of their own."""
    rows = [
        (f"u{user}", f"i{(user + step) % items}", 1 + step % 5, 1000 + 10 * step + user)
        for user in range(users)
        for step in range(5)
    ]
    return pd.DataFrame(rows, columns=["userID", "itemID", "rating", "timestamp"])


def read_back(folder: Path) -> pd.DataFrame:
    """Return what a folder holds, by the original ids, sorted."""
    (path,) = folder.glob("*.inter")
    table = pd.read_csv(path, sep="\t")
    for side in ("user", "item"):
        ids = pd.read_parquet(folder / f"{side}s.parquet").set_index(f"{side}ID")["id"]
        table[side] = table[f"{side}ID"].map(ids)
    return table.sort_values(["user", "item"], ignore_index=True)


@pytest.fixture
def make(tmp_path: Path) -> Made:
    """Prepare files, and return what the folder holds."""

    def make(*files: Path | str, **settings: Any) -> pd.DataFrame:
        out = tmp_path / f"made-{len(list(tmp_path.glob('made-*')))}"
        prepare(files, out, Preparation(threads=1, **settings))
        return read_back(out)

    return make


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Thirty interactions in a file."""
    path = tmp_path / "reviews.csv"
    interactions().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def database() -> "Iterator[DuckDBPyConnection]":
    """One database for many small examples."""
    import duckdb

    with duckdb.connect(config={"threads": "1"}) as connection:
        yield connection


def fill(connection: "DuckDBPyConnection", table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Make a table of interactions by number: user, item, rating, time."""
    for name in ("kept", "numbered", "labelled", "users", "items", "raw"):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(
        f"CREATE TABLE {table} (user INTEGER, item INTEGER, rating DOUBLE, time DOUBLE)"
    )
    if rows:
        values = ", ".join(
            "(" + ", ".join("NULL" if value is None else repr(value) for value in row) + ")"
            for row in rows
        )
        connection.execute(f"INSERT INTO {table} VALUES {values}")
