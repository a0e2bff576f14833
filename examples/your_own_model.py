"""A model of your own: python examples/your_own_model.py --epochs 5 --out runs/mine."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mentor_pyg import SyntheticMultimodal
from mentor_pyg.cli import new_folder, run_command, summarize
from mentor_pyg.config import Share
from mentor_pyg.data import Batch, Inputs, Representations, Sizes
from mentor_pyg.models import Draws, FeatureConfig, Recommender, load_model, ranking_terms, register
from mentor_pyg.training import TrainingConfig, train


@dataclass(frozen=True, kw_only=True)
class ContentConfig(FeatureConfig):
    """Settings of :class:`Content`."""

    dropout: Share = 0.3
    """Share of the features' entries that are dropped."""


@register
class Content(Recommender):
    """Users are a table, items what a linear layer with dropout makes of their features."""

    name = "content"
    Config = ContentConfig
    config: ContentConfig

    def __init__(self, sizes: Sizes, config: ContentConfig | None = None) -> None:
        super().__init__(sizes, config)
        self.user = nn.Parameter(0.1 * torch.randn(self.num_users, self.config.embedding_dim))
        linear = nn.Linear(sum(sizes.channels.values()), self.config.embedding_dim)
        self.item = nn.Sequential(nn.Dropout(self.config.dropout), linear)

    def represent(self, inputs: Inputs) -> Representations:
        """Return the fused view, which ranks."""
        item = self.item(torch.cat(list(inputs.features.values()), dim=1))
        return Representations({"fused": self.user}, {"fused": item})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the one term ``bpr``, or ``softmax``."""
        return ranking_terms(self.represent(inputs), batch, self.config)


def main(epochs: int = 20, out: Path | None = None) -> None:
    """Train it; the same command with the same --out goes on where an interrupted run stopped."""
    data, out = SyntheticMultimodal("demo")[0], out or new_folder("runs", "mine")
    print(summarize(train("content", data, out, config=TrainingConfig(epochs=epochs)), out))
    model = load_model(out / "model.safetensors")
    print(f"five items for users 0 and 1: {model.recommend(data, [0, 1], k=5)[0].tolist()}")


if __name__ == "__main__":
    run_command(main)
