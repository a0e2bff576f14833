"""Train, validation and test interactions -> train interactions."""

import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from mentor_pyg.data import INTERACTS, REV_INTERACTS, edge_label_index

__all__ = ["JoinSplits"]


@functional_transform("join_splits")
class JoinSplits(BaseTransform):
    """Makes the interactions of all splits train interactions, for a model that goes to production.

    The other splits are gone then, and so are attributes of the train interactions, such as
    ratings, which the others do not have (functional name: ``join_splits``).
    """

    def forward(self, data: HeteroData) -> HeteroData:
        """Return ``data`` with all interactions in ``edge_index``, sorted by user and item."""
        store = data[INTERACTS]
        others = ("val_edge_label_index", "test_edge_label_index")
        parts = [edge_label_index(data, "train"), *(store[n] for n in others if n in store)]
        joined = torch.unique(torch.cat(parts, dim=1), dim=1)
        for name in list(store.keys()):
            del store[name]
        store.edge_index = joined
        data[REV_INTERACTS].edge_index = joined.flip(0)
        return data
