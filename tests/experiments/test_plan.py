from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mentor_pyg.data import presence
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.experiments import read_plan
from mentor_pyg.transforms import DropFeatures

Write = Callable[..., Path]


def test_reads_all_of_it(write_plan: Write) -> None:
    plan = read_plan(write_plan())
    assert (plan.seeds, plan.trials, plan.search_seed) == ((3, 4), 4, 0)
    assert list(plan.data) == ["tiny"]
    lightgcn = plan.models["lightgcn"]
    assert lightgcn.settings == {"embedding_dim": 8}
    assert lightgcn.training == {"epochs": 12, "patience": 12, "device": "cpu", "k": [5, 10]}
    assert lightgcn.space == {
        "settings.num_layers": (1, 2),
        "training.lr": {"from": 1e-3, "to": 1e-1, "scale": "log"},
    }
    assert [entry.has_seeds for entry in plan.models.values()] == [False, False, True]
    assert [entry.label for _, entry in plan.cells()] == ["popularity", "item_knn", "lightgcn"]


def test_labels_data_and_training_of_a_models_own(write_plan: Write) -> None:
    own = "deep: {model: lightgcn, training: {epochs: 3}, data: [other]}"
    change = ("  popularity: {}", f"  popularity: {{}}\n  {own}")
    plan = read_plan(write_plan(change, ("data: {", "data: {other: synthetic, ")))
    deep = plan.models["deep"]
    assert (deep.model, deep.training["epochs"], deep.training["patience"]) == ("lightgcn", 3, 12)
    assert [d for d, entry in plan.cells() if entry.label == "deep"] == ["other"]


def test_variants_are_models_with_a_base(write_plan: Write) -> None:
    variants = "    variants: {flat: {settings.num_layers: 0, training.lr: 0.5}}\n"
    plan = read_plan(write_plan(("training: {epochs", f"{variants}training: {{epochs")))
    flat = plan.models["lightgcn-flat"]
    assert flat.base is plan.models["lightgcn"] and plan.models["lightgcn"].base is None
    assert (flat.model, flat.data, flat.space) == ("lightgcn", ("tiny",), {})
    assert (flat.settings, flat.training) == ({"num_layers": 0}, {"lr": 0.5})


def test_variants_without_modalities(write_plan: Write) -> None:
    own = "mgcn: {without: [visual], variants: {blind: {without: []}, same: {training.lr: 0.5}}}"
    plan = read_plan(write_plan(("popularity: {}", own)))
    found = {label: entry.without for label, entry in plan.models.items() if "mgcn" in label}
    assert found == {"mgcn": ("visual",), "mgcn-blind": (), "mgcn-same": ("visual",)}


def test_variants_with_features_missing(write_plan: Write) -> None:
    variants = "half: {missing: {share: 0.5, by: unpopular}}, none: {missing: {}}"
    variants += ", full: {settings.missing: mean}"
    own = (
        f"mgcn: {{missing: {{share: 0.25}}, variants: {{{variants}, same: {{training.lr: 0.5}}}}}}"
    )
    plan = read_plan(write_plan(("popularity: {}", own)))
    data = SyntheticMultimodal("tiny")[0]
    lacking = {
        label: int((~presence(entry.reads(data), "visual")).sum())
        for label, entry in plan.models.items()
        if "mgcn" in label
    }
    assert lacking == {
        "mgcn": 20,
        "mgcn-half": 40,
        "mgcn-none": 0,
        "mgcn-full": 20,
        "mgcn-same": 20,
    }
    assert plan.models["mgcn-full"].settings == {"missing": "mean"}
    unpopular = plan.models["mgcn-half"].reads(data)
    gaps = DropFeatures(0.5, "unpopular")(data)
    assert torch.equal(presence(unpopular, "visual"), presence(gaps, "visual"))


def test_only_takes_models_with_their_variants(write_plan: Write) -> None:
    own = "bprmf: {variants: {wide: {settings.embedding_dim: 16}}}"
    plan = read_plan(write_plan(("popularity: {}", own)))
    assert list(plan.only(["bprmf"]).models) == ["bprmf", "bprmf-wide"]
    assert list(plan.only(["bprmf-wide", "lightgcn"]).models) == ["bprmf-wide", "lightgcn"]
    assert plan.only([]) == plan
    with pytest.raises(ValueError, match=r"'only' needs labels of the plan, bprmf, .*got 'x'"):
        plan.only(["x"])


