from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, REV_INTERACTS, SEMANTIC, fingerprint, knn_edge_type
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs


def test_equal_data(tiny_data: HeteroData) -> None:
    assert fingerprint(tiny_data) == fingerprint(tiny_data.clone())


def test_order_does_not_count(tiny_data: HeteroData) -> None:
    other = HeteroData()
    for store in reversed(tiny_data.stores[1:]):
        for key, value in reversed(list(store.items())):
            other[store._key][key] = value
    assert fingerprint(other) == fingerprint(tiny_data)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["item"].x_textual[3, 1].add_(1),
        lambda data: data[INTERACTS].edge_index[1, 0].copy_(data[INTERACTS].edge_index[1, 1]),
        lambda data: data[INTERACTS].val_edge_label_index.copy_(
            data[INTERACTS].val_edge_label_index.flip(1)
        ),
        lambda data: data[INTERACTS].test_edge_label_index[1, 0].copy_(79),
        lambda data: data["item"].has_visual.logical_not_(),
        lambda data: setattr(data["item"], "num_nodes", 81),
        lambda data: setattr(data["item"], "x_visual", data["item"].x_visual.double()),
        lambda data: setattr(data["user"], "raw_id", ["a"] * 60),
        lambda data: setattr(data["user"], "raw_id", torch.arange(60)),
        lambda data: delattr(data["item"], "x_visual"),
    ],
)
def test_any_change_counts(change: Callable[[HeteroData], object]) -> None:
    data = SyntheticMultimodal("tiny", missing=0.1)[0]
    before = fingerprint(data)
    change(data)
    assert fingerprint(data) != before


def test_original_ids_count(tiny_data: HeteroData) -> None:
    seen = set()
    for raw_id in ([0, 1], [1, 0], ["0", "1"]):
        for wrap in (list, np.array):
            tiny_data["user"].raw_id = wrap(raw_id)
            seen.add(fingerprint(tiny_data))
    assert len(seen) == 6


def test_item_graphs_of_transforms_do_not_count(tiny_data: HeteroData) -> None:
    before = fingerprint(tiny_data)
    for k in (2, 3):
        made = ItemKNNGraph(k, cache=False)(tiny_data)
        assert SEMANTIC not in made.edge_types
        assert fingerprint(made) == before
        assert fingerprint(MergeItemGraphs()(made)) == before


def test_item_graphs_of_your_own_count(tiny_data: HeteroData) -> None:
    seen = {fingerprint(tiny_data)}
    for edge_type in (knn_edge_type("visual"), SEMANTIC):
        store = tiny_data[edge_type]
        store.edge_index, store.edge_weight = torch.tensor([[0], [1]]), torch.ones(1)
        seen.add(fingerprint(tiny_data))
        store.edge_weight = 2 * store.edge_weight
        seen.add(fingerprint(tiny_data))
    assert len(seen) == 5


def test_merging_a_graph_of_your_own_changes_no_fact(tiny_data: HeteroData) -> None:
    store = tiny_data[knn_edge_type("visual")]
    store.edge_index, store.edge_weight = torch.tensor([[0], [1]]), torch.ones(1)
    merged = MergeItemGraphs()(ItemKNNGraph(3, cache=False)(tiny_data))
    assert SEMANTIC in merged.edge_types
    assert fingerprint(merged) == fingerprint(tiny_data)


def test_an_edge_index_counts_as_its_ids(tiny_data: HeteroData) -> None:
    before = fingerprint(tiny_data)
    for edge_type in (INTERACTS, REV_INTERACTS):
        tiny_data[edge_type].edge_index = EdgeIndex(tiny_data[edge_type].edge_index)
    assert fingerprint(tiny_data) == before
