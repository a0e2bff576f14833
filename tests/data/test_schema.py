import math
from collections.abc import Mapping

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    DEFAULT_MODALITY_WEIGHTS,
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    SEMANTIC,
    USER,
    edge_label_index,
    feature_key,
    knn_edge_type,
    modalities,
    num_items,
    num_users,
    presence,
    presence_key,
    resolve_modality_weights,
)
from mentor_pyg.data.schema import is_recorded


def test_names_of_stores_and_attributes() -> None:
    assert INTERACTS == (USER, "interacts", ITEM) == ("user", "interacts", "item")
    assert REV_INTERACTS == ("item", "rev_interacts", "user")
    assert SEMANTIC == ("item", "semantic", "item")
    assert knn_edge_type("audio") == ("item", "audio_knn", "item")
    assert feature_key("audio") == "x_audio"
    assert presence_key("audio") == "has_audio"


def test_a_dataset_uses_these_names(tiny_data: HeteroData) -> None:
    assert (num_users(tiny_data), num_items(tiny_data)) == (60, 80)
    assert tiny_data.edge_types == [INTERACTS, REV_INTERACTS]
    for modality in modalities(tiny_data):
        assert tiny_data[ITEM][feature_key(modality)].size(0) == 80


def test_modalities_are_visual_textual_then_alphabetical() -> None:
    data = HeteroData()
    data[ITEM].num_nodes = 3
    assert modalities(data) == ()
    for name in ("zoo", "textual", "audio", "visual"):
        data[ITEM][feature_key(name)] = torch.zeros(3, 2)
    data[ITEM].has_audio = torch.ones(3, dtype=torch.bool)
    assert modalities(data) == ("visual", "textual", "audio", "zoo")


def test_presence_defaults_to_all_items() -> None:
    data = HeteroData()
    data[ITEM].x_audio = torch.zeros(3, 2)
    data[ITEM].num_nodes = 3
    assert presence(data, "audio").tolist() == [True, True, True]
    data[ITEM].has_audio = torch.tensor([True, False, True])
    assert presence(data, "audio").tolist() == [True, False, True]


def test_edge_label_index_of_each_split(tiny_data: HeteroData) -> None:
    store = tiny_data[INTERACTS]
    assert edge_label_index(tiny_data, "train") is store.edge_index
    assert edge_label_index(tiny_data, "val") is store.val_edge_label_index
    assert edge_label_index(tiny_data, "test") is store.test_edge_label_index


def test_edge_label_index_says_what_is_missing(tiny_data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"'split' needs to be .* \(got 'valid'\)"):
        edge_label_index(tiny_data, "valid")  # type: ignore[arg-type]
    del tiny_data[INTERACTS].val_edge_label_index
    with pytest.raises(ValueError, match=r"no 'val_edge_label_index'.*RandomInteractionSplit"):
        edge_label_index(tiny_data, "val")


def test_records_of_item_graphs() -> None:
    data = HeteroData()
    data[ITEM].num_nodes = 3
    knn, other = knn_edge_type("audio"), (ITEM, "also_bought", ITEM)
    for edge_type in (knn, SEMANTIC, other):
        assert not is_recorded(data, edge_type)
        data[edge_type].edge_index = torch.tensor([[0], [1]])
        assert not is_recorded(data, edge_type)
    data[knn].k, data[other].k = 1, 1
    assert [is_recorded(data, kind) for kind in (knn, SEMANTIC, other)] == [True, False, False]
    data[knn].merge_weight = 1.0
    assert [is_recorded(data, kind) for kind in (knn, SEMANTIC, ITEM)] == [True, True, False]


@pytest.mark.parametrize(
    ("names", "weights", "expected"),
    [
        (("visual", "textual"), None, DEFAULT_MODALITY_WEIGHTS),
        (("textual", "visual"), None, DEFAULT_MODALITY_WEIGHTS),
        (("visual",), None, {"visual": 1.0}),
        (
            ("visual", "textual", "audio"),
            None,
            dict.fromkeys(("visual", "textual", "audio"), 1 / 3),
        ),
        ((), None, {}),
        (("visual", "textual"), {"textual": 3, "visual": 0}, {"visual": 0.0, "textual": 3.0}),
    ],
)
def test_resolve_modality_weights(
    names: tuple[str, ...], weights: Mapping[str, float] | None, expected: Mapping[str, float]
) -> None:
    resolved = resolve_modality_weights(names, weights)
    assert resolved == expected
    assert tuple(resolved) == names


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"visual": 1.0, "textual": 1.0, "audio": 1.0},
            r"names \['audio'\].*\['visual', 'textual'\]",
        ),
        ({"visual": 1.0}, r"no weight for \['textual'\]"),
        ({"visual": -0.1, "textual": 1.0}, r"got -0.1 for 'visual'"),
        ({"visual": 1.0, "textual": math.nan}, r"got nan for 'textual'"),
        ({"visual": math.inf, "textual": 1.0}, r"got inf for 'visual'"),
        ({"visual": 0.0, "textual": 0.0}, r"at least one weight above 0"),
    ],
)
def test_resolve_modality_weights_refuses(weights: Mapping[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_modality_weights(("visual", "textual"), weights)
