import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import BPRMF, VBPR, VBPRConfig
from mentor_pyg.sampling import Batch, BPRBatches
from tests.models.dense import BOTH, WITHOUT_ANY, WITHOUT_VISUAL, tiny_data_with_gaps


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """One item lacks a modality, one lacks both; what stands in for them is no number to use."""
    return tiny_data_with_gaps(*BOTH, cold=False, filler=50.0)


def drawn(data: HeteroData, **settings: object) -> VBPR:
    """Return a model whose biases are not zero."""
    model = VBPR.from_data(data, VBPRConfig(**settings))  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    return model


def score(model: VBPR, data: HeteroData, user: int, item: int) -> float:
    """Return a score by the paper's equation, term by term."""
    values = {name: p.detach().double() for name, p in model.named_parameters()}
    total = values["user_embedding"][user].dot(values["item_embedding"][item]).item()
    if "item_bias" in values:
        total += values["item_bias"][item].item()
    for modality in ("visual", "textual"):
        if f"x_{modality}" not in data["item"]:
            continue
        if f"has_{modality}" in data["item"] and not data["item"][f"has_{modality}"][item]:
            continue
        feature = data["item"][f"x_{modality}"][item].double()
        if model.config.unit_features:
            feature = feature / math.sqrt(sum(entry * entry for entry in feature.tolist()))
        factors = values[f"projections.{modality}.weight"] @ feature
        total += values["user_feature_embedding"][user].dot(factors).item()
        if "item_bias" in values:
            total += values[f"feature_biases.{modality}.weight"][0].dot(feature).item()
    return total


@pytest.mark.parametrize("unit_features", [True, False])
@pytest.mark.parametrize("item_bias", [True, False])
def test_scores_equal_the_formula(data: HeteroData, item_bias: bool, unit_features: bool) -> None:
    model = drawn(data, embedding_dim=5, item_bias=item_bias, unit_features=unit_features)
    scores = model.encode(data).scores(torch.arange(60))
    assert scores.shape == (60, 80)
    for user in (0, 17, 59):
        expected = [score(model, data, user, item) for item in range(80)]
        assert scores[user].tolist() == pytest.approx(expected, abs=1e-5)


def test_one_modality_is_enough(data: HeteroData) -> None:
    one = data.clone()
    del one["item"].x_visual, one["item"].has_visual, one["item"].has_textual
    model = drawn(one, embedding_dim=5)
    expected = [score(model, one, 2, item) for item in range(80)]
    assert model.encode(one).scores(torch.tensor([2]))[0].tolist() == pytest.approx(expected, 1e-4)


def test_loss_equals_its_formula(data: HeteroData) -> None:
    model = drawn(data, embedding_dim=5, reg_weight=0.3, projection_reg_weight=0.07)
    user, pos_item, neg_item = [4, 9, 4], [0, WITHOUT_VISUAL, 2], [79, 7, WITHOUT_ANY]
    bpr = reg = 0.0
    values = {name: p.detach().double() for name, p in model.named_parameters()}
    for u, i, j in zip(user, pos_item, neg_item, strict=True):
        margin = score(model, data, u, i) - score(model, data, u, j)
        bpr += math.log1p(math.exp(-margin)) / 3
        for name, row in (
            ("user_embedding", u),
            ("user_feature_embedding", u),
            ("item_embedding", i),
            ("item_embedding", j),
            ("item_bias", i),
            ("item_bias", j),
        ):
            reg += 0.3 * values[name][row].square().sum().item() / 2 / 3
    for modality in ("visual", "textual"):
        for name in ("projections", "feature_biases"):
            reg += 0.07 * values[f"{name}.{modality}.weight"].square().sum().item() / 2
    terms = model.loss(data, *Batch(*map(torch.tensor, (user, pos_item, neg_item))))
    actual = {name: term.item() for name, term in terms.items()}
    assert actual == pytest.approx({"bpr": bpr, "reg": reg}, rel=1e-5)


