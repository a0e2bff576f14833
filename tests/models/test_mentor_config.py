import json
import math
from dataclasses import replace

import pytest

from mentor_pyg.models import MENTORConfig
from mentor_pyg.nn import AlignmentLevel

LEVELS = ("id_fused", "id_modality", "fused_modality", "modality_modality")


def test_published_values() -> None:
    config = MENTORConfig()
    assert config.semantics == "paper"
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 2, 1)
    assert (config.align_weight, config.mask_weight, config.mask_ratio) == (0.1, 1.5, 0.5)
    assert config.perturb_weight in (1e-3, 1e-4)
    assert config.temperature in (0.2, 0.4, 0.6)
    assert (config.noise_scale, config.reg_weight) == (0.1, 1e-3)
    assert (config.item_graph, config.id_guidance, config.contrast) == (True, True, "full")
    assert config.align_levels == LEVELS


def test_travels_through_json() -> None:
    config = MENTORConfig(
        semantics="released", align_levels=LEVELS[:2], contrast="batch", temperature=0.6
    )
    again = MENTORConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.align_levels == LEVELS[:2]
    assert again != replace(config, temperature=0.4)


@pytest.mark.parametrize("as_given", [tuple, list])
def test_levels_by_name_or_enum(as_given: type) -> None:
    by_name = MENTORConfig(align_levels=as_given(["id_fused", "id_modality"]))
    by_enum = MENTORConfig(
        align_levels=as_given([AlignmentLevel.ID_FUSED, AlignmentLevel.ID_MODALITY])
    )
    assert by_name == by_enum
    assert hash(by_name) == hash(by_enum)
    assert all(type(level) is str for level in by_enum.align_levels)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("semantics", "paperr", r"'paper' or 'released' \(got 'paperr'\)"),
        ("contrast", "none", r"'full' or 'batch' \(got 'none'\)"),
        ("precision", "fp8", r"one of \['ieee', 'tf32x3', 'tf32', 'bf16'\] \(got 'fp8'\)"),
        ("num_layers", -1, r"at least 0 \(got -1\)"),
        ("num_item_layers", -1, r"at least 0 \(got -1\)"),
        ("noise_scale", -0.1, r"at least 0 \(got -0.1\)"),
        ("reg_weight", -1, r"at least 0 \(got -1\)"),
        ("align_weight", -1, r"at least 0 \(got -1\)"),
        ("mask_weight", math.nan, r"at least 0 \(got nan\)"),
        ("perturb_weight", -1, r"at least 0 \(got -1\)"),
        ("temperature", 0, r"finite and above 0 \(got 0\)"),
        ("temperature", math.nan, r"finite and above 0 \(got nan\)"),
        ("embedding_dim", 0, r"at least 1 \(got 0\)"),
    ],
)
def test_refuses(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs to be {message}"):
        MENTORConfig.from_dict({name: value})
