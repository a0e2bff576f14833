import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, SEMANTIC, Representations
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import FREEDOM, FREEDOMConfig, ranking_terms
from mentor_pyg.sampling import Batch, BPRBatches
from tests.models.dense import (
    BOTH,
    COLD_USER,
    WITHOUT_ANY,
    WITHOUT_VISUAL,
    interaction_matrix,
    item_matrix,
    seeded,
    tiny_data_with_gaps,
)


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """One user and one item are cold; one item lacks a modality, one lacks both."""
    return tiny_data_with_gaps(*BOTH, cold=True)


def reference(model: FREEDOM, edge_index: Tensor, item_graph: Tensor) -> tuple[Tensor, Tensor]:
    users, items = model.num_users, model.num_items
    x = torch.cat([model.user_embedding, model.item_embedding]).detach().double()
    matrix, layers = interaction_matrix(edge_index, users, items), [x]
    for _ in range(model.config.num_layers):
        layers.append(matrix @ layers[-1])
    mean = sum(layers[1:], layers[0]) / len(layers)
    semantic = x[users:]
    for _ in range(model.config.num_item_layers):
        semantic = item_graph @ semantic
    return mean[:users], mean[users:] + semantic


def pairs_of(edge_index: Tensor) -> list[tuple[int, int]]:
    user, item = edge_index.tolist()
    return list(zip(user, item, strict=True))


def log_loss(user: Tensor, item: Tensor, batch: Batch) -> float:
    total = 0.0
    for u, i, j in zip(*(ids.tolist() for ids in batch), strict=True):
        total += math.log1p(math.exp(-(user[u].dot(item[i]) - user[u].dot(item[j])).item()))
    return total / len(batch.user)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, {"visual": 0.1, "textual": 0.9}),
        (
            {
                "num_layers": 1,
                "num_item_layers": 2,
                "k": 4,
                "modality_weights": {"visual": 0.7, "textual": 0.3},
            },
            {"visual": 0.7, "textual": 0.3},
        ),
        ({"num_layers": 0, "num_item_layers": 0}, {"visual": 0.1, "textual": 0.9}),
    ],
)
def test_ranks_by_both_graphs(
    data: HeteroData, settings: dict[str, object], weights: dict[str, float]
) -> None:
    model = FREEDOM.from_data(data, FREEDOMConfig(embedding_dim=7, **settings))  # type: ignore[arg-type]
    graph = item_matrix(data, model.config.k, weights)  # type: ignore[arg-type]
    user, item = reference(model, data[INTERACTS].edge_index, graph)
    reps = model.encode(data)
    torch.testing.assert_close(reps.user["fused"].double(), user, rtol=0, atol=1e-6)
    torch.testing.assert_close(reps.item["fused"].double(), item, rtol=0, atol=1e-6)
    # Nothing comes from neighbours where there are no features, nor from users where it is cold.
    if settings.get("num_item_layers") != 0:
        assert not graph[WITHOUT_ANY].any()
    own = model.user_embedding[COLD_USER] / (model.config.num_layers + 1)
    torch.testing.assert_close(reps.user["fused"][COLD_USER], own)


def test_one_modality_is_enough(data: HeteroData) -> None:
    one = data.clone()
    del one["item"].x_visual, one["item"].has_visual
    one["item"].x_audio = one["item"].x_textual
    one["item"].has_audio = one["item"].has_textual
    del one["item"].x_textual, one["item"].has_textual
    model = FREEDOM.from_data(one, FREEDOMConfig(embedding_dim=7))
    user, item = reference(model, one[INTERACTS].edge_index, item_matrix(one, 10, {"audio": 1.0}))
    reps = model.encode(one)
    torch.testing.assert_close(reps.item["fused"].double(), item, rtol=0, atol=1e-6)
    torch.testing.assert_close(reps.user["fused"].double(), user, rtol=0, atol=1e-6)
    assert model.loss(one, *next(iter(BPRBatches(one, 9))))["modality"] > 0


