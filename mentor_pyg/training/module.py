"""A recommender as a LightningModule."""

from __future__ import annotations

from functools import partial

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import CapturedStep, Recommender
from mentor_pyg.sampling import Batch
from mentor_pyg.typing import Split

__all__ = ["RecommenderModule"]


class RecommenderModule(L.LightningModule):
    """Train any :class:`~mentor_pyg.models.Recommender` with Adam.

    Every loss term is logged under ``train/<term>`` as its mean over the epoch, and every ranking
    metric under ``val/<metric>`` or ``test/<metric>``. Goes with
    :class:`~mentor_pyg.training.InteractionDataModule`, which holds the data.

    Args:
        model: The model.
        lr: Adam's learning rate.
        k: The lengths of ranking to measure.
        cuda_graph: Whether forward and backward of whole batches are replayed from a CUDA graph
            (see :class:`~mentor_pyg.models.CapturedStep`); on CUDA, for models that have
            :attr:`~mentor_pyg.models.Recommender.has_static_shapes`.
    """

    def __init__(
        self,
        model: Recommender,
        lr: float = 1e-3,
        k: tuple[int, ...] = (10, 20),
        cuda_graph: bool = False,
    ) -> None:
        super().__init__()
        if cuda_graph and not model.has_static_shapes:
            raise ValueError(
                "'cuda_graph' needs a loss whose shapes are the same for all batches, which the "
                "model's settings do not give; contrast='full' does for MENTOR"
            )
        self.model = model
        self.lr = lr
        self.k = k
        self.cuda_graph = cuda_graph
        self._captured: CapturedStep | None = None
        self._replayed = False  # Whether the gradients of this step are there already.
        # Summed here and logged once an epoch: logging every step would cost more than Adam.
        self._terms: tuple[str, ...] = ()
        self._sums: Tensor | float = 0.0
        self._finite: Tensor | int = 0  # In how many steps each term was a finite number.
        self._steps = 0

    @property
    def data(self) -> HeteroData:
        """The dataset, on the trainer's device."""
        data: HeteroData = self.trainer.datamodule.data  # type: ignore[attr-defined]
        return data

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the weighted loss terms."""
        values = self._replay(batch) if self.cuda_graph else None
        self._replayed = values is not None
        if values is None:
            terms = self.model.loss(self.data, *batch)
            values = torch.stack(list(terms.values()))
            self._terms = tuple(terms)
        self._sums = self._sums + values.detach()
        self._finite = self._finite + values.isfinite()
        self._steps += 1
        return values.sum()

    def _replay(self, batch: Batch) -> Tensor | None:
        """Return the terms of a whole batch, its gradients set; ``None`` for the last, short one.

        The first batch of a run is of the size to record.
        """
        if self._captured is None:
            parameters = [p for p in self.model.parameters() if p.requires_grad]
            self._captured = CapturedStep(partial(self.model.loss, self.data), parameters, batch)
            self._terms = self._captured.terms
        return self._captured(batch) if self._captured.fits(batch) else None

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Clear the gradients, unless a replay has just set them."""
        if not self._replayed:
            optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass, unless a replay has done so."""
        if not self._replayed:
            loss.backward()

    def on_fit_start(self) -> None:
        """Refuse what a replay would leave out, and forget the recording of an earlier fit."""
        self._captured = None
        steps, precision = self.trainer.accumulate_grad_batches, self.trainer.precision
        processes = self.trainer.world_size
        if self.cuda_graph and (steps != 1 or precision != "32-true" or processes != 1):
            raise ValueError(
                f"'cuda_graph' needs a trainer with accumulate_grad_batches=1, "
                f"precision='32-true' and one device (got {steps}, {precision!r} and {processes})"
            )

    def on_fit_end(self) -> None:
        """Drop the recording: Lightning moves the parameters from where it reads them."""
        self._captured = None

    def on_train_epoch_start(self) -> None:
        """Start the sums anew."""
        self._sums, self._finite, self._steps = 0.0, 0, 0

    def on_validation_epoch_start(self) -> None:
        """Stop at terms that are not finite, before anything is ranked or kept."""
        if not self._steps:
            return  # Validation without training.
        finite = torch.as_tensor(self._finite).tolist()
        if min(finite) < self._steps:
            # A term that is not finite spoils the parameters, and they all terms after it.
            term = self._terms[finite.index(min(finite))]
            raise FloatingPointError(
                f"the loss term '{term}' became infinite or NaN in epoch {self.current_epoch + 1}; "
                f"lower the learning rate ({self.lr:g})"
            )

    def on_validation_epoch_end(self) -> None:
        """Log the mean of every loss term, beside the metrics of the same epoch."""
        if not self._steps:
            return
        means = (torch.as_tensor(self._sums) / self._steps).tolist()
        for term, mean in zip(self._terms, means, strict=True):
            self.log(f"train/{term}", mean, prog_bar=True)

    def validation_step(self, split: Split, batch_idx: int) -> None:
        """Rank a split with fresh representations."""
        self._rank(split)

    def test_step(self, split: Split, batch_idx: int) -> None:
        """Rank a split with fresh representations."""
        self._rank(split)

    def configure_optimizers(self) -> Optimizer:
        """Return Adam in its fused form."""
        return torch.optim.Adam(self.model.parameters(), lr=self.lr, fused=True)

    def _rank(self, split: Split) -> None:
        metrics = full_ranking(self.model.encode(self.data), self.data, split, self.k)
        for key, value in metrics.items():
            shown = split == "val" and key == f"recall@{max(self.k)}"
            self.log(f"{split}/{key}", value, batch_size=1, prog_bar=shown)
