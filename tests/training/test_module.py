from typing import Any

import lightning as L
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs, Representations
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import BPRMF, MENTOR, Draws, LayerGCN, LayerGCNConfig
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training.module import RecommenderModule
from tests.models.outsiders import AdversarialMF


def trainer(**settings: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )


def test_a_trainer_trains_and_ranks(tiny_data: HeteroData) -> None:
    model = MENTOR.from_data(tiny_data)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module, fitting = RecommenderModule(model, tiny_data, lr=0.1, k=(5, 20)), trainer()
    fitting.fit(module, BPRBatches(tiny_data, 128), val_dataloaders=["val"])
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    logged = {key: float(value) for key, value in fitting.callback_metrics.items()}
    terms = {f"train/{term}" for term in ("bpr", "reg", "align", "mask", "perturb")}
    expected = full_ranking(model.encode(tiny_data), tiny_data, "val", (5, 20))
    assert logged.keys() == terms | {f"val/{key}" for key in expected}
    for key, value in expected.items():
        assert logged[f"val/{key}"] == pytest.approx(value), key


def test_step_is_on_the_sum_of_the_terms(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    module = RecommenderModule(model, tiny_data, lr=0.25)
    module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    module.on_fit_start()
    batch = next(iter(BPRBatches(tiny_data, 128)))
    terms = model.terms(module.inputs, batch, Draws())
    torch.testing.assert_close(module.training_step(batch, 0), sum(terms.values()))
    [group] = module.configure_optimizers().param_groups
    assert group["lr"] == 0.25
    assert group["params"] == list(model.parameters())


def test_several_objectives_are_for_the_loop(tiny_data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"has 2 objectives; use training.train"):
        RecommenderModule(AdversarialMF.from_data(tiny_data), tiny_data)


def test_a_trainer_trains_on_the_graph_of_the_epoch_and_ranks_on_all(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LayerGCN.from_data(tiny_data, LayerGCNConfig(prune_ratio=0.5))
    num_edges, represent = [], LayerGCN.represent

    def spy(self: LayerGCN, inputs: Inputs) -> Representations:
        num_edges.append((self.training, inputs.graphs["interaction"].num_edges))
        return represent(self, inputs)

    monkeypatch.setattr(LayerGCN, "represent", spy)
    module = RecommenderModule(model, tiny_data)
    trainer().fit(module, BPRBatches(tiny_data, 512), val_dataloaders=["val"])
    every_edge = module.inputs.graphs["interaction"].num_edges
    assert num_edges == [(True, every_edge // 2), (False, every_edge)]