def test_data_folders_are_absolute(write_plan: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_plan()
    folder = read_plan(path).data["tiny"]
    monkeypatch.chdir(Path(folder).parent)
    path.write_text(path.read_text().replace(folder, Path(folder).name))
    assert read_plan(path).data["tiny"] == folder


def test_seeds_default_to_five(write_plan: Write) -> None:
    assert read_plan(write_plan(("seeds: [3, 4]\n", ""))).seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 4", "trials: 0", "'trials' needs to be at least 1"),
        ("trials: 4", "tries: 4", r"has \['tries'\], but only \['data', 'models', 'training'"),
        ("trials: 4", "trials: [", "is no YAML file"),
        ("seeds: [3, 4]", "seeds: [3, 3]", r"'seeds' needs different numbers \(got \[3, 3\]\)"),
        ("seeds: [3, 4]", f"seeds: [0, {2**63}]", r"'seeds\[1\]' needs to be in \[0, "),
        ("seeds: [3, 4]", f"search_seed: {2**63}", r"'search_seed' needs to be in \[0, "),
        ("seeds: [3, 4]", "notes: 3", "'notes' needs to be of type list"),
        ("seeds: [3, 4]", "seeds: []", "'seeds' needs different numbers"),
        ("data: {tiny", "data: {x: absent, tiny", "no data folder /.*absent for 'x'; relative"),
        ("data: {tiny", "date: {tiny", "has .'date'."),
        ("lightgcn:", "lightgnc:", r"lightgnc: 'model' needs to be one of"),
        ("embedding_dim: 8", "width: 8", r"LightGCNConfig has no settings \['width'\]; it has"),
        ("epochs: 12,", "epoch: 12,", r"TrainingConfig has no settings \['epoch'\]"),
        ("epochs: 12,", "seed: 1,", "'seeds' has them"),
        ("num_layers: [1, 2]", "num_layers: [1, -2]", "lightgcn: 'num_layers' needs to be at"),
        ("num_layers: [1, 2]", "layers: [1, 2]", r"has no settings \['layers'\]"),
        ("num_layers: [1, 2]", "num_layers: []", "needs a list of values, or from, to and scale"),
        ("num_layers: [1, 2]", "num_layers: 1", "needs a list of values, or from, to and scale"),
        ("settings.num_layers", "num_layers", "'search' needs settings.NAME or training.NAME"),
        ("from: 1.0e-3", "from: 1.0", "the smaller one first"),
        ("from: 1.0e-3", "from: low", "needs two numbers"),
        ("from: 1.0e-3", "from: 0", "above 0 on a log scale"),
        ("scale: log", "scale: cubic", "a scale 'linear' or 'log'"),
        ("scale: log", "step: 2", "has .'step'., but only"),
        (
            "popularity: {}",
            "popularity: {data: [absent]}",
            r"names among .'tiny'. .got .'absent'..",
        ),
        ("popularity: {}", "popularity: {variants: {x: {settings.k: 3}}}", r"no settings \['k'\]"),
        (
            "popularity: {}",
            "popularity: {variants: {x: {settings: {k: 3}}}}",
            "'variants: x' needs settings.NAME or training.NAME .got 'settings'.",
        ),
        ("popularity: {}", "popularity: {}\n  popularity: {}", "has 'popularity' twice"),
        ("num_layers: [1, 2]", "num_layers: [1, 2, 1]", "'settings.num_layers' .* .got 1 twice."),
        (
            "popularity: {}",
            "popularity: {variants: {x y: {}}}",
            "a name is that of a folder.*'x y'",
        ),
        ("popularity: {}", "../popularity: {}", "a name is that of a folder"),
        ("popularity: {}", "..: {model: popularity}", "a name is that of a folder"),
        ("data: {tiny", "data: {../tiny", "'data': a name is that of a folder"),
        ("data: {tiny", "data: {x: 3, tiny", r"'data' needs a folder for 'x' \(got 3\)"),
        ("popularity: {}", "popularity: {settings: [1]}", "'settings' needs to be a mapping"),
        ("popularity: {}", "popularity: {variants: {a: 3}}", "'variants': a needs to be a map"),
        ("popularity: {}", "popularity: {data: tiny}", r"'data' needs a list \(got 'tiny'\)"),
        ("popularity: {}", "popularity: {model: [1]}", "'model' needs to be one of"),
        ("popularity: {}", "popularity: {missing: {share: half}}", "'share' needs to be between"),
        ("popularity: {}", "popularity: {training: {k: [5]}}", "'k' has to be the same for all"),
        ("settings.k: [5, 20]", "training.k: [[5], [20]]", "'training.k' is what is measured"),
        ("settings.k: [5, 20]", "training.seed: [1, 2]", "'seeds' has them"),
        (
            "popularity: {}",
            "a: {model: popularity, variants: {b: {}}}\n  a-b: {model: popularity}",
            "there are two models a-b; give one another label",
        ),
        ("popularity: {}", "popularity: {without: visual}", "'without' needs a list"),
        ("popularity: {}", "popularity: {missing: {share: 2}}", "popularity: 'share' needs to be"),
        (
            "popularity: {}",
            "popularity: {missing: {share: 1.0}}",
            "name the modalities in 'without",
        ),
        ("popularity: {}", "popularity: {missing: {rate: 1}}", r"'missing' has \['rate'\], but"),
        ("popularity: {}", "popularity: {missing: {by: unpopular}}", "'missing' needs the 'share'"),
        ("popularity: {}", "popularity: {missing: 0.5}", "'missing' needs to be a mapping"),
        ("popularity: {}", "popularity: 3", r"popularity needs to be a mapping \(got a int\)"),
    ],
)
def test_refuses(write_plan: Write, old: str, new: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f"plan.yaml.*{message}"):
        read_plan(write_plan((old, new)))


def test_refuses_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.yaml; correct --config"):
        read_plan(tmp_path / "absent.yaml")
