import copy

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import DatasetAdapter
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import INTERACTS, REV_INTERACTS, validate_data
from mentor_pyg.transforms import JoinSplits, RandomInteractionSplit

DEGREES = [0, 1, 2, 3, 10, 25]


def unsplit_data() -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = len(DEGREES), 30
    item = [torch.randperm(30, generator=generator)[:degree] for degree in DEGREES]
    user = torch.arange(len(DEGREES)).repeat_interleave(torch.tensor(DEGREES))
    edge_index = torch.stack([user, torch.cat(item)])
    edge_index = edge_index[:, torch.randperm(user.numel(), generator=generator)]
    data[INTERACTS].edge_index = edge_index
    data[INTERACTS].rating = (100 * edge_index[0] + edge_index[1]).float()
    return data


def counts(data: HeteroData) -> list[list[int]]:
    store = data[INTERACTS]
    splits = (store.edge_index, store.val_edge_label_index, store.test_edge_label_index)
    return [torch.bincount(x[0], minlength=len(DEGREES)).tolist() for x in splits]


@pytest.mark.parametrize(
    ("val_ratio", "test_ratio", "val", "test"),
    [
        (0.1, 0.1, [0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2]),
        (0.3, 0.2, [0, 0, 0, 1, 3, 7], [0, 0, 0, 1, 2, 5]),
        (0.0, 0.1, [0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 2]),
        (0.8, 0.1, [0, 0, 1, 1, 8, 20], [0, 0, 0, 1, 1, 2]),
    ],
)
def test_counts_per_user(
    val_ratio: float, test_ratio: float, val: list[int], test: list[int]
) -> None:
    data = RandomInteractionSplit(val_ratio, test_ratio)(unsplit_data())
    train = [d - v - t for d, v, t in zip(DEGREES, val, test, strict=True)]
    assert counts(data) == [train, val, test]
    validate_data(data)


def test_a_share_that_is_a_whole_number_loses_none_to_rounding() -> None:
    assert 50 * 0.58 < 29  # in floating point
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 1, 50
    data[INTERACTS].edge_index = torch.stack([torch.zeros(50, dtype=torch.long), torch.arange(50)])
    store = RandomInteractionSplit(val_ratio=0.58, test_ratio=0.1)(data)[INTERACTS]
    assert store.val_edge_label_index.size(1) == 29


def test_splits_partition_the_interactions() -> None:
    data = unsplit_data()
    store = RandomInteractionSplit()(data)[INTERACTS]
    splits = (store.edge_index, store.val_edge_label_index, store.test_edge_label_index)
    key = torch.cat(splits, dim=1)[0] * 30 + torch.cat(splits, dim=1)[1]
    expected = data[INTERACTS].edge_index[0] * 30 + data[INTERACTS].edge_index[1]
    assert torch.equal(key.sort().values, expected.sort().values)
    for split in splits:
        assert bool(((split[0] * 30 + split[1]).diff() > 0).all())
    assert torch.equal(store.rating, (100 * store.edge_index[0] + store.edge_index[1]).float())


def test_every_interaction_may_be_drawn() -> None:
    data = unsplit_data()
    drawn = torch.zeros(30)
    for seed in range(60):
        user, item = RandomInteractionSplit(seed=seed)(data)[INTERACTS].test_edge_label_index
        drawn[item[user == 4]] += 1
    assert int((drawn > 0).sum()) == 10
    assert drawn.max() < 20  # 6 expected


def test_seed_decides() -> None:
    state = torch.get_rng_state()
    first, again, other = (
        RandomInteractionSplit(seed=seed)(unsplit_data())[INTERACTS].test_edge_label_index
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_order_of_interactions_does_not_decide() -> None:
    shuffled, data = unsplit_data(), unsplit_data()
    store = data[INTERACTS]
    order = (30 * store.edge_index[0] + store.edge_index[1]).argsort()
    store.edge_index, store.rating = store.edge_index[:, order], store.rating[order]
    first, second = (RandomInteractionSplit(seed=3)(d)[INTERACTS] for d in (shuffled, data))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # What interactions in this order got from the first version on.
    assert second.val_edge_label_index.tolist() == [[3, 4, 5, 5], [7, 25, 2, 23]]
    assert second.test_edge_label_index.tolist() == [[3, 4, 5, 5], [13, 5, 14, 22]]


def test_leaves_the_input_alone_and_adds_the_reverse() -> None:
    data = unsplit_data()
    before = copy.deepcopy(data)
    out = RandomInteractionSplit()(data)
    assert str(data) == str(before)
    assert torch.equal(data[INTERACTS].edge_index, before[INTERACTS].edge_index)
    assert torch.equal(out[REV_INTERACTS].edge_index, out[INTERACTS].edge_index.flip(0))


def test_functional_name_and_repr() -> None:
    (out,) = DatasetAdapter([unsplit_data()]).random_interaction_split()
    assert "val_edge_label_index" in out[INTERACTS]
    assert (
        repr(RandomInteractionSplit(0.2, 0.3, seed=4))
        == "RandomInteractionSplit(val_ratio=0.2, test_ratio=0.3, seed=4)"
    )


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ((-0.1, 0.1), "'val_ratio'.*-0.1"),
        ((0.1, 1.0), "'test_ratio'.*1.0"),
        ((0.5, 0.5), "'val_ratio' and 'test_ratio'.*below 1"),
        ((float("nan"), 0.1), "'val_ratio'.*nan"),
    ],
)
def test_refuses_ratios(ratios: tuple[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomInteractionSplit(*ratios)


def test_refuses_split_data() -> None:
    with pytest.raises(ValueError, match=r"split already; delete"):
        RandomInteractionSplit()(RandomInteractionSplit()(unsplit_data()))


@pytest.mark.parametrize("transform", [RandomInteractionSplit(), JoinSplits()])
def test_interactions_that_are_missing_are_named(transform: BaseTransform) -> None:
    data = unsplit_data()
    del data[INTERACTS].edge_index
    with pytest.raises(ValueError, match="interacts', 'item'] has no 'edge_index'"):
        transform(data)


def test_refuses_duplicates() -> None:
    data = unsplit_data()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index.repeat(1, 2)
    del data[INTERACTS].rating
    with pytest.raises(ValueError, match=r"edge_index holds duplicates.*coalesce"):
        RandomInteractionSplit()(data)
