"""What stands in for features that items lack: the setting ``missing`` of models that read some."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import FUSED, presence
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.export import EmbeddingTables
from mentor_pyg.export.neighbours import item_neighbours
from mentor_pyg.models import (
    MODELS,
    FeatureConfig,
    GraphFeatureConfig,
    MENTORPlus,
    MENTORPlusConfig,
    Recommender,
    extend,
    load_model,
    save_model,
)
from mentor_pyg.models.draws import Draws
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training import TrainingConfig, train
from mentor_pyg.transforms import DropFeatures, FillMissing, ItemKNNGraph

READERS = sorted(
    name
    for name, cls in MODELS.items()
    if cls.__module__.startswith("mentor_pyg.models") and issubclass(cls.Config, FeatureConfig)
)
LEARNERS = [n for n in READERS if not issubclass(MODELS[n].Config, GraphFeatureConfig)]


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """The tiny set, half of whose items lack each modality."""
    return DropFeatures(0.5)(SyntheticMultimodal("tiny")[0])


def build(name: str, data: HeteroData, **settings: Any) -> Recommender:
    torch.manual_seed(0)
    cls = MODELS[name]
    model = cls.from_data(data, cls.Config.from_dict({"embedding_dim": 8, **settings}))
    assert isinstance(model, Recommender)
    return model


def items_of(model: Recommender, data: HeteroData) -> Tensor:
    with torch.no_grad():
        return model.encode(data).item[FUSED]


def test_all_but_those_with_features_in_graphs_alone_learn_them() -> None:
    assert set(READERS) - set(LEARNERS) == {"lattice", "mmhcl", "mgcn", "gume"}
    assert len(LEARNERS) == 13


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["mean", "propagate"])
def test_what_the_transform_fills(name: str, how: str, data: HeteroData) -> None:
    filled = items_of(build(name, data), FillMissing(how)(data))  # type: ignore[arg-type]
    torch.testing.assert_close(items_of(build(name, data, missing=how), data), filled)
    if name != "bm3":  # It reads features in its loss alone.
        assert not torch.allclose(filled, items_of(build(name, data), data))


def test_graphs_of_gaps_are_not_those_of_what_fills_them(data: HeteroData) -> None:
    model = build("freedom", data, missing="mean")
    assert (~presence(data, "visual")).any()
    once = model.transformed(ItemKNNGraph(10)(data))
    assert presence(once, "visual").all()
    expected = ItemKNNGraph(10)(FillMissing("mean")(data))
    kind = next(t for t in expected.edge_types if "visual" in t[1])
    assert torch.equal(once[kind].edge_index, expected[kind].edge_index)
    assert (
        model.transformed(once)[kind].edge_index is once[kind].edge_index
    )  # It is not made again.


def test_the_neighbours_that_are_shown_are_those_of_the_model(data: HeteroData) -> None:
    filled = FillMissing("mean")(data)
    shown = item_neighbours(build("mentor_plus", data, missing="mean"), data)
    expected = item_neighbours(build("mentor_plus", filled), filled)
    assert shown is not None and expected is not None
    assert torch.equal(shown.item, expected.item)


@pytest.mark.parametrize("name", LEARNERS)
def test_learned_vectors_get_a_gradient_from_all_that_trains(name: str, data: HeteroData) -> None:
    model, batch = build(name, data, missing="learned"), next(iter(BPRBatches(data, 128, seed=1)))
    inputs = model.prepare(data)
    for terms in (
        model.loss(inputs, *batch),
        model.objectives()[-1].terms(inputs, batch, Draws()),
    ):
        model.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        assert model.missing_features is not None
        for vector in model.missing_features.vectors.values():
            assert vector.grad is not None and vector.grad.isfinite().all()
            assert vector.grad.abs().sum() > 0


def test_learned_vectors_are_the_features_of_items_that_lack_them(data: HeteroData) -> None:
    model = build("vbpr", data, missing="learned")
    assert model.missing_features is not None
    complete = data.clone()
    for modality, vector in model.missing_features.vectors.items():
        lacks = ~presence(data, modality)
        complete["item"][f"x_{modality}"][lacks] = vector.detach()
        del complete["item"][f"has_{modality}"]
    state = {k: v for k, v in model.state_dict().items() if "missing" not in k}
    other = build("vbpr", complete)
    other.load_state_dict(state)
    torch.testing.assert_close(items_of(model, data), items_of(other, complete))
    with torch.no_grad():
        scores = model.scorer(model.prepare(data)).scores(torch.arange(4))
        expected = other.scorer(other.prepare(complete)).scores(torch.arange(4))
    torch.testing.assert_close(scores, expected)


def test_they_are_trained_saved_extended_and_exported(data: HeteroData, tmp_path: Any) -> None:
    config = TrainingConfig(epochs=2, lr=0.01)
    settings = {"missing": "learned", "embedding_dim": 8}
    train("mentor_plus", data, tmp_path / "run", settings=settings, config=config)
    model = load_model(tmp_path / "run" / "model.safetensors", data)
    assert isinstance(model, MENTORPlus) and model.missing_features is not None
    drawn = build("mentor_plus", data, missing="learned").missing_features
    assert drawn is not None
    for modality, vector in model.missing_features.vectors.items():
        assert not torch.allclose(vector, drawn.vectors[modality], atol=1e-3)
    save_model(model, tmp_path / "again.safetensors", data)
    again = load_model(tmp_path / "again.safetensors", data)
    assert isinstance(again, MENTORPlus)
    tables = [EmbeddingTables.from_model(m, data).item for m in (model, extend(again, data))]
    torch.testing.assert_close(*tables)


def test_what_nothing_reaches_is_not_filled_twice(data: HeteroData) -> None:
    data = data.clone()
    edges = data["user", "interacts", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] != 7]
    data["item", "rev_interacts", "user"].edge_index = edges.edge_index.flip(0)
    data["item"].has_visual[7], data["item"].x_visual[7] = False, 0.0
    model = build("freedom", data, missing="propagate")
    once = model.transformed(data)
    twice = model.transformed(once)
    kind = next(t for t in once.edge_types if "visual" in t[1])
    assert not presence(once, "visual")[7]
    assert twice[kind].edge_index is once[kind].edge_index
    assert twice["item"].x_visual is once["item"].x_visual
    # Where items lost it since, it is.
    again = model.transformed(DropFeatures(0.5)(once))
    assert presence(again, "visual").sum() == presence(once, "visual").sum()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_model_that_starts_anew_draws_its_vectors_anew(name: str, data: HeteroData) -> None:
    model = build(name, data, missing="learned")
    assert model.missing_features is not None
    before = [vector.detach().clone() for vector in model.missing_features.vectors.values()]
    model.reset_parameters()
    after = model.missing_features.vectors.values()
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("missing", ["zero", "learned"])
def test_a_copy_trains_itself(missing: str, data: HeteroData) -> None:
    batch = next(iter(BPRBatches(data, 128, seed=1)))
    model = build("vbpr", data, missing=missing)
    model_copy, [objective] = copy.deepcopy((model, model.objectives()))
    torch.stack(
        list(objective.terms(model.prepare(data), batch, Draws()).values())
    ).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in model_copy.parameters())
    pickle.dumps(objective)


def test_what_cannot_be(data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"'missing' needs to be one of \['zero', 'mean', 'prop"):
        build("lattice", data, missing="learned")
    with pytest.raises(ValueError, match="'missing' cannot be 'learned' without 'content'"):
        MENTORPlusConfig(missing="learned", content=False)
    for name in ("freedom", "bm3"):
        with pytest.raises(ValueError, match="'learned' without 'modality_loss_weight'"):
            build(name, data, missing="learned", modality_loss_weight=0.0)
    with pytest.raises(ValueError, match="missing"):
        build("lightgcn", data, missing="mean")
