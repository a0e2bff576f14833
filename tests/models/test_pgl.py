import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, SEMANTIC, Inputs, UserBatch
from mentor_pyg.graph import prune_interactions
from mentor_pyg.models import PGL, Draws, PGLConfig
from mentor_pyg.models.principal_graph import principal_adjacency
from tests.models.dense import (
    BATCH,
    BOTH,
    ITEMS,
    USERS,
    Matrix,
    Sparse,
    Spy,
    bpr,
    gappy_data,
    has,
    info_nce,
    interaction_matrix,
    linear,
    nearest,
    numbers,
    product,
    seeded,
    set_interactions,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 4}
WEIGHTS = {
    1: {"textual": 1.0},
    2: {"visual": 0.1, "textual": 0.9},
    3: {"visual": 1 / 3, "textual": 1 / 3, "acoustic": 1 / 3},
}


def item_graph(data: HeteroData, weights: dict[str, float], k: int) -> Sparse:
    """Return the merged graph; every item that has a modality has ``k`` neighbours in it."""
    graph: Sparse = {}
    present = {m: has(data, m) for m in weights}
    for m, weight in weights.items():
        for i, j in nearest(numbers(data["item"][f"x_{m}"]), present[m], k):
            available = sum(w for n, w in weights.items() if present[n][i])
            scale = sum(weights.values()) / available
            graph[i, j] = graph.get((i, j), 0) + weight * scale / math.sqrt(k * k)
    return graph


