import gc
import weakref

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    INTERACTS,
    ITEM,
    SEMANTIC,
    USER,
    knn_edge_type,
    modalities,
    resolve_modality_weights,
)
from mentor_pyg.graph import (
    Adjacency,
    interaction_adjacency,
    knn_graph,
    merge_item_graphs,
    normalize_rows,
    released_item_graph,
    semantic_adjacency,
)
from mentor_pyg.ops import propagate

USERS, ITEMS, K = 6, 12, 3
WEIGHTS = {"visual": 0.25, "textual": 0.75}


@pytest.fixture
def data() -> HeteroData:
    """The last user and the last item have no interactions."""
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = USERS, ITEMS
    interactions = (torch.rand(USERS - 1, ITEMS - 1) < 0.4).nonzero().t().contiguous()
    data[INTERACTS].edge_index = interactions
    graphs = {}
    for modality, weight in WEIGHTS.items():
        x = torch.randn(ITEMS, 4)
        store = data[knn_edge_type(modality)]
        store.edge_index, store.edge_weight = knn_graph(x, K)
        store.merge_weight = weight
        data[ITEM][f"x_{modality}"] = x
        graphs[modality] = (store.edge_index, normalize_rows(store.edge_index, ITEMS))
    store = data[SEMANTIC]
    store.edge_index, store.edge_weight = merge_item_graphs(graphs, WEIGHTS, ITEMS)
    return data


def dense(edge_index: Tensor, weight: Tensor, size: int = ITEMS) -> Tensor:
    """Return the matrix with targets as rows; parallel edges add up."""
    out = torch.zeros(size, size, dtype=weight.dtype)
    return out.index_put((edge_index[1], edge_index[0]), weight, accumulate=True)


# ---- interactions


def test_interaction_adjacency_is_the_normalised_joint_matrix(data: HeteroData) -> None:
    block = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    block[tuple(data[INTERACTS].edge_index)] = 1.0
    joint = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    joint[:USERS, USERS:], joint[USERS:, :USERS] = block, block.t()
    scale = joint.sum(dim=1).pow(-0.5).nan_to_num(posinf=0.0).diag()
    adjacency = interaction_adjacency(data)
    torch.testing.assert_close(adjacency.to_dense(), (scale @ joint @ scale).float())
    assert adjacency.is_symmetric


def test_interaction_adjacency_is_built_once(data: HeteroData) -> None:
    adjacency = interaction_adjacency(data)
    assert interaction_adjacency(data) is adjacency
    del data[ITEM].x_visual  # Nothing but the interactions matters.
    assert interaction_adjacency(data) is adjacency


def test_interaction_adjacency_follows_the_edges(data: HeteroData) -> None:
    first = interaction_adjacency(data)
    edges = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = edges.clone()
    second = interaction_adjacency(data)
    assert second is not first
    assert torch.equal(second.to_dense(), first.to_dense())
    data[INTERACTS].edge_index[:, 0] = torch.tensor([USERS - 1, ITEMS - 1])
    third = interaction_adjacency(data)
    assert third is interaction_adjacency(data)
    assert third.to_dense()[USERS - 1, -1] == 1.0
    data[ITEM].num_nodes = ITEMS + 2
    assert interaction_adjacency(data).num_targets == USERS + ITEMS + 2
    data[INTERACTS].edge_index, data[ITEM].num_nodes = edges, ITEMS
    assert interaction_adjacency(data) is first


def test_interaction_adjacency_is_freed_with_the_edges(data: HeteroData) -> None:
    gc.collect()
    gc.disable()  # It goes at once, not when the collector finds a cycle.
    try:
        adjacency = weakref.ref(interaction_adjacency(data))
        assert adjacency().transposed is adjacency()
        assert adjacency() is not None
        del data[INTERACTS].edge_index
        assert adjacency() is None
    finally:
        gc.enable()


def test_built_in_inference_mode_it_trains_all_the_same(data: HeteroData, backend: str) -> None:
    x = torch.randn(USERS + ITEMS, 3, requires_grad=True)
    with torch.inference_mode():
        propagate(interaction_adjacency(data), x, backend)
    propagate(interaction_adjacency(data), x, backend).sum().backward()
    expected = interaction_adjacency(data).to_dense().sum(dim=0)
    torch.testing.assert_close(x.grad, expected[:, None].expand(-1, 3))


