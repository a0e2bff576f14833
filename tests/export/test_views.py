import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.export.views import score_parts
from mentor_pyg.models import Recommender
from mentor_pyg.models.registry import build_model


def represent(name: str, data: HeteroData, loss: str) -> Representations:
    model = build_model(name, data, {"ranking_loss": loss})
    assert isinstance(model, Recommender)
    with torch.no_grad():
        return model.encode(data)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("mentor", {"visual", "textual"}),
        ("grcn", {"id", "visual", "textual"}),
        ("mmgcn", {"visual", "textual"}),
    ],
)
def test_parts_sum_to_the_score(
    name: str, views: set[str], loss: str, tiny_data: HeteroData
) -> None:
    reps = represent(name, tiny_data, loss)
    parts = score_parts(reps)
    assert parts is not None
    assert set(parts.columns) == views
    scores = reps.scores(torch.tensor([3]))[0]
    for item in (0, 41):
        split = parts.of(reps.user["fused"][3], item)
        assert sum(split.values()) == pytest.approx(float(scores[item]), abs=1e-4)
        assert len({round(value, 5) for value in split.values()}) == len(views)


@pytest.mark.parametrize("name", ["lightgcn", "mentor_plus", "mgcn"])
def test_no_parts_where_a_score_is_no_sum_over_views(name: str, tiny_data: HeteroData) -> None:
    assert score_parts(represent(name, tiny_data, "bpr")) is None
