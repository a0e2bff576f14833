import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from mentor_pyg import __version__, dependencies
from mentor_pyg.cli.main import COMMANDS
from mentor_pyg.models import MODELS
from tests.cli.conftest import SMALL, Command

ROOT = Path(__file__).parents[2]


def python(code: str, **env: str) -> str:
    """Return what a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_help_names_every_command(command: Command) -> None:
    done = command("--help")
    assert done.status == 0
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^    {name} +{text[:40]}", done.out, re.MULTILINE)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(name: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = command(*name.split(), "--help")
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"usage: mentor-pyg {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_names_what_a_command_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = ArgumentParser(prog="mentor-pyg")
    importlib.import_module(f"mentor_pyg.cli.{name}").add_arguments(parser, ["--help"])
    actions = [one for one in parser._actions if one.required or not one.option_strings]
    needs = [word for one in actions for word in (*one.option_strings, str(one.metavar))]
    words = re.findall(r"[\w-]+", COMMANDS[name].needs)
    of_its_own = {"train": ["--model", "NAME"], "recommend": ["--user", "ID", "--all"]}
    assert sorted(words) == sorted([*needs, *of_its_own.get(name, [])])


def test_version(command: Command) -> None:
    assert command("--version").out == f"mentor-pyg {__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], r"\{train,evaluate,.*not provided; see `mentor-pyg --help`"),
        (["nope"], r"invalid choice: 'nope' \(choose from 'train'.*see `mentor-pyg --help`"),
        (["evaluate"], r"required: evaluate.run; see `mentor-pyg evaluate --help`"),
        (["data", ".", "--foo"], "unrecognized arguments: --foo; see `mentor-pyg data --help`"),
        (["recommend", "r", "--k", "x"], "'k': Expected an int. Got value: x; see"),
        (["prepare", "f", "--out", "o", "--min-rating", "3,5"],
         "'min_rating': Expected a float. Got value: 3,5; see `mentor-pyg prepare --help`"),
        (["prepare", "f", "--out", "o", "--threads", "x"], "'threads': Expected an int. Got value"),
        (["train", "--model", "gume", "--settings.missing", "x"],
         r"'settings.missing': Expected one of 'zero', 'mean', .*'\. Got value: x; see"),
        (["export", "r", "--out", "o", "--index", "foo"],
         r"--index: invalid choice: 'foo' \(choose from 'exact', 'hnsw', 'ivfpq'\); see"),
        (["features", "images", "x"],
         r"KIND: invalid choice: 'images' \(choose from 'text', 'image', .*'array'\); see"),
    ],
)  # fmt: skip
def test_wrong_arguments(args: list[str], message: str, refused: Callable[..., None]) -> None:
    refused(message, *args)


def test_imports_models_from_elsewhere(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (ROOT / "examples" / "your_own_model.py").read_text()
    (tmp_path / "elsewhere.py").write_text(source.replace('name = "content"', 'name = "other"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    own, out = ("--import", "elsewhere"), tmp_path / "out"
    args = ("--model", "other", "--data", folder, "--out", out, "--training.epochs", 1, *SMALL)
    done = command("train", *own, *args, "--settings.dropout", 0.1)
    try:
        assert (done.status, done.err) == (0, "")
        assert command(*own, "evaluate", out).status == 0
        assert "other" in command("models", *own).out.splitlines()
        assert "dropout = 0.3" in command("models", "other", *own).out
    finally:
        MODELS.pop("other", None)
        sys.modules.pop("elsewhere", None)


def test_refuses_to_import_what_is_not_there(
    refused: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(r"'import' needs .*\(got 'absent': No module named 'absent'\)", "models", "--import",
            "absent")  # fmt: skip
    (tmp_path / "lame.py").write_text("import absent")
    refused(r"\(got 'lame': No module named 'absent'\)", "models", "--import=lame")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a package seem not to be installed."""

    def without(package: str) -> None:
        monkeypatch.setattr(dependencies, "has_package", lambda name: name != package)
        # What imports Lightning is to be imported anew, which fails and leaves nothing behind.
        for name in [*sys.modules] if package == "lightning" else ():
            if name.startswith(("mentor_pyg.training", "mentor_pyg.experiments")):
                monkeypatch.delitem(sys.modules, name)

    return without


