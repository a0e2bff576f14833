import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import UserBatch
from mentor_pyg.models import Draws, SLMRec, SLMRecConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    degrees,
    gappy_data,
    has,
    info_nce,
    light_gcn,
    linear,
    numbers,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "num_layers": 2}


def starts(model: SLMRec, data: HeteroData) -> dict[str, Matrix]:
    """Return the items of every space before propagation."""
    items = {"id": numbers(model.item_embedding)}
    for modality in model.sizes.channels:
        x = unit(numbers(data["item"][f"x_{modality}"]))
        item = linear(model.projections[modality], x)
        item[[i for i in range(ITEMS) if not has(data, modality)[i]]] = 0
        items[modality] = item
    return items


def fuse(model: SLMRec, spaces: dict[str, tuple[Matrix, Matrix]]) -> tuple[Matrix, Matrix]:
    user, item = (np.concatenate([s[side] for s in spaces.values()], axis=1) for side in (0, 1))
    return linear(model.user_fusion, user), linear(model.item_fusion, item)


def reference(model: SLMRec, data: HeteroData) -> dict[str, tuple[Matrix, Matrix]]:
    """Return users and items of every view."""
    users, layers = numbers(model.user_embedding), model.config.num_layers
    spaces = {name: light_gcn(users, item, layers) for name, item in starts(model, data).items()}
    return {**spaces, "fused": fuse(model, spaces)}


def cross_entropy(scores: Matrix, targets: list[int]) -> float:
    losses = []
    for row, target in zip(scores.tolist(), targets, strict=True):
        losses.append(-math.log(math.exp(row[target]) / sum(math.exp(s) for s in row)))
    return sum(losses) / len(losses)


def values(model: SLMRec, data: HeteroData, **draws: torch.Tensor) -> dict[str, float]:
    terms = model.loss(
        data, *BATCH, draws=Draws({k.replace("_", "/"): v for k, v in draws.items()})
    )
    return {name: term.item() for name, term in terms.items()}


@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], num_layers: int) -> None:
    data = gappy_data(*modalities)
    model = SLMRec.from_data(data, SLMRecConfig(embedding_dim=4, num_layers=num_layers))
    expected, reps = reference(model, data), model.represent(model.prepare(data))
    assert set(reps.views) == {"fused", "id", *modalities}
    for view, sides in expected.items():
        for actual, side in zip((reps.user[view], reps.item[view]), sides, strict=True):
            np.testing.assert_allclose(actual.detach().numpy(), side, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        model.encode(data).user["fused"], torch.nn.functional.normalize(reps.user["fused"])
    )


@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_terms_equal_loops(modalities: tuple[str, ...]) -> None:
    data = gappy_data(*modalities)
    config = SLMRecConfig(
        **SETTINGS, ranking_temperature=0.5, ssl_weight=0.7, ssl_temperature=0.4, reg_weight=0.3
    )
    model = SLMRec.from_data(data, config)
    views, ssl = reference(model, data), 0.0
    finer, widths = views["id"][1][BATCH.pos_item], []
    for modality in modalities:
        finer = linear(model.coarser[modality], finer)
        other = linear(model.into_space[modality], views[modality][1][BATCH.pos_item])
        widths.append(finer.shape[1])
        ssl += cross_entropy(finer @ other.T / 0.4, list(range(5)))
    assert widths == {1: [4], 2: [4, 2], 3: [4, 4, 2]}[len(modalities)]
    user, item = views["fused"]
    assert values(model, data) == pytest.approx(
        {
            "softmax": info_nce(user[BATCH.user], item[BATCH.pos_item], 0.5),
            "ssl": 0.7 * ssl,
            "reg": 0.15 * sum((numbers(p) ** 2).sum() for p in model.parameters()),
        },
        rel=1e-5,
    )


