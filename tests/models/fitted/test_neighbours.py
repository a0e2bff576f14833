import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from torch_geometric.data import HeteroData

from mentor_pyg.models import ItemKNN, ItemKNNConfig, UserKNN, UserKNNConfig
from tests.models.fitted.dense import scores, top

# Scaled interactions have equal cosines that differ by rounding, so that all are kept of them.
SETTINGS = pytest.mark.parametrize(("k", "normalize"), [(3, False), (1000, False), (1000, True)])


def cosines(x: np.ndarray) -> np.ndarray:
    return cosine_similarity(x).round(9)


@SETTINGS
def test_items_speak_for_their_nearest(
    k: int, normalize: bool, tiny_data: HeteroData, x: np.ndarray
) -> None:
    config = ItemKNNConfig(k=k, normalize=normalize)
    found = scores(ItemKNN.from_data(tiny_data, config).fit(tiny_data), tiny_data)
    scaled = x / np.sqrt(x.sum(axis=1, keepdims=True)) if normalize else x
    nearest = top(cosines(scaled.T), k)  # Row by row: of the items that speak.
    assert found == pytest.approx(x @ nearest, abs=1e-5)


@SETTINGS
def test_nearest_users_speak_for_their_items(
    k: int, normalize: bool, tiny_data: HeteroData, x: np.ndarray
) -> None:
    config = UserKNNConfig(k=k, normalize=normalize)
    found = scores(UserKNN.from_data(tiny_data, config).fit(tiny_data), tiny_data)
    scaled = x / np.sqrt(np.maximum(x.sum(axis=0), 1)) if normalize else x
    nearest = top(cosines(scaled), k)
    assert found == pytest.approx(nearest @ x, abs=1e-5)


def test_shrinkage_is_added_to_the_product_of_lengths(tiny_data: HeteroData, x: np.ndarray) -> None:
    config = ItemKNNConfig(k=1000, shrink=2.5)
    found = scores(ItemKNN.from_data(tiny_data, config).fit(tiny_data), tiny_data)
    length = np.sqrt(x.sum(axis=0))
    similarity = x.T @ x / (np.outer(length, length) + 2.5)
    np.fill_diagonal(similarity, 0)
    assert found == pytest.approx(x @ similarity, abs=1e-5)
