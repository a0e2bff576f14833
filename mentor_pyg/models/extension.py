"""Items that came after training, given to a trained model."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import ITEM, Sizes, feature_key, modalities, num_items, presence
from mentor_pyg.models.base import Recommender
from mentor_pyg.models.model import Model

__all__ = ["extend"]

_M = TypeVar("_M", bound=Model)
_BLOCK_ELEMENTS = 2**24
"""Similarities held at a time (64 MiB)."""


@torch.no_grad()
def extend(model: _M, data: HeteroData, k: int = 20) -> _M:
    r"""Return a trained model for a dataset that has more items, without training.

    Parameters that do not belong to items stay. Of those that do, a new item's row is the mean
    over the :math:`k` items that resemble it most, of those that the model was trained with,

    .. math::
        \mathbf{e}_i = \frac{1}{k} \sum_{j \in \mathcal{N}_k(i)} \mathbf{e}_j, \qquad
        \mathrm{sim}(i, j) = \sum_{m \in \mathcal{M}_i \cap \mathcal{M}_j} \cos(\mathbf{f}_{i,m},
        \mathbf{f}_{j,m})

    where :math:`\mathcal{M}_i` are the modalities that the item has; without any, it is the mean
    over all items. Whatever else a model makes of items, such as projected features and item
    graphs, it makes of the new ones as of the others, once it is given the new dataset. So
    :class:`~mentor_pyg.models.LightGCN`, which reads no features, still ranks new items where the
    dataset has features. A model whose items are what their users give them, as those of
    :class:`~mentor_pyg.models.LayerGCN` are, scores all new items alike.

    Where the model's ``missing`` is ``"mean"`` or ``"propagate"``, what stands in for features is
    made of the new dataset, and old items that lack some move a little.

    Args:
        model: The trained model; it is left as it is.
        data: The dataset. Its users are those of the model, its first items those that the model
            was trained with, in their order; the others are new. It is not looked at whether they
            are: :class:`~mentor_pyg.transforms.AddItems` makes such a dataset.
        k: How many items a row is the mean of.

    Returns:
        The model for the dataset, in the mode that the given one is in.

    Raises:
        TypeError: If the model is one that is fitted: fit it to the new dataset, which takes
            seconds.
        ValueError: If the dataset has other users or features, or fewer items than the model; or
            ``k`` is not positive.

    Examples:
        >>> from mentor_pyg.datasets import SyntheticMultimodal
        >>> from mentor_pyg.evaluation import hold_out_items
        >>> warm, whole = hold_out_items(SyntheticMultimodal("tiny")[0])
        >>> from mentor_pyg.models import MENTORPlus
        >>> model = MENTORPlus.from_data(warm)
        >>> model.num_items, extend(model, whole).num_items
        (65, 80)
    """
    if not isinstance(model, Recommender):
        raise TypeError(
            f"'model' needs to be a trained one (got {model.name}, which is fitted); fit it to the "
            f"new data instead: {type(model).__name__}.from_data(data, config).fit(data)"
        )
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"'k' needs to be a positive integer (got {k!r})")
    found = type(model)(Sizes.of(data, features=model.uses_features), model.config)
    _check_grown(model, found)
    shapes, count = found.state_shapes(), model.num_items
    nearest, is_near = _nearest_items(data, count, k)
    state = model.state_dict()
    for name, table in state.items():
        if tuple(table.shape) != shapes[name]:
            if len(table) not in (count, model.num_users + count):
                raise ValueError(
                    f"'model' has a parameter {name} of shape {list(table.shape)} that depends on "
                    f"the number of items but has no row for each, so it cannot be extended"
                )
            rows = _means(table[-count:], nearest, is_near)  # Tables of all nodes end with items.
            state[name] = torch.cat([table, rows])
    found.load_state_dict(state)
    return found.to(next(iter(state.values())).device).train(model.training)


def _check_grown(model: Model, found: Model) -> None:
    before, after = model.sizes, found.sizes
    if before.num_users != after.num_users or before.num_items > after.num_items:
        raise ValueError(
            f"'data' needs the {before.num_users} users and at least the {before.num_items} items "
            f"of the model (got {after.num_users} and {after.num_items})"
        )
    if before.channels != after.channels:
        raise ValueError(
            f"'data' needs features of the widths that the model was trained with, "
            f"{dict(before.channels)} (got {dict(after.channels)})"
        )


def _nearest_items(data: HeteroData, count: int, k: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of the first items to each of the others, and which of them are near.

    Both are ``[num_items - count, min(k, count)]``. Items that share no modality are not near.
    """
    features = {m: F.normalize(data[ITEM][feature_key(m)].float()) for m in modalities(data)}
    has = {m: presence(data, m) for m in features}
    nearest, is_near = [], []
    for rows in torch.arange(count, num_items(data)).split(max(1, _BLOCK_ELEMENTS // count)):
        similarity = torch.zeros(len(rows), count)
        shared = torch.zeros(len(rows), count, dtype=torch.bool)
        for modality, x in features.items():
            similarity += (x[rows] @ x[:count].T).cpu()
            shared |= (has[modality][rows].unsqueeze(1) & has[modality][:count]).cpu()
        found = similarity.masked_fill(~shared, -torch.inf).topk(min(k, count), dim=1)
        nearest.append(found.indices)
        is_near.append(found.values.isfinite())
    return torch.cat(nearest), torch.cat(is_near)


def _means(table: Tensor, nearest: Tensor, is_near: Tensor) -> Tensor:
    """Return the means of the rows that are near; of all rows where none is."""
    weight = is_near.to(table)
    sums = torch.einsum("ik,ik...->i...", weight, table[nearest.to(table.device)])
    number = weight.sum(dim=1)
    means = sums / number.clamp(min=1).view(-1, *[1] * (table.dim() - 1))
    means[number == 0] = table.mean(dim=0)
    return means