def test_negatives_that_are_asked_for() -> None:
    data = gappy_data(*BOTH)
    changes = {"ranking_negatives": "all", "ranking_temperature": 0.5}
    everything = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, **changes))
    user, item = reference(everything, data)["fused"]
    scores = unit(user)[BATCH.user] @ unit(item).T / 0.5
    expected = cross_entropy(scores, BATCH.pos_item.tolist())
    assert values(everything, data)["softmax"] == pytest.approx(expected, rel=1e-5)
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, ranking_loss="bpr"))
    user, item = reference(model, data)["fused"]
    assert values(model, data)["bpr"] == pytest.approx(bpr(user, item, BATCH), rel=1e-5)
    np.testing.assert_allclose(numbers(model.encode(data).user["fused"]), user, atol=1e-6)


def test_users_of_a_user_batch_ask_once() -> None:
    data = gappy_data(*BOTH)
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, ssl_task="fm", ssl_temperature=0.4))
    inputs, draws = model.prepare(data), Draws({"mask": torch.tensor([0.1, 0.9, 0.5])})
    terms = model.terms(inputs, UserBatch(*BATCH), draws)
    user, item = reference(model, data)["fused"]
    expected = info_nce(user[BATCH.user], item[BATCH.pos_item], 0.2)
    assert terms["softmax"].item() == pytest.approx(expected, rel=1e-5)  # A query's rows are one.
    a, b = masked(model, data, "visual"), masked(model, data, "textual")
    expected = info_nce(a[0][[0, 2, 5, 6]], b[0][[0, 2, 5, 6]], 0.4)
    expected += info_nce(a[1][BATCH.pos_item], b[1][BATCH.pos_item], 0.4)
    assert terms["ssl"].item() == pytest.approx(0.1 * expected, rel=1e-5)


def masked(model: SLMRec, data: HeteroData, left_out: str) -> tuple[Matrix, Matrix]:
    """Return the fused users and items where the items of one space start as zeros."""
    users, spaces = numbers(model.user_embedding), {}
    for name, item in starts(model, data).items():
        start = np.zeros_like(item) if name == left_out else item
        spaces[name] = light_gcn(users, start, model.config.num_layers)
    return fuse(model, spaces)


def contrast(model: SLMRec, a: tuple[Matrix, Matrix], b: tuple[Matrix, Matrix]) -> float:
    of_users = info_nce(a[0][BATCH.user], b[0][BATCH.user], model.config.ssl_temperature)
    return of_users + info_nce(
        a[1][BATCH.pos_item], b[1][BATCH.pos_item], model.config.ssl_temperature
    )


@pytest.mark.parametrize(
    ("modalities", "mask", "left_out"),
    [
        (BOTH, (0.1, 0.9, 0.5), ("visual", "textual")),
        (BOTH, (0.7, 0.2, 0.8), ("textual", "id")),
        (("textual",), (0.7, 0.2), ("id", "textual")),
    ],
)
def test_feature_masking_equals_loops(
    modalities: tuple[str, ...], mask: tuple[float, ...], left_out: tuple[str, str]
) -> None:
    data = gappy_data(*modalities)
    changes = {"ssl_task": "fm", "ssl_weight": 0.7, "ssl_temperature": 0.4}
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, **changes))
    expected = contrast(model, *(masked(model, data, name) for name in left_out))
    found = values(model, data, mask=torch.tensor(mask))["ssl"]
    assert found == pytest.approx(0.7 * expected, rel=1e-5)


def dropped(
    model: SLMRec, data: HeteroData, keep: list[torch.Tensor], left_out: str | None
) -> tuple[Matrix, Matrix]:
    """Return the fused users and items where entries are dropped after every layer."""
    spaces, of_users, of_items = {}, *degrees()
    for n, (name, item) in enumerate(starts(model, data).items()):
        item = np.zeros_like(item) if name == left_out else item
        layers = [np.concatenate([numbers(model.user_embedding), item])]
        for kept in keep:
            h = np.zeros_like(layers[0])
            for u, i in EDGES:
                weight = 1 / math.sqrt(of_users[u] * of_items[i])
                h[u] += weight * layers[-1][USERS + i]
                h[USERS + i] += weight * layers[-1][u]
            layers.append(h * kept.numpy()[:, 4 * n : 4 * n + 4] / 0.7)
        mean = sum(layers) / len(layers)
        spaces[name] = (mean[:USERS], mean[USERS:])
    return fuse(model, spaces)


