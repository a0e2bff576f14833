from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import BPRMF, MENTOR, Recommender
from mentor_pyg.training import InteractionDataModule, RecommenderModule
from mentor_pyg.training.quiet import quiet_lightning


class Scripted(BPRMF):
    """Its term ``"bpr"`` takes the given values, step by step."""

    values: list[float]

    def loss(self, *args: Any) -> dict[str, Tensor]:
        still = (self.user_embedding * 0).sum()
        return {"bpr": still + self.values.pop(0), "reg": still + 2}


def trainer(**settings: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        **settings,
    )


def fit(model: Recommender, data: HeteroData, **settings: Any) -> dict[str, float]:
    with quiet_lightning():
        fitting = trainer(**settings)
        fitting.fit(RecommenderModule(model, lr=0.1, k=(5, 20)), InteractionDataModule(data, 128))
    return {key: float(value) for key, value in fitting.callback_metrics.items()}


def test_logs_the_mean_of_every_term(tiny_data: HeteroData) -> None:
    model = Scripted.from_data(tiny_data)
    model.values = [1.0, 2.0, 6.0]
    logged = fit(model, tiny_data, num_sanity_val_steps=0)
    assert logged["train/bpr"] == pytest.approx(3)
    assert logged["train/reg"] == pytest.approx(2)


def test_sanity_check_before_training_does_no_harm(tiny_data: HeteroData) -> None:
    model = Scripted.from_data(tiny_data)
    model.values = [1.0, 2.0, 6.0]
    assert fit(model, tiny_data, num_sanity_val_steps=1)["train/bpr"] == pytest.approx(3)


def test_step_is_on_the_sum_of_the_terms(tiny_data: HeteroData) -> None:
    model = MENTOR.from_data(tiny_data)
    module = RecommenderModule(model)
    datamodule = InteractionDataModule(tiny_data, 128)
    module.trainer = trainer()
    module.trainer.datamodule = datamodule
    batch = next(iter(datamodule.batches))
    torch.manual_seed(1)
    loss = module.training_step(batch, 0)
    torch.manual_seed(1)
    terms = model.loss(tiny_data, *batch)
    torch.testing.assert_close(loss, sum(terms.values()))
    assert loss.requires_grad


def test_logs_the_metrics_of_the_split(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    logged = fit(model, tiny_data, num_sanity_val_steps=0)
    expected = full_ranking(model.encode(tiny_data), tiny_data, "val", (5, 20))
    assert {key for key in logged if key.startswith("val/")} == {f"val/{key}" for key in expected}
    for key, value in expected.items():
        assert logged[f"val/{key}"] == pytest.approx(value), key


def test_tests_on_the_test_split(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    with quiet_lightning():
        module, datamodule = RecommenderModule(model), InteractionDataModule(tiny_data)
        [logged] = trainer().test(module, datamodule, verbose=False)
    expected = full_ranking(model.encode(tiny_data), tiny_data, "test")
    assert logged == pytest.approx({f"test/{key}": value for key, value in expected.items()})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_names_the_term_that_is_not_finite(bad: float, tiny_data: HeteroData) -> None:
    model = Scripted.from_data(tiny_data)
    model.values = [1.0, bad, 1.0]
    message = r"the loss term 'bpr' became infinite or NaN in epoch 1; lower .* \(0.1\)"
    with pytest.raises(FloatingPointError, match=message):
        fit(model, tiny_data, num_sanity_val_steps=0)


def test_optimizer(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    optimizer = RecommenderModule(model, lr=0.25).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    [group] = optimizer.param_groups
    assert group["lr"] == 0.25
    assert group["params"] == list(model.parameters())
