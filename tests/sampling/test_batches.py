import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, num_items
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.sampling import Batch, BPRBatches, mix_seed


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


def test_an_epoch_is_a_function_of_seed_and_epoch(data: HeteroData) -> None:
    batches = BPRBatches(data, 64, seed=5)
    first = whole_epoch(batches)
    batches.set_epoch(7)
    torch.manual_seed(0)
    seventh = whole_epoch(batches)
    batches.set_epoch(0)
    assert torch.equal(whole_epoch(batches), first)
    # A resumed run, with another history and batch size.
    resumed = BPRBatches(data, 100, seed=5)
    resumed.set_epoch(7)
    torch.manual_seed(1)
    assert torch.equal(whole_epoch(resumed), seventh)
    assert not torch.equal(first, seventh)
    assert not torch.equal(whole_epoch(BPRBatches(data, 64, seed=6)), first)


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
