from collections import defaultdict

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, ITEM, USER, Representations, edge_label_index
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.typing import Split


def interactions(users: int, items: int, edges: dict[str, list[tuple[int, int]]]) -> HeteroData:
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = users, items
    for split, pairs in edges.items():
        key = "edge_index" if split == "train" else f"{split}_edge_label_index"
        data[INTERACTS][key] = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t()
    return data


def representations(data: HeteroData, seed: int = 0) -> Representations:
    generator = torch.Generator().manual_seed(seed)
    user, item = (
        torch.randn(int(data[node].num_nodes), 6, generator=generator) for node in (USER, ITEM)
    )
    return Representations({"fused": user}, {"fused": item})


def by_user(edges: Tensor) -> dict[int, set[int]]:
    items = defaultdict(set)
    for user, item in edges.t().tolist():
        items[user].add(item)
    return items


def all_scores(reps: Representations) -> Tensor:
    return reps.user["fused"].double() @ reps.item["fused"].double().t()


def naive_lists(
    scores: Tensor, data: HeteroData, split: Split, k: int, keep_cold_users: bool = False
) -> dict[int, list[int]]:
    """Sort all unseen items of one user after the other; return the lists by user."""
    seen, labels = by_user(data[INTERACTS].edge_index), by_user(edge_label_index(data, split))
    score = scores.tolist()
    lists = {}
    for user in sorted(labels):
        if seen[user] or keep_cold_users:
            unseen = [i for i in range(len(score[user])) if i not in seen[user]]
            lists[user] = sorted(unseen, key=lambda item, user=user: -score[user][item])[:k]
    return lists


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """Users 3 and 40 are cold; others have up to a handful of labels."""
    data = SyntheticMultimodal("tiny", modalities=())[0]
    store = data[INTERACTS]
    warm = ~torch.isin(store.edge_index[0], torch.tensor([3, 40]))
    store.edge_index = store.edge_index[:, warm]
    store.test_edge_label_index = torch.cat(
        [store.test_edge_label_index, store.val_edge_label_index[:, ::2]], dim=1
    )
    store.val_edge_label_index = store.val_edge_label_index[:, 1::2]
    return data
