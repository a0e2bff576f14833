import pytest
import torch

from mentor_pyg.data import INTERACTS, check_modality_name
from mentor_pyg.datasets.assembly import Interactions, assemble


def interactions() -> Interactions:
    return Interactions(
        num_users=2,
        num_items=4,
        train=torch.tensor([[0, 1], [0, 1]]),
        val=torch.tensor([[0], [2]]),
        test=torch.tensor([[1], [3]]),
        rating=torch.tensor([4.0, 5.0]),
    )


def test_features_are_optional() -> None:
    data = assemble(interactions(), {})
    assert data.node_types == ["user", "item"]
    assert data[INTERACTS].rating.tolist() == [4.0, 5.0]
    assert "time" not in data[INTERACTS]


def test_presence_is_kept_only_where_items_lack_a_modality() -> None:
    x = torch.eye(4)
    present = torch.tensor([True, True, True, False])
    features = {"visual": (x, torch.ones(4, dtype=torch.bool)), "sensor": (x, present)}
    data = assemble(interactions(), features)
    assert "has_visual" not in data["item"]
    assert torch.equal(data["item"].has_sensor, present)


@pytest.mark.parametrize("name", ["id", "fused", "", "a b", "x.y"])
def test_refuses_modality_names(name: str) -> None:
    with pytest.raises(ValueError, match=rf"source: the modality name.*{name!r}"):
        check_modality_name(name, "source")
