from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, UserBatch
from mentor_pyg.models import MGCN, MGCNConfig
from mentor_pyg.models.behaviour import BehaviourRecommender
from tests.models.dense import (
    BATCH,
    BOTH,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    fused_by_behaviour,
    gappy_data,
    half_squares,
    heard_by_users,
    info_nce,
    light_gcn,
    numbers,
    purified_items,
    side_contrast,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 4}


def reference(model: MGCN, data: HeteroData) -> dict[str, Matrix]:
    """Return users, then items, of every view, and "side", what the modalities add."""
    tables = numbers(model.user_embedding), numbers(model.item_embedding)
    nodes = {"id": np.concatenate(light_gcn(*tables, model.config.num_layers))}
    for modality in model.sizes.channels:
        items = purified_items(model, data, modality)
        nodes[modality] = np.concatenate([heard_by_users(items), items])
    side = fused_by_behaviour(model, nodes)
    return {**nodes, "side": side, "fused": nodes["id"] + side}


@pytest.mark.parametrize("num_item_layers", [0, 1, 2])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], num_item_layers: int) -> None:
    data = gappy_data(*modalities)
    model = MGCN.from_data(data, MGCNConfig(**SETTINGS, num_item_layers=num_item_layers))
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", "id", *modalities}
    for view in reps.views:
        actual = reps.nodes(view).detach().numpy()
        np.testing.assert_allclose(actual, expected[view], rtol=0, atol=1e-6, err_msg=view)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_terms_equal_loops(modalities: tuple[str, ...]) -> None:
    data = gappy_data(*modalities)
    config = MGCNConfig(**SETTINGS, contrast_weight=0.3, temperature=0.4, reg_weight=0.7)
    model = MGCN.from_data(data, config)
    expected = reference(model, data)
    user, item = np.split(expected["fused"], [USERS])
    contrast = side_contrast(expected, BATCH.user.numpy(), 0.4)
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx(
        {
            "bpr": bpr(user, item, BATCH),
            "contrast": 0.3 * contrast,
            "reg": 0.7 * half_squares(user, item, BATCH),
        },
        rel=1e-5,
    )


def test_users_of_a_user_batch_are_contrasted_once() -> None:
    data = gappy_data(*BOTH)
    model = MGCN.from_data(data, MGCNConfig(**SETTINGS))
    inputs, behaviour = model.prepare(data), torch.randn(USERS + ITEMS, 4)
    side = model.fusion(model.modality_views(inputs), behaviour)
    once = model.contrast_loss(side, behaviour, UserBatch(*BATCH))
    rows = (torch.tensor([0, 2, 5, 6]), BATCH.pos_item + USERS)
    expected = sum(info_nce(numbers(side[r]), numbers(behaviour[r]), 0.2) for r in rows)
    assert once.item() == pytest.approx(expected, rel=1e-5)


def test_what_is_lacking_has_no_part() -> None:
    data = gappy_data(*BOTH)
    reps = MGCN.from_data(data, MGCNConfig(**SETTINGS)).encode(data)
    side = reps.nodes("fused") - reps.nodes("id")
    # User 7 has no interactions, user 6 an item without text; item 4 lacks both, items 3 and 5 one.
    assert (side[[7, USERS + 4]] == 0).all()
    for node, view in ((6, "visual"), (USERS + 3, "visual"), (USERS + 5, "textual")):
        torch.testing.assert_close(side[node], reps.nodes(view)[node] / 3)


def test_gradients_are_finite_where_views_are_empty() -> None:
    data = gappy_data(*BOTH)
    model = MGCN.from_data(data, MGCNConfig(**SETTINGS))
    sum(model.loss(data, *BATCH).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_without_contrast_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    model = MGCN.from_data(data, MGCNConfig(contrast_weight=0, ranking_loss="softmax", k=3))
    monkeypatch.delattr(BehaviourRecommender, "contrast_loss")
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax", "contrast", "reg"]
    assert terms["contrast"] == 0


def test_a_graph_of_ones_own_stays_as_it_is() -> None:
    data = gappy_data("textual", complete=True)
    own = data["item", "textual_knn", "item"]
    own.edge_index, own.edge_weight = torch.tensor([[0, 1, 1], [1, 0, 2]]), torch.ones(3)
    model = MGCN.from_data(data, MGCNConfig(**SETTINGS))
    dense = model.prepare(data).graphs["item/textual"].to_dense()
    expected = torch.zeros(ITEMS, ITEMS)
    expected[[1, 0, 2], [0, 1, 1]] = 1
    torch.testing.assert_close(dense, expected)


def test_neighbours_for_each_modality() -> None:
    data = gappy_data(*BOTH, complete=True)
    model = MGCN.from_data(data, MGCNConfig(k={"visual": 2, "textual": 5}))
    graphs = model.prepare(data).graphs
    assert graphs["item/visual"].num_edges == 2 * ITEMS
    assert graphs["item/textual"].num_edges == 5 * ITEMS


def test_defaults() -> None:
    config = MGCNConfig()
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 2, 1)
    assert (config.k, config.contrast_weight, config.temperature) == (10, 0.01, 0.2)
    assert config.reg_weight == 1e-4


def test_refuses_data_without_features() -> None:
    data = gappy_data()
    assert INTERACTS in data.edge_types
    with pytest.raises(ValueError, match=r"MGCN needs at least one modality; add features as data"):
        MGCN.from_data(data)
