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
    assert (config.ranking_loss, config.statistics) == ("bpr", "scalar")
    assert (config.id_in_score, config.id_encoder) == (False, "mlp")


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
    assert json.loads(json.dumps(by_enum.to_dict()))["align_levels"] == ["id_fused", "id_modality"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("semantics", "paperr", r"one of \['paper', 'released'\] \(got 'paperr'\)"),
        ("contrast", "none", r"one of \['full', 'batch'\] \(got 'none'\)"),
        ("k", 0, r"at least 1 \(got 0\)"),
        ("k", 2.5, r"int or a mapping \(got 2.5\)"),
        ("modality_weights", "equal", r"a mapping or None \(got 'equal'\)"),
        ("precision", "fp8", r"one of \['ieee', 'tf32x3', 'tf32', 'bf16'\] \(got 'fp8'\)"),
        ("num_layers", -1, r"at least 0 \(got -1\)"),
        ("num_item_layers", -1, r"at least 0 \(got -1\)"),
        ("noise_scale", -0.1, r"at least 0 \(got -0.1\)"),
        ("reg_weight", -1, r"at least 0 \(got -1.0\)"),
        ("align_weight", -1, r"at least 0 \(got -1.0\)"),
        ("mask_weight", math.nan, r"finite \(got nan\)"),
        ("perturb_weight", -1, r"at least 0 \(got -1.0\)"),
        ("temperature", 0.0, r"above 0 \(got 0.0\)"),
        ("temperature", math.nan, r"finite \(got nan\)"),
        ("embedding_dim", 0, r"at least 1 \(got 0\)"),
        ("statistics", "robust", r"one of \['dimension', 'scalar'\] \(got 'robust'\)"),
        ("id_encoder", "cnn", r"one of \['mlp', 'table'\] \(got 'cnn'\)"),
    ],
)
def test_refuses(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs to be {message}"):
        MENTORConfig.from_dict({name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("k", {"visual": 0}, r"'k\['visual'\]' needs to be at least 1 \(got 0\)"),
        ("k", {"visual": "ten"}, r"'k\['visual'\]' needs to be of type int \(got 'ten'\)"),
        ("modality_weights", {"visual": -1}, r"'modality_weights\['visual'\]' .* at least 0"),
        (
            "align_levels",
            ["id_text"],
            r"'align_levels\[0\]' needs .*'id_fused'.* \(got 'id_text'\)",
        ),
    ],
)
def test_refuses_entries(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MENTORConfig.from_dict({name: value})


def test_the_id_view_cannot_be_scored_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="'id_in_score' needs the ID view; leave 'id_guidance' on"):
        MENTORConfig(id_in_score=True, id_guidance=False)
