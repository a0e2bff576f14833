import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from mentor_pyg.dependencies import has_torch_scatter
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import propagate
from mentor_pyg.ops.constant_matrix import differentiable

BACKENDS = [
    "torch_csr",
    "edge_index",
    pytest.param(
        "scatter",
        marks=pytest.mark.skipif(not has_torch_scatter(), reason="torch-scatter is not installed"),
    ),
]


@pytest.fixture
def adjacency() -> Adjacency:
    """A bipartite matrix with an empty row and an empty column."""
    edge_index = torch.tensor([[0, 3, 2, 3, 0], [1, 0, 1, 1, 3]])
    weight = torch.randn(5, dtype=torch.float64)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=(5, 4))


def dense_product(adjacency: Adjacency, x: Tensor) -> Tensor:
    return adjacency.to_dense() @ x


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 2)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(
    adjacency: Adjacency, backend: str, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def curved(x: Tensor) -> Tensor:
        # The product is linear: a square behind it gives second derivatives something to be.
        return propagate(adjacency, x, backend).square()

    assert gradcheck(lambda x: propagate(adjacency, x, backend), x)
    assert gradcheck(curved, x)
    assert gradgradcheck(curved, x)


def test_backward_multiplies_by_the_kept_transpose(adjacency: Adjacency) -> None:
    seen = []

    def spy(matrix: Adjacency, x: Tensor) -> Tensor:
        seen.append(matrix)
        return dense_product(matrix, x)

    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(differentiable(spy, adjacency, x).sum(), x, create_graph=True)
    assert torch.equal(grad, adjacency.to_dense().t() @ torch.ones(4, 2, dtype=torch.float64))
    assert seen[0] is adjacency
    assert seen[1] is adjacency.transposed
    assert len(seen) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_saves_no_tensor_for_backward(adjacency: Adjacency, backend: str) -> None:
    saved = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        propagate(adjacency, x, backend)
    assert not saved


def test_no_gradient_where_none_is_needed(adjacency: Adjacency) -> None:
    x = torch.randn(5, 2, dtype=torch.float64)
    assert not differentiable(dense_product, adjacency, x).requires_grad
    with torch.no_grad():
        assert not differentiable(dense_product, adjacency, x.requires_grad_()).requires_grad
