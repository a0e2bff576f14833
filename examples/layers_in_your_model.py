"""Put layers, losses and ranking of this library into a PyG model of your own.

python examples/layers_in_your_model.py --epochs 5
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv

from mentor_pyg.data import INTERACTS, ITEM, REV_INTERACTS, SEMANTIC, USER, Representations
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.losses import bpr_loss, info_nce
from mentor_pyg.nn import InteractionConv, ItemSemanticConv
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs


class YourModel(nn.Module):
    """A GraphSAGE layer and linear layers of your own around convolutions of this library.

    Args:
        data: A dataset, for the number of users and the widths of its item features.
        dim: The width of the embedding.
    """

    def __init__(self, data: HeteroData, dim: int = 64) -> None:
        super().__init__()
        self.user = nn.Embedding(data[USER].num_nodes, dim)
        self.visual = nn.Linear(data[ITEM].x_visual.size(1), dim)
        self.textual = nn.Linear(data[ITEM].x_textual.size(1), dim)
        nn.init.xavier_normal_(self.user.weight)
        # Convolutions of this library go into HeteroConv as PyG's own do.
        both_ways = (INTERACTS, REV_INTERACTS)
        self.interaction = HeteroConv({edge_type: InteractionConv() for edge_type in both_ways})
        self.sage = HeteroConv({edge_type: SAGEConv(dim, dim) for edge_type in both_ways})
        self.semantic = ItemSemanticConv(num_layers=1)

    def content(self, data: HeteroData) -> Tensor:
        """Return what items look and read like, unit rows ``[num_items, dim]``."""
        store = data[ITEM]
        return F.normalize(self.visual(store.x_visual) + self.textual(store.x_textual))

    def forward(self, data: HeteroData) -> Representations:
        """Return users and items."""
        x = {USER: F.normalize(self.user.weight), ITEM: self.content(data)}
        near = self.interaction(x, data.edge_index_dict)
        far = self.interaction(near, data.edge_index_dict)
        learned = self.sage(near, data.edge_index_dict)
        user, item = (x[n] + near[n] + far[n] + learned[n] for n in (USER, ITEM))
        item = self.semantic(item, data[SEMANTIC].edge_index, data[SEMANTIC].edge_weight)
        return Representations({"fused": user}, {"fused": item})


def main() -> None:
    """Train for some epochs, ranking the validation split after each and test in the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    dataset = SyntheticMultimodal(size="demo", seed=0)[0]
    data = MergeItemGraphs()(ItemKNNGraph(k=10)(dataset))  # The item graph.
    model = YourModel(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batches = BPRBatches(data, batch_size=2048, seed=args.seed)

    for epoch in range(args.epochs):
        batches.set_epoch(epoch)
        for user, pos_item, neg_item in batches:
            reps = model(data)
            users, items = reps.user["fused"], reps.item["fused"]
            pos_score = (users[user] * items[pos_item]).sum(dim=1)
            neg_score = (users[user] * items[neg_item]).sum(dim=1)
            bpr = bpr_loss(pos_score, neg_score)
            # An item's neighbourhood should say what its content says.
            shown = pos_item.unique()
            contrast = info_nce(items[shown], model.content(data)[shown], temperature=0.2)
            optimizer.zero_grad()
            (bpr + 0.01 * contrast).backward()
            optimizer.step()
        with torch.no_grad():
            recall = full_ranking(model(data), data, "val", k=20)["recall@20"]
        print(f"epoch {epoch + 1}: validation recall@20 {recall:.4f}")

    with torch.no_grad():
        test = full_ranking(model(data), data, "test", k=(10, 20))
    print(", ".join(f"{key} {value:.4f}" for key, value in test.items()))


if __name__ == "__main__":
    main()
