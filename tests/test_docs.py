"""What the README and the pages of ``docs`` say to type runs, and what they link to is there."""

import importlib
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import mentor_pyg
from mentor_pyg.cli import run_command
from mentor_pyg.cli.main import COMMANDS, main
from mentor_pyg.experiments import read_plan
from mentor_pyg.models import MODELS, LightGCN, Model

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
PAGES += sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def having(language: str) -> pytest.MarkDecorator:
    pages = [page for page in PAGES if blocks(page, language)]
    assert pages
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.stem)


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command in the shell blocks."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, and forget the models that a page registers."""
    monkeypatch.chdir(tmp_path)
    models = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(models)


@having("python")
def test_python_blocks_run_one_after_the_other(page: Path) -> None:
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)


@having("bash")
def test_shell_blocks_name_commands_and_options_that_exist(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The module that a page imports has the classes that it shows.
    shown = "\n".join(block for block in blocks(page, "python") if "class " in block)
    (tmp_path / "my_model.py").write_text(shown)
    monkeypatch.syspath_prepend(tmp_path)
    for name in COMMANDS:
        monkeypatch.setattr(f"mentor_pyg.cli.{name}.run", lambda **values: None)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for program, *words in commands(page):
        if program.endswith("mentor-pyg"):
            main(words)
        elif program == "make":
            assert words[0] in targets
        elif program == "python" and words[0].startswith("examples/"):
            example = importlib.import_module(words[0].removesuffix(".py").replace("/", "."))
            monkeypatch.setattr(example, "run_training", lambda *args, **values: None)
            run_command(example.main, words[1:])
    sys.modules.pop("my_model", None)


@having("yaml")
def test_yaml_blocks_are_plans(page: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "tiktok").mkdir(parents=True)
    for block in blocks(page, "yaml"):
        (tmp_path / "plan.yaml").write_text(block)
        assert read_plan(tmp_path / "plan.yaml").models


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index_once() -> None:
    listed = Counter(
        line.split("<")[-1].strip(">")
        for block in blocks(DOCS / "index.md", "{toctree}")
        for line in block.splitlines()
        if line and not line.startswith(":")
    )
    pages = (path.relative_to(DOCS).with_suffix("") for path in PAGES if DOCS in path.parents)
    assert listed == Counter(str(page) for page in pages if str(page) != "index")


def in_reference() -> Iterator[tuple[str, str]]:
    """Yield every module and name that the reference lists."""
    for page in (DOCS / "api").glob("*.md"):
        module = ""
        for line in page.read_text().splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif re.fullmatch(r"   \w+", line):
                yield module, line.strip()


def test_every_public_name_is_in_the_reference_once() -> None:
    names = list(in_reference())
    assert [one for one in names if one[1] not in importlib.import_module(one[0]).__all__] == []
    listed = Counter(name for _, name in names)
    parts = [path.parent.name for path in Path(mentor_pyg.__file__).parent.glob("*/__init__.py")]
    modules = [importlib.import_module(f"mentor_pyg.{n}") for n in (*parts, "config", "typing")]
    public = {name for module in modules for name in module.__all__}
    assert listed == Counter({*public, "MissingPackageError", "UnavailableError"})


@pytest.fixture
def conf() -> ModuleType:
    pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install '.[docs]'")
    return importlib.import_module("docs.conf")


def test_every_public_constant_has_a_docstring(conf: ModuleType) -> None:
    values = {one: getattr(importlib.import_module(one[0]), one[1]) for one in in_reference()}
    constants = [one for one, value in values.items() if not isinstance(value, type | FunctionType)]
    assert ("mentor_pyg.data", "USER") in constants
    assert all(any(conf.constant_docstring(*one)) for one in constants)
    with pytest.raises(ValueError, match=r"mentor_pyg\.data\.NONE has no docstring"):
        conf.constant_docstring("mentor_pyg.data", "NONE")


def test_the_page_of_a_model_says_what_becomes_of_new_users(conf: ModuleType) -> None:
    for model, added in ((LightGCN, f"**New users**: {LightGCN.new_users()}."), (Model, None)):
        lines = ["A model."]
        conf.after_napoleon(None, "class", "", model, None, lines)
        assert lines == (["A model.", "", added, ""] if added else ["A model."])


def test_tutorials_become_notebooks_and_links_lead_to_pages_or_files(conf: ModuleType) -> None:
    def built(docname: str, text: str) -> str:
        source = [text]
        conf.from_markdown(None, docname, source)
        return source[0]

    text = "[a](../../README.md#b) [c](../../benchmarks/README.md) [d](../backends.md)"
    links = "[a](/project/readme.md#b) [c](path:../../benchmarks/README.md) [d](../backends.md)"
    block, cell = "\n```python\n1\n```\n", "\n```{code-cell} python\n1\n```\n"
    assert built("tutorials/one", text + block) == conf.TUTORIAL + links + cell
    assert built("one", "[a](../README.md)" + block) == "[a](/project/readme.md)" + block
    source = ["[a](docs/b.md) [c](https://d) [e](#f) [g](benchmarks/README.md)"]
    conf.from_root(None, Path("../README.md"), "readme", source)
    links = "[a](../../docs/b.md) [c](https://d) [e](#f) [g](path:../../benchmarks/README.md)"
    assert source == [links]


def test_signatures_of_settings_have_no_types_and_bases_are_public(conf: ModuleType) -> None:
    from mentor_pyg.models import EASE, EASEConfig, FittedModel

    signature, _ = conf.short_signature(None, "class", "", EASEConfig, None, "", "")
    assert signature == "(*, smooth=None, smooth_weight=0.5, smooth_k=10, l2=100.0)"
    assert conf.short_signature(None, "class", "", EASE, None, "", "") is None
    bases = list(EASE.__bases__)
    conf.public_bases(None, "", EASE, None, bases)
    assert bases == [FittedModel]
