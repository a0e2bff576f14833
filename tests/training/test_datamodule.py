from types import SimpleNamespace

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training import InteractionDataModule


def with_trainer(data: HeteroData, epoch: int = 0) -> InteractionDataModule:
    module = InteractionDataModule(data, batch_size=100, seed=3)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    module.trainer = SimpleNamespace(strategy=strategy, current_epoch=epoch)
    module.setup("fit")
    return module


@pytest.mark.parametrize("epoch", [0, 5])
def test_batches_are_those_of_the_epoch(epoch: int, tiny_data: HeteroData) -> None:
    batches = with_trainer(tiny_data, epoch=epoch).train_dataloader()
    expected = BPRBatches(tiny_data, batch_size=100, seed=3)
    expected.set_epoch(epoch)
    assert len(batches) == 4
    for got, wanted in zip(batches, expected, strict=True):
        assert all(map(torch.equal, got, wanted))


def test_evaluation_loaders_name_the_splits(tiny_data: HeteroData) -> None:
    module = with_trainer(tiny_data)
    assert module.val_dataloader() == ["val"]
    assert module.test_dataloader() == ["test"]


def test_leaves_the_data_as_it_is(tiny_data: HeteroData) -> None:
    module = with_trainer(tiny_data)
    module.data["item"].x_new = torch.zeros(1)
    assert "x_new" not in tiny_data["item"]


def test_refuses_invalid_data(tiny_data: HeteroData) -> None:
    del tiny_data[INTERACTS].edge_index
    with pytest.raises(ValueError, match=r"edge_index is missing"):
        InteractionDataModule(tiny_data)


def test_refuses_a_user_without_negatives(tiny_data: HeteroData) -> None:
    items = torch.arange(80)
    user_7 = torch.stack([torch.full_like(items, 7), items])
    others = tiny_data[INTERACTS].edge_index
    tiny_data[INTERACTS].edge_index = torch.cat([others[:, others[0] != 7], user_7], dim=1)
    del tiny_data["item", "rev_interacts", "user"]
    with pytest.raises(ValueError, match="user 7 has interacted with all 80 items"):
        InteractionDataModule(tiny_data)


def test_refuses_a_batch_size_of_zero(tiny_data: HeteroData) -> None:
    with pytest.raises(ValueError, match="'batch_size' needs to be at least 1"):
        InteractionDataModule(tiny_data, batch_size=0)
