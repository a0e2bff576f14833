"""A recommender as a LightningModule, for those who have a Trainer of their own."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from mentor_pyg.data import Batch
from mentor_pyg.models import Draws, Recommender
from mentor_pyg.sampling import mix_seed
from mentor_pyg.training.loop import rank
from mentor_pyg.typing import Split

__all__ = ["RecommenderModule"]


class RecommenderModule(L.LightningModule):
    """Train a model of one objective with a Trainer.

    ``trainer.fit(RecommenderModule(model, data), BPRBatches(data), val_dataloaders=["val"])``
    logs terms under ``train/<term>`` and metrics, at the lengths ``k``, under ``val/<metric>``.
    A model that draws a graph anew does so in every epoch, by ``seed`` and the epoch.
    """

    def __init__(
        self,
        model: Recommender,
        data: HeteroData,
        lr: float = 1e-3,
        k: tuple[int, ...] = (10, 20),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(objectives := model.objectives()) > 1:
            raise ValueError(f"{model.name} has {len(objectives)} objectives; use training.train")
        self.objective = objectives[0]
        self.model, self.lr, self.k, self.seed = model, lr, k, seed
        self.data = model.transformed(data)

    def on_fit_start(self) -> None:  # noqa: D102
        self.data = self.data.to(self.device)
        self.inputs = self.epoch_inputs = self.model.prepare(self.data)

    def on_train_epoch_start(self) -> None:  # noqa: D102
        generator = torch.Generator(self.inputs.device)
        generator.manual_seed(mix_seed(self.seed, self.current_epoch))
        self.epoch_inputs = self.model.resample(self.inputs, self.current_epoch, generator)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: D102
        terms = self.objective.terms(self.epoch_inputs, batch, Draws())
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()})
        return torch.stack(list(terms.values())).sum()

    def validation_step(self, split: Split, batch_idx: int) -> None:  # noqa: D102
        metrics = rank(self.model, self.inputs, self.data, split, self.k)
        self.log_dict({f"{split}/{key}": value for key, value in metrics.items()}, batch_size=1)

    def configure_optimizers(self) -> Optimizer:  # noqa: D102
        return self.objective.optimizer(self.objective.parameters, self.lr)
