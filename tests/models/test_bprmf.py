import math

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import BPRMF, BPRMFConfig


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny", modalities=())[0]


def test_representations_are_the_tables(data: HeteroData) -> None:
    model = BPRMF.from_data(data, BPRMFConfig(embedding_dim=5))
    reps = model.encode(data)
    assert reps.views == ("fused",)
    assert reps.user["fused"] is model.user_embedding
    assert reps.item["fused"] is model.item_embedding
    assert model.user_embedding.shape == (60, 5)
    assert model.item_embedding.shape == (80, 5)


def test_loss_equals_its_formula(data: HeteroData) -> None:
    model = BPRMF.from_data(data, BPRMFConfig(embedding_dim=5, reg_weight=0.3)).double()
    user, pos_item, neg_item = [4, 9, 4], [0, 1, 2], [79, 7, 79]
    bpr = reg = 0.0
    for u, i, j in zip(user, pos_item, neg_item, strict=True):
        p, q, r = model.user_embedding[u], model.item_embedding[i], model.item_embedding[j]
        margin = (p.dot(q) - p.dot(r)).item()
        bpr += math.log1p(math.exp(-margin)) / 3
        reg += sum(row.dot(row).item() for row in (p, q, r)) / 2 / 3
    terms = model.loss(data, *(torch.tensor(ids) for ids in (user, pos_item, neg_item)))
    actual = {name: term.item() for name, term in terms.items()}
    assert actual == pytest.approx({"bpr": bpr, "reg": 0.3 * reg}, rel=1e-12)


def test_gradient_is_of_the_batch_only(data: HeteroData) -> None:
    model = BPRMF.from_data(data)
    ids = [torch.tensor(rows) for rows in ([4, 9], [0, 1], [79, 7])]
    torch.stack(list(model.loss(data, *ids).values())).sum().backward()
    users = model.user_embedding.grad.any(dim=1).nonzero()[:, 0]
    items = model.item_embedding.grad.any(dim=1).nonzero()[:, 0]
    assert users.tolist() == [4, 9]
    assert items.tolist() == [0, 1, 7, 79]


def test_softmax_leaves_negatives_alone(data: HeteroData) -> None:
    model = BPRMF.from_data(data, BPRMFConfig(ranking_loss="softmax", reg_weight=0.3))
    user, pos_item = torch.tensor([[4, 9], [0, 1]])
    terms = model.loss(data, user, pos_item, torch.tensor([79, 7]))
    rows = torch.cat([model.user_embedding[user], model.item_embedding[pos_item]])
    torch.testing.assert_close(terms["reg"], 0.3 * rows.square().sum() / 4)
