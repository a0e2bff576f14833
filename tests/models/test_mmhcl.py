import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.models import MMHCL, Draws, MMHCLConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    assert_slopes,
    bpr,
    doubled,
    gappy_data,
    half_squares,
    has,
    light_gcn,
    nearest,
    numbers,
    set_interactions,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 3}
WEIGHTS: dict[str, Any] = {
    "user_contrast_weight": 0.3,
    "item_contrast_weight": 0.2,
    "temperature": 0.4,
    "reg_weight": 0.7,
}


def user_matrix() -> Matrix:
    """Return the shares of what users have in common with each other."""
    items = [{i for user, i in EDGES if user == u} for u in range(USERS)]
    out = np.zeros((USERS, USERS))
    for u in range(USERS):
        shared = {v: len(items[u] & items[v]) for v in range(USERS) if v != u}
        for v, count in shared.items():
            if count:
                out[u, v] = count / sum(shared.values())
    return out


def item_matrix(data: HeteroData, modalities: tuple[str, ...], k: int) -> Matrix:
    """Return the normalised numbers of hyperedges that items have in common."""
    common = np.zeros((ITEMS, ITEMS))
    for m in modalities:
        members: dict[int, list[int]] = {j: [] for j in range(ITEMS)}
        for i, j in nearest(numbers(data["item"][f"x_{m}"]), has(data, m), k):
            members[j].append(i)
        for joined in members.values():
            for i in joined:
                for j in joined:
                    common[i, j] += 1
    sums = [sum(row) for row in common]
    out = np.zeros_like(common)
    for i, j in zip(*common.nonzero(), strict=True):
        out[i, j] = common[i, j] / math.sqrt(sums[i] * sums[j])
    return out


def reference(model: MMHCL, data: HeteroData) -> dict[str, tuple[Matrix, Matrix]]:
    """Return users and items of every view."""
    config = model.config
    behaviour = light_gcn(
        numbers(model.user_embedding), numbers(model.item_embedding), config.num_layers
    )
    user, item = (
        numbers(model.user_hypergraph_embedding),
        numbers(model.item_hypergraph_embedding),
    )
    for _ in range(config.num_user_layers):
        user = user_matrix() @ user
    assert isinstance(config.k, int)
    for _ in range(config.num_item_layers):
        item = item_matrix(data, tuple(model.sizes.channels), config.k) @ item
    fused = (behaviour[0] + unit(user), behaviour[1] + unit(item))
    return {"fused": fused, "id": behaviour, "hypergraph": (user, item)}


def contrast(fused: Matrix, hypergraph: Matrix, temperature: float) -> float:
    h, g = unit(fused), unit(hypergraph)
    total = 0.0
    for n in range(len(h)):
        odds = sum(math.exp(h[n] @ g[j] / temperature) for j in range(len(h)))
        odds += sum(math.exp(h[n] @ h[j] / temperature) for j in range(len(h)) if j != n)
        total += math.log(odds) - h[n] @ g[n] / temperature
    return total / len(h)


@pytest.mark.parametrize("layers", [(0, 0, 0), (2, 3, 2), (1, 1, 3)])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], layers: tuple[int, int, int]) -> None:
    data = gappy_data(*modalities)
    names = ("num_layers", "num_user_layers", "num_item_layers")
    settings: dict[str, Any] = dict(zip(names, layers, strict=True))
    model = MMHCL.from_data(data, MMHCLConfig(**SETTINGS, **settings))
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == set(expected)
    for view, sides in expected.items():
        for side, wanted in zip((reps.user, reps.item), sides, strict=True):
            actual = side[view].detach().numpy()
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-6, err_msg=view)


