import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import BM3, BM3Config, Draws, ranking_terms
from mentor_pyg.sampling import Batch, BPRBatches
from tests.models.dense import BOTH, COLD_USER, WITHOUT_ANY, WITHOUT_VISUAL, tiny_data_with_gaps


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """One user and one item are cold; one item lacks a modality, one lacks both."""
    return tiny_data_with_gaps(*BOTH, cold=True, filler=50.0)


@pytest.fixture
def batch() -> Batch:
    """A user and an item that are there twice, and the items that lack features."""
    user = torch.tensor([4, 9, 4, 1, 30])
    return Batch(user, torch.tensor([0, WITHOUT_VISUAL, 2, WITHOUT_ANY, 0]), torch.arange(40, 45))


def drawn(data: HeteroData, **settings: object) -> BM3:
    """Return a model whose biases are not zero."""
    model = BM3.from_data(data, BM3Config(**{"embedding_dim": 6, **settings}))  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def kept(rows: int, modalities: tuple[str, ...] = BOTH) -> dict[str, Tensor]:
    return {f"keep/{name}": torch.rand(rows, 6) < 0.6 for name in ("user", "item", *modalities)}


def values_of(model: BM3) -> dict[str, Tensor]:
    return {name: p.detach().double() for name, p in model.named_parameters()}


def propagated(model: BM3, data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return users and items before the predictor, by the paper's equations."""
    users, items, values = model.num_users, model.num_items, values_of(model)
    x = torch.cat([values["user_embedding"], values["item_embedding"]])
    pairs = list(zip(*data[INTERACTS].edge_index.tolist(), strict=True))
    degree = [0] * (users + items)
    for u, i in pairs:
        degree[u] += 1
        degree[users + i] += 1
    h, total = x, x
    for _ in range(model.config.num_layers):
        new = torch.zeros_like(h)
        for u, i in pairs:
            scale = 1 / math.sqrt(degree[u] * degree[users + i])
            new[u] += scale * h[users + i]
            new[users + i] += scale * h[u]
        h, total = new, total + new
    mean = total / (model.config.num_layers + 1)
    return mean[:users], mean[users:] + x[users:]


def predict(model: BM3, row: Tensor) -> Tensor:
    values = values_of(model)
    return values["predictor.weight"] @ row + values["predictor.bias"]


def distance(a: Tensor, b: Tensor) -> float:
    return 1 - (a @ b / (a.norm() * b.norm())).item()


@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_scores_equal_the_formula(data: HeteroData, num_layers: int) -> None:
    model = drawn(data, num_layers=num_layers)
    user, item = propagated(model, data)
    reps = model.encode(data)
    torch.testing.assert_close(reps.user["id"].double(), user, rtol=0, atol=1e-6)
    torch.testing.assert_close(reps.item["id"].double(), item, rtol=0, atol=1e-6)
    scores = reps.scores(torch.tensor([COLD_USER, 4]))
    for row, u in enumerate((COLD_USER, 4)):
        expected = [(predict(model, user[u]) @ predict(model, i)).item() for i in item]
        assert scores[row].tolist() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(user[COLD_USER].float(), model.user_embedding[7] / (num_layers + 1))


@pytest.mark.parametrize("penalty", ["length", "squares"])
def test_loss_equals_its_formula(data: HeteroData, batch: Batch, penalty: str) -> None:
    model = drawn(data, num_layers=2, modality_loss_weight=0.7, reg_weight=0.3, penalty=penalty)
    user, item, values, keep = *propagated(model, data), values_of(model), kept(5)
    reconstruct, squares = 0.0, 0.0
    losses: dict[str, list[float]] = {f"{kind}/{m}": [] for kind in "am" for m in BOTH}
    for row, (u, i, _) in enumerate(zip(*(ids.tolist() for ids in batch), strict=True)):
        user_target, item_target = (
            user[u] * keep["keep/user"][row],
            item[i] * keep["keep/item"][row],
        )
        reconstruct += distance(predict(model, user[u]), item_target) / 5
        reconstruct += distance(predict(model, item[i]), user_target) / 5
        squares += (user[u].square().sum() + item[i].square().sum()).item() / 5
        for m in BOTH:
            if not data["item"][f"has_{m}"][i]:
                continue
            feature = data["item"][f"x_{m}"][i].double()
            h = values[f"projections.{m}.weight"] @ feature + values[f"projections.{m}.bias"]
            losses[f"a/{m}"].append(distance(predict(model, h), item_target))
            losses[f"m/{m}"].append(distance(predict(model, h), h * keep[f"keep/{m}"][row]))
    assert [len(losses[f"a/{m}"]) for m in BOTH] == [3, 4]
    mean = {name: sum(of) / len(of) for name, of in losses.items()}
    length = (math.sqrt(user.square().sum()) + math.sqrt(item.square().sum())) / 80
    expected = {
        "reconstruct": reconstruct,
        "align": 0.7 * sum(mean[f"a/{m}"] for m in BOTH),
        "mask": 0.7 * sum(mean[f"m/{m}"] for m in BOTH),
        "reg": 0.3 * (length if penalty == "length" else squares),
    }
    terms = model.loss(data, *batch, draws=Draws(keep))
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_one_modality_is_enough(data: HeteroData, batch: Batch) -> None:
    one = data.clone()
    del one["item"].x_textual, one["item"].has_textual
    model, keep = drawn(data), kept(5)
    other = drawn(one)
    other.load_state_dict({name: model.state_dict()[name] for name in other.state_dict()})
    both, alone = (m.loss(d, *batch, draws=Draws(keep)) for m, d in ((model, data), (other, one)))
    assert torch.equal(both["reconstruct"], alone["reconstruct"])
    assert 0 < alone["align"] < both["align"]
    assert 0 < alone["mask"] < both["mask"]


def test_a_batch_of_items_without_features_has_no_losses_of_modalities(data: HeteroData) -> None:
    model, ids = drawn(data), torch.tensor([WITHOUT_ANY, WITHOUT_ANY])
    terms = model.loss(data, torch.tensor([1, 2]), ids, ids)
    assert terms["align"] == terms["mask"] == 0
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert terms["reconstruct"] > 0


def test_targets_have_no_gradient(data: HeteroData, batch: Batch) -> None:
    model, keep = drawn(data, num_layers=0), kept(5)
    inputs = model.prepare(data)
    [gradient] = torch.autograd.grad(
        model.terms(inputs, batch, Draws(keep))["reconstruct"], model.user_embedding
    )
    user, item = (x.detach() for x in model.propagated(inputs))
    free = user[batch.user].clone().requires_grad_()
    target = item[batch.pos_item] * keep["keep/item"]
    loss = 1 - torch.cosine_similarity(model.predictor(free), target).mean()
    [expected] = torch.autograd.grad(loss, free)
    torch.testing.assert_close(gradient[9], expected[1])
    torch.testing.assert_close(gradient[4], expected[0] + expected[2])


def test_targets_lose_the_share_of_entries_asked_for(data: HeteroData) -> None:
    rows = torch.ones(400, 50)
    for ratio in (0.0, 0.3, 0.5):
        found = drawn(data, mask_ratio=ratio).target(rows, Draws(), "user")
        assert set(found.unique().tolist()) <= {0.0, 1.0}
        assert found.mean().item() == pytest.approx(1 - ratio, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "name", "weight"),
    [
        ({}, None, 0),
        ({"ranking_weight": 0.5}, "bpr", 0.5),
        ({"ranking_loss": "softmax"}, "softmax", 1),
        ({"ranking_loss": "softmax", "ranking_weight": 3.0}, "softmax", 3),
    ],
)
def test_a_ranking_loss_is_added_where_it_is_asked_for(
    data: HeteroData, settings: dict[str, object], name: str | None, weight: float
) -> None:
    model, batch = drawn(data, **settings), next(iter(BPRBatches(data, 20)))
    terms = model.loss(data, *batch)
    own = {"reconstruct", "align", "mask", "reg"}
    assert terms.keys() == own | ({name} if name else set())
    if name:
        reps = model.represent(model.prepare(data))
        expected = weight * ranking_terms(reps, batch, model.config)[name]
        torch.testing.assert_close(terms[name], expected)