def test_data_made_in_inference_mode_is_no_obstacle(data: HeteroData) -> None:
    with torch.inference_mode():
        data[INTERACTS].edge_index = data[INTERACTS].edge_index.clone()
    assert interaction_adjacency(data) is interaction_adjacency(data)


# ---- item graph


def test_paper_semantics_is_the_merged_graph(data: HeteroData) -> None:
    adjacency = semantic_adjacency(data, "paper")
    store = data[SEMANTIC]
    assert torch.equal(adjacency.to_dense(), dense(store.edge_index, store.edge_weight))
    torch.testing.assert_close(adjacency.to_dense().sum(dim=1), torch.ones(ITEMS))


@pytest.mark.parametrize("k", [1, 2, K])
def test_released_semantics_has_self_edges_and_the_first_neighbours(
    data: HeteroData, k: int
) -> None:
    expected = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for modality, weight in WEIGHTS.items():
        x = data[ITEM][f"x_{modality}"]
        store = data[knn_edge_type(modality)]
        store.edge_index, store.edge_weight = knn_graph(x, k)
        unit = torch.nn.functional.normalize(x.double())
        similarity = (unit @ unit.t()).fill_diagonal_(torch.inf)  # Itself first, then k - 1 others.
        nearest = similarity.topk(k, dim=1).indices
        expected += torch.zeros_like(expected).scatter(1, nearest, weight / (k + 1e-7))
    adjacency = semantic_adjacency(data, "released")
    torch.testing.assert_close(adjacency.to_dense().double(), expected, rtol=1e-6, atol=0)
    assert (adjacency.to_dense().diagonal() > 0).all()


def test_released_semantics_does_not_depend_on_the_order_of_edges(data: HeteroData) -> None:
    expected = semantic_adjacency(data, "released").to_dense()
    for modality in WEIGHTS:
        store = data[knn_edge_type(modality)]
        perm = torch.randperm(store.edge_index.size(1))
        store.edge_index, store.edge_weight = store.edge_index[:, perm], store.edge_weight[perm]
    torch.testing.assert_close(semantic_adjacency(data, "released").to_dense(), expected)


def test_released_semantics_without_stored_weights_takes_the_defaults(data: HeteroData) -> None:
    for modality in WEIGHTS:
        del data[knn_edge_type(modality)].merge_weight
    default = resolve_modality_weights(WEIGHTS, None)
    expected = sum(
        default[m] * (data[knn_edge_type(m)].edge_index[1] == 0).sum() / K for m in WEIGHTS
    )
    row = semantic_adjacency(data, "released").to_dense()[0]
    torch.testing.assert_close(row.sum(), expected, check_dtype=False)


def test_released_item_graph_is_coalesced(data: HeteroData) -> None:
    edge_index, weight = released_item_graph(data)
    assert edge_index.unique(dim=1).size(1) == edge_index.size(1) == weight.numel()


def test_released_semantics_takes_the_graphs_that_are_there(data: HeteroData) -> None:
    data[ITEM].x_audio = torch.rand(ITEMS, 2)  # Without a graph of its own.
    assert "audio" in modalities(data)
    adjacency = semantic_adjacency(data, "released")
    assert adjacency.num_edges > 0
    assert knn_edge_type("audio") not in data.edge_types


def test_semantic_adjacency_is_built_once_per_semantics(data: HeteroData) -> None:
    paper, released = semantic_adjacency(data, "paper"), semantic_adjacency(data, "released")
    assert paper is not released
    assert semantic_adjacency(data, "paper") is paper
    assert semantic_adjacency(data, "released") is released


@pytest.mark.parametrize("attribute", ["edge_index", "edge_weight"])
def test_paper_semantics_follows_edges_and_weights(data: HeteroData, attribute: str) -> None:
    first = semantic_adjacency(data, "paper")
    store = data[SEMANTIC]
    store[attribute] = store[attribute].flip(0)
    second = semantic_adjacency(data, "paper")
    assert torch.equal(second.to_dense(), dense(store.edge_index, store.edge_weight))
    assert not torch.equal(second.to_dense(), first.to_dense())
    store.edge_weight.mul_(2)
    assert torch.equal(semantic_adjacency(data, "paper").to_dense(), 2 * second.to_dense())


