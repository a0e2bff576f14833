"""Full ranking of all test users, beside its product alone and plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from cases import Case, Setting, Work
from counts import dense_gbyte, ranking_gflop
from dataset import load
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, edge_label_index
from mentor_pyg.evaluation import METRICS, full_ranking

__all__ = ["cases", "interaction_lists", "naive_ranking"]

_WIDTH = 128
_BLOCK = 1024
_FEW = 256
_K = 20


def cases(setting: Setting) -> list[Case]:
    """Return the ranking of all test users with one metric and with all."""
    every = f"all test users, width {_WIDTH}, {len(METRICS)} metrics @10 and @20"
    one = f"all test users, width {_WIDTH}, recall@20"
    few = min(_FEW, setting.num_users)
    return [
        Case("ranking", one, "full_ranking", partial(_full_ranking, (_K,), ("recall",))),
        Case("ranking", one, "product alone", _product),
        Case("ranking", one, f"naive, estimated from {few} users", _naive),
        Case("ranking", every, "full_ranking", partial(_full_ranking, (10, 20), tuple(METRICS))),
    ]


def _representations(setting: Setting) -> Representations:
    shape = {"user": setting.num_users, "item": setting.num_items}
    user, item = (
        {"fused": torch.randn(count, _WIDTH, device=setting.device)} for count in shape.values()
    )
    return Representations(user, item)


def _full_ranking(k: tuple[int, ...], metrics: tuple[str, ...], setting: Setting) -> Work:
    data, reps = load(setting), _representations(setting)

    def run() -> dict[str, float]:
        return full_ranking(reps, data, "test", k=k, metrics=metrics)

    def check(_: object) -> str:
        users = _test_users(data)[:_FEW]
        few = data.clone()
        label = edge_label_index(data, "test")
        kept = torch.isin(label[0], torch.tensor(users, device=label.device))
        few[INTERACTS].test_edge_label_index = label[:, kept]
        got = full_ranking(reps, few, "test", k=_K, metrics=("recall", "ndcg"))
        expected = naive_ranking(reps, *interaction_lists(few), users, _K)
        for key, value in expected.items():
            assert abs(got[key] - value) < 1e-6, f"{key} is {got[key]}, not {value}"
        return f"recall and ndcg of {len(users)} users against plain Python in float64"

    return _counted(Work(run, check), data, setting)


def _product(setting: Setting) -> Work:
    data, reps = load(setting), _representations(setting)
    users = torch.tensor(_test_users(data), device=setting.device)
    user, item = reps.user["fused"][users], reps.item["fused"]
    buffer = item.new_empty(min(_BLOCK, len(user)), len(item))

    def run() -> None:
        for part in user.split(_BLOCK):
            torch.mm(part, item.t(), out=buffer[: len(part)])

    return _counted(Work(run, lambda _: "nothing: a bound, not a result"), data, setting)


def _naive(setting: Setting) -> Work:
    data, reps = load(setting), _representations(setting)
    users = _test_users(data)
    lists = interaction_lists(data)

    def run() -> object:
        return naive_ranking(reps, *lists, users[:_FEW], _K)

    scale = len(users) / min(_FEW, len(users))
    return Work(run, lambda _: "nothing: it is the reference", scale=scale)


def interaction_lists(data: HeteroData) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """Return the items that users have seen in training, and those that test holds for them."""
    return _lists(data[INTERACTS].edge_index), _lists(edge_label_index(data, "test"))


def naive_ranking(
    reps: Representations,
    seen: dict[int, set[int]],
    relevant: dict[int, set[int]],
    users: list[int],
    k: int,
) -> dict[str, float]:
    """Return recall and ndcg of some users, one user after another, in float64."""
    item = reps.item["fused"].double().cpu()
    recall = ndcg = 0.0
    for user in users:
        score = (item @ reps.user["fused"][user].double().cpu()).tolist()
        known = seen[user]
        order = sorted((-s, i) for i, s in enumerate(score) if i not in known)
        hits = [rank for rank, (_, i) in enumerate(order[:k]) if i in relevant[user]]
        ideal = range(min(k, len(relevant[user])))
        recall += len(hits) / len(relevant[user])
        ndcg += sum(1 / math.log2(r + 2) for r in hits) / sum(1 / math.log2(r + 2) for r in ideal)
    return {f"recall@{k}": recall / len(users), f"ndcg@{k}": ndcg / len(users)}


def _test_users(data: HeteroData) -> list[int]:
    """Return the users that are ranked: with test interactions, and known from training."""
    tested = edge_label_index(data, "test")[0].unique()
    known: list[int] = tested[torch.isin(tested, data[INTERACTS].edge_index[0])].tolist()
    return known


def _lists(edge_index: torch.Tensor) -> dict[int, set[int]]:
    lists: dict[int, set[int]] = {}
    for user, item in edge_index.t().tolist():
        lists.setdefault(user, set()).add(item)
    return lists


def _counted(work: Work, data: HeteroData, setting: Setting) -> Work:
    users, items = len(_test_users(data)), setting.num_items
    return replace(
        work,
        gflop=ranking_gflop(users, items, _WIDTH),
        gbyte=dense_gbyte(users * _WIDTH, items * _WIDTH),
    )
