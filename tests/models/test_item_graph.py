import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, ITEM, SEMANTIC, USER, knn_edge_type, modalities
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.graph import Adjacency, knn_graph, merge_item_graphs, normalize_rows
from mentor_pyg.models import COHESION, FREEDOM, MENTOR, PGL, MENTORConfig, Model
from mentor_pyg.models.item_graph import merged_item_adjacency
from mentor_pyg.models.modalities import similar_items
from mentor_pyg.transforms import ItemKNNGraph

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
        store.k, store.merge_weight = K, weight
        data[ITEM][f"x_{modality}"] = x
        graphs[modality] = (store.edge_index, normalize_rows(store.edge_index, ITEMS))
    store = data[SEMANTIC]
    store.edge_index, store.edge_weight = merge_item_graphs(graphs, WEIGHTS, ITEMS)
    return data


def released_adjacency(data: HeteroData) -> Adjacency:
    return merged_item_adjacency(data, self_neighbours=True, eps=1e-7)


def dense(edge_index: Tensor, weight: Tensor, size: int = ITEMS) -> Tensor:
    """Return the matrix with targets as rows; parallel edges add up."""
    out = torch.zeros(size, size, dtype=weight.dtype)
    return out.index_put((edge_index[1], edge_index[0]), weight, accumulate=True)


def test_by_default_it_is_the_merged_graph(data: HeteroData) -> None:
    adjacency = merged_item_adjacency(data)
    store = data[SEMANTIC]
    assert torch.equal(adjacency.to_dense(), dense(store.edge_index, store.edge_weight))
    torch.testing.assert_close(adjacency.to_dense().sum(dim=1), torch.ones(ITEMS))


@pytest.mark.parametrize("k", [1, 2, K])
def test_released_graph_has_self_edges_and_the_first_neighbours(data: HeteroData, k: int) -> None:
    expected = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for modality, weight in WEIGHTS.items():
        x = data[ITEM][f"x_{modality}"]
        store = data[knn_edge_type(modality)]
        store.edge_index, store.edge_weight = knn_graph(x, k)
        unit = torch.nn.functional.normalize(x.double())
        similarity = (unit @ unit.t()).fill_diagonal_(torch.inf)  # Itself first, then k - 1 others.
        nearest = similarity.topk(k, dim=1).indices
        expected += torch.zeros_like(expected).scatter(1, nearest, weight / (k + 1e-7))
    adjacency = released_adjacency(data)
    torch.testing.assert_close(adjacency.to_dense().double(), expected, rtol=1e-6, atol=0)
    assert (adjacency.to_dense().diagonal() > 0).all()


def test_released_graph_does_not_depend_on_the_order_of_edges(data: HeteroData) -> None:
    expected = released_adjacency(data).to_dense()
    for modality in WEIGHTS:
        store = data[knn_edge_type(modality)]
        perm = torch.randperm(store.edge_index.size(1))
        store.edge_index, store.edge_weight = store.edge_index[:, perm], store.edge_weight[perm]
    torch.testing.assert_close(released_adjacency(data).to_dense(), expected)


def test_rows_are_divided_by_neighbours_and_eps(data: HeteroData) -> None:
    adjacency = merged_item_adjacency(data, self_neighbours=True, eps=1.0)
    expected = torch.full((ITEMS,), K / (K + 1))
    torch.testing.assert_close(adjacency.to_dense().sum(dim=1), expected)


def test_released_item_graph_is_coalesced(data: HeteroData) -> None:
    adjacency = released_adjacency(data)
    edges = torch.stack([adjacency.col, adjacency.target])
    assert edges.unique(dim=1).size(1) == edges.size(1) == adjacency.weight.numel()


def test_with_itself_it_is_merged_anew_unless_it_is_ones_own(data: HeteroData) -> None:
    adjacency = merged_item_adjacency(data, self_neighbours=True)
    assert (adjacency.to_dense().diagonal() > 0).all()
    torch.testing.assert_close(adjacency.to_dense().sum(dim=1), torch.ones(ITEMS))
    for modality in WEIGHTS:
        del data[knn_edge_type(modality)].merge_weight
    adjacency = merged_item_adjacency(data, self_neighbours=True)
    assert torch.equal(adjacency.to_dense(), merged_item_adjacency(data).to_dense())


def test_released_graph_takes_the_graphs_that_are_there(data: HeteroData) -> None:
    data[ITEM].x_audio = torch.rand(ITEMS, 2)  # Without a graph of its own.
    assert "audio" in modalities(data)
    adjacency = released_adjacency(data)
    assert adjacency.num_edges > 0
    assert knn_edge_type("audio") not in data.edge_types


def prepared_items(cls: type[Model], config: object, data: HeteroData) -> Tensor:
    return cls.from_data(data, config).prepare(data).graphs["item"].to_dense()


SELF_NEIGHBOURS = [
    (MENTOR, MENTORConfig(semantics="released")),
    *((cls, None) for cls in (FREEDOM, PGL, COHESION)),
]


@pytest.mark.parametrize(("cls", "config"), SELF_NEIGHBOURS)
def test_neighbours_of_ones_own_stay(
    cls: type[Model], config: object, tiny_data: HeteroData
) -> None:
    tiny_data[ITEM].pop("x_textual")
    own = tiny_data[knn_edge_type("visual")]
    own.edge_index = torch.tensor([[1, 0, 5], [0, 1, 1]])  # Without weights, which are ones then.
    expected = torch.zeros(80, 80)
    expected[0, 1], expected[1, 0], expected[1, 5] = 1, 0.5, 0.5
    torch.testing.assert_close(prepared_items(cls, config, tiny_data), expected)


@pytest.mark.parametrize(("cls", "config"), [*SELF_NEIGHBOURS, (MENTOR, None)])
def test_a_merged_graph_of_ones_own_stays(
    cls: type[Model], config: object, tiny_data: HeteroData
) -> None:
    own = tiny_data[SEMANTIC]
    own.edge_index = torch.tensor([[1, 0], [0, 7]])
    expected = torch.zeros(80, 80)
    expected[0, 1] = expected[7, 0] = 1
    assert torch.equal(prepared_items(cls, config, tiny_data), expected)
    own.edge_weight = torch.tensor([2.0, 3.0])
    expected[0, 1], expected[7, 0] = 2, 3
    assert torch.equal(prepared_items(cls, config, tiny_data), expected)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_items_are_their_own_neighbours_beside_all_others_where_there_are_few(count: int) -> None:
    data = SyntheticMultimodal("tiny")[0].clone()
    has = torch.arange(80) < count
    data[ITEM].has_visual, data[ITEM].x_visual = has, data[ITEM].x_visual * has.unsqueeze(1)
    ready = ItemKNNGraph(4, ["visual"], cache=False)(data)
    found = similar_items(ready, "visual")
    k = min(4, count)
    expected = knn_graph(data[ITEM].x_visual, k, has, loop=True)
    assert {*map(tuple, found[0].t().tolist())} == {*map(tuple, expected[0].t().tolist())}
    torch.testing.assert_close(found[1].sort().values, expected[1].sort().values)
