import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation import compile_native, native_csr


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the source, so that nothing is written beside the real one."""
    copy = tmp_path / "native_csr.cpp"
    shutil.copy(native_csr.SOURCE, copy)
    monkeypatch.setattr(native_csr, "SOURCE", copy)
    monkeypatch.setattr(compile_native, "SOURCE", copy)
    native_csr.forget_library()
    yield copy
    native_csr.forget_library()


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_compiles_a_library_that_loads_and_leaves_nothing_else(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "")  # As if it were not set.
    adjacency, x = (
        Adjacency.from_edge_index(torch.tensor([[0], [0]]), num_nodes=1),
        torch.ones(1, 1),
    )
    assert "not compiled" in str(native_csr.unavailable(adjacency, x))
    path = compile_native.compile_library()
    assert native_csr.unavailable(adjacency, x) is None
    assert sorted(os.listdir(source.parent)) == [path.name, source.name]


def test_a_missing_compiler_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -v")
    with pytest.raises(
        RuntimeError, match=r"the compiler 'no-such-compiler' is not installed; .*CXX"
    ):
        compile_native.compile_library()
    assert os.listdir(source.parent) == [source.name]


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_what_the_compiler_says_is_shown(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    source.write_text("int broken(")
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*error"):
        compile_native.compile_library()
    assert os.listdir(source.parent) == [source.name]
