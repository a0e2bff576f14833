import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from mentor_pyg import dependencies
from mentor_pyg.dependencies import (
    MissingPackageError,
    can_import,
    has_package,
    require,
    triton_is_interpreted,
)


@pytest.fixture(autouse=True)
def _fresh_probes() -> Iterator[None]:
    """Forget remembered answers before each test, and the made-up ones after it."""
    probes = (has_package, can_import, triton_is_interpreted)
    for probe in probes:
        probe.cache_clear()
    yield
    for probe in probes:
        probe.cache_clear()


def test_has_package() -> None:
    assert has_package("json")
    assert not has_package("no_such_package_at_all")


def test_a_part_of_a_package_that_is_not_there_is_not_there() -> None:
    assert has_package("json.decoder") and not has_package("no_such_package.part")


def test_has_package_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise AssertionError(f"imported {name}")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert has_package("json")


OPTIONAL = pytest.mark.parametrize("module", ["torch_scatter", "triton.language"])


@OPTIONAL
def test_can_import_agrees_with_import(module: str) -> None:
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        assert not can_import(module)
    else:
        assert can_import(module)


@OPTIONAL
def test_can_import_is_false_without_the_package(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: False)
    assert not can_import(module)
    assert not triton_is_interpreted()


@OPTIONAL
@pytest.mark.parametrize("error", [ImportError, OSError])
def test_can_import_is_false_if_it_does_not_import(
    monkeypatch: pytest.MonkeyPatch, module: str, error: type[Exception]
) -> None:
    # What a torch-scatter raises that was compiled against another torch.
    def fail(name: str) -> ModuleType:
        raise error("undefined symbol")

    monkeypatch.setattr(dependencies, "has_package", lambda name: True)
    monkeypatch.setattr(importlib, "import_module", fail)
    assert not can_import(module)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize(
    ("at_start", "later", "answer"),
    [("1", "1", True), ("0", "0", False), ("0", "1", False), ("1", "0", False)],
)
def test_triton_is_interpreted_where_all_of_its_kernels_are(
    at_start: str, later: str, answer: bool
) -> None:
    program = (
        "import os, runpy, sys, triton.language\n"
        "os.environ['TRITON_INTERPRET'] = sys.argv[2]\n"
        "print(runpy.run_path(sys.argv[1])['triton_is_interpreted']())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, dependencies.__file__, later],
        env=os.environ | {"TRITON_INTERPRET": at_start},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == f"{answer}\n"


def test_require_returns_the_module() -> None:
    assert require("json", extra="train", purpose="Reading") is json


def test_require_names_the_extra_and_the_purpose() -> None:
    with pytest.raises(MissingPackageError) as raised:
        require("no_such_package_at_all", extra="train", purpose="Training")
    message = str(raised.value)
    assert message.startswith("Training needs the package 'no_such_package_at_all'")
    assert "pip install '.[train]' in a checkout of mentor_pyg" in message
