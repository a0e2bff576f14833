"""Training through Lightning on a GPU, or as far as it goes without one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import MENTOR, LightGCN, MENTORConfig, Recommender, load_model

L = pytest.importorskip("lightning")
pytest.importorskip("rich")
pytest.importorskip("tensorboard")

from mentor_pyg.training import (  # noqa: E402
    InteractionDataModule,
    RecommenderModule,
    TrainingConfig,
    train,
)
from mentor_pyg.training.quiet import quiet_lightning  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("recorded")]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def trainer_of(data: HeteroData, **options: Any) -> Any:
    return L.Trainer(
        accelerator=data[INTERACTS].edge_index.device.type,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        **options,
    )


def fitted(model: Recommender, data: HeteroData, cuda_graph: bool) -> dict[str, Tensor]:
    trainer = trainer_of(data, max_epochs=2)
    module = RecommenderModule(model, 0.01, (5, 20), cuda_graph)
    with quiet_lightning():
        trainer.fit(module, InteractionDataModule(data, 100))
    return {
        **model.state_dict(),
        "logged": torch.tensor(float(trainer.callback_metrics["train/bpr"])),
    }


def test_training_from_a_graph_is_training_step_by_step(data: HeteroData) -> None:
    model, other = LightGCN.from_data(data), LightGCN.from_data(data)
    other.load_state_dict(model.state_dict())
    assert data[INTERACTS].edge_index.size(1) % 100  # One batch is short.
    torch.testing.assert_close(fitted(model, data, True), fitted(other, data, False))


def test_a_recording_does_not_outlive_its_fit(data: HeteroData) -> None:
    module = RecommenderModule(LightGCN.from_data(data), cuda_graph=True)
    for _ in range(2):  # Lightning moves the parameters in between.
        with quiet_lightning():
            trainer_of(data, max_epochs=1).fit(module, InteractionDataModule(data, 100))
        assert module._captured is None


def test_refuses_to_leave_out_what_the_trainer_asks_for(data: HeteroData) -> None:
    trainer = trainer_of(data, accumulate_grad_batches=2)
    module = RecommenderModule(LightGCN.from_data(data), cuda_graph=True)
    with pytest.raises(ValueError, match=r"accumulate_grad_batches=1, .* \(got 2, '32-true' and 1"):
        trainer.fit(module, InteractionDataModule(data, 100))


def test_refuses_several_processes_whose_gradients_it_would_not_add(data: HeteroData) -> None:
    module = RecommenderModule(LightGCN.from_data(data), cuda_graph=True)
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        accumulate_grad_batches=1, precision="32-true", world_size=2
    )
    with pytest.raises(ValueError, match=r"one device \(got 1, '32-true' and 2\)"):
        module.on_fit_start()


def test_refuses_losses_whose_shapes_depend_on_the_batch(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(contrast="batch"))
    with pytest.raises(ValueError, match=r"'cuda_graph' needs .* contrast='full' does"):
        RecommenderModule(model, cuda_graph=True)
    RecommenderModule(MENTOR.from_data(data), cuda_graph=True)


def test_a_run_on_the_cpu_refuses_graphs() -> None:
    with pytest.raises(ValueError, match=r"'cuda_graph' needs a CUDA device \(got cpu\)"):
        TrainingConfig(device="cpu", cuda_graph=True)


@needs_cuda
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_run_on_a_gpu_reports_what_its_model_ranks(
    cuda_graph: bool, tiny_data: HeteroData, tmp_path: Path
) -> None:
    config = TrainingConfig(
        device="cuda", epochs=2, batch_size=128, k=(5, 10), cuda_graph=cuda_graph
    )
    metrics = train("mentor", tiny_data, tmp_path, config=config)
    model = load_model(tmp_path / "model.safetensors", tiny_data)
    with torch.no_grad():
        val = full_ranking(model.encode(tiny_data), tiny_data, "val", (5, 10))
    assert val == pytest.approx(metrics["val"], abs=0.05)


@needs_cuda
def test_batches_are_drawn_on_the_gpu_from_a_copy_of_the_data(tiny_data: HeteroData) -> None:
    module = InteractionDataModule(tiny_data, 100)
    strategy = SimpleNamespace(root_device=torch.device("cuda:0"))
    module.trainer = SimpleNamespace(strategy=strategy, current_epoch=0)
    module.setup("fit")
    assert module.data["item"].x_visual.device.type == "cuda"
    assert next(iter(module.train_dataloader())).user.device.type == "cuda"
    assert tiny_data["item"].x_visual.device.type == "cpu"
