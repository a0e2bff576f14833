import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

from mentor_pyg.models import MENTORConfig, ModelConfig
from mentor_pyg.models.config import check_at_least_zero


@dataclass(frozen=True, kw_only=True)
class DepthConfig(ModelConfig):
    depth: float = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_zero(self, "depth")


def test_to_dict() -> None:
    assert DepthConfig(depth=3).to_dict() == {"embedding_dim": 64, "depth": 3}


def test_there_and_back() -> None:
    config = DepthConfig(embedding_dim=8, depth=3)
    assert DepthConfig.from_dict(config.to_dict()) == config
    assert DepthConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_from_some_values() -> None:
    assert DepthConfig.from_dict({}) == DepthConfig()
    assert DepthConfig.from_dict({"depth": 3}) == DepthConfig(depth=3)


def test_unknown_keys_are_listed_with_the_known_ones() -> None:
    message = r"DepthConfig has no settings \['a', 'width'\]; it has \['embedding_dim', 'depth'\]"
    with pytest.raises(ValueError, match=message):
        DepthConfig.from_dict({"width": 1, "depth": 3, "a": 2})


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan])
def test_refuses_negative_values(value: float) -> None:
    with pytest.raises(ValueError, match=f"'depth' needs to be at least 0 .got {value}"):
        DepthConfig(depth=value)


@pytest.mark.parametrize("width", [0, -4])
def test_refuses_width(width: int) -> None:
    with pytest.raises(ValueError, match=f"'embedding_dim' needs to be at least 1 .got {width}"):
        DepthConfig(embedding_dim=width)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": "2"}, "'num_layers' needs to be of type int"),
        ({"num_layers": True}, "'num_layers' needs to be of type int"),
        ({"align_weight": "high"}, "'align_weight' needs to be of type float"),
        ({"item_graph": 1}, "'item_graph' needs to be of type bool"),
        ({"align_levels": "id_fused"}, "'align_levels' needs to be of type list"),
        ({"semantics": 1}, "'semantics' needs to be of type str"),
    ],
)
def test_refuses_other_types(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MENTORConfig.from_dict(values)