def reference(model: PGL, data: HeteroData, matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return the fused users and items over a dense graph of both."""
    config, parts = model.config, []
    for modality in model.sizes.channels:
        x = unit(linear(model.projections[modality], numbers(data["item"][f"x_{modality}"])))
        x[[i for i in range(ITEMS) if not has(data, modality)[i]]] = 0
        parts.append(x)
    items = np.concatenate(parts, axis=1)
    layers = [np.concatenate([numbers(model.user_preference), items])]
    for _ in range(config.num_layers):
        layers.append(matrix @ layers[-1])
    user, item = np.split(sum(layers) / len(layers), [USERS])
    assert isinstance(config.k, int)
    graph = item_graph(data, WEIGHTS[len(parts)], config.k)
    for _ in range(config.num_item_layers):
        items = product(graph, items)
    return user, item + items


def all_interactions(data: HeteroData) -> Matrix:
    return numbers(interaction_matrix(data[INTERACTS].edge_index, USERS, ITEMS))


def pairs(inputs: Inputs) -> set[tuple[int, int]]:
    graph = inputs.graphs["interaction"]
    ends = zip(graph.target.tolist(), graph.col.tolist(), strict=True)
    return {(u, i - USERS) for u, i in ends if u < USERS}


@pytest.mark.parametrize("layers", [(0, 1), (1, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_ranks_over_all_interactions(modalities: tuple[str, ...], layers: tuple[int, int]) -> None:
    data = gappy_data(*modalities)
    config = PGLConfig(**SETTINGS, num_layers=layers[0], num_item_layers=layers[1])
    model = PGL.from_data(data, config)
    reps = model.encode(data)
    assert set(reps.views) == {"fused", *modalities}
    sides = reference(model, data, all_interactions(data))
    for actual, expected in zip((reps.user, reps.item), sides, strict=True):
        np.testing.assert_allclose(numbers(actual["fused"]), expected, rtol=0, atol=1e-6)
        columns = torch.cat([actual[m] for m in modalities], dim=1)
        assert torch.equal(columns, actual["fused"])


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_terms_equal_loops_over_the_interactions_that_an_epoch_keeps(
    modalities: tuple[str, ...],
) -> None:
    data = gappy_data(*modalities)
    config = PGLConfig(**SETTINGS, prune_ratio=0.4, contrast_weight=0.7, temperature=0.4)
    model = PGL.from_data(data, config)
    edge_index = data[INTERACTS].edge_index
    kept = prune_interactions(edge_index, USERS, ITEMS, 0.4, seeded(3))
    inputs = model.resample(model.prepare(data), 0, seeded(3))
    assert pairs(inputs) == set(zip(*kept.tolist(), strict=True))
    user, item = reference(model, data, numbers(interaction_matrix(kept, USERS, ITEMS)))
    width, contrast = 4 * len(modalities), 0.0
    keep = {
        f"keep/{name}/{side}": torch.rand(5, width, generator=seeded(s)) < 0.7
        for s, (name, side) in enumerate([(n, s) for n in ("user", "item") for s in "ab"])
    }
    for name, rows in (("user", user[BATCH.user]), ("item", item[BATCH.pos_item])):
        a, b = (rows * keep[f"keep/{name}/{side}"].numpy() for side in "ab")
        contrast += info_nce(a, b, 0.4) / 2
    terms = model.loss(inputs, *BATCH, draws=Draws(keep))
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"bpr": bpr(user, item, BATCH), "contrast": 0.7 * contrast}, rel=1e-5
    )


def test_epochs_keep_some_of_all_interactions_each() -> None:
    data = gappy_data(*BOTH)
    model = PGL.from_data(data)
    prepared = model.prepare(data)
    found = [pairs(model.resample(prepared, epoch, seeded(epoch))) for epoch in range(3)]
    assert {len(kept) for kept in found} == {18 - round(0.7 * 18)}
    assert found[0] != found[1]
    assert "principal" not in prepared.graphs


def test_the_global_graph_trains_and_all_interactions_rank() -> None:
    data = gappy_data(*BOTH)
    extra = torch.tensor([[6], [2]])  # Without it, two singular values would be equal.
    set_interactions(data, torch.cat([data[INTERACTS].edge_index, extra], dim=1))
    settings = {"num_singular": 5, "num_principal": 2, "threshold": 0.05}
    model = PGL.from_data(data, PGLConfig(**SETTINGS, extraction="global", **settings))
    inputs = model.prepare(data)
    matrix = numbers(principal_adjacency(data, 5, 2, 0.05).to_dense())
    for given, graph in ((model.resample(inputs, 1, seeded()), matrix), (inputs, None)):
        reps = model.represent(given)
        graph = all_interactions(data) if graph is None else graph
        for side, expected in zip(
            (reps.user, reps.item), reference(model, data, graph), strict=True
        ):
            np.testing.assert_allclose(numbers(side["fused"]), expected, rtol=0, atol=1e-6)


def test_drops_the_share_asked_for_of_the_rows_contrasted() -> None:
    data = gappy_data(*BOTH)
    model, draws = PGL.from_data(data, PGLConfig(**SETTINGS, drop_ratio=0.35)), Spy()
    model.terms(model.prepare(data), UserBatch(*BATCH), draws)
    assert draws.asked == {
        **{f"keep/user/{side}": ((4, 8), 0.35) for side in "ab"},  # User 0 counts once.
        **{f"keep/item/{side}": ((5, 8), 0.35) for side in "ab"},
    }


def test_without_dropping_rows_are_contrasted_with_themselves() -> None:
    data = gappy_data(*BOTH)
    model = PGL.from_data(data, PGLConfig(**SETTINGS, drop_ratio=0.0, contrast_weight=1.0))
    user, item = reference(model, data, all_interactions(data))
    expected = 0.0
    for rows in (user[[0, 2, 5, 6]], item[BATCH.pos_item]):
        expected += info_nce(rows, rows, 0.2) / 2
    terms = model.terms(model.prepare(data), UserBatch(*BATCH), Draws())
    assert terms["contrast"].item() == pytest.approx(expected, rel=1e-5)


def test_without_contrast_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    model = PGL.from_data(data, PGLConfig(k=3, contrast_weight=0, ranking_loss="softmax"))
    monkeypatch.delattr(PGL, "contrast_loss")
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax", "contrast"]
    assert terms["contrast"] == 0


def test_gradients_are_finite_where_items_lack_all() -> None:
    data = gappy_data(*BOTH)
    model = PGL.from_data(data, PGLConfig(**SETTINGS))
    inputs = model.resample(model.prepare(data), 0, seeded())
    sum(model.loss(inputs, *BATCH).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_preferences_of_each_modality_are_a_table_of_their_own() -> None:
    torch.manual_seed(0)
    model = PGL.from_data(gappy_data(*BOTH), PGLConfig(embedding_dim=16, k=4))
    for table in model.user_preference.split(16, dim=1):
        assert math.sqrt(6 / (USERS + 32)) < table.abs().max() <= math.sqrt(6 / (USERS + 16))


def test_an_item_graph_of_ones_own_is_taken() -> None:
    data = gappy_data("textual", complete=True)
    own = data[SEMANTIC]
    own.edge_index, own.edge_weight = torch.tensor([[1, 2], [0, 0]]), torch.tensor([0.25, 2.0])
    model = PGL.from_data(data, PGLConfig(embedding_dim=4, num_layers=0))
    x = model.item_features(model.prepare(data))
    item = model.encode(data).item["fused"]
    torch.testing.assert_close(item[0], x[0] + 0.25 * x[1] + 2 * x[2])
    torch.testing.assert_close(item[1:], x[1:])


def test_weights_of_modalities_are_taken() -> None:
    data = gappy_data(*BOTH, complete=True)
    config = PGLConfig(**SETTINGS, num_layers=0, modality_weights={"visual": 1, "textual": 0})
    model = PGL.from_data(data, config)
    x = numbers(model.item_features(model.prepare(data)))
    graph = item_graph(data, {"visual": 1.0}, 4)
    np.testing.assert_allclose(
        numbers(model.encode(data).item["fused"]), x + product(graph, x), atol=1e-6
    )


def test_refuses_more_principal_vectors_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"'num_principal' needs to be at most .* 4 \(got 5\)"):
        PGLConfig(num_singular=4, num_principal=5)


def test_needs_a_modality() -> None:
    with pytest.raises(ValueError, match=r"PGL needs at least one modality; add features as data"):
        PGL.from_data(gappy_data())


def test_defaults() -> None:
    config = PGLConfig()
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 2, 1)
    assert (config.k, config.extraction, config.prune_ratio) == (10, "local", 0.7)
    assert (config.num_singular, config.num_principal, config.threshold) == (32, 8, 1e-3)
    assert (config.contrast_weight, config.temperature, config.drop_ratio) == (0.05, 0.2, 0.2)
