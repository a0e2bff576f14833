import importlib
import importlib.util
import json
from collections.abc import Iterator
from types import ModuleType

import pytest

from mentor_pyg import dependencies
from mentor_pyg.dependencies import has_package, has_torch_scatter, require


@pytest.fixture(autouse=True)
def _fresh_probes() -> Iterator[None]:
    """Forget remembered answers before each test, and the made-up ones after it."""
    probes = (has_package, has_torch_scatter)
    for probe in probes:
        probe.cache_clear()
    yield
    for probe in probes:
        probe.cache_clear()


def test_has_package() -> None:
    assert has_package("json")
    assert not has_package("no_such_package_at_all")


def test_has_package_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise AssertionError(f"imported {name}")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert has_package("json")


def test_has_torch_scatter_agrees_with_import() -> None:
    try:
        importlib.import_module("torch_scatter")
    except (ImportError, OSError):
        assert not has_torch_scatter()
    else:
        assert has_torch_scatter()


def test_has_torch_scatter_is_false_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: False)
    assert not has_torch_scatter()


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_has_torch_scatter_is_false_if_its_library_does_not_load(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    # What a torch-scatter raises that was compiled against another torch.
    def fail(name: str) -> ModuleType:
        raise error("undefined symbol")

    monkeypatch.setattr(dependencies, "has_package", lambda name: True)
    monkeypatch.setattr(importlib, "import_module", fail)
    assert not has_torch_scatter()


def test_require_returns_the_module() -> None:
    assert require("json", extra="train", purpose="Reading") is json


def test_require_names_the_extra_and_the_purpose() -> None:
    with pytest.raises(ImportError) as raised:
        require("no_such_package_at_all", extra="train", purpose="Training")
    message = str(raised.value)
    assert message.startswith("Training needs the package 'no_such_package_at_all'")
    assert "pip install 'mentor_pyg[train]'" in message