def test_softmax_leaves_negatives_alone(data: HeteroData) -> None:
    model = drawn(data, ranking_loss="softmax", item_bias=True)
    user, pos_item = torch.tensor([[4, 9], [0, 1]])
    first = model.loss(data, user, pos_item, torch.tensor([79, 7]))
    second = model.loss(data, user, pos_item, torch.tensor([11, 12]))
    assert first == second


@pytest.mark.parametrize(
    ("settings", "has_bias"),
    [
        ({}, True),
        ({"ranking_loss": "softmax"}, False),
        ({"ranking_loss": "softmax", "ranking_similarity": "dot"}, True),
        ({"ranking_loss": "softmax", "item_bias": True}, True),
        ({"item_bias": False}, False),
    ],
)
def test_has_biases_where_dot_products_rank(
    data: HeteroData, settings: dict[str, object], has_bias: bool
) -> None:
    model = VBPR.from_data(data, VBPRConfig(embedding_dim=4, **settings))  # type: ignore[arg-type]
    assert model.encode(data).user["fused"].shape == (60, 9 if has_bias else 8)
    assert {"item_bias", "feature_biases.visual.weight"} <= dict(
        model.named_parameters()
    ).keys() or not has_bias


@pytest.mark.parametrize(
    ("settings", "has_unit_features"),
    [
        ({}, False),
        ({"unit_features": True}, True),
        ({"ranking_loss": "softmax"}, True),
        ({"ranking_loss": "softmax", "ranking_similarity": "dot"}, False),
        ({"ranking_loss": "softmax", "unit_features": False}, False),
    ],
)
def test_the_length_of_features_has_no_part_where_cosines_rank(
    data: HeteroData, settings: dict[str, object], has_unit_features: bool
) -> None:
    longer = data.clone()
    for modality in BOTH:
        x = data["item"][f"x_{modality}"]
        longer["item"][f"x_{modality}"] = x * torch.linspace(0.1, 100, len(x)).unsqueeze(1)
    model = drawn(data, embedding_dim=4, **settings)
    first, second = (model.encode(d).item["fused"] for d in (data, longer))
    assert torch.allclose(first, second, atol=1e-5) is has_unit_features


def test_ids_have_a_part_in_cosines_from_the_start() -> None:
    data = SyntheticMultimodal("tiny")[0].clone()
    for modality in BOTH:
        data["item"][f"x_{modality}"] = 1000 * data["item"][f"x_{modality}"]
    model = VBPR.from_data(data, VBPRConfig(ranking_loss="softmax"))
    of_ids = model.encode(data).item["fused"][:, :64].norm(dim=1)  # Of rows of unit length.
    assert of_ids.min() > 0.3


def test_without_features_factors_it_is_matrix_factorisation(data: HeteroData) -> None:
    model = VBPR.from_data(data, VBPRConfig(item_bias=False, reg_weight=0.2))
    torch.nn.init.zeros_(model.user_feature_embedding)
    other = BPRMF.from_data(data, BPRMF.Config(reg_weight=0.2))
    other.load_state_dict({name: model.state_dict()[name] for name in other.state_dict()})
    batch = next(iter(BPRBatches(data, 50)))
    torch.testing.assert_close(model.loss(data, *batch), other.loss(data, *batch))


def test_reset_draws_every_parameter_anew(data: HeteroData) -> None:
    model = drawn(data)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.reset_parameters()
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []
    zeros = {name for name, p in model.named_parameters() if not p.any()}
    assert zeros == {"item_bias", "feature_biases.visual.weight", "feature_biases.textual.weight"}


def test_needs_a_modality() -> None:
    bare = SyntheticMultimodal("tiny", modalities=())[0]
    with pytest.raises(ValueError, match=r"VBPR needs at least one modality; add features as "):
        VBPR.from_data(bare)


def test_defaults() -> None:
    config = VBPRConfig()
    assert (config.embedding_dim, config.reg_weight) == (64, 1e-4)
    assert (config.projection_reg_weight, config.item_bias) == (0.0, None)
    assert config.unit_features is None