def test_released_semantics_follows_graphs_and_merge_weights(data: HeteroData) -> None:
    def fresh() -> Tensor:
        return dense(*released_item_graph(data))

    built = [semantic_adjacency(data, "released")]
    store = data[knn_edge_type("textual")]
    store.merge_weight = 0.5
    built.append(semantic_adjacency(data, "released"))
    assert torch.equal(built[-1].to_dense(), fresh())
    store.edge_index = knn_graph(torch.randn(ITEMS, 4), K)[0]
    built.append(semantic_adjacency(data, "released"))
    assert torch.equal(built[-1].to_dense(), fresh())
    assert len({id(adjacency) for adjacency in built}) == 3


def test_semantic_adjacency_says_what_is_missing(data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"'semantics' needs to be .* \(got 'published'\)"):
        semantic_adjacency(data, "published")  # type: ignore[arg-type]
    for modality in WEIGHTS:
        del data[knn_edge_type(modality)]
    assert isinstance(semantic_adjacency(data, "paper"), Adjacency)
    with pytest.raises(ValueError, match=r"<modality>_knn.*missing.*ItemKNNGraph"):
        semantic_adjacency(data, "released")
    del data[SEMANTIC]
    with pytest.raises(ValueError, match=r"'semantic', 'item'\] is missing.*MergeItemGraphs"):
        semantic_adjacency(data, "paper")


# ---- merge


def graph_without(missing: list[int]) -> tuple[Tensor, Tensor]:
    """Return a row-normalised graph whose missing items have no edges at all."""
    present = torch.ones(ITEMS, dtype=torch.bool)
    present[missing] = False
    edge_index, _ = knn_graph(torch.randn(ITEMS, 4), K, present)
    return edge_index, normalize_rows(edge_index, ITEMS)


@pytest.mark.parametrize("weights", [(0.25, 0.75), (0.1, 0.9), (0.65, 0.15, 0.2)])
def test_merge_of_complete_graphs_is_the_weighted_sum(weights: tuple[float, ...]) -> None:
    # The last weights do not add up to one in float32, which must not show.
    by_name = {f"m{n}": weight for n, weight in enumerate(weights)}
    graphs = {name: graph_without([]) for name in by_name}
    edge_index, weight = merge_item_graphs(graphs, by_name, ITEMS)
    expected = sum(by_name[m] * dense(*graph) for m, graph in graphs.items())
    assert torch.equal(dense(edge_index, weight), expected)
    assert edge_index.unique(dim=1).size(1) == edge_index.size(1)


@pytest.mark.parametrize(
    "weights", [WEIGHTS, {"visual": 0.1, "textual": 0.9}, {"visual": 2, "textual": 1}]
)
def test_merge_scales_items_that_lack_a_modality(weights: dict[str, float]) -> None:
    lacks = {"visual": [0, 1, 2], "textual": [2, 3]}
    graphs = {modality: graph_without(items) for modality, items in lacks.items()}
    merged = dense(*merge_item_graphs(graphs, weights, ITEMS))
    visual, textual = (dense(*graphs[modality]) for modality in lacks)
    total = sum(weights.values())
    for item in range(ITEMS):
        if item == 2:
            expected = torch.zeros(ITEMS)
        elif item in lacks["visual"]:
            expected = total * textual[item]
        elif item in lacks["textual"]:
            expected = total * visual[item]
        else:
            expected = weights["visual"] * visual[item] + weights["textual"] * textual[item]
            assert torch.equal(merged[item], expected)  # To the last bit.
        torch.testing.assert_close(merged[item], expected)


def test_merge_of_one_graph_is_the_graph() -> None:
    graph = graph_without([4])
    assert torch.equal(dense(*merge_item_graphs({"a": graph}, {"a": 1.0}, ITEMS)), dense(*graph))


def test_a_modality_of_weight_zero_adds_nothing() -> None:
    graphs = {"a": graph_without([1]), "b": graph_without([])}
    merged = dense(*merge_item_graphs(graphs, {"a": 1.0, "b": 0.0}, ITEMS))
    assert torch.equal(merged, dense(*graphs["a"]))
