"""The checks that stand before every time notice what is wrong."""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import Case, Setting
from measure import measure
from references import (
    close,
    info_nce_in_blocks,
    info_nce_value_and_rows,
    product_rows,
    softmax_value_and_rows,
)
from suites import infonce
from suites.knn import check_neighbours
from suites.negatives import check_negatives, check_uniform
from suites.ranking import interaction_lists, naive_ranking
from suites.scaling import random_adjacency
from suites.step import check_loss, contrast_by
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, edge_label_index
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.graph import knn_graph
from mentor_pyg.losses import bpr_loss, info_nce
from mentor_pyg.models import MENTOR, MENTORConfig
from mentor_pyg.sampling import BPRBatches, UniformNegativeSampler


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (torch.tensor([1.0, 2.01]), "value: off by 4"),
        (torch.tensor([1.0, torch.nan]), "value: off by inf"),
        (torch.tensor([1.0]), "value: shape"),
    ],
)
def test_close_refuses(got: Tensor, message: str) -> None:
    expected = torch.tensor([1.0, 2.0])
    close("value", expected.clone(), expected, 1e-6)
    with pytest.raises(AssertionError, match=message):
        close("value", got, expected, 1e-3)


def test_product_rows_are_rows_of_the_dense_product() -> None:
    adjacency = random_adjacency(40, 5, "cpu")
    x, rows = torch.randn(40, 3), torch.tensor([0, 7, 39])
    expected = (adjacency.to_dense().double() @ x.double())[rows]
    torch.testing.assert_close(product_rows(adjacency, x, rows), expected)


def test_random_adjacency_is_what_it_says() -> None:
    adjacency = random_adjacency(1000, 9, "cpu")
    assert (adjacency.num_targets, adjacency.is_symmetric) == (1000, True)
    assert 8_500 < adjacency.num_edges <= 9_000


