from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import knn_edge_type
from mentor_pyg.graph import knn_graph
from mentor_pyg.models import (
    EASE,
    EASEConfig,
    FittedModel,
    RP3Beta,
    RP3BetaConfig,
    load_model,
    save_model,
)
from tests.models.fitted.dense import scores


@pytest.fixture(params=[EASE, RP3Beta])
def model_class(request: pytest.FixtureRequest) -> type[FittedModel]:
    return request.param


def averaging(x: torch.Tensor, present: torch.Tensor, k: int) -> np.ndarray:
    """Return the item graph: every row averages over the item's neighbours."""
    neighbour, item = knn_graph(x, k, present)[0].numpy()
    graph = np.zeros((len(x), len(x)))
    graph[item, neighbour] = 1 / k
    return graph


def test_items_share_their_scores_with_neighbours(
    model_class: type[FittedModel], tiny_data: HeteroData
) -> None:
    present = torch.arange(tiny_data["item"].num_nodes) % 7 != 0
    tiny_data["item"].has_textual = present
    config = model_class.Config(smooth="textual", smooth_weight=0.7, smooth_k=3)
    plain = model_class.from_data(tiny_data).fit(tiny_data)
    smoothed = model_class.from_data(tiny_data, config).fit(tiny_data)
    s = scores(plain, tiny_data)
    expected = s + 0.7 * s @ averaging(tiny_data["item"].x_textual, present, 3)
    assert scores(smoothed, tiny_data) == pytest.approx(expected, abs=1e-5)
    # What lacks the modality neither gives nor gets.
    assert (scores(smoothed, tiny_data)[:, ~present] == s[:, ~present]).all()


def test_only_that_graph_is_made(model_class: type[FittedModel], tiny_data: HeteroData) -> None:
    ready = model_class.transform(model_class.Config(smooth="visual", smooth_k=4))(tiny_data)
    assert ready[knn_edge_type("visual")].k == 4
    assert knn_edge_type("textual") not in ready.edge_types
    assert model_class.transform(model_class.Config())(tiny_data).edge_types == tiny_data.edge_types


def test_graph_is_made_anew_for_a_loaded_model(
    model_class: type[FittedModel], tiny_data: HeteroData, tmp_path: Path
) -> None:
    config = model_class.Config(smooth="visual")
    model = model_class.from_data(tiny_data, config).fit(tiny_data)
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert all(
        torch.equal(*both)
        for both in zip(again.recommend(tiny_data, 3), model.recommend(tiny_data, 3), strict=True)
    )


@pytest.mark.parametrize("config", [EASEConfig(smooth="odour"), RP3BetaConfig(smooth="odour")])
def test_refuses_modalities_that_are_not_there(
    config: EASEConfig | RP3BetaConfig, tiny_data: HeteroData
) -> None:
    model_class = EASE if isinstance(config, EASEConfig) else RP3Beta
    message = r"'smooth' needs to be None or a modality of the data, .*'textual'.* \(got 'odour'\)"
    with pytest.raises(ValueError, match=message):
        model_class.from_data(tiny_data, config)
