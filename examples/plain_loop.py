"""Train MENTOR in a loop of your own: nothing but torch and this library.

python examples/plain_loop.py --epochs 5
"""

import argparse

import torch

from mentor_pyg import MENTOR, EmbeddingTables, MENTORConfig, SyntheticMultimodal, full_ranking
from mentor_pyg.sampling import BPRBatches


def main() -> None:
    """Train for some epochs, ranking the validation split after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    data = SyntheticMultimodal(size="demo", seed=0)[0]
    model = MENTOR.from_data(data, MENTORConfig(contrast="batch"))
    inputs = model.prepare(data)  # Graphs laid out once, for all steps.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = BPRBatches(data, batch_size=2048, seed=args.seed)
    best_recall, best_state = -1.0, model.state_dict()

    for epoch in range(args.epochs):
        batches.set_epoch(epoch)
        for user, pos_item, neg_item in batches:
            terms = model.loss(inputs, user, pos_item, neg_item)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
        with torch.no_grad():
            recall = full_ranking(model.encode(inputs), data, "val", k=20)["recall@20"]
        print(f"epoch {epoch + 1}: validation recall@20 {recall:.4f}")
        if recall > best_recall:
            best_recall = recall
            best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    model.load_state_dict(best_state)
    with torch.no_grad():
        test = full_ranking(model.encode(inputs), data, "test", k=(10, 20))
    print(", ".join(f"{key} {value:.4f}" for key, value in test.items()))
    items, _ = EmbeddingTables.from_model(model, data).recommend([0, 1], k=5)
    print(f"five items for users 0 and 1: {items.tolist()}")


if __name__ == "__main__":
    main()
