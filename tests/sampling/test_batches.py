import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, num_items
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.sampling import BATCHES, Batch, BPRBatches, UserBatch, UserBatches, mix_seed


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny", modalities=())[0]


def whole_epoch(batches: BPRBatches) -> Tensor:
    return torch.cat([torch.stack(batch) for batch in batches], dim=1)  # [3, num_train]


@pytest.mark.parametrize("batch_size", [1, 50, 383, 384, 385, 2048])
def test_every_interaction_once_per_epoch(data: HeteroData, batch_size: int) -> None:
    edge_index = data[INTERACTS].edge_index
    batches = BPRBatches(data, batch_size, seed=3)
    sizes = [batch.user.numel() for batch in batches]
    assert len(batches) == len(sizes) == -(-384 // batch_size)
    assert all(size == batch_size for size in sizes[:-1])
    assert 0 < sizes[-1] <= batch_size
    user, pos_item, _ = whole_epoch(batches)
    key = user * num_items(data) + pos_item
    assert torch.equal(key.sort().values, (edge_index[0] * num_items(data) + edge_index[1]))
    assert not torch.equal(user, edge_index[0])


def test_batches_have_names_and_negatives(data: HeteroData) -> None:
    seen = set(map(tuple, data[INTERACTS].edge_index.t().tolist()))
    for batch in BPRBatches(data, 100):
        assert isinstance(batch, Batch)
        assert batch.user.shape == batch.pos_item.shape == batch.neg_item.shape
        assert seen.isdisjoint(zip(batch.user.tolist(), batch.neg_item.tolist(), strict=True))


@pytest.mark.parametrize("batch_size", [1, 16, 59, 60, 61, 512])
def test_every_user_once_per_epoch_with_all_interactions(data: HeteroData, batch_size: int) -> None:
    edge_index = data[INTERACTS].edge_index
    seen = set(map(tuple, edge_index.t().tolist()))
    batches = UserBatches(data, batch_size, seed=3)
    epoch = list(batches)
    assert len(batches) == len(epoch) == -(-60 // batch_size)
    users = []
    for batch in epoch:
        assert isinstance(batch, UserBatch)
        assert batch.user.shape == batch.pos_item.shape == batch.neg_item.shape
        assert seen.isdisjoint(zip(batch.user.tolist(), batch.neg_item.tolist(), strict=True))
        groups = batch.user.unique_consecutive().tolist()
        assert len(groups) == len(set(groups)) == min(batch_size, 60 - len(users))
        users += groups
    assert sorted(users) == list(range(60))
    assert users != sorted(users)
    user, pos_item, _ = whole_epoch(batches)
    pairs = list(zip(user.tolist(), pos_item.tolist(), strict=True))
    assert len(pairs) == len(seen)
    assert set(pairs) == seen


def test_users_without_interactions_are_in_no_batch(data: HeteroData) -> None:
    # In no order, and user 0 and 59 have none left.
    data, edge_index = data.clone(), data[INTERACTS].edge_index.flip(1)
    kept = (edge_index[0] > 0) & (edge_index[0] < 59)
    data[INTERACTS].edge_index = edge_index[:, kept]
    users = [batch.user.unique() for batch in UserBatches(data, 29)]
    assert [len(group) for group in users] == [29, 29]
    assert torch.equal(torch.cat(users).sort().values, torch.arange(1, 59))


def test_what_batches_are_made_of_has_names() -> None:
    assert dict(BATCHES) == {"interactions": BPRBatches, "users": UserBatches}


@pytest.mark.parametrize("batches_of", [BPRBatches, UserBatches])
def test_an_epoch_is_a_function_of_seed_and_epoch(
    data: HeteroData, batches_of: type[BPRBatches]
) -> None:
    batches = batches_of(data, 32, seed=5)
    first = whole_epoch(batches)
    batches.set_epoch(7)
    torch.manual_seed(0)
    seventh = whole_epoch(batches)
    batches.set_epoch(0)
    assert torch.equal(whole_epoch(batches), first)
    # A resumed run, with another history and batch size.
    resumed = batches_of(data, 50, seed=5)
    resumed.set_epoch(7)
    torch.manual_seed(1)
    assert torch.equal(whole_epoch(resumed), seventh)
    assert not torch.equal(first, seventh)
    assert not torch.equal(whole_epoch(batches_of(data, 32, seed=6)), first)


def test_global_generator_is_left_alone(data: HeteroData) -> None:
    before = torch.get_rng_state()
    whole_epoch(BPRBatches(data, 64))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_two_epochs_share_a_stream() -> None:
    # The CPU's generator reads the low 32 bits of its seed.
    seeds = {mix_seed(seed, epoch) % 2**32 for seed in range(50) for epoch in range(1000)}
    assert len(seeds) == 50 * 1000


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_batch_size(data: HeteroData, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"'batch_size' needs to be at least 1 .got {batch_size}"):
        BPRBatches(data, batch_size)
