from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, REV_INTERACTS, SEMANTIC, knn_edge_type, validate_data
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs

VISUAL_KNN = knn_edge_type("visual")


@pytest.fixture(scope="module")
def full_data() -> HeteroData:
    data = SyntheticMultimodal("tiny", missing=0.1)[0]
    return MergeItemGraphs()(ItemKNNGraph(10, cache=False)(data))


@pytest.fixture
def data(full_data: HeteroData) -> HeteroData:
    return full_data.clone()


def minimal() -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 2, 3
    data[INTERACTS].edge_index = torch.tensor([[0, 1], [2, 0]])
    return data


def test_accepts_a_full_dataset(data: HeteroData) -> None:
    validate_data(data)


def test_accepts_what_a_dataset_needs_at_least() -> None:
    data = minimal()
    validate_data(data)
    assert data.edge_types == [INTERACTS]  # looking at stores does not create them
    data["user"].raw_id = ["a", "b"]
    data[INTERACTS].val_edge_label_index = torch.empty(2, 0, dtype=torch.long)
    validate_data(data)


def test_accepts_modalities_that_no_item_has_if_it_may(data: HeteroData) -> None:
    data["item"].has_visual = torch.zeros(80, dtype=torch.bool)
    validate_data(data, absent_modalities=True)


def test_accepts_item_graphs_without_weights(data: HeteroData) -> None:
    del data[VISUAL_KNN].edge_weight, data[SEMANTIC].edge_weight
    validate_data(data)


def test_accepts_reverse_edges_in_another_order(data: HeteroData) -> None:
    data[REV_INTERACTS].edge_index = data[REV_INTERACTS].edge_index.flip(1)
    validate_data(data)


def test_refuses_other_types() -> None:
    with pytest.raises(TypeError, match=r"'data' needs to be a HeteroData \(got dict\)"):
        validate_data({})  # type: ignore[arg-type]


def put(store: object, key: str, value: object) -> Callable[[HeteroData], None]:
    return lambda data: setattr(data[store], key, value)


def drop(store: object, key: str) -> Callable[[HeteroData], None]:
    return lambda data: delattr(data[store], key)


def put_at(store: object, key: str, at: object, value: float) -> Callable[[HeteroData], None]:
    return lambda data: data[store][key].__setitem__(at, value)


