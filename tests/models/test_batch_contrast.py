import torch

from mentor_pyg.data import Batch, UserBatch
from mentor_pyg.losses import info_nce
from mentor_pyg.models.batch_contrast import batch_contrast, batch_users

IDS = (torch.tensor([1, 1, 1, 4, 0]), torch.tensor([2, 5, 3, 2, 0]), torch.tensor([1, 1, 1, 1, 1]))


def test_users_of_a_user_batch_count_once() -> None:
    assert batch_users(Batch(*IDS)).tolist() == [1, 1, 1, 4, 0]
    assert batch_users(UserBatch(*IDS)).tolist() == [1, 4, 0]


def test_users_and_positive_items_are_contrasted_apart() -> None:
    a, b = ((torch.randn(5, 4), torch.randn(6, 4)) for _ in range(2))
    for batch in (Batch(*IDS), UserBatch(*IDS)):
        user, item = batch_users(batch), batch.pos_item
        of_users = info_nce(a[0][user], b[0][user], 0.3)
        of_items = info_nce(a[1][item], b[1][item], 0.3)
        found = batch_contrast(a, b, batch, 0.3, "ieee")
        torch.testing.assert_close(found, of_users + of_items)
        assert not torch.isclose(batch_contrast(b, a, batch, 0.3, "ieee"), found)
