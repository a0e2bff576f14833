from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mentor_pyg.preparation.filters import (
    keep_complete,
    keep_core,
    keep_first,
    keep_rated,
    measure,
)
from tests.preparation.conftest import fill

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows = list[tuple[int, int, float | None, float | None]]
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.integers(0, 6)
some = st.one_of(st.none(), st.integers(0, 3).map(float))
rows = st.lists(st.tuples(numbers, numbers, some, some), max_size=40)


def table(database: "DuckDBPyConnection", name: str = "kept") -> list[tuple[Any, ...]]:
    return sorted(database.execute(f"FROM {name}").fetchall(), key=repr)


@FEW
@given(st.sets(st.tuples(numbers, numbers), max_size=40), st.integers(1, 4))
def test_core_is_the_fixed_point(
    database: "DuckDBPyConnection", pairs: set[tuple[int, int]], core: int
) -> None:
    fill(database, "kept", [(*pair, 1.0, 1.0) for pair in sorted(pairs)])
    keep_core(database, core)
    left, before = set(pairs), -1
    while len(left) != before:
        before = len(left)
        for side in (0, 1):  # one after the other, which ends at the same
            degree = Counter(pair[side] for pair in left)
            left = {pair for pair in left if degree[pair[side]] >= core}
    assert [row[:2] for row in table(database)] == sorted(left)


@FEW
@given(rows)
def test_the_first_of_each_pair_is_kept(database: "DuckDBPyConnection", rows: Rows) -> None:
    fill(database, "kept", rows)
    keep_first(database)
    first: dict[tuple[int, int], tuple[Any, ...]] = {}
    inf = float("inf")
    order = sorted(
        rows, key=lambda r: (inf if r[3] is None else r[3], -(-1 if r[2] is None else r[2]))
    )
    for row in order:
        first.setdefault(row[:2], row)
    assert table(database) == sorted(first.values(), key=repr)


def test_low_and_lacking_ratings_are_dropped(database: "DuckDBPyConnection") -> None:
    fill(database, "kept", [(0, 0, 3.5, 1), (0, 1, 3.0, 1), (1, 0, None, 1), (1, 1, 5.0, 1)])
    keep_rated(database, 3.5)
    assert [row[:3] for row in table(database)] == [(0, 0, 3.5), (1, 1, 5.0)]
    step = measure(database, "rated")
    assert (step.interactions, step.users, step.items) == (2, 2, 2)


@pytest.mark.parametrize("ids", [["b", "10", "9", "A"], ["A", "9", "b", "10"]])
def test_numbers_follow_the_order_of_ids(database: "DuckDBPyConnection", ids: list[str]) -> None:
    fill(database, "raw", [])
    database.execute("CREATE OR REPLACE TABLE raw (user VARCHAR, item VARCHAR, rating DOUBLE, "
                     "time DOUBLE)")  # fmt: skip
    database.executemany(
        "INSERT INTO raw VALUES (?, ?, 1, 1)", [(one, "x") for one in ids] + [(None, "y")]
    )
    keep_complete(database)
    numbered = database.execute("SELECT id FROM all_users ORDER BY number").fetchall()
    assert [one for (one,) in numbered] == ["9", "10", "A", "b"]
    assert database.execute("FROM all_items").fetchall() == [(0, "x")]
    database.execute("DROP TABLE all_users; DROP TABLE all_items")
