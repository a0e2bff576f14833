from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mentor_pyg.preparation import Preparation, prepare
from mentor_pyg.preparation.checks import check_written
from mentor_pyg.preparation.splits import SPLITS, SplitName, split_interactions
from tests.preparation.conftest import fill, interactions, read_back

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows = list[tuple[int, int, float, float]]
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pairs = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 9)), st.integers(0, 4), min_size=3, max_size=50
)
ratios = st.sampled_from([(0.1, 0.1), (0.1, 0.2), (0.29, 0.4), (0.5, 0.2), (0.85, 0.1)])


def split(
    database: "DuckDBPyConnection", times: dict[tuple[int, int], int], name: SplitName, *args: Any
) -> dict[tuple[int, int], int] | None:
    """Return the label of every pair, or nothing if the split was refused for want of any."""
    fill(database, "numbered", [(*pair, 1.0, float(time)) for pair, time in times.items()])
    database.execute("CREATE TABLE items AS SELECT DISTINCT item AS number FROM numbered")
    try:
        split_interactions(database, name, *args)
    except ValueError as error:
        assert "leaves no" in str(error)
        return None
    found = database.execute("SELECT user, item, label FROM labelled").fetchall()
    assert len(found) == len(times)
    return {(user, item): label for user, item, label in found}


def shares(n: int, val_ratio: float, test_ratio: float) -> tuple[int, int]:
    """Return how many of a user's interactions go to validation and test."""
    few = 1 if n >= 3 else 0
    test = min(max(int(n * test_ratio + 1e-9), few), n - 1)
    return min(max(int(n * val_ratio + 1e-9), few), n - 1 - test), test


@pytest.mark.parametrize("name", ["random", "temporal", "leave-one-out"])
@FEW
@given(pairs, ratios)
def test_every_user_gives_a_share(
    database: "DuckDBPyConnection",
    name: SplitName,
    times: dict[tuple[int, int], int],
    ratios: tuple[float, float],
) -> None:
    val_ratio, test_ratio = ratios
    labels = split(database, times, name, val_ratio, test_ratio)
    if labels is None:
        return
    of_user: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (time, label)
    for pair, label in labels.items():
        of_user[pair[0]].append((times[pair], label))
    for found in of_user.values():
        n = len(found)
        expected = shares(n, val_ratio, test_ratio)
        if name == "leave-one-out":
            expected = (1, 1) if n >= 3 else (0, 0)
        assert tuple(sum(label == one for _, label in found) for one in (1, 2)) == expected
        if name != "random":
            by_label = sorted(found, key=lambda one: one[1])
            assert [time for time, _ in by_label] != [] and all(
                a[0] <= b[0] for a in found for b in found if a[1] < b[1]
            )


@FEW
@given(pairs, ratios)
def test_global_time_is_cut_at_quantiles(
    database: "DuckDBPyConnection",
    times: dict[tuple[int, int], int],
    ratios: tuple[float, float],
) -> None:
    val_ratio, test_ratio = ratios
    labels = split(database, times, "global-temporal", val_ratio, test_ratio)
    if labels is None:
        return
    order, n = sorted(times.values()), len(times)
    val, test = (
        order[min(n - 1, int(n * (1 - share) + 1e-9))]
        for share in (val_ratio + test_ratio, test_ratio)
    )
    for pair, label in labels.items():
        assert label == (2 if times[pair] >= test else 1 if times[pair] >= val else 0)


@FEW
@given(pairs, ratios)
def test_cold_items_are_of_one_split(
    database: "DuckDBPyConnection",
    times: dict[tuple[int, int], int],
    ratios: tuple[float, float],
) -> None:
    val_ratio, test_ratio = ratios
    labels = split(database, times, "cold-items", val_ratio, test_ratio)
    if labels is None:
        return
    of_item = {item: label for (_, item), label in labels.items()}
    assert all(of_item[item] == label for (_, item), label in labels.items())
    n = len(of_item)
    assert sum(label == 2 for label in of_item.values()) == int(n * test_ratio + 1e-9)
    assert sum(label > 0 for label in of_item.values()) == int(n * (val_ratio + test_ratio) + 1e-9)


def test_no_cold_items_are_lost_to_rounding(database: "DuckDBPyConnection") -> None:
    assert 10 * (0.7 + 0.1) < 8  # in floating point
    labels = split(database, {(0, item): 0 for item in range(10)}, "cold-items", 0.1, 0.7)
    assert labels is not None and sorted(labels.values()) == [0, 0, 1, *[2] * 7]


@pytest.mark.parametrize("name", SPLITS)
def test_threads_and_the_order_of_rows_do_not_count(name: SplitName, tmp_path: Path) -> None:
    table = interactions(40, 30)
    table["timestamp"] = table["timestamp"] // 2  # with ties
    tables = []
    for threads, rows in ((1, table), (4, table.sample(frac=1, random_state=1))):
        path, out = tmp_path / f"{threads}.csv", tmp_path / f"out-{threads}"
        rows.to_csv(path, index=False)
        prepare([path], out, Preparation(split=name, threads=threads, name="x"))
        tables.append((out / "x.inter").read_bytes())
    assert tables[0] == tables[1]


@pytest.mark.parametrize("name", ["random", "cold-items"])
def test_seeds_count(name: SplitName, reviews: Path, tmp_path: Path) -> None:
    made = []
    for seed in (0, 1):
        settings = Preparation(split=name, seed=seed, val_ratio=0.3, test_ratio=0.3)
        prepare([reviews], tmp_path / str(seed), settings)
        made.append(read_back(tmp_path / str(seed)))
    assert not made[0]["x_label"].equals(made[1]["x_label"])


def test_random_draws_are_spread_evenly(database: "DuckDBPyConnection") -> None:
    times = {(user, item): 0 for user in range(200) for item in range(10)}
    labels = split(database, times, "random")
    assert labels is not None
    drawn = [sum(labels[user, item] == 2 for user in range(200)) for item in range(10)]
    assert sum(drawn) == 200 and max(drawn) < 40  # of 20 each


@pytest.mark.parametrize("name", ["leave-one-out", "temporal", "global-temporal"])
def test_a_split_by_time_needs_times(name: SplitName, tmp_path: Path) -> None:
    table = interactions()
    table["timestamp"] = table["timestamp"].where(table.index != 3)
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"needs the time of every interaction \(1 have none\)"):
        prepare([tmp_path / "a.csv"], tmp_path / "out", Preparation(split=name))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("random", [(0, 0, 1, 0), (0, 0, 2, 0)]),
        ("cold-items", [(0, 0, 1, 0), (1, 0, 1, 2)]),
        ("temporal", [(0, 0, 5, 0), (0, 1, 4, 2)]),
        ("temporal", [(0, 0, 5, 0), (0, 1, 4, 1)]),
        ("leave-one-out", [(0, 0, 5, 1), (0, 1, 4, 2)]),
        ("global-temporal", [(0, 0, 5, 0), (1, 1, 5, 2)]),
        ("global-temporal", [(0, 0, 5, 1), (1, 1, 5, 2)]),
    ],
)
def test_checks_find_what_is_broken(
    database: "DuckDBPyConnection", name: SplitName, rows: Rows, tmp_path: Path
) -> None:
    columns = ["userID", "itemID", "timestamp", "x_label"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "a.inter", sep="\t", index=False)
    with pytest.raises(RuntimeError, match="breaks what the split"):
        check_written(database, tmp_path / "a.inter", name)
    database.execute("DROP VIEW IF EXISTS written")


def test_names_are_all_described() -> None:
    assert set(get_args(SplitName)) == set(SPLITS)