@pytest.mark.parametrize("task", ["fd", "fd+fm"])
def test_feature_dropout_equals_loops(task: str) -> None:
    data = gappy_data(*BOTH)
    changes = {"ssl_task": task, "ssl_weight": 0.7, "ssl_temperature": 0.4}
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, **changes))
    keep = {f"keep_{v}_{k}": torch.rand(USERS + ITEMS, 12) < 0.7 for v in "ab" for k in (0, 1)}
    left_out = ("id", "textual") if task == "fd+fm" else (None, None)
    views = [
        dropped(model, data, [keep[f"keep_{view}_{k}"] for k in (0, 1)], space)
        for view, space in zip("ab", left_out, strict=True)
    ]
    found = values(model, data, mask=torch.tensor([0.8, 0.1, 0.3]), **keep)["ssl"]
    assert found == pytest.approx(0.7 * contrast(model, *views), rel=1e-5)


def test_two_different_spaces_are_masked_as_often_as_any_two() -> None:
    data = gappy_data(*BOTH)
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, ssl_task="fm"))
    nodes, counts = torch.ones(USERS + ITEMS, 12), torch.zeros(3, 3)
    for _ in range(1200):
        first, second = (m[-1].view(3, 4) for m in model.masks(nodes, Draws()))
        assert {*first.sum(1).tolist()} == {*second.sum(1).tolist()} == {0.0, 4.0}
        counts[first.sum(1).argmin(), second.sum(1).argmin()] += 1
    assert (counts.diagonal() == 0).all()
    assert (counts + 200 * torch.eye(3) - 200).abs().max() < 60


def test_what_an_item_lacks_plays_no_part() -> None:
    data = gappy_data(*BOTH)
    other = data.clone()
    x = data["item"].x_textual.clone()
    x[~data["item"].has_textual] = 50.0  # What stands in for it is no number to use.
    other["item"].x_textual = x
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS))
    assert values(model, data) == values(model, other)
    reps = model.represent(model.prepare(data))
    assert torch.equal(reps.item["textual"][3] == 0, torch.zeros(4) > 0)  # Its users reach it.
    # Item 10 and user 7 have no interactions.
    torch.testing.assert_close(reps.item["id"][10], model.item_embedding[10] / 3)
    torch.testing.assert_close(reps.user["visual"][7], model.user_embedding[7] / 3)


@pytest.mark.parametrize("task", ["fac", "fm"])
def test_without_weight_there_is_no_task(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    model = SLMRec.from_data(data, SLMRecConfig(**SETTINGS, ssl_task=task, ssl_weight=0))
    monkeypatch.delattr(SLMRec, "view_loss")
    monkeypatch.delattr(SLMRec, "fine_to_coarse_loss")
    assert values(model, data)["ssl"] == 0
    assert not any("coarser" in name for name, _ in model.named_parameters())


def test_defaults() -> None:
    config = SLMRecConfig()
    assert (config.embedding_dim, config.num_layers, config.reg_weight) == (64, 3, 1e-4)
    assert (config.ranking_loss, config.ranking_similarity) == ("softmax", "cosine")
    assert (config.ranking_temperature, config.ranking_negatives) == (0.2, "batch")
    assert (config.ssl_task, config.ssl_weight, config.ssl_temperature) == ("fac", 0.1, 0.2)
    assert config.drop_ratio == 0.3


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"SLMRec needs at least one modality; add features"):
        SLMRec.from_data(gappy_data())
