"""The checks that stand before every time notice what is wrong."""

import pytest
import torch
import torch.nn.functional as F
from references import anchor_gradient, close, info_nce_in_blocks, product_rows
from suites.knn import check_neighbours
from suites.negatives import check_negatives
from suites.ranking import naive_ranking
from suites.scaling import random_adjacency
from suites.step import check_loss, contrast_by
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations, edge_label_index
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.graph import knn_graph
from mentor_pyg.losses import info_nce
from mentor_pyg.models import MENTOR, MENTORConfig
from mentor_pyg.sampling import BPRBatches


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


def test_info_nce_references_agree_with_autograd() -> None:
    a, b = torch.randn(2, 30, 4, dtype=torch.double).requires_grad_()
    loss = F.cross_entropy(F.normalize(a) @ F.normalize(b).t() / 0.3, torch.arange(30))
    (gradient,) = torch.autograd.grad(loss, a)
    rows = torch.tensor([2, 29])
    torch.testing.assert_close(anchor_gradient(a, b, 0.3, rows), gradient[rows])
    torch.testing.assert_close(info_nce_in_blocks(a, b, 0.3), loss.detach())


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


def test_naive_ranking_agrees_with_full_ranking(tiny_data: HeteroData) -> None:
    reps = Representations({"fused": torch.randn(60, 8)}, {"fused": torch.randn(80, 8)})
    users = edge_label_index(tiny_data, "test")[0].unique().tolist()
    expected = full_ranking(reps, tiny_data, k=5, metrics=("recall", "ndcg"))
    assert naive_ranking(reps, tiny_data, users, 5) == pytest.approx(expected)


def test_a_wrong_loss_term_is_noticed(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig())
    batch = next(iter(BPRBatches(tiny_data)))
    assert "perturb" in check_loss(model, tiny_data, batch, "auto")
    monkeypatch.setattr(
        "mentor_pyg.models.mentor.info_nce",
        lambda *args, **kwargs: 1.001 * info_nce(*args, **kwargs),
    )
    with pytest.raises(AssertionError, match="'perturb' is off"):
        check_loss(model, tiny_data, batch, "auto")


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