@pytest.mark.parametrize("block", [7, 1024])
def test_info_nce_references_agree_with_autograd(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("references._BLOCK", block)
    a, b = torch.randn(2, 30, 4, dtype=torch.double).unbind()
    a, b = a.requires_grad_(), b.requires_grad_()
    loss = F.cross_entropy(F.normalize(a) @ F.normalize(b).t() / 0.3, torch.arange(30))
    gradients = torch.autograd.grad(loss, (a, b))
    rows = torch.tensor([2, 29])
    found = info_nce_value_and_rows(a, b, 0.3, rows)
    torch.testing.assert_close(found, (loss.detach(), *(g[rows] for g in gradients)))
    in_blocks = info_nce_in_blocks(a, b, 0.3)
    torch.testing.assert_close(in_blocks, loss)
    torch.testing.assert_close(torch.autograd.grad(in_blocks, (a, b)), gradients)


def test_the_softmax_reference_agrees_with_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("references._BLOCK", 15)
    query = torch.randn(30, 4, dtype=torch.double, requires_grad=True)
    table = torch.randn(20, 4, dtype=torch.double, requires_grad=True)
    target = torch.arange(30) // 2
    loss = F.cross_entropy(F.normalize(query) @ F.normalize(table).t() / 0.3, target)
    of_query, of_table = torch.autograd.grad(loss, (query, table))
    queries, rows = torch.tensor([2, 29]), torch.tensor([19, 3, 0])
    found = softmax_value_and_rows(query, target, table, 0.3, queries, rows)
    torch.testing.assert_close(found, (loss.detach(), of_query[queries], of_table[rows]))


@pytest.mark.parametrize("wrong", ["value", "gradient of view a", "gradient of view b"])
def test_a_wrong_contrast_is_not_timed(
    wrong: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, loss: Tensor, a: Tensor, b: Tensor) -> Tensor:
            return 1.001 * loss if wrong == "value" and len(a) > 512 else loss.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            off = [torch.full((600, 8), 1e-3) if wrong[-1] == name else None for name in "ab"]
            return (grad, *off)

    def loss(a: Tensor, b: Tensor, *args: Any, **options: Any) -> Tensor:
        value = info_nce(a, b, *args, **options)
        # Right on the few rows that naive is compared on.
        return Wrong.apply(value, a, b) if len(a) == 600 else value

    assert measure(info_nce_case(600), setting)["status"] == "ok"
    monkeypatch.setattr("suites.infonce.info_nce", loss)
    row = measure(info_nce_case(600), setting)
    assert (row["status"], row["reason"].split(":")[0]) == ("wrong", f"{wrong} of all")


def info_nce_case(rows: int) -> Case:
    return Case("infonce", "made up", "auto", partial(infonce.prepare, rows, 8, backend="auto"))


def test_wrong_neighbours_are_noticed() -> None:
    x = torch.randn(50, 8)
    edge_index, similarity = knn_graph(x, 4)
    neighbour, similarity = edge_index[0].view(50, 4), similarity.view(50, 4)
    check_neighbours(x, neighbour, similarity)
    other = neighbour.clone()
    other[7, 3] = next(i for i in range(50) if i not in (7, *neighbour[7].tolist()))
    twice = neighbour.clone()
    twice[7, 3] = twice[7, 2]
    for wrong, values in ((other, similarity), (twice, similarity), (neighbour, similarity + 1e-3)):
        with pytest.raises(AssertionError):
            check_neighbours(x, wrong, values)


def test_wrong_negatives_are_noticed() -> None:
    edge_index = torch.tensor([[0, 0, 1], [1, 3, 4]])
    user = torch.tensor([0, 1])
    check_negatives(edge_index, user, torch.tensor([4, 1]))
    for wrong in ([3, 1], [0, 1], [4]):  # Seen by the user; by nobody; one too few.
        with pytest.raises(AssertionError):
            check_negatives(edge_index, user, torch.tensor(wrong))


def test_negatives_that_are_not_uniform_are_noticed(tiny_data: HeteroData) -> None:
    edges = tiny_data[INTERACTS].edge_index
    sampler = UniformNegativeSampler(edges, 60, 80)
    check_uniform(edges, sampler.sample)
    with pytest.raises(AssertionError, match="not uniform"):  # Less than half as often.
        check_uniform(edges, lambda user: torch.minimum(sampler.sample(user), sampler.sample(user)))
    with pytest.raises(AssertionError, match="not uniform"):
        check_uniform(edges, lambda user: sampler.sample(user[:1]).repeat(len(user)))


def test_naive_ranking_agrees_with_full_ranking(tiny_data: HeteroData) -> None:
    reps = Representations({"fused": torch.randn(60, 8)}, {"fused": torch.randn(80, 8)})
    users = edge_label_index(tiny_data, "test")[0].unique().tolist()
    expected = full_ranking(reps, tiny_data, k=5, metrics=("recall", "ndcg"))
    assert naive_ranking(reps, *interaction_lists(tiny_data), users, 5) == pytest.approx(expected)


def test_a_wrong_loss_term_is_noticed(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig())
    batch = next(iter(BPRBatches(tiny_data)))
    assert "perturb" in check_loss(model, tiny_data, batch, "auto")
    monkeypatch.setattr(
        "mentor_pyg.models.mentor.model.info_nce",
        lambda *args, **kwargs: 1.001 * info_nce(*args, **kwargs),
    )
    with pytest.raises(AssertionError, match="'perturb' is off"):
        check_loss(model, tiny_data, batch, "auto")


def test_a_wrong_gradient_of_the_loss_is_noticed(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig())
    batch = next(iter(BPRBatches(tiny_data)))

    def bpr(pos: Tensor, neg: Tensor, log_base: float) -> Tensor:
        loss = bpr_loss(pos, neg, log_base)
        return 2 * loss - loss.detach()

    right = bpr_loss
    monkeypatch.setattr("mentor_pyg.models.ranking.bpr_loss", Alternating(bpr, right))
    with pytest.raises(AssertionError, match=r"the gradient of 'encoders.*': off by"):
        check_loss(model, tiny_data, batch, "auto")


class Alternating:
    """Call one function for the model, and the other for its reference."""

    def __init__(self, *functions: Callable[..., Tensor]) -> None:
        self.functions = cycle(functions)

    def __call__(self, *args: Any) -> Tensor:
        return next(self.functions)(*args)


def test_the_naive_step_contrasts_naively(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = []
    monkeypatch.setattr(
        "suites.step.info_nce",
        lambda a, b, temperature, backend: backends.append(backend) or info_nce(a, b, temperature),
    )
    model = MENTOR.from_data(tiny_data, MENTORConfig())
    batch = next(iter(BPRBatches(tiny_data)))
    with contrast_by("naive"):
        model.loss(tiny_data, *batch)
    assert backends == ["naive", "naive"]
