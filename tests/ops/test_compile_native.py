import os
import shutil
from pathlib import Path

import pytest

from mentor_pyg.ops.compile_native import LIBRARIES, compile_library
from mentor_pyg.ops.native import NativeLibrary

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.source.stem)
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> NativeLibrary:
    """A library of a copied source, so that nothing is written beside the real one."""
    return NativeLibrary(Path(shutil.copy(request.param.source, tmp_path)))


@needs_compiler
def test_compiles_a_library_that_loads_and_leaves_nothing_else(
    copied: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "")  # As if it were not set.
    assert "not compiled" in str(copied.unavailable)
    path = compile_library(copied)
    assert copied.unavailable is None
    assert sorted(os.listdir(path.parent)) == [path.name, copied.source.name]


def test_every_source_is_compiled() -> None:
    package = Path(__file__).parents[2] / "mentor_pyg"
    assert {library.source for library in LIBRARIES} == set(package.rglob("*.cpp"))


def test_a_missing_compiler_is_named(
    copied: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -v")
    message = r"the compiler 'no-such-compiler' is not installed; .*CXX"
    with pytest.raises(RuntimeError, match=message):
        compile_library(copied)
    assert os.listdir(copied.source.parent) == [copied.source.name]


@needs_compiler
def test_what_the_compiler_says_is_shown(
    copied: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    copied.source.write_text("int broken(")
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*error"):
        compile_library(copied)
    assert os.listdir(copied.source.parent) == [copied.source.name]