MISSING = {
    "train": ("--model lightgcn", "lightning", "train"),
    "evaluate": ("RUN --per-user OUT.parquet", "pyarrow", "parquet"),
    "recommend": ("RUN --all --out OUT.parquet", "pyarrow", "parquet"),
    "export": ("RUN --out OUT", "pyarrow", "parquet"),
    "serve": ("OUT", "uvicorn", "serve"),
    "search": ("--config PLAN --out OUT", "optuna", "experiments"),
    "compare": ("--config PLAN --out OUT", "lightning", "train"),
    "ablate": ("--config PLAN --out OUT", "yaml", "train"),
    "models": ("lightgcn", "docstring_parser", "train"),
    "features": ("text DATA --items ITEMS --force", "pyarrow", "parquet"),
    "prepare": ("ITEMS --out OUT", "duckdb", "prepare"),
    "data": ("DATA", "jsonargparse", "train"),
}
"""Of each command, arguments with which it needs a package, and the extra that brings it."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_package_is_a_line_that_names_its_extra(
    name: str,
    refused: Callable[..., None],
    without: Callable[[str], None],
    finished: Path,
    folder: Path,
    tmp_path: Path,
) -> None:
    args, package, extra = MISSING[name]
    (tmp_path / "plan.yaml").write_text(
        f"data: {{tiny: {folder}}}\n"
        "models: {item_knn: {search: {settings.k: [5, 20]}}}\n"
        "training: {device: cpu}\nseeds: [0]\ntrials: 2\n"
    )
    (tmp_path / "items.csv").write_text("item,title\n0,One\n")
    places = {"RUN": finished, "DATA": folder, "OUT": tmp_path / "out"}
    places |= {"PLAN": tmp_path / "plan.yaml", "ITEMS": tmp_path / "items.csv"}
    for place, path in places.items():
        args = args.replace(place, str(path))
    without(package)
    message = rf"needs the package '{package}'.*the extra '{extra}': pip install '\.\[{extra}\]'"
    refused(message, name, *args.split())


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS if name != "train")],
    ids=lambda args: args[0],
)
def test_says_how_it_is_used_without_what_only_models_need(args: list[str]) -> None:
    code = "import sys; from mentor_pyg.cli.main import main\n"
    code += f"try: main({args})\n"
    code += "except SystemExit: print({'torch', 'pandas', 'lightning'} & {*sys.modules})"
    assert python(code).splitlines()[-1] == "set()"


def test_is_a_module_too() -> None:
    code = "import runpy, sys; sys.argv[1:] = ['--version']\n"
    code += "runpy.run_module('mentor_pyg', run_name='__main__')"
    assert python(code) == f"mentor-pyg {__version__}\n"


def test_is_the_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (target,) = re.findall(r'^mentor-pyg = "(.+)"$', text, re.MULTILINE)
    module, _, name = target.partition(":")
    assert callable(getattr(sys.modules[module], name))
    for installed in entry_points(group="console_scripts", name="mentor-pyg"):
        assert installed.value == target


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tr", {"train"}),
        ("train", {"train"}),
        ("train --mod", {"--model"}),
        ("train --model light", {"lightgcn"}),
        ("train --model lightgcn --settings.n", {"--settings.num_layers"}),
        ("train --model mentor --settings.contrast ", {"full", "batch"}),
        ("train --config lightgcn-b", {"lightgcn-baby"}),
        ("train --config lightgcn-baby --settings.n", {"--settings.num_layers"}),
        ("evaluate run --split ", {"val", "test"}),
        ("export run --index i", {"ivfpq"}),
        ("features im", {"image"}),
        ("models bp", {"bprmf"}),
    ],
)
def test_completes(line: str, expected: set[str], tmp_path: Path) -> None:
    assert completions(line, tmp_path) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ev", {"evaluate"}),
        ("evaluate run --spl", {"--split"}),
        ("evaluate run --split ", {"val", "test"}),
        ("compare --on", {"--only"}),
        ("evaluate benc", {"benchmarks/"}),
        ("export run --items benc", {"benchmarks/"}),
        ("export run --index h", {"hnsw"}),
        ("features tex", {"text"}),
        ("features text benc", {"benchmarks/"}),
        ("evaluate run --k 1", {""}),
    ],
)
def test_completes_what_needs_no_model_without_torch(
    line: str, expected: set[str], tmp_path: Path
) -> None:
    absent = "import sys; sys.modules['torch'] = None"
    assert completions(line, tmp_path, before=absent) == expected


def completions(line: str, folder: Path, before: str = "") -> set[str]:
    """Return what a shell is offered for a line, by a Python that first runs some code."""
    pytest.importorskip("argcomplete")
    line, found = f"mentor-pyg {line}", folder / "found"
    python(
        f"{before}\nfrom mentor_pyg.cli.main import main; main()",
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(found),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        COMP_TYPE="9",
    )
    return set(found.read_text().split("\n"))