@pytest.mark.parametrize("contrast_of", ["full", "batch"])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_terms_equal_loops(modalities: tuple[str, ...], contrast_of: Any) -> None:
    data = gappy_data(*modalities)
    config = MMHCLConfig(**SETTINGS, **WEIGHTS, contrast=contrast_of)
    model = MMHCL.from_data(data, config)
    views = reference(model, data)
    rows = [list(range(USERS)), list(range(ITEMS))]
    if contrast_of == "batch":
        rows = [sorted(set(ids.tolist())) for ids in (BATCH.user, BATCH.pos_item)]
    user, item = (
        contrast(views["fused"][side][rows[side]], views["hypergraph"][side][rows[side]], 0.4)
        for side in (0, 1)
    )
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx(
        {
            "bpr": bpr(*views["fused"], BATCH),
            "user_contrast": 0.3 * user,
            "item_contrast": 0.2 * item,
            "reg": 0.7 * half_squares(*views["fused"], BATCH),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("contrast_of", ["full", "batch"])
def test_gradients_are_slopes(contrast_of: Any) -> None:
    # Rows of zeros have no slope: here all users share items and all items have features.
    data = gappy_data("visual", complete=True)
    more = torch.tensor([[6, 7], [2, 2]])
    set_interactions(data, torch.cat([data[INTERACTS].edge_index, more], dim=1))
    config = MMHCLConfig(**SETTINGS, **WEIGHTS, contrast=contrast_of)
    model = MMHCL.from_data(data, config).double()
    inputs = doubled(model.prepare(data))
    assert_slopes(model, lambda: model.terms(inputs, BATCH, Draws()))


def test_what_has_no_neighbours_is_ranked_by_interactions() -> None:
    data = gappy_data(*BOTH)
    reps = MMHCL.from_data(data, MMHCLConfig(**SETTINGS)).encode(data)
    # User 7 has no interactions and user 6 an item of its own; item 4 lacks both modalities.
    for side, rows in ((reps.user, [6, 7]), (reps.item, [4])):
        hypergraph = side["hypergraph"]
        assert (hypergraph == 0).all(dim=1).nonzero().flatten().tolist() == rows
        assert torch.equal(side["fused"][rows], side["id"][rows])


def test_gradients_are_finite_where_hyperedges_are_none() -> None:
    data = gappy_data(*BOTH)
    model = MMHCL.from_data(data, MMHCLConfig(**SETTINGS))
    torch.stack([*model.loss(data, *BATCH).values()]).sum().backward()
    for table in model.parameters():
        assert table.grad is not None
        assert table.grad.isfinite().all()
        assert table.grad.abs().max() < 10


def test_no_product_of_incidence_matrices_is_formed() -> None:
    data = gappy_data(*BOTH)
    graphs = MMHCL.from_data(data, MMHCLConfig(**SETTINGS)).prepare(data).graphs
    present = sum(sum(has(data, m)) for m in BOTH)
    assert {name: graph.num_edges for name, graph in graphs.items()} == {
        "interaction": 2 * len(EDGES),
        "hyperedge/user": len(EDGES),
        "user": len(EDGES),
        "item": 3 * present,
    }


def test_without_contrast_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    off: dict[str, Any] = {"user_contrast_weight": 0.0, "item_contrast_weight": 0.0}
    model = MMHCL.from_data(data, MMHCLConfig(**SETTINGS, **off, ranking_loss="softmax"))
    monkeypatch.delattr(MMHCL, "contrast_loss")
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax", "user_contrast", "item_contrast", "reg"]
    assert terms["user_contrast"] == terms["item_contrast"] == 0


@pytest.mark.parametrize(
    ("settings", "static"),
    [
        ({}, True),
        ({"contrast": "batch"}, False),
        ({"contrast": "batch", "user_contrast_weight": 0.0}, False),
        ({"contrast": "batch", "item_contrast_weight": 0.0}, False),
        (
            {"contrast": "batch", "user_contrast_weight": 0.0, "item_contrast_weight": 0.0},
            True,
        ),
    ],
)
def test_shapes_follow_the_batch_where_it_alone_is_contrasted(
    settings: dict[str, Any], static: bool
) -> None:
    assert MMHCL.from_data(gappy_data(*BOTH), MMHCLConfig(**settings)).has_static_shapes is static


def test_a_graph_of_ones_own_joins_what_it_says() -> None:
    data = gappy_data("textual", complete=True)
    own = data["item", "textual_knn", "item"]
    own.edge_index, own.edge_weight = torch.tensor([[2, 2, 5], [0, 1, 1]]), torch.rand(3)
    model = MMHCL.from_data(data, MMHCLConfig(embedding_dim=4, num_item_layers=1))
    # Item 2 joins items 0 and 1, item 5 joins item 1 alone: row sums of 2 and 3.
    table = numbers(model.item_hypergraph_embedding)
    expected = np.zeros((ITEMS, 4))
    expected[0] = table[0] / 2 + table[1] / math.sqrt(6)
    expected[1] = 2 * table[1] / 3 + table[0] / math.sqrt(6)
    actual = model.encode(data).item["hypergraph"].detach().numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_neighbours_for_each_modality() -> None:
    data = gappy_data(*BOTH, complete=True)
    model = MMHCL.from_data(data, MMHCLConfig(k={"visual": 2, "textual": 5}))
    assert model.prepare(data).graphs["item"].num_edges == (2 + 5) * ITEMS


def test_tables_start_alike() -> None:
    model = MMHCL.from_data(gappy_data(*BOTH), MMHCLConfig(embedding_dim=64))
    for table in model.parameters():
        assert 0.9 < table.abs().max() / math.sqrt(6 / sum(table.shape)) <= 1


def test_needs_a_modality() -> None:
    with pytest.raises(ValueError, match=r"MMHCL needs at least one modality; add features as "):
        MMHCL.from_data(gappy_data())


def test_defaults() -> None:
    config = MMHCLConfig()
    layers = (config.num_layers, config.num_user_layers, config.num_item_layers)
    assert (config.embedding_dim, config.k, layers) == (64, 5, (2, 3, 2))
    assert (config.user_contrast_weight, config.item_contrast_weight) == (0.03, 0.07)
    assert (config.temperature, config.contrast, config.reg_weight) == (0.6, "full", 1e-3)
