"""The ranking loss, which is one place for all models, and what they then rank by."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.export import EmbeddingTables
from mentor_pyg.models import MODELS, Draws, ModelConfig, Recommender, ranking_terms
from mentor_pyg.models import ranking as ranking_module
from mentor_pyg.sampling import Batch, BPRBatches, UserBatch, UserBatches

OURS = sorted(
    n
    for n, cls in MODELS.items()
    if cls.__module__.startswith("mentor_pyg") and issubclass(cls, Recommender)
)


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


@pytest.fixture
def reps() -> Representations:
    return Representations({"fused": torch.randn(60, 6)}, {"fused": torch.randn(80, 6)})


def softmax(**settings: Any) -> ModelConfig:
    return ModelConfig(ranking_loss="softmax", **settings)


@pytest.mark.parametrize(
    ("settings", "temperature"), [({}, 0.3), ({"ranking_temperature": 0.7}, 0.7)]
)
def test_softmax_is_of_the_fused_view_against_all_items(
    settings: dict[str, Any], temperature: float, reps: Representations, data: HeteroData
) -> None:
    batch = next(iter(BPRBatches(data, 50)))
    user, item = (F.normalize(side["fused"]) for side in (reps.user, reps.item))
    terms = ranking_terms(reps, batch, softmax(**settings))
    expected = F.cross_entropy(user[batch.user] @ item.t() / temperature, batch.pos_item)
    assert terms.keys() == {"softmax"}
    torch.testing.assert_close(terms["softmax"], expected)
    raw = reps.user["fused"][batch.user] @ reps.item["fused"].t() / temperature
    torch.testing.assert_close(
        ranking_terms(reps, batch, softmax(ranking_similarity="dot", **settings))["softmax"],
        F.cross_entropy(raw, batch.pos_item),
    )


def test_a_batch_of_users_asks_once_for_each(
    reps: Representations, data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, softmax_loss = [], ranking_module.softmax_loss

    def spy(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        queries.append(len(query))
        return softmax_loss(query, *args, **options)

    monkeypatch.setattr(ranking_module, "softmax_loss", spy)
    batch = next(iter(UserBatches(data, 16)))
    assert len(batch.user) > 2 * 16
    found = [ranking_terms(reps, kind(*batch), softmax())["softmax"] for kind in (UserBatch, Batch)]
    assert queries == [16, len(batch.user)]
    torch.testing.assert_close(*found)


def test_the_precision_is_the_configs(reps: Representations, data: HeteroData) -> None:
    batch = next(iter(BPRBatches(data, 8)))
    with pytest.raises(RuntimeError, match="cannot run with precision 'tf32x3'"):
        ranking_terms(reps, batch, softmax(precision="tf32x3"))


@pytest.mark.parametrize("name", OURS)
def test_what_is_trained_on_cosines_ranks_by_them(name: str, data: HeteroData) -> None:
    model = MODELS[name].from_data(data, MODELS[name].Config(ranking_loss="softmax"))
    with torch.no_grad():
        raw = model.represent(model.prepare(data))
        scorer = model.scorer(model.prepare(data))
    expected = F.normalize(raw.user["fused"]) @ F.normalize(raw.item["fused"]).t()
    user = torch.arange(60)
    torch.testing.assert_close(scorer.scores(user), expected)
    # Whoever scores goes the same way.
    torch.testing.assert_close(model.encode(data).scores(user), expected)
    torch.testing.assert_close(EmbeddingTables.from_model(model, data).scores(user), expected)
    assert full_ranking(scorer, data, "val") == full_ranking(model.encode(data), data, "val")
    found, score = model.recommend(data, [3], k=5, exclude_seen=False)
    torch.testing.assert_close(score[0], expected[3, found[0]])
    for view in raw.views:
        if view != "fused":  # The others stay what they are.
            assert torch.equal(model.encode(data).item[view], raw.item[view])


@pytest.mark.parametrize("settings", [{}, {"ranking_similarity": "dot", "ranking_loss": "softmax"}])
def test_otherwise_dot_products_rank(settings: dict[str, Any], data: HeteroData) -> None:
    model = MODELS["bprmf"].from_data(data, MODELS["bprmf"].Config(**settings))
    assert model.encode(data).item["fused"] is model.item_embedding


@pytest.mark.parametrize("batches", [BPRBatches, UserBatches])
@pytest.mark.parametrize("name", OURS)
def test_softmax_trains(name: str, batches: type[BPRBatches], data: HeteroData) -> None:
    model: Recommender = MODELS[name].from_data(
        data, MODELS[name].Config(ranking_loss="softmax", embedding_dim=8)
    )
    inputs, optimizer = model.prepare(data), torch.optim.Adam(model.parameters(), lr=0.01)
    batch, losses = next(iter(batches(data, 40))), []
    for _ in range(20):
        optimizer.zero_grad()
        terms = model.terms(inputs, batch, Draws())
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        losses.append(terms["softmax"].item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ranking_loss", "hinge", r"one of \['bpr', 'softmax'\] \(got 'hinge'\)"),
        ("ranking_similarity", "l2", r"one of \['dot', 'cosine'\] \(got 'l2'\)"),
        ("ranking_temperature", 0.0, r"above 0 \(got 0.0\)"),
    ],
)
def test_refuses(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs to be {message}"):
        ModelConfig.from_dict({name: value})
