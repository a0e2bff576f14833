"""What the CPU gives, a GPU gives too."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, num_items, num_users
from mentor_pyg.evaluation import (
    LIST_METRICS,
    METRICS,
    full_ranking,
    items_by_popularity,
    per_user_metrics,
    recall_by_item_group,
)
from mentor_pyg.graph import Adjacency, knn_graph
from mentor_pyg.models import MENTOR, MENTORConfig
from mentor_pyg.ops import BACKENDS, Noise, propagate, propagate_layers
from mentor_pyg.sampling import BPRBatches, UniformNegativeSampler

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def graph(name: str, data: HeteroData) -> Adjacency:
    config = MENTORConfig(semantics="released")
    return MENTOR.from_data(data, config).prepare(data).graphs[name]


def value_and_gradient(out: Tensor, x: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(out, x, seed.to(out.device))
    return out.detach().cpu(), gradient.cpu()


@pytest.mark.parametrize("name", ["interaction", "item"])
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_propagation(backend: str, name: str, data: HeteroData, tiny_data: HeteroData) -> None:
    adjacency, on_cpu = graph(name, data), graph(name, tiny_data)
    x = torch.randn(on_cpu.num_sources, 33, requires_grad=True)
    seed = torch.randn(on_cpu.num_targets, 33)
    there = x.detach().cuda().requires_grad_()
    if backend != "auto" and (reason := BACKENDS[backend].unavailable(adjacency, there)):
        pytest.skip(reason)
    got = value_and_gradient(propagate(adjacency, there, backend), there, seed)
    expected = value_and_gradient(propagate(on_cpu, x, "naive"), x, seed)
    torch.testing.assert_close(got, expected)

    u = torch.rand(on_cpu.num_targets, 33)
    layers = propagate_layers(adjacency, there, 2, [Noise(0.1, u.cuda()), None], backend)
    got = value_and_gradient(layers, there, seed)
    layers = propagate_layers(on_cpu, x, 2, [Noise(0.1, u), None], "naive")
    torch.testing.assert_close(got, value_and_gradient(layers, x, seed))


@pytest.mark.parametrize("backend", BACKENDS)
def test_propagation_by_trained_weights(
    backend: str, data: HeteroData, tiny_data: HeteroData
) -> None:
    found = []
    for adjacency, name in ((graph("items", tiny_data), "naive"), (graph("items", data), backend)):
        weight = adjacency.weight.detach().clone().requires_grad_()
        x = torch.linspace(-1, 1, adjacency.num_sources * 33, device=weight.device).view(-1, 33)
        if reason := BACKENDS[name].unavailable(adjacency, x):
            pytest.skip(reason)
        out = propagate_layers(adjacency.with_weight(weight), x, 2, backend=name)
        (gradient,) = torch.autograd.grad(out.square().sum(), weight)
        found.append((out.detach().cpu(), gradient.cpu()))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_neighbours() -> None:
    x = torch.randn(200, 16)
    edge_index, similarity = knn_graph(x, 5)
    found_index, found_similarity = knn_graph(x.cuda(), 5)
    torch.testing.assert_close(found_similarity.cpu(), similarity)
    assert torch.equal(found_index.cpu(), edge_index)


def test_ranking(data: HeteroData, tiny_data: HeteroData) -> None:
    user, item = torch.randn(num_users(data), 8), torch.randn(num_items(data), 8)
    reps = Representations({"fused": user}, {"fused": item})
    there = Representations({"fused": user.cuda()}, {"fused": item.cuda()})
    metrics = (*METRICS, *LIST_METRICS)
    expected = full_ranking(reps, tiny_data, "test", k=(5, 10), metrics=metrics)
    found = full_ranking(there, data, "test", k=(5, 10), metrics=metrics)
    assert found == pytest.approx(expected)
    values = per_user_metrics(reps, tiny_data)
    for key, value in per_user_metrics(there, data).items():
        torch.testing.assert_close(value.cpu(), values[key])
    group = items_by_popularity(tiny_data, (1, 4))
    recall = recall_by_item_group(reps, tiny_data, group)
    for key, value in recall_by_item_group(there, data, group).items():
        torch.testing.assert_close(value.cpu(), recall[key], equal_nan=True)


def test_negatives(data: HeteroData) -> None:
    edges = data[INTERACTS].edge_index
    sampler = UniformNegativeSampler(edges, num_users(data), num_items(data))
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        drawn.append(sampler.sample(edges[0]))
    assert torch.equal(*drawn)
    assert drawn[0].device == edges.device
    pairs = edges[0] * num_items(data) + drawn[0]
    assert not torch.isin(pairs, edges[0] * num_items(data) + edges[1]).any()


@pytest.mark.parametrize("semantics", ["paper", "released"])
@pytest.mark.parametrize("contrast", ["full", "batch"])
def test_a_step_without_random_terms(
    semantics: str, contrast: str, data: HeteroData, tiny_data: HeteroData
) -> None:
    settings = {"mask_weight": 0.0, "noise_scale": 0.0, "perturb_weight": 0.1}
    config = MENTORConfig.from_dict({**settings, "semantics": semantics, "contrast": contrast})
    model = MENTOR.from_data(tiny_data, config)
    there = MENTOR.from_data(tiny_data, config).cuda()
    there.load_state_dict(model.state_dict())
    batch = next(iter(BPRBatches(tiny_data)))
    terms = model.loss(tiny_data, *batch)
    found = there.loss(data, *(ids.cuda() for ids in batch))
    assert {k: v.item() for k, v in found.items()} == pytest.approx(
        {k: v.item() for k, v in terms.items()}, rel=1e-4
    )
    sum(terms.values()).backward()
    sum(found.values()).backward()
    for name, parameter in model.named_parameters():
        gradient = there.get_parameter(name).grad
        assert (gradient is None) == (parameter.grad is None), name
        if gradient is not None:
            torch.testing.assert_close(gradient.cpu(), parameter.grad, rtol=1e-3, atol=1e-6)
