import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Inputs
from mentor_pyg.models import LayerGCN, LayerGCNConfig
from mentor_pyg.sampling import BPRBatches
from tests.models.dense import COLD_ITEM, COLD_USER, interaction_matrix, seeded, tiny_data_with_gaps


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """One user and one item have no train interactions."""
    return tiny_data_with_gaps(cold=True)


def reference(model: LayerGCN, edge_index: Tensor) -> tuple[Tensor, Tensor]:
    """Return users and items by the paper's equations, node by node."""
    x = torch.cat([model.user_embedding, model.item_embedding]).detach().double()
    matrix, h, total = (
        interaction_matrix(edge_index, model.num_users, model.num_items),
        x,
        torch.zeros_like(x),
    )
    for _ in range(model.config.num_layers):
        h = matrix @ h
        for n in range(len(h)):
            length = h[n].norm() * x[n].norm()
            h[n] *= h[n].dot(x[n]) / length if length > 0 else 0.0
        total = total + h
    return total[: model.num_users], total[model.num_users :]


def kept_by(inputs: Inputs) -> set[tuple[int, int]]:
    """Return the (user, item) pairs of the graph that is propagated over."""
    graph = inputs.graphs["interaction"]
    pairs = zip(graph.target.tolist(), graph.col.tolist(), strict=True)
    return {(a, b - inputs.num_users) for a, b in pairs if a < b}


@pytest.mark.parametrize("num_layers", [1, 4])
def test_ranks_by_the_refined_layers_over_all_interactions(
    data: HeteroData, num_layers: int
) -> None:
    model = LayerGCN.from_data(data, LayerGCNConfig(num_layers=num_layers, embedding_dim=7))
    user, item = reference(model, data[INTERACTS].edge_index)
    reps = model.encode(data)
    assert reps.views == ("fused",)
    torch.testing.assert_close(reps.user["fused"].double(), user, rtol=0, atol=1e-6)
    torch.testing.assert_close(reps.item["fused"].double(), item, rtol=0, atol=1e-6)
    assert not reps.user["fused"][COLD_USER].any()
    assert not reps.item["fused"][COLD_ITEM].any()


def test_loss_equals_its_formula_over_the_kept_interactions(data: HeteroData) -> None:
    config = LayerGCNConfig(embedding_dim=6, reg_weight=0.3, prune_ratio=0.4)
    model = LayerGCN.from_data(data, config)
    inputs = model.resample(model.prepare(data), 0, seeded())
    kept = torch.tensor(sorted(kept_by(inputs))).t()
    assert kept.size(1) == data[INTERACTS].edge_index.size(1) - round(
        0.4 * data[INTERACTS].edge_index.size(1)
    )
    user, item = reference(model, kept)
    batch = next(iter(BPRBatches(data, 5)))
    bpr = reg = 0.0
    for u, i, j in zip(*(ids.tolist() for ids in batch), strict=True):
        margin = (user[u].dot(item[i]) - user[u].dot(item[j])).item()
        bpr += math.log1p(math.exp(-margin)) / 5
        for row in (model.user_embedding[u], model.item_embedding[i], model.item_embedding[j]):
            reg += 0.3 * row.dot(row).item() / 2 / 5
    terms = model.loss(inputs, *batch)
    actual = {name: term.item() for name, term in terms.items()}
    assert actual == pytest.approx({"bpr": bpr, "reg": reg}, rel=1e-5)


def test_an_epoch_keeps_its_own_interactions(data: HeteroData) -> None:
    model = LayerGCN.from_data(data, LayerGCNConfig(prune_ratio=0.3))
    inputs = model.prepare(data)
    everything = kept_by(inputs)
    first, again, other = (
        kept_by(model.resample(inputs, epoch, seeded(seed)))
        for epoch, seed in ((0, 5), (1, 5), (1, 6))
    )
    assert first == again != other
    assert first < everything
    assert kept_by(inputs) == everything


def test_pruning_takes_edges_between_popular_nodes_first() -> None:
    # Item 0 is everybody's; each user has an item of their own besides.
    users = 200
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = users, users + 1
    user = torch.arange(users)
    data[INTERACTS].edge_index = torch.stack(
        [torch.cat([user, user]), torch.cat([torch.zeros_like(user), user + 1])]
    )
    popular = {}
    for pruning in ("degree", "uniform", "alternate"):
        model = LayerGCN.from_data(data, LayerGCNConfig(prune_ratio=0.5, pruning=pruning))
        for epoch in (0, 1):
            kept = kept_by(model.resample(model.prepare(data), epoch, seeded(epoch)))
            popular[pruning, epoch] = sum(item == 0 for _, item in kept)
    by_degree = [popular["degree", 0], popular["degree", 1], popular["alternate", 0]]
    uniform = [popular["uniform", 0], popular["uniform", 1], popular["alternate", 1]]
    assert max(by_degree) < 60 < 80 < min(uniform)


def test_without_pruning_the_inputs_stay(data: HeteroData) -> None:
    model = LayerGCN.from_data(data, LayerGCNConfig(prune_ratio=0.0))
    inputs = model.prepare(data)
    assert model.resample(inputs, 0, seeded()) is inputs


def test_defaults() -> None:
    config = LayerGCNConfig()
    assert (config.embedding_dim, config.num_layers, config.reg_weight) == (64, 4, 1e-3)
    assert (config.prune_ratio, config.pruning) == (0.1, "degree")


def test_refuses_settings() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 1 \(got 0\)"):
        LayerGCNConfig(num_layers=0)
    with pytest.raises(ValueError, match=r"'prune_ratio' needs to be in \[0, 1\) \(got 1\.0\)"):
        LayerGCNConfig(prune_ratio=1.0)
