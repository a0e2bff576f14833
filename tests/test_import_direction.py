"""Holds the layout: imports go down, modules say what they export, names mean something."""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "mentor_pyg"
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
VAGUE_NAMES = {"utils", "common", "helpers", "misc"}

# Lowest first. A part may import from lower layers and from itself, not from its neighbours.
LAYERS = (
    ("typing", "version", "config", "page"),
    ("dependencies", "devices", "environment", "files", "interrupts", "memory"),
    ("graph", "item_tables", "tensor_files", "yaml_files"),
    ("data",),
    ("ops",),
    ("losses",),
    ("nn",),
    ("models", "sampling", "evaluation"),
    ("training", "export"),
    ("experiments", "features", "preparation", "serving"),
    ("cli",),
    ("__main__",),
)
ALLOWED = {
    part: {lower for layer in LAYERS[:level] for lower in layer}
    for level, layer in enumerate(LAYERS)
    for part in layer
}
# They stand beside the layers: files and HeteroData come in here, and models never see a file.
for _part in ("datasets", "transforms"):
    ALLOWED[_part] = ALLOWED["data"] | {"data"}
ALLOWED["datasets"] |= {"transforms"}  # Synthetic data are split as others are.
for _part in ("experiments", "features", "preparation", "cli"):
    ALLOWED[_part] |= {"datasets"}  # They are told where their data are.
for _part in ("models", "training", "export", "experiments", "cli"):
    ALLOWED[_part] |= {"transforms"}  # A model says which item graphs it needs.


def dotted_name(path: Path) -> str:
    """Return the import name of a module file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_parts(source: str, module: str, *, is_package: bool) -> set[str]:
    """Return the parts of the library that a source imports; other names are the top level's."""
    package = module if is_package else module.rpartition(".")[0]
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names += [f"{origin}.{alias.name}" for alias in node.names]
    split = [name.split(".") for name in names]
    parts = {"".join(name[1:2]) for name in split if name[0] == PACKAGE}
    return {part if part in ALLOWED else PACKAGE for part in parts}


def violations(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Return the parts that a module imports and may not; the top level may import all."""
    if module == PACKAGE:
        return set()
    part = module.split(".")[1]
    return imported_parts(source, module, is_package=is_package) - ALLOWED[part] - {part}


def defines_all(source: str) -> bool:
    targets: list[ast.expr] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


@pytest.mark.parametrize("path", MODULES, ids=dotted_name)
def test_imports_go_down(path: Path) -> None:
    wrong = violations(path.read_text(), dotted_name(path), is_package=path.stem == "__init__")
    assert not wrong, f"{dotted_name(path)} must not import from {sorted(wrong)}"


@pytest.mark.parametrize("path", MODULES, ids=dotted_name)
def test_module_defines_all(path: Path) -> None:
    assert defines_all(path.read_text()), f"{dotted_name(path)} defines no __all__"


def test_every_part_has_a_layer() -> None:
    parts = {dotted_name(path).split(".")[1] for path in MODULES if dotted_name(path) != PACKAGE}
    assert parts <= set(ALLOWED)


def test_no_vague_names() -> None:
    folders = (PACKAGE, "tests", "examples", "benchmarks", "docs")
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    vague = [path for path in paths if path.stem.removeprefix("test_").strip("_") in VAGUE_NAMES]
    assert not vague


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("mentor_pyg.graph.knn", "from mentor_pyg.nn import InteractionConv", {"nn"}),
        ("mentor_pyg.graph.knn", "import mentor_pyg.models.mentor", {"models"}),
        ("mentor_pyg.graph.knn", "from mentor_pyg import losses", {"losses"}),
        ("mentor_pyg.graph.knn", "from .. import losses", {"losses"}),
        ("mentor_pyg.graph.knn", "from ..ops.naive import f", {"ops"}),
        ("mentor_pyg.nn.conv.interaction", "from ...models import MENTOR", {"models"}),
        ("mentor_pyg.ops.naive", "from mentor_pyg.losses import bpr_loss", {"losses"}),
        ("mentor_pyg.models.mentor", "def f():\n    from mentor_pyg import training", {"training"}),
        ("mentor_pyg.export.tables", "from mentor_pyg.training import fit", {"training"}),
        ("mentor_pyg.models.mentor", "from mentor_pyg.datasets import X", {"datasets"}),
        ("mentor_pyg.datasets.folder", "from mentor_pyg.ops import propagate", {"ops"}),
        ("mentor_pyg.transforms.knn", "from mentor_pyg.datasets import X", {"datasets"}),
        ("mentor_pyg.data.schema", "from mentor_pyg import MENTOR", {"mentor_pyg"}),
        ("mentor_pyg.data.schema", "import mentor_pyg", {"mentor_pyg"}),
    ],
)
def test_catches_planted_violation(module: str, source: str, wrong: set[str]) -> None:
    assert violations(source, module) == wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mentor_pyg", "from mentor_pyg.training import fit"),
        ("mentor_pyg.nn.conv", "from ..encoders import ModalityEncoder"),
        ("mentor_pyg.nn.conv", "from .interaction import InteractionConv"),
        ("mentor_pyg.models.mentor", "from ..nn import InteractionConv\nimport torch.nn"),
        ("mentor_pyg.transforms.knn", "from mentor_pyg.graph import knn_graph"),
        ("mentor_pyg.graph.knn", "import mentor_pyg_extra\nfrom torch_geometric.nn import LGConv"),
    ],
)
def test_lets_downward_imports_pass(module: str, source: str) -> None:
    is_package = module in {"mentor_pyg", "mentor_pyg.nn.conv"}
    assert violations(source, module, is_package=is_package) == set()


def test_finds_missing_all() -> None:
    assert defines_all("__all__ = []")
    assert not defines_all("def f():\n    __all__ = []")
