from collections.abc import Callable

import pytest
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, SEMANTIC, knn_edge_type
from mentor_pyg.training.fingerprint import fingerprint


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
        lambda data: data[SEMANTIC].edge_weight.mul_(2),
        lambda data: setattr(data[knn_edge_type("visual")], "merge_weight", 0.5),
        lambda data: setattr(data["item"], "x_visual", data["item"].x_visual.double()),
        lambda data: setattr(data["user"], "raw_id", ["a"] * 60),
        lambda data: delattr(data["item"], "x_visual"),
    ],
)
def test_any_change_counts(change: Callable[[HeteroData], object], tiny_data: HeteroData) -> None:
    before = fingerprint(tiny_data)
    change(tiny_data)
    assert fingerprint(tiny_data) != before