INTERACTS_NAME = r"data\['user', 'interacts', 'item'\]"
REV_NAME = r"data\['item', 'rev_interacts', 'user'\]"
KNN_NAME = r"data\['item', 'visual_knn', 'item'\]"
SEMANTIC_NAME = r"data\['item', 'semantic', 'item'\]"
ITEM_NAME = r"data\['item'\]"
BAD = {
    "no user count": (drop("user", "num_nodes"), r"data\['user'\].num_nodes.*None"),
    "zero items": (put("item", "num_nodes", 0), rf"{ITEM_NAME}.num_nodes.*got 0"),
    "raw ids": (put("item", "raw_id", ["a"]), rf"{ITEM_NAME}.raw_id.*80 \(got 1\)"),
    "no interactions": (drop(INTERACTS, "edge_index"), f"{INTERACTS_NAME}.edge_index is missing"),
    "empty interactions": (
        put(INTERACTS, "edge_index", torch.empty(2, 0, dtype=torch.long)),
        f"{INTERACTS_NAME}.edge_index is empty",
    ),
    "edge dtype": (
        put(INTERACTS, "edge_index", torch.zeros(2, 3)),
        f"{INTERACTS_NAME}.edge_index needs to be an int64 tensor.*float32",
    ),
    "edge type": (
        put(INTERACTS, "edge_index", [[0], [0]]),
        f"{INTERACTS_NAME}.edge_index needs to be an int64 tensor.*list",
    ),
    "edge shape": (
        put(INTERACTS, "edge_index", torch.zeros(3, 2, dtype=torch.long)),
        rf"{INTERACTS_NAME}.edge_index needs the shape.*\[3, 2\]",
    ),
    "user range": (
        put_at(INTERACTS, "edge_index", (0, 5), 60),
        rf"{INTERACTS_NAME}.edge_index needs ids from 0 to 59 here \(got 60\)",
    ),
    "negative item": (
        put_at(INTERACTS, "val_edge_label_index", (1, 0), -3),
        rf"{INTERACTS_NAME}.val_edge_label_index needs ids from 0 to 79 here \(got -3\)",
    ),
    "test range": (
        put_at(INTERACTS, "test_edge_label_index", (1, 0), 80),
        rf"{INTERACTS_NAME}.test_edge_label_index.*\(got 80\)",
    ),
    "reverse range": (
        put_at(REV_INTERACTS, "edge_index", (1, 0), 70),
        rf"{REV_NAME}.edge_index needs ids from 0 to 59 here \(got 70\)",
    ),
    "reverse count": (
        put(REV_INTERACTS, "edge_index", torch.zeros(2, 3, dtype=torch.long)),
        rf"{REV_NAME}.edge_index needs the 384 train interactions reversed \(got 3 edges",
    ),
    "feature dtype": (
        put("item", "x_visual", torch.ones(80, 3, dtype=torch.long)),
        rf"{ITEM_NAME}.x_visual needs to be a float32.*int64.*set it to .*x_visual.float\(\)",
    ),
    "double features": (
        put("item", "x_visual", torch.ones(80, 3, dtype=torch.double)),
        rf"{ITEM_NAME}.x_visual needs to be a float32.*float64.*x_visual.float\(\)",
    ),
    "half features": (
        put("item", "x_textual", torch.ones(80, 3, dtype=torch.bfloat16)),
        rf"{ITEM_NAME}.x_textual needs to be a float32.*bfloat16.*x_textual.float\(\)",
    ),
    "feature rows": (
        put("item", "x_visual", torch.ones(79, 3)),
        rf"{ITEM_NAME}.x_visual needs the shape \[80, channels\] \(got \[79, 3\]\)",
    ),
    "NaN feature": (
        put_at("item", "x_visual", (7, 1), float("nan")),
        rf"{ITEM_NAME}.x_visual needs finite values \(row 7.*has_visual",
    ),
    "infinite feature": (
        put_at("item", "x_textual", (9, 1), float("inf")),
        rf"{ITEM_NAME}.x_textual needs finite values \(row 9",
    ),
    "mask dtype": (
        put("item", "has_visual", torch.ones(80)),
        rf"{ITEM_NAME}.has_visual needs to be a bool tensor of shape \[80\].*float32",
    ),
    "mask shape": (
        put("item", "has_visual", torch.ones(3, dtype=torch.bool)),
        rf"{ITEM_NAME}.has_visual needs to be a bool tensor of shape \[80\].*\[3\]",
    ),
    "empty mask": (
        put("item", "has_visual", torch.zeros(80, dtype=torch.bool)),
        f"{ITEM_NAME}.has_visual is False for every item",
    ),
    "mask alone": (
        put("item", "has_sound", torch.ones(80, dtype=torch.bool)),
        f"{ITEM_NAME}.has_sound has no features x_sound",
    ),
    "knn range": (put_at(VISUAL_KNN, "edge_index", (0, 0), 80), rf"{KNN_NAME}.edge_index.*got 80"),
    "knn weights": (
        put(VISUAL_KNN, "edge_weight", torch.ones(3)),
        rf"{KNN_NAME}.edge_weight needs the shape \[720\] \(got \[3\]\)",
    ),
    "knn weights as a list": (
        put(VISUAL_KNN, "edge_weight", [1.0]),
        rf"{KNN_NAME}.edge_weight needs the shape \[720\] \(got list\)",
    ),
    "merge weight": (put(VISUAL_KNN, "merge_weight", -0.5), f"{KNN_NAME}.merge_weight.*-0.5"),
    "NaN weight": (
        put_at(SEMANTIC, "edge_weight", 3, float("nan")),
        f"{SEMANTIC_NAME}.edge_weight needs finite.*1 of them",
    ),
    "semantic range": (
        put_at(SEMANTIC, "edge_index", (1, 0), -1),
        f"{SEMANTIC_NAME}.edge_index.*got -1",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD.values(), ids=BAD)
def test_refuses(data: HeteroData, damage: Callable[[HeteroData], None], message: str) -> None:
    damage(data)
    with pytest.raises(ValueError, match=message):
        validate_data(data)


@pytest.mark.parametrize("node_type", ["user", "item"])
def test_refuses_missing_node_types(node_type: str) -> None:
    data = minimal()
    del data[node_type]
    with pytest.raises(ValueError, match=rf"data\['{node_type}'\].num_nodes"):
        validate_data(data)


@pytest.mark.parametrize(
    "attribute", ["edge_index", "val_edge_label_index", "test_edge_label_index"]
)
def test_refuses_repeated_interactions(attribute: str, tiny_data: HeteroData) -> None:
    store = tiny_data[INTERACTS]
    store[attribute] = torch.cat([store[attribute], store[attribute][:, :2]], dim=1)
    with pytest.raises(ValueError, match=rf"{attribute} holds 2 interactions more than .*coalesce"):
        validate_data(tiny_data)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("edge_index", "val_edge_label_index"),
        ("edge_index", "test_edge_label_index"),
        ("val_edge_label_index", "test_edge_label_index"),
    ],
)
def test_refuses_interactions_in_two_splits(first: str, second: str, tiny_data: HeteroData) -> None:
    store = tiny_data[INTERACTS]
    store[second] = torch.cat([store[second], store[first][:, 3:6]], dim=1)
    message = (
        rf"{INTERACTS_NAME}.{second} holds 3 .* {first} holds too; .*remove them from {second}"
    )
    with pytest.raises(ValueError, match=message):
        validate_data(tiny_data)


