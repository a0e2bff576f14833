import re

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from torch_geometric.data import HeteroData

from mentor_pyg.models import EASE, EASEConfig
from mentor_pyg.models.fitted import ease
from tests.models.fitted.dense import scores


def test_equals_a_regression_of_every_item_on_the_others(
    tiny_data: HeteroData, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "_ROWS", 33)  # Several blocks, the last a short one.
    model = EASE.from_data(tiny_data, EASEConfig(l2=3.5)).fit(tiny_data)
    items = np.arange(x.shape[1])
    expected = np.zeros((items.size, items.size))
    for item in items:
        others = items != item
        regression = Ridge(alpha=3.5, fit_intercept=False, solver="cholesky")
        expected[others, item] = regression.fit(x[:, others], x[:, item]).coef_
    assert model.weight.numpy() == pytest.approx(expected, abs=1e-6)
    assert scores(model, tiny_data) == pytest.approx(x @ expected, abs=1e-5)


def test_refuses_more_items_than_memory_holds(
    tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tiny_data["item"].num_nodes
    monkeypatch.setattr(ease, "available_memory", lambda: 12 * items**2)
    model = EASE.from_data(tiny_data).fit(tiny_data)
    monkeypatch.setattr(ease, "available_memory", lambda: 12 * items**2 - 1)
    with pytest.raises(ValueError, match=r"ease needs 0.0 GiB for weights between 80 items"):
        model.fit(tiny_data)


def test_names_what_memory_it_needs(tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_data["item"].num_nodes = 100_000
    del tiny_data["item"].x_visual, tiny_data["item"].x_textual
    monkeypatch.setattr(ease, "available_memory", lambda: 3 * 2**29)
    message = "ease needs 111.8 GiB for weights between 100000 items, but 1.5 GiB are left here; "
    with pytest.raises(ValueError, match=f"{re.escape(message)}.*item_knn or rp3beta"):
        EASE.from_data(tiny_data)


def test_refuses_a_penalty_that_rounding_swallows(tiny_data: HeteroData) -> None:
    model = EASE.from_data(tiny_data, EASEConfig(l2=1e-30))
    with pytest.raises(ValueError, match=r"'l2' needs to be larger .* \(got 1e-30\)"):
        model.fit(tiny_data)
