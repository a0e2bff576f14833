from collections.abc import Callable

from mentor_pyg.models import MODELS
from tests.cli.conftest import Command


def test_lists_every_model_and_shipped_config(command: Command) -> None:
    done = command("models")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == sorted(MODELS)
    here = lines.index("lightgcn")
    assert lines[here + 1].startswith("    Matrix factorisation whose tables are propagated")
    assert lines[here + 2] == "    shipped configs: lightgcn-baby lightgcn-sports lightgcn-tiktok"
    assert lines[here + 3] == "    new users: from the items they chose, by FoldIn of its export"
    there = lines[lines.index("ease") :]
    assert there[3] == "    new users: not without training anew, since it does not rank by rows"


def test_shows_settings_with_types_defaults_docs_and_the_paper(command: Command) -> None:
    done = command("models", "mentor")
    assert "for Multimodal Recommendation: https://arxiv.org/abs/2402.19407\n" in done.out
    assert "shipped configs: mentor-baby mentor-tiktok\nnew users: from the items" in done.out
    lines = done.out.splitlines()
    assert lines[lines.index("mask_ratio = 0.5  (float, in [0, 1))") + 1] == (
        "    Share of entries that feature masking drops."
    )
    # Inherited from the config that all models share.
    assert lines[lines.index("embedding_dim = 64  (int, at least 1)") + 1] == (
        "    Width of a view."
    )


def test_refuses_unknown_names(refused: Callable[..., None]) -> None:
    refused(r"'model' needs to be one of \['.*'lightgcn'.*\(got 'nope'\)", "models", "nope")
