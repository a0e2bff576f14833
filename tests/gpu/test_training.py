"""Training on a GPU, or as far as it goes without one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import MENTOR, LightGCN, MENTORConfig, load_model, step

pytest.importorskip("lightning")
pytest.importorskip("rich")
pytest.importorskip("tensorboard")

from mentor_pyg.training import TrainingConfig, train

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("recorded")]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class GraphConfig(TrainingConfig):
    """Takes CUDA graphs on any device, where the fixture has them stand for plain steps."""

    def __post_init__(self) -> None:
        pass


def fitted(model: LightGCN, data: HeteroData, out: Path, cuda_graph: bool) -> dict[str, Tensor]:
    config = GraphConfig(epochs=2, batch_size=100, lr=0.01, cuda_graph=cuda_graph)
    rows = []
    train(model, data, out, config=config, on_epoch=lambda run, row: rows.append(row["train/bpr"]))
    return {**model.state_dict(), "terms": torch.tensor(rows)}


def test_training_from_a_graph_is_training_step_by_step(
    tiny_data: HeteroData, tmp_path: Path
) -> None:
    model, other = LightGCN.from_data(tiny_data), LightGCN.from_data(tiny_data)
    other.load_state_dict(model.state_dict())
    first = fitted(model, tiny_data, tmp_path / "graph", True)
    torch.testing.assert_close(first, fitted(other, tiny_data, tmp_path / "steps", False))


def test_whole_batches_are_replayed_and_the_short_one_is_not(
    tiny_data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = []

    class Spy(step.CapturedStep):
        def __call__(self, batch: tuple[Tensor, ...]) -> Tensor:
            replayed.append(len(batch[0]))
            return super().__call__(batch)

    monkeypatch.setattr(step, "CapturedStep", Spy)
    fitted(LightGCN.from_data(tiny_data), tiny_data, tmp_path, True)
    assert replayed == [100, 100, 100] * 2  # Of 384 interactions.


def test_refuses_losses_whose_shapes_depend_on_the_batch(
    tiny_data: HeteroData, tmp_path: Path
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig(contrast="batch"))
    with pytest.raises(ValueError, match=r"'cuda_graph' needs .* contrast='full', or"):
        train(model, tiny_data, tmp_path / "out", config=GraphConfig(cuda_graph=True))
    assert not (tmp_path / "out").exists()


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
    assert tiny_data["item"].x_visual.device.type == "cpu"
    model = load_model(tmp_path / "model.safetensors", tiny_data)
    with torch.no_grad():
        val = full_ranking(model.encode(tiny_data), tiny_data, "val", (5, 10))
    assert val == pytest.approx(metrics["val"], abs=0.05)
