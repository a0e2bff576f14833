from dataclasses import dataclass
from typing import Any

import pytest
from torch_geometric.data import HeteroData

from mentor_pyg.models import (
    BPRMF,
    MENTOR,
    MODELS,
    ModelConfig,
    Popularity,
    Recommender,
    build_model,
    register,
)

SETTINGS = {
    "mentor": {"semantics": "released", "align_levels": ("id_fused",), "embedding_dim": 6},
    "lightgcn": {"num_layers": 1, "embedding_dim": 6},
    "bprmf": {"embedding_dim": 6},
    "ease": {"l2": 2.5},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_build(name: str, tiny_data: HeteroData) -> None:
    for given in (name, MODELS[name]):
        model = build_model(given, tiny_data, SETTINGS[name])
        assert type(model) is MODELS[name]
        assert model.config == MODELS[name].Config.from_dict(SETTINGS[name])


def test_build_refuses_unknown_names(tiny_data: HeteroData) -> None:
    message = r"'model' needs to be one of \[.*'bprmf', .*'lightgcn', .*'mentor'.*\] \(got 'nope'\)"
    with pytest.raises(ValueError, match=message):
        build_model("nope", tiny_data)
    with pytest.raises(ValueError, match=r"BPRMFConfig has no settings \['num_layers'\]"):
        build_model("bprmf", tiny_data, {"num_layers": 2})


def test_register_takes_a_class_defined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mentor_pyg.models.registry.MODELS", {})

    def define() -> type[Recommender]:
        @register
        class Mine(BPRMF):
            name = "mine"

        return Mine

    define()
    again = define()
    with pytest.raises(ValueError, match=r"the name 'mine' belongs to .*define.*Mine; give Other"):

        @register
        class Other(BPRMF):
            name = "mine"

    with pytest.raises(ValueError, match="Nameless needs a 'name' of its own"):

        @register
        class Nameless(again):  # type: ignore[valid-type, misc]
            pass


def test_register_refuses_what_is_no_model() -> None:
    with pytest.raises(TypeError, match="needs to be a subclass of Recommender"):
        register(ModelConfig)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="needs to be a subclass of Recommender"):
        register(MENTOR.__init__)  # type: ignore[type-var]

    @dataclass
    class Loose:
        embedding_dim: int = 64

    class Mine(BPRMF):
        name = "with_loose_config"
        Config: Any = Loose

    with pytest.raises(ValueError, match=r"Mine.Config needs to be a ModelConfig class"):
        register(Mine)

    class Counts(Popularity):
        name = "with_loose_config"
        Config: Any = Loose

    with pytest.raises(ValueError, match=r"Counts.Config needs to be a Config class"):
        register(Counts)
    assert "with_loose_config" not in MODELS
