import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import Backend, propagate
from mentor_pyg.ops.propagation.derivatives import constant_product
from tests.ops.contrast.views import LargestResult
from tests.ops.propagation.twice import derivatives


@pytest.fixture
def adjacency() -> Adjacency:
    """A bipartite matrix with parallel edges, an empty row and an empty column."""
    edge_index = torch.tensor([[0, 3, 2, 3, 0, 3], [1, 0, 1, 1, 3, 1]])
    weight = torch.randn(6, dtype=torch.float64)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(5, 4))


def dense_product(adjacency: Adjacency, x: Tensor) -> Tensor:
    return adjacency.to_dense() @ x


@pytest.mark.parametrize("trained", ["features", "weights", "both"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 2)], ids=str)
def test_first_and_second_derivatives(
    adjacency: Adjacency, backend: str, shape: tuple[int, ...], trained: str
) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=trained != "weights")
    weight = torch.randn(6, dtype=torch.float64, requires_grad=trained != "features")
    inputs = tuple(tensor for tensor in (x, weight) if tensor.requires_grad)
    matrix = adjacency.with_weight(weight)
    found = derivatives(propagate(matrix, x, backend), inputs)
    torch.testing.assert_close(found, derivatives(dense_product(matrix, x), inputs))


def test_trained_weights_are_differentiated_as_in_the_dense_matrix(
    adjacency: Adjacency, backend: str
) -> None:
    edge_index, given = torch.stack([adjacency.col, adjacency.target]).flip(1), torch.rand(6)
    x = torch.randn(5, 3)
    found = []
    for product in (lambda a: propagate(a, x, backend), lambda a: a.to_dense() @ x):
        weight = given.clone().requires_grad_()
        matrix = Adjacency.from_edge_index(edge_index, weight, num_nodes=(5, 4))
        out = product(matrix)
        found.append((out.detach(), *torch.autograd.grad(out.pow(3).sum(), weight)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_trained_weights_keep_their_dtype(adjacency: Adjacency, dtype: torch.dtype) -> None:
    weight = torch.rand(6, requires_grad=True)
    x = torch.randn(2, 5, 3, dtype=dtype, requires_grad=True)
    out = propagate(adjacency.with_weight(weight), x, "naive")
    found = torch.autograd.grad(out.sum(), (weight, x))
    wide = x.detach().float().requires_grad_()
    expected = adjacency.with_weight(weight).to_dense() @ wide
    wanted = torch.autograd.grad(expected.sum(), (weight, wide))
    assert (found[0].dtype, found[1].dtype) == (torch.float32, dtype)
    torch.testing.assert_close(found[0], wanted[0], rtol=0.01, atol=0.01)
    torch.testing.assert_close(found[1].float(), wanted[1], rtol=0.01, atol=0.01)


def test_weights_of_a_symmetric_matrix_are_trained_apart() -> None:
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    matrix = Adjacency.from_edge_index(edge_index, weight, num_nodes=3, is_symmetric=True)
    found = derivatives(propagate(matrix, x), (weight, x))
    dense = torch.zeros(3, 3, dtype=torch.float64).index_put((edge_index[1], edge_index[0]), weight)
    torch.testing.assert_close(found, derivatives(dense @ x, (weight, x)))


def test_the_gradient_of_weights_never_holds_all_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mentor_pyg.ops.propagation.gathered._CHUNK_ELEMENTS", 100)
    edge_index = torch.randint(20, (2, 501))
    weight = torch.rand(501, requires_grad=True)
    adjacency = Adjacency.from_edge_index(edge_index, weight, num_nodes=20)
    x = torch.randn(20, 20)  # Five edges at a time, and one in the end.
    with LargestResult() as mode:
        out = propagate(adjacency, x, "torch_csr")
        (found,) = torch.autograd.grad(out, weight, torch.ones_like(out))
    assert mode.numel <= 501
    torch.testing.assert_close(found, x.sum(dim=1)[edge_index[0]])


def test_backward_multiplies_by_the_kept_transpose(adjacency: Adjacency) -> None:
    seen = []

    def spy(matrix: Adjacency, x: Tensor) -> Tensor:
        seen.append(matrix)
        return dense_product(matrix, x)

    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    out = constant_product(Backend(spy, lambda *_: None), adjacency, x)
    (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    assert torch.equal(grad, adjacency.to_dense().t() @ torch.ones(4, 2, dtype=torch.float64))
    assert seen[0] is adjacency
    assert seen[1] is adjacency.transposed
    assert len(seen) == 2


def test_constant_weights_save_no_tensor_for_backward(adjacency: Adjacency, backend: str) -> None:
    saved = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        propagate(adjacency, x, backend)
    assert not saved


@pytest.mark.parametrize("trained", [False, True])
def test_no_gradient_where_none_is_needed(adjacency: Adjacency, trained: bool) -> None:
    x = torch.randn(5, 2, dtype=torch.float64)
    assert not propagate(adjacency, x).requires_grad
    adjacency = adjacency.with_weight(adjacency.weight.requires_grad_(trained))
    with torch.no_grad():
        assert not propagate(adjacency, x.requires_grad_()).requires_grad
