from pathlib import Path

import pytest
import torch
from torch_geometric import Index

from mentor_pyg.ops import native
from mentor_pyg.ops.native import NativeLibrary, pointer


@pytest.fixture
def library(tmp_path: Path) -> NativeLibrary:
    source = tmp_path / "kernel.cpp"
    source.write_text("// one")
    return NativeLibrary(source)


def test_is_named_after_its_source_its_flags_and_the_cpu(
    library: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [library.path]
    assert paths[0].parent == library.source.parent
    library.source.write_text("// two")
    paths.append(library.path)
    monkeypatch.setattr(native, "FLAGS", ("-O0",))
    paths.append(library.path)
    monkeypatch.setattr(native, "_instruction_set", lambda: "another CPU")
    paths.append(library.path)
    assert len(set(paths)) == 4


def test_says_how_to_compile_it_and_looks_again_once_forgotten(library: NativeLibrary) -> None:
    message = "the native kernel is not compiled; run: python -m mentor_pyg.ops.compile_native"
    assert library.unavailable == message
    library.path.write_bytes(b"\x7fELF")
    assert library.unavailable == message
    library.forget()
    assert "does not load (" in str(library.unavailable)
    assert str(library.unavailable).endswith("; run: python -m mentor_pyg.ops.compile_native")


def test_no_tensor_is_a_null_pointer() -> None:
    assert pointer(None).value is None
    assert pointer(x := torch.ones(2)).value == x.data_ptr()


def test_wrappers_have_no_address() -> None:
    with pytest.raises(TypeError, match=r"need plain tensors \(got Index\)"):
        pointer(Index(torch.arange(4)))
