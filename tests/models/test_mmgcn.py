import math
from typing import Any

import numpy as np
import pytest
from torch_geometric.data import HeteroData

from mentor_pyg.models import MMGCN, MMGCNConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    CHANNELS,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    gappy_data,
    has,
    leaky_relu,
    linear,
    numbers,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "latent_dims": {"visual": 6}}


def reference(model: MMGCN, data: HeteroData) -> dict[str, Matrix]:
    """Return users, then items, of every view."""
    ids = np.concatenate([numbers(model.user_embedding), numbers(model.item_embedding)])
    neighbours: dict[int, list[int]] = {n: [] for n in range(USERS + ITEMS)}
    for u, i in EDGES:
        neighbours[u].append(USERS + i)
        neighbours[USERS + i].append(u)
    views = {}
    for modality in model.sizes.channels:
        item = numbers(data["item"][f"x_{modality}"])
        if modality in model.projections:
            item = linear(model.projections[modality], item)
        item[[i for i in range(ITEMS) if not has(data, modality)[i]]] = 0
        x = unit(np.concatenate([numbers(model.user_preference[modality]), item]))
        for layer in model.layers[modality]:
            out = []
            for n in range(USERS + ITEMS):
                h = np.zeros(x.shape[1])
                for w in neighbours[n]:
                    h += linear(layer.neighbours, x[w]) / len(neighbours[n])
                h, own = leaky_relu(h), leaky_relu(linear(layer.itself, x[n])) + ids[n]
                if model.config.combination == "concat":
                    out.append(leaky_relu(linear(layer.combine, np.concatenate([h, own]))))
                else:
                    out.append(leaky_relu(linear(layer.combine, h) + own))
            x = np.stack(out)
        views[modality] = x
    views["fused"] = sum(views.values()) / len(views)
    return views


@pytest.mark.parametrize("changes", [{}, {"num_layers": 1}, {"combination": "sum"}])
@pytest.mark.parametrize("modalities", [BOTH, ("visual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], changes: dict[str, Any]) -> None:
    data = gappy_data(*modalities)
    model = MMGCN.from_data(data, MMGCNConfig(**SETTINGS, **changes))
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", *modalities}
    for view in reps.views:
        actual = reps.nodes(view).detach().numpy()
        np.testing.assert_allclose(actual, expected[view], rtol=0, atol=3e-6, err_msg=view)


def mean_square(x: Matrix) -> float:
    return sum(value**2 for row in x.tolist() for value in row) / x.size


def penalty(model: MMGCN, items: list[int]) -> float:
    ids = numbers(model.user_embedding)[BATCH.user], numbers(model.item_embedding)[items]
    tables = [numbers(table) for table in model.user_preference.values()]
    return sum(mean_square(x) for x in (*ids, *tables))


def test_terms_equal_loops() -> None:
    data = gappy_data(*BOTH)
    model = MMGCN.from_data(data, MMGCNConfig(**SETTINGS, reg_weight=0.7))
    user, item = np.split(reference(model, data)["fused"], [USERS])
    items = [*BATCH.pos_item.tolist(), *BATCH.neg_item.tolist()]
    expected = {"bpr": bpr(user, item, BATCH), "reg": 0.7 * penalty(model, items)}
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx(expected, rel=1e-5)


def test_penalty_without_negatives_where_none_are_ranked() -> None:
    data = gappy_data(*BOTH)
    config = MMGCNConfig(**SETTINGS, reg_weight=0.7, ranking_loss="softmax")
    model = MMGCN.from_data(data, config)
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax", "reg"]
    expected = 0.7 * penalty(model, BATCH.pos_item.tolist())
    assert math.isclose(terms["reg"].item(), expected, rel_tol=1e-5)


def test_widths_by_default_are_those_published() -> None:
    model = MMGCN.from_data(gappy_data(*BOTH))
    assert list(model.projections) == ["visual"]
    widths = {m: table.size(1) for m, table in model.user_preference.items()}
    assert widths == {"visual": 256, "textual": CHANNELS["textual"]}
    assert [len(layers) for layers in model.layers.values()] == [3, 3]
    assert (model.config.embedding_dim, model.config.reg_weight) == (64, 1e-5)
    assert not MMGCN.from_data(gappy_data("textual")).projections
    plain = MMGCN.from_data(gappy_data(*BOTH), MMGCNConfig(latent_dims={}))
    assert not plain.projections


def test_refuses_widths_of_modalities_that_are_not_there() -> None:
    message = r"'latent_dims' names \['acoustic'\], which the data does not have; its modalities"
    with pytest.raises(ValueError, match=message):
        MMGCN.from_data(gappy_data(*BOTH), MMGCNConfig(latent_dims={"acoustic": 8}))


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"MMGCN needs at least one modality; add features"):
        MMGCN.from_data(gappy_data())