def test_loss_equals_its_formula_over_the_kept_interactions(data: HeteroData) -> None:
    config = FREEDOMConfig(embedding_dim=6, modality_loss_weight=0.3, prune_ratio=0.6, k=3)
    model = FREEDOM.from_data(data, config)
    prepared = model.prepare(data)
    inputs = model.resample(prepared, 0, seeded())
    assert inputs.graphs["item"] is prepared.graphs["item"]
    graph = inputs.graphs["interaction"]
    kept = [
        (u, i - 60)
        for u, i in zip(graph.target.tolist(), graph.col.tolist(), strict=True)
        if u < 60
    ]
    size = data[INTERACTS].edge_index.size(1)
    assert len(kept) == size - round(0.6 * size)
    assert set(kept) <= set(pairs_of(data[INTERACTS].edge_index))
    graph = item_matrix(data, 3, {"visual": 0.1, "textual": 0.9})
    user, item = reference(model, torch.tensor(kept).t(), graph)
    ids = torch.tensor([4, 9, 4, 1]), torch.tensor([WITHOUT_VISUAL, 1, 2, WITHOUT_ANY])
    batch = Batch(*ids, torch.tensor([79, WITHOUT_VISUAL, 8, 30]))
    modality = 0.0
    for name in ("visual", "textual"):
        weight = model.get_parameter(f"projections.{name}.weight").detach().double()
        projected = torch.stack([weight @ f for f in data["item"][f"x_{name}"].double()])
        assert not projected[WITHOUT_ANY].any()
        modality += 0.3 * log_loss(user, projected, batch)
    terms = model.loss(inputs, *batch)
    actual = {name: term.item() for name, term in terms.items()}
    expected = {"bpr": log_loss(user, item, batch), "modality": modality}
    assert actual == pytest.approx(expected, rel=1e-5)


def test_what_stands_in_for_missing_features_does_not_matter(data: HeteroData) -> None:
    model = FREEDOM.from_data(data, FREEDOMConfig(modality_loss_weight=1.0))
    other = data.clone()
    other["item"].x_visual = data["item"].x_visual.clone()
    other["item"].x_visual[WITHOUT_VISUAL] = 100.0
    batch = next(iter(BPRBatches(data, 300)))
    assert WITHOUT_VISUAL in torch.cat([batch.pos_item, batch.neg_item])
    torch.testing.assert_close(model.loss(other, *batch), model.loss(data, *batch))


def test_modalities_are_trained_by_the_ranking_loss_asked_for(data: HeteroData) -> None:
    config = FREEDOMConfig(ranking_loss="softmax", modality_loss_weight=0.5)
    model = FREEDOM.from_data(data, config)
    batch = next(iter(BPRBatches(data, 30)))
    inputs = model.prepare(data)
    user = {"fused": model.represent(inputs).user["fused"]}
    expected = torch.zeros(())
    for name in ("visual", "textual"):
        item = {
            "fused": data["item"][f"x_{name}"]
            @ model.get_parameter(f"projections.{name}.weight").t()
        }
        expected = (
            expected + 0.5 * ranking_terms(Representations(user, item), batch, config)["softmax"]
        )
    torch.testing.assert_close(model.loss(data, *batch)["modality"], expected)


def test_without_a_weight_modalities_are_not_projected(
    data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FREEDOM.from_data(data, FREEDOMConfig(modality_loss_weight=0.0))
    monkeypatch.delattr(FREEDOM, "modality_losses")
    assert model.loss(data, *next(iter(BPRBatches(data, 30))))["modality"] == 0


def test_an_item_graph_of_ones_own_is_taken(data: HeteroData) -> None:
    own = data.clone()
    own[SEMANTIC].edge_index = torch.tensor([[1, 2], [0, 0]])
    own[SEMANTIC].edge_weight = torch.tensor([0.25, 2.0])
    model = FREEDOM.from_data(own, FREEDOMConfig(num_layers=0))
    x = model.item_embedding
    item = model.encode(own).item["fused"]
    torch.testing.assert_close(item[0], x[0] + 0.25 * x[1] + 2 * x[2])
    torch.testing.assert_close(item[1:], x[1:])


def test_needs_a_modality() -> None:
    bare = SyntheticMultimodal("tiny", modalities=())[0]
    with pytest.raises(ValueError, match=r"FREEDOM needs at least one modality; add features as "):
        FREEDOM.from_data(bare)


def test_defaults() -> None:
    config = FREEDOMConfig()
    assert (config.num_layers, config.num_item_layers, config.k) == (2, 1, 10)
    assert (config.prune_ratio, config.modality_loss_weight) == (0.8, 1e-3)
