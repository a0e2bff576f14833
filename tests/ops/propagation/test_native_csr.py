from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import Noise, propagate, propagate_layers
from mentor_pyg.ops.propagation import native_csr

compiled = pytest.mark.skipif(
    not native_csr.library_path().is_file(), reason="the native kernel is not compiled"
)


@pytest.fixture
def adjacency() -> Adjacency:
    """A graph of 300 nodes, one of which hears all others."""
    edges = torch.rand(300, 300) < 0.03
    edges[:, 7] = True
    edge_index = edges.nonzero().t()
    return Adjacency.from_edge_index(edge_index, torch.rand(edge_index.size(1)), num_nodes=300)


@pytest.fixture
def threads() -> object:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@compiled
@pytest.mark.parametrize("width", [1, 8, 63, 64, 72, 130])
def test_products_are_torchs_to_the_last_bits(adjacency: Adjacency, width: int) -> None:
    x = torch.randn(300, width)
    expected = adjacency.to_dense().double() @ x.double()
    out = propagate(adjacency, x, "native")
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=1e-5)


@compiled
def test_results_do_not_depend_on_the_number_of_threads(
    adjacency: Adjacency, threads: type
) -> None:
    x = torch.randn(300, 64)
    found = []
    for number in (1, 2, 5):
        threads(number)
        torch.manual_seed(0)
        found.append(propagate_layers(adjacency, x, 2, [Noise(0.1), Noise(0.1)], "native"))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@compiled
def test_what_is_not_kept_is_the_same_sum(adjacency: Adjacency) -> None:
    x, base = torch.randn(300, 65), torch.randn(300, 65)
    noise = Noise(0.2, torch.rand(300, 65))
    kept, total = native_csr.layer(adjacency, x, base, noise, True)
    _, alone = native_csr.layer(adjacency, x, base, noise, False)
    assert torch.equal(total, alone)
    assert torch.equal(total, base + kept)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Let no other test see the library of this one."""
    native_csr.forget_library()
    yield
    native_csr.forget_library()


@pytest.mark.usefixtures("forgotten")
def test_without_its_library_it_says_how_to_compile_it(
    adjacency: Adjacency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_csr, "library_path", lambda: Path("absent.so"))
    with pytest.raises(RuntimeError, match=r"not compiled; run: python -m .*compile_native"):
        propagate(adjacency, torch.ones(300, 2), "native")
    propagate(adjacency, torch.ones(300, 2), "auto")


@pytest.mark.usefixtures("forgotten")
def test_a_library_that_does_not_load_is_a_reason(
    adjacency: Adjacency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF")
    monkeypatch.setattr(native_csr, "library_path", lambda: broken)
    with pytest.raises(UnavailableError, match=r"does not load \(.*broken.so.*\); run: python"):
        propagate(adjacency, torch.ones(300, 2), "native")
    propagate(adjacency, torch.ones(300, 2), "auto")


def test_indices_beyond_32_bits_are_refused(
    adjacency: Adjacency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_csr, "fits_in_32_bits", lambda adjacency: False)
    assert "in 32 bits" in str(native_csr.unavailable(adjacency, torch.ones(300, 2)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_dtypes_than_the_weights_are_refused(
    adjacency: Adjacency, dtype: torch.dtype
) -> None:
    with pytest.raises(RuntimeError, match=rf"'native' cannot run: .*got {dtype} and torch.float3"):
        propagate(adjacency, torch.ones(300, 2, dtype=dtype), "native")


def test_the_library_is_named_after_its_source_its_flags_and_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "native_csr.cpp"
    monkeypatch.setattr(native_csr, "SOURCE", source)
    source.write_text("// one")
    first = native_csr.library_path()
    source.write_text("// two")
    second = native_csr.library_path()
    assert first != second
    assert first.parent == tmp_path
    monkeypatch.setattr(native_csr, "FLAGS", ("-O0",))
    third = native_csr.library_path()
    assert third != second
    monkeypatch.setattr(native_csr, "_instruction_set", lambda: "another CPU")
    assert native_csr.library_path() != third
