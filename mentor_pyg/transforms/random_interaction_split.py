"""Interactions -> train, validation and test interactions, user by user."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import INTERACTS, REV_INTERACTS, edge_label_index, num_items, num_users

__all__ = ["RandomInteractionSplit", "random_labels"]


def random_labels(
    user: Tensor, num_val: Tensor, num_test: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw the split of every interaction, given how many each user gives away.

    Args:
        user: The user of every interaction ``[num_interactions]``.
        num_val: Per user the number of validation interactions ``[num_users]``.
        num_test: Per user the number of test interactions ``[num_users]``.
        generator: A CPU generator.

    Returns:
        0 for train, 1 for validation and 2 for test, on the CPU, ``[num_interactions]``.
    """
    user = user.cpu()
    shuffled = torch.randperm(user.numel(), generator=generator)
    order = shuffled[user[shuffled].argsort(stable=True)]  # by user, in random order within
    degree = torch.bincount(user, minlength=num_val.numel())
    owner = user[order]
    rank = torch.arange(user.numel()) - (degree.cumsum(0) - degree)[owner]
    sorted_label = (rank < (num_val + num_test)[owner]).long()  # the first go to evaluation
    sorted_label[rank < num_test[owner]] = 2
    label = torch.empty_like(sorted_label)
    label[order] = sorted_label
    return label


@functional_transform("random_interaction_split")
class RandomInteractionSplit(BaseTransform):
    r"""Splits every user's interactions at random into train, validation and test.

    Of a user's :math:`n` interactions :math:`\lfloor n \cdot` ``ratio`` :math:`\rfloor` go to
    validation and test each, but at least one to each (unless its ratio is zero) where
    :math:`n \geq 3`. Every user keeps at least one train interaction. On the input,
    ``data["user", "interacts", "item"].edge_index`` holds all interactions; on the output, the
    train interactions sorted by user and item, beside ``val_edge_label_index`` and
    ``test_edge_label_index`` (functional name: ``random_interaction_split``).

    Args:
        val_ratio: The share of each user's interactions for validation.
        test_ratio: The share for test.
        seed: Equal seeds give equal splits, whatever order the interactions are in; the global
            generator is left alone.

    Raises:
        ValueError: If the ratios are negative or leave nothing for training, or if the
            interactions are split already or hold duplicates.
    """

    def __init__(self, val_ratio: float = 0.1, test_ratio: float = 0.1, seed: int = 0) -> None:
        for name, ratio in (("val_ratio", val_ratio), ("test_ratio", test_ratio)):
            if not 0 <= ratio < 1:
                raise ValueError(f"'{name}' needs to be at least 0 and below 1 (got {ratio})")
        if val_ratio + test_ratio >= 1:
            raise ValueError(
                f"'val_ratio' and 'test_ratio' need to leave interactions for training: their "
                f"sum needs to be below 1 (got {val_ratio} + {test_ratio})"
            )
        self.val_ratio = val_ratio
        self.test_ratio = test_ratio
        self.seed = seed

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with its interactions split."""
        store = data[INTERACTS]
        if any(f"{split}_edge_label_index" in store for split in ("val", "test")):
            raise ValueError(
                "data['user', 'interacts', 'item'] is split already; delete its "
                "val_edge_label_index and test_edge_label_index, and put all interactions into "
                "edge_index, to split it anew"
            )
        edge_index = edge_label_index(data, "train")
        pair = edge_index[0] * num_items(data) + edge_index[1]
        if pair.unique().numel() != pair.numel():
            raise ValueError(
                "data['user', 'interacts', 'item'].edge_index holds duplicates, which could end "
                "up in different splits; remove them with torch_geometric.utils.coalesce"
            )
        attributes = [name for name in store.edge_attrs() if name != "edge_index"]
        order = pair.argsort()
        edge_index = edge_index[:, order]
        label = self._labels(edge_index[0], num_users(data)).to(edge_index.device)
        for name in attributes:
            store[name] = store[name][order[label == 0]]
        store.edge_index = edge_index[:, label == 0]
        store.val_edge_label_index = edge_index[:, label == 1]
        store.test_edge_label_index = edge_index[:, label == 2]
        data[REV_INTERACTS].edge_index = store.edge_index.flip(0)
        return data

    def _labels(self, user: Tensor, users: int) -> Tensor:
        degree = torch.bincount(user.cpu(), minlength=users)
        generator = torch.Generator().manual_seed(self.seed)
        spare = (degree - 1).clamp(min=0)  # what a user can give away
        num_test = _count(degree, self.test_ratio).minimum(spare)
        num_val = _count(degree, self.val_ratio).minimum(spare - num_test)
        return random_labels(user, num_val, num_test, generator)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(val_ratio={self.val_ratio}, "
            f"test_ratio={self.test_ratio}, seed={self.seed})"
        )


def _count(degree: Tensor, ratio: float) -> Tensor:
    # The epsilon keeps products such as 50 * 0.58 = 28.999... from losing one to rounding.
    count = (degree.double() * ratio + 1e-9).floor().long()
    return count.maximum((degree >= 3).long()) if ratio > 0 else count