@pytest.mark.parametrize("edge_type", [INTERACTS, VISUAL_KNN, SEMANTIC])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparse_size": (3, 90)}, r"sparse_size \({0}, 80\) or of none \(got \(3, 90\)\)"),
        ({"sort_order": "row"}, r"not sorted by row indices.*make it anew"),
    ],
)
def test_refuses_an_edge_index_that_is_wrong_of_itself(
    data: HeteroData, edge_type: Any, change: dict[str, Any], message: str
) -> None:
    store, sources = data[edge_type], data[edge_type[0]].num_nodes
    store.edge_index = EdgeIndex(store.edge_index, sparse_size=(sources, 80))
    validate_data(data)
    store.edge_index = EdgeIndex(store.edge_index.as_tensor().flip(1), **change)
    with pytest.raises(ValueError, match=f"edge_index.*{message.replace('{0}', str(sources))}"):
        validate_data(data)


RAW_ID = r"data\['user'\].raw_id"


@pytest.mark.parametrize(
    "raw_id",
    [["b", "a"], ("a", 3), np.array(["a", "b"]), np.array([7, 5]), torch.tensor([9, 2**40])],
)
def test_accepts_raw_ids(raw_id: object) -> None:
    data = minimal()
    data["user"].raw_id = raw_id
    validate_data(data)


@pytest.mark.parametrize(
    ("raw_id", "message"),
    [
        (["a", "a"], r"every id once \(got 'a' 2 times\)"),
        (np.array([3, 3]), r"every id once \(got 3 2 times\)"),
        (torch.tensor([3, 3]), r"every id once \(got 3 2 times\)"),
        (torch.tensor([1, 2, 3]), r"one entry per user, 2 \(got 3\)"),
        (torch.tensor([[1, 2], [3, 4]]), r"one-dimensional .* \(got Tensor\)"),
        ("ab", r"list, .* \(got str\)"),
        ([["a"], ["b"]], r"strings or numbers"),
    ],
)
def test_refuses_raw_ids(raw_id: object, message: str) -> None:
    data = minimal()
    data["user"].raw_id = raw_id
    with pytest.raises(ValueError, match=f"{RAW_ID} needs.*{message}"):
        validate_data(data)


def test_refuses_reverse_edges_that_are_others(tiny_data: HeteroData) -> None:
    index = tiny_data[REV_INTERACTS].edge_index.clone()
    index[0, 0] = (index[0, 0] + 1) % 80
    tiny_data[REV_INTERACTS].edge_index = index
    with pytest.raises(ValueError, match=r"rev_interacts.*train interactions reversed"):
        validate_data(tiny_data)


@pytest.mark.parametrize("name", ["id", "fused", "keys", "no.dots"])
def test_refuses_modality_names(name: str, tiny_data: HeteroData) -> None:
    tiny_data["item"][f"x_{name}"] = torch.rand(80, 2)
    with pytest.raises(ValueError, match=rf"x_{name}: the modality name .* \(got '{name}'\)"):
        validate_data(tiny_data)
