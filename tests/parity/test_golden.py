"""``semantics="released"`` against what the released code gave (``golden/README.md``)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations, edge_label_index, num_items, num_users
from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.evaluation import METRICS, full_ranking, ranking_metrics
from mentor_pyg.models import MENTOR, Draws, MENTORConfig
from mentor_pyg.models.mentor import model as mentor_module
from mentor_pyg.ops import rank_items, seen_items

GOLDEN = Path(__file__).parent / "golden"
RELATIVE = 1e-5

VIEWS = {"fused": "", "id": "_guide", "visual": "_v", "textual": "_t"}
TERMS = {
    "bpr": "bpr",
    "reg": "reg",
    "align": "align",
    "perturb": "graph_perturbation",
    "mask": "feature_masking",
}
MODALITIES = {"v": "visual", "t": "textual"}
PERTURBED = {1: "view_a", 2: "view_b"}
ENCODERS = {
    **{f"{c}_gcn": f"encoders.{m}" for c, m in (*MODALITIES.items(), ("id", "id"))},
    **{
        f"{c}_gcn_n{n}": f"perturbed_encoders.{view}.{m}"
        for c, m in MODALITIES.items()
        for n, view in PERTURBED.items()
    },
}
PARTS = {
    "preference": "user_preference",
    "MLP.weight": "hidden.weight",
    "MLP.bias": "hidden.bias",
    "MLP_1.weight": "output.weight",
    "MLP_1.bias": "output.bias",
}
TRAINED = {
    "weight_u": "fusion.weight",
    "id_feat": "item_embedding",
    **{f"{e}.{p}": f"{o}.{q}" for e, o in ENCODERS.items() for p, q in PARTS.items()},
}
K = (5, 10, 20, 50)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def settings() -> dict[str, float]:
    return json.loads((GOLDEN / "config.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> HeteroData:
    return InteractionFolder(GOLDEN, cache_dir=tmp_path_factory.mktemp("cache"))[0]


@pytest.fixture(scope="module")
def model(golden: dict[str, np.ndarray], settings: dict[str, float], data: HeteroData) -> MENTOR:
    assert settings["embedding_size"] == settings["feat_embed_dim"]
    visual = settings["mm_image_weight"]
    config = MENTORConfig(
        semantics="released",
        k=settings["knn_k"],
        modality_weights={"visual": visual, "textual": 1 - visual},
        embedding_dim=settings["feat_embed_dim"],
        num_item_layers=settings["n_mm_layers"],
        align_weight=settings["align_weight"],
        mask_weight=settings["mask_weight_f"],
        mask_ratio=settings["dropout"],
        perturb_weight=settings["mask_weight_g"],
        temperature=settings["temp"],
        reg_weight=settings["reg_weight"],
    )
    parameters = {key[6:]: value for key, value in golden.items() if key.startswith("param/")}
    return MENTOR.from_released_state_dict(parameters, data, config)


@pytest.fixture(scope="module")
def draws(golden: dict[str, np.ndarray]) -> Draws:
    noise = {
        f"noise/{view}/{modality}/{layer}": torch.from_numpy(golden[f"noise/{c}_n{n}_l{layer}"])
        for n, view in PERTURBED.items()
        for c, modality in MODALITIES.items()
        for layer in (1, 2)
    }
    keep = {f"keep/{k}": torch.from_numpy(golden[f"dropout_keep/{k}"]) for k in ("user", "item")}
    return Draws({**noise, **keep})


@pytest.fixture(scope="module")
def batch(golden: dict[str, np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(golden[f"batch/{key}"]) for key in ("user", "pos_item", "neg_item")]


@pytest.fixture(scope="module")
def terms(model: MENTOR, data: HeteroData, batch: list[Tensor], draws: Draws) -> dict[str, Tensor]:
    return model.loss(data, *batch, draws=draws)


@pytest.fixture(scope="module")
def grads(model: MENTOR, terms: dict[str, Tensor]) -> dict[str, Tensor | None]:
    model.zero_grad()
    sum(terms.values()).backward(retain_graph=True)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def reps(golden: dict[str, np.ndarray], data: HeteroData) -> Representations:
    nodes = torch.from_numpy(golden["rep/result_embed"])
    user, item = nodes.split([num_users(data), num_items(data)])
    return Representations({"fused": user}, {"fused": item})


def assert_close_to_largest(actual: Tensor, expected: np.ndarray) -> None:
    """Compare within ``RELATIVE`` of the largest entry, entry by entry."""
    wanted = torch.from_numpy(expected)
    assert actual.shape == wanted.shape
    error = (actual.detach() - wanted).abs().max() / wanted.abs().max()
    assert error <= RELATIVE, f"differs by {error:.1e} of the largest entry"


def test_item_graph_is_exact(
    golden: dict[str, np.ndarray], model: MENTOR, data: HeteroData
) -> None:
    dense = model.prepare(data).graphs["item"].to_dense()
    assert torch.equal(dense, torch.from_numpy(golden["graph/item_semantic_adj"]))


@pytest.mark.parametrize("view", VIEWS)
def test_representations(
    view: str, golden: dict[str, np.ndarray], model: MENTOR, data: HeteroData
) -> None:
    nodes = model.encode(data).nodes(view)
    doubled = nodes if view == "fused" else nodes.repeat(1, 2)
    assert_close_to_largest(doubled, golden[f"rep/result_embed{VIEWS[view]}"])


@pytest.mark.parametrize(("position", "suffix"), [(0, "_n1"), (1, "_n2")])
def test_perturbed_representations(
    position: int,
    suffix: str,
    golden: dict[str, np.ndarray],
    model: MENTOR,
    data: HeteroData,
    batch: list[Tensor],
    draws: Draws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contrasted: list[tuple[Tensor, Tensor]] = []  # users, then items
    info_nce: Callable[..., Tensor] = mentor_module.info_nce

    def spy(view_a: Tensor, view_b: Tensor, *settings: Any) -> Tensor:
        contrasted.append((view_a, view_b))
        return info_nce(view_a, view_b, *settings)

    monkeypatch.setattr(mentor_module, "info_nce", spy)
    model.loss(data, *batch, draws=draws)
    nodes = torch.cat([pair[position] for pair in contrasted])
    assert_close_to_largest(nodes, golden[f"rep/result_embed{suffix}"])


@pytest.mark.parametrize("term", TERMS)
def test_loss_term(term: str, golden: dict[str, np.ndarray], terms: dict[str, Tensor]) -> None:
    assert terms[term].item() == pytest.approx(float(golden[f"loss/{TERMS[term]}"]), rel=RELATIVE)


def test_total_loss(golden: dict[str, np.ndarray], terms: dict[str, Tensor]) -> None:
    assert set(terms) == set(TERMS)
    total = sum(terms.values()).item()
    assert total == pytest.approx(float(golden["loss/total"]), rel=RELATIVE)


@pytest.mark.parametrize("name", TRAINED)
def test_gradient(
    name: str, golden: dict[str, np.ndarray], grads: dict[str, Tensor | None]
) -> None:
    grad = grads[TRAINED[name]]
    assert grad is not None
    expected = golden[f"grad/{name}"]
    assert_close_to_largest(grad, expected.squeeze(-1) if name == "weight_u" else expected)


def test_no_other_gradients(golden: dict[str, np.ndarray], grads: dict[str, Tensor | None]) -> None:
    assert {key[5:] for key in golden if key.startswith("grad/")} == set(TRAINED)
    with_grad = {name for name, grad in grads.items() if grad is not None}
    assert with_grad == set(TRAINED.values())
    assert set(grads) - with_grad == {"masking.predictor.weight", "masking.predictor.bias"}


def test_rankings(golden: dict[str, np.ndarray], data: HeteroData, reps: Representations) -> None:
    users = torch.from_numpy(golden["eval/users"])
    ranked, _ = rank_items(reps, users, max(K), seen_items(data, ("train",)))
    assert torch.equal(ranked, torch.from_numpy(golden["eval/top50"]))


@pytest.mark.parametrize("source", ["representations", "rankings"])
def test_metrics(
    source: str, golden: dict[str, np.ndarray], data: HeteroData, reps: Representations
) -> None:
    if source == "representations":
        metrics = full_ranking(reps, data, "test", K)
    else:
        user, item = edge_label_index(data, "test")
        row = torch.searchsorted(torch.from_numpy(golden["eval/users"]), user)
        ranked = torch.from_numpy(golden["eval/top50"])
        metrics = ranking_metrics(ranked, torch.stack([row, item]), K)
    assert set(metrics) == {f"{metric}@{k}" for metric in METRICS for k in K}
    for key, value in metrics.items():
        assert value == pytest.approx(float(golden[f"metric/{key}"]), rel=0, abs=1e-9), key
