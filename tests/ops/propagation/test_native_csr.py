import pytest
import torch

from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import Noise, propagate, propagate_layers
from mentor_pyg.ops.propagation import native_csr

compiled = pytest.mark.skipif(
    native_csr.LIBRARY.unavailable is not None, reason=str(native_csr.LIBRARY.unavailable)
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


def test_without_its_library_it_says_so(
    adjacency: Adjacency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(native_csr.LIBRARY.__dict__, "loaded", "it is not compiled")
    with pytest.raises(UnavailableError, match="'native' cannot run: it is not compiled"):
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
