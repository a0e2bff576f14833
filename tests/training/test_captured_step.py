import lightning as L
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.models import MENTOR, LightGCN, MENTORConfig, Recommender
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training import InteractionDataModule, RecommenderModule, TrainingConfig
from mentor_pyg.training.captured_step import CapturedStep
from mentor_pyg.training.quiet import quiet_lightning

on_cuda = torch.cuda.is_available()
DEVICE = torch.device("cuda" if on_cuda else "cpu")
pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no CUDA, a recording is the step itself: the wiring is what is tested."""
    if not on_cuda:
        monkeypatch.setattr(
            "mentor_pyg.training.captured_step._record", lambda step, device: step() or step
        )


@pytest.fixture
def data(tiny_data: HeteroData) -> HeteroData:
    return tiny_data.clone().to(DEVICE)


def gradients(model: Recommender) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("build", [LightGCN, MENTOR])
def test_a_replay_sets_the_terms_and_gradients_of_its_batch(
    build: type[Recommender], data: HeteroData
) -> None:
    config = MENTORConfig(mask_weight=0, perturb_weight=0) if build is MENTOR else None
    model = build.from_data(data, config).to(DEVICE)
    first, second, *_ = BPRBatches(data, 128)
    step = CapturedStep(lambda batch: model.loss(data, *batch), list(model.parameters()), first)
    for batch in (second, first, second):
        values = step(batch)
        found = gradients(model)
        model.zero_grad()
        terms = model.loss(data, *batch)
        sum(terms.values()).backward()
        assert step.terms == tuple(terms)
        torch.testing.assert_close(values, torch.stack(list(terms.values())).detach())
        torch.testing.assert_close(found, gradients(model))


def test_replays_draw_anew(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(perturb_weight=0.1)).to(DEVICE)
    batch = next(iter(BPRBatches(data, 128)))
    step = CapturedStep(lambda held: model.loss(data, *held), list(model.parameters()), batch)
    assert not torch.equal(step(batch), step(batch))


def fitted(model: Recommender, data: HeteroData, cuda_graph: bool) -> dict[str, Tensor]:
    trainer = L.Trainer(
        accelerator=DEVICE.type,
        devices=1,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )
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
    assert data["user", "interacts", "item"].edge_index.size(1) % 100  # One batch is short.
    torch.testing.assert_close(fitted(model, data, True), fitted(other, data, False))


def test_refuses_losses_whose_shapes_depend_on_the_batch(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(contrast="batch"))
    with pytest.raises(ValueError, match=r"'cuda_graph' needs .* contrast='full' does"):
        RecommenderModule(model, cuda_graph=True)
    RecommenderModule(MENTOR.from_data(data), cuda_graph=True)


@pytest.mark.parametrize("setting", [{}, {"contrast": "batch", "perturb_weight": 0.0}])
def test_mentor_without_a_contrast_of_the_batch_has_static_shapes(
    data: HeteroData, setting: dict[str, object]
) -> None:
    assert MENTOR.from_data(data, MENTORConfig.from_dict(setting)).has_static_shapes


def test_a_run_on_the_cpu_refuses_graphs() -> None:
    with pytest.raises(ValueError, match=r"'cuda_graph' needs a CUDA device \(got cpu\)"):
        TrainingConfig(device="cpu", cuda_graph=True)
