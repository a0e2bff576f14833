import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import modalities, presence
from mentor_pyg.models import ContentKNN, ContentKNNConfig
from tests.models.fitted.dense import scores


def test_sums_over_the_items_of_a_user_that_are_neighbours(
    tiny_data: HeteroData, x: np.ndarray
) -> None:
    data = tiny_data.clone()
    data["item"].x_textual[[5, 9]] = 0
    data["item"].has_textual = torch.ones(80, dtype=torch.bool)
    data["item"].has_textual[[5, 9]] = False
    weights = {"visual": 0.7, "textual": 0.3}
    k = 6
    graph = np.zeros((80, 80))
    for item in range(80):
        total = sum(weights[m] for m in modalities(data) if presence(data, m)[item])
        for modality in modalities(data):
            has = presence(data, modality).numpy()
            if not has[item]:
                continue
            rows = data["item"][f"x_{modality}"].double().numpy()
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
            others = [j for j in range(80) if j != item and has[j]]
            similarity = rows @ rows[item]
            near = sorted(others, key=similarity.__getitem__, reverse=True)[:k]
            graph[item, near] += weights[modality] / total / k
    config = ContentKNNConfig(k=k, modality_weights=weights)
    found = scores(ContentKNN.from_data(data, config).fit(data), data)
    np.testing.assert_allclose(found, x @ graph.T, rtol=1e-5, atol=1e-7)


def test_needs_features(tiny_data: HeteroData) -> None:
    data = tiny_data.clone()
    for modality in modalities(tiny_data):
        del data["item"][f"x_{modality}"]
    with pytest.raises(ValueError, match="item features"):
        ContentKNN.from_data(data).fit(data)