def test_without_a_ranking_loss_negatives_do_not_matter(data: HeteroData, batch: Batch) -> None:
    model, draws = drawn(data), Draws(kept(5))
    first = model.loss(data, *batch, draws=draws)
    assert model.loss(data, *batch._replace(neg_item=batch.pos_item), draws=draws) == first


def test_without_a_weight_modalities_are_not_looked_at(
    data: HeteroData, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = drawn(data, modality_loss_weight=0.0)
    monkeypatch.delattr(model, "projections")
    terms = model.loss(data, *batch)
    assert terms["align"] == terms["mask"] == 0


def test_refuses_to_rank_by_a_loss_it_is_not_trained_on() -> None:
    with pytest.raises(
        ValueError, match=r"'ranking_weight' needs to be above 0 with ranking_loss="
    ):
        BM3Config(ranking_loss="softmax", ranking_weight=0)


def test_needs_a_modality() -> None:
    bare = SyntheticMultimodal("tiny", modalities=())[0]
    with pytest.raises(ValueError, match=r"BM3 needs at least one modality; add features as "):
        BM3.from_data(bare)


def test_defaults() -> None:
    config = BM3Config()
    assert (config.embedding_dim, config.num_layers, config.mask_ratio) == (64, 1, 0.3)
    assert (config.modality_loss_weight, config.reg_weight) == (2.0, 0.1)
    assert (config.penalty, config.ranking_weight) == ("length", None)
