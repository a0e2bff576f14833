from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from mentor_pyg.features import ColumnEncoder, UnusableError


def encoded(columns: Mapping[str, Sequence[object]], **options: int) -> np.ndarray:
    encoder = ColumnEncoder(columns, **options)
    count = len(next(iter(columns.values())))
    items = [{name: column[item] for name, column in columns.items()} for item in range(count)]
    return encoder(items)


def test_numbers_are_standardised_and_gaps_are_the_mean() -> None:
    found = encoded({"price": ["1", "3", "", "5"]})
    deviation = np.sqrt(8 / 3)
    expected = [[-2 / deviation, 0], [0, 0], [0, 1], [2 / deviation, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert encoded({"same": [2, 2]}).tolist() == [[0, 0], [0, 0]]


def test_categories_have_places_of_their_own_by_frequency() -> None:
    found = encoded({"brand": ["b", "a", None, "b", "c", "a", "b"]}, most_categories=2)
    assert found.tolist() == [
        *([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]),
        *([0, 0, 0], [0, 1, 0], [1, 0, 0]),
    ]


def test_lists_have_a_one_for_each() -> None:
    for values in ([["x", "y"], ["y"], []], ["x|y", " y ", ""]):
        assert encoded({"tags": values}).tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]  # y first


def test_columns_stand_side_by_side() -> None:
    found = encoded({"price": [1, 3], "brand": ["a", "b"]})
    assert found.tolist() == [[-1, 0, 1, 0, 0], [1, 0, 0, 1, 0]]


def test_an_item_without_any_value_has_no_features() -> None:
    encoder = ColumnEncoder({"price": [1, None, 2], "brand": ["", "", "x"]})
    assert encoder.read(0) == {"price": 1, "brand": ""}
    with pytest.raises(UnusableError, match="no value in any column"):
        encoder.read(1)
    with pytest.raises(ValueError, match="the column 'brand' has no values"):
        ColumnEncoder({"brand": ["", None]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["1", "n/a"],
            "'n/a' of item 007 is no number; correct it or leave it empty, or give",
        ),
        (["1", "nan"], "'nan' of item 007"),
        (["1", "1,50"], "'1,50' of item 007 is no number; write a point for a decimal comma"),
        (["-1,5", "2,50"], "'-1,5' of item 06 is no number; write a point"),
        ([1.5, "n/a"], "'n/a' of item 007"),
    ],
)
def test_slips_among_numbers_are_named(values: list[object], message: str) -> None:
    values = [*values, *range(2, 10), None]  # Nine of ten are numbers.
    ids = ["06", "007", *map(str, range(2, 11))]
    with pytest.raises(ValueError, match=f"the column 'price': {message}"):
        ColumnEncoder({"price": values}, ids=ids)
    with pytest.raises(ValueError, match=r"of item [01] is no number"):
        ColumnEncoder({"price": values})


@pytest.mark.parametrize(
    "values", [["38", "40", *"34567", "L", "XL"], ["1", "2|3", "4"], [1, [2], 3], [True, 1, 2]]
)
def test_categories_may_look_like_numbers(values: list[object]) -> None:
    assert "categories" in ColumnEncoder({"tags": values}).about["columns"]["tags"]
