"""What tells the paper's MENTOR from the released one."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.losses import bpr_loss
from mentor_pyg.models import MENTOR, MENTORConfig
from mentor_pyg.models.mentor.config import Semantics
from mentor_pyg.models.mentor.semantics import RULES
from mentor_pyg.sampling import Batch, BPRBatches


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


@pytest.fixture(scope="module")
def batch(data: HeteroData) -> Batch:
    return next(iter(BPRBatches(data, 100, seed=2)))


@pytest.fixture(params=["paper", "released"])
def semantics(request: pytest.FixtureRequest) -> Semantics:
    return request.param


def only(semantics: Semantics, **weights: float) -> MENTORConfig:
    """Return a config of all whose weighted terms only the ones given count."""
    off = {f"{term}_weight": 0.0 for term in ("align", "mask", "perturb", "reg")}
    settings: dict[str, Any] = off | weights
    return MENTORConfig(semantics=semantics, **settings)


def item_graph(data: HeteroData, semantics: Semantics) -> Tensor:
    model = MENTOR.from_data(data, MENTORConfig(semantics=semantics))
    return model.prepare(data).graphs["item"].to_dense()


def moved_by(model: MENTOR, term: Tensor) -> set[str]:
    """Return the first names of the parameters that a loss term has a gradient for."""
    model.zero_grad()
    if term.requires_grad:
        term.backward()
    moved = set()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.count_nonzero():
            first, _, rest = name.partition(".")
            moved.add(f"{first}.{rest.split('.')[0]}" if first == "encoders" else first)
    return moved


def test_every_semantics_has_rules() -> None:
    assert tuple(RULES) == get_args(Semantics)


def test_masking_reaches_the_encoders_in_the_paper_only(data: HeteroData, batch: Batch) -> None:
    terms = {}
    for name in ("paper", "released"):
        model = MENTOR.from_data(data, only(name, mask_weight=1.5))
        terms[name] = model.loss(data, *batch)["mask"]
        if name == "paper":
            own = {"encoders.visual", "encoders.textual", "fusion", "masking"}
            assert moved_by(model, terms[name]) == own
            for modality in ("visual", "textual"):
                for parameter in model.encoders[modality].parameters():
                    assert parameter.grad.count_nonzero() > 0
        else:
            assert not terms[name].requires_grad
        assert terms[name].item() > 0


def test_perturbation_reaches_the_encoders_in_the_paper_only(
    data: HeteroData, batch: Batch
) -> None:
    model = MENTOR.from_data(data, only("paper", perturb_weight=1.0))
    own = {"encoders.visual", "encoders.textual", "fusion"}
    assert moved_by(model, model.loss(data, *batch)["perturb"]) == own
    for modality in ("visual", "textual"):
        for parameter in model.encoders[modality].parameters():
            assert parameter.grad.count_nonzero() > 0
    model = MENTOR.from_data(data, only("released", perturb_weight=1.0))
    term = model.loss(data, *batch)["perturb"]
    assert moved_by(model, term) == {"perturbed_encoders", "fusion"}
    assert all(p.grad.count_nonzero() > 0 for p in model.perturbed_encoders.parameters())


def test_nothing_else_moves_the_perturbed_encoders(data: HeteroData, batch: Batch) -> None:
    model = MENTOR.from_data(data, MENTORConfig(semantics="released"))
    terms = model.loss(data, *batch)
    rest = torch.stack([terms[name] for name in ("bpr", "reg", "align", "mask")]).sum()
    assert moved_by(model, rest) == {
        "encoders.visual",
        "encoders.textual",
        "encoders.id",
        "item_embedding",
        "fusion",
    }


def test_alignment_reaches_every_view(semantics: Semantics, data: HeteroData, batch: Batch) -> None:
    model = MENTOR.from_data(data, only(semantics, align_weight=0.1))
    moved = moved_by(model, model.loss(data, *batch)["align"])
    encoders = {f"encoders.{view}" for view in ("visual", "textual", "id")}
    assert moved == encoders | {"item_embedding", "fusion"}


def test_penalty_is_on_modalities_alone(
    semantics: Semantics, data: HeteroData, batch: Batch
) -> None:
    model = MENTOR.from_data(data, only(semantics, reg_weight=1.0))
    terms = model.loss(data, *batch)
    expected = model.fusion.user_modality_weight().square().mean()
    for modality in ("visual", "textual"):
        rows = model.encoders[modality].user_preference[batch.user]
        expected = expected + rows.square().mean()
    torch.testing.assert_close(terms["reg"], expected)
    moved = moved_by(model, terms["reg"])
    assert moved - {"fusion"} == {"encoders.visual", "encoders.textual"}


@pytest.mark.parametrize(("semantics", "log_base"), [("paper", torch.e), ("released", 2)])
def test_base_of_the_logarithm(
    semantics: Semantics, log_base: float, data: HeteroData, batch: Batch
) -> None:
    model = MENTOR.from_data(data, MENTORConfig(semantics=semantics))
    reps = model.encode(data)
    scores = (reps.pair_scores(batch.user, i) for i in (batch.pos_item, batch.neg_item))
    terms = model.loss(data, *batch)
    torch.testing.assert_close(terms["bpr"], bpr_loss(*scores) / math.log(log_base))


def test_statistics_are_a_setting_of_either(semantics: Semantics, data: HeteroData) -> None:
    assert MENTORConfig(semantics=semantics).statistics == "scalar"
    for given in ("dimension", "scalar"):
        model = MENTOR.from_data(data, MENTORConfig(semantics=semantics, statistics=given))
        assert model.alignment.statistics == given


def test_softmax_takes_the_place_of_bpr(
    semantics: Semantics, data: HeteroData, batch: Batch
) -> None:
    config = MENTORConfig(semantics=semantics, ranking_loss="softmax", id_in_score=True)
    terms = MENTOR.from_data(data, config).loss(data, *batch)
    assert set(terms) == {"softmax", "reg", "align", "mask", "perturb"}
    assert all(term.isfinite() for term in terms.values())


def test_user_modality_weights(data: HeteroData, batch: Batch) -> None:
    for name, stays in (("paper", True), ("released", False)):
        model = MENTOR.from_data(data, MENTORConfig(semantics=name))
        one = torch.ones(model.num_users)
        weights = model.fusion.user_modality_weight()
        torch.testing.assert_close(weights.sum(dim=1), one)
        assert (weights > 0).all()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            torch.stack(list(model.loss(data, *batch).values())).sum().backward()
            optimizer.step()
        total = model.fusion.user_modality_weight().sum(dim=1)
        assert torch.allclose(total, one, atol=1e-6) == stays


def test_self_edges_in_the_released_item_graph_only(data: HeteroData) -> None:
    paper, released = (item_graph(data, s) for s in ("paper", "released"))
    assert (paper.diagonal() == 0).all()
    assert (released.diagonal() > 0).all()
    for matrix in (paper, released):
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(len(matrix)))


def test_item_graph_of_the_semantics_is_used(semantics: Semantics, data: HeteroData) -> None:
    config = MENTORConfig(semantics=semantics)
    model = MENTOR.from_data(data, config)
    plain = MENTOR.from_data(data, MENTORConfig(semantics=semantics, item_graph=False))
    plain.load_state_dict(model.state_dict())
    before, after = plain.encode(data), model.encode(data)
    matrix = item_graph(data, semantics)
    for view in after.views:
        expected = before.item[view] + matrix @ before.item[view]
        torch.testing.assert_close(after.item[view], expected)


def test_released_alignment_is_of_scalars(data: HeteroData, batch: Batch) -> None:
    """One mean and variance over users and items; narrow views stand beside their copy."""
    model = MENTOR.from_data(data, MENTORConfig(semantics="released"))
    reps: Representations = model.encode(data)
    nodes = {
        view: reps.nodes(view) if view == "fused" else reps.nodes(view).repeat(1, 2)
        for view in reps.views
    }

    def cost(a: str, b: str) -> Tensor:
        x, y = nodes[a].double(), nodes[b].double()
        return (x.mean() - y.mean()).abs() + (x.var() - y.var()).abs()

    pairs = [("id", "fused"), ("id", "visual"), ("id", "textual")]
    pairs += [("fused", "visual"), ("fused", "textual"), ("visual", "textual")]
    expected = 0.1 * torch.stack([cost(a, b) for a, b in pairs]).sum()
    actual = model.loss(data, *batch)["align"].double()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-8)


def test_only_released_has_perturbed_encoders(data: HeteroData) -> None:
    paper, released = (
        dict(MENTOR.from_data(data, MENTORConfig(semantics=s)).named_parameters())
        for s in ("paper", "released")
    )
    extra = {name for name in released if name not in paper}
    assert set(paper) < set(released)
    assert {name.split(".")[0] for name in extra} == {"perturbed_encoders"}
    assert {".".join(name.split(".")[1:3]) for name in extra} == {
        f"{view}.{modality}" for view in ("view_a", "view_b") for modality in ("visual", "textual")
    }
