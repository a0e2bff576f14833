import numpy as np
import pytest
import scipy.sparse
from torch_geometric.data import HeteroData

from mentor_pyg import dependencies
from mentor_pyg.models import ItemKNN
from mentor_pyg.models.fitted import sparse
from tests.models.fitted.dense import top


@pytest.fixture
def left() -> np.ndarray:
    rng = np.random.default_rng(0)
    left = rng.integers(1, 4, (30, 17)) * (rng.random((30, 17)) < 0.3)
    left[[4, 29]] = 0  # Rows without entries, the last among them.
    return left.astype(float)


@pytest.mark.parametrize("block", [1, 40, 2**22])
@pytest.mark.parametrize("k", [1, 4, 1000])
def test_top_products_equal_sorting(
    block: int, k: int, left: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many entries are equal, so the lower column has to win."""
    monkeypatch.setattr(sparse, "_BLOCK", block)
    x = scipy.sparse.csr_array(left)
    found = sparse.top_products(x, x.T.tocsr(), k)
    assert (found.toarray() == top(left @ left.T, k)).all()
    assert np.diff(found.indptr).max() <= k
    assert found.has_sorted_indices


def test_blocks_are_bounded(left: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_BLOCK", 60)
    x = scipy.sparse.csr_array(left)
    sizes = []
    largest = sparse._largest
    monkeypatch.setattr(
        sparse, "_largest", lambda m, row, k: (sizes.append(m.nnz), largest(m, row, k))[1]
    )
    sparse.top_products(x, x.T.tocsr(), 3)
    assert len(sizes) > 5
    assert max(sizes) <= 60 + 30  # What is begun ends with its row.


def test_reweighing_knows_rows_and_columns(
    left: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "_BLOCK", 40)
    x = scipy.sparse.csr_array(left)
    found = sparse.top_products(
        x, x.T.tocsr(), 5, lambda v, row, column: v / (1 + 2 * row + column)
    )
    place = np.arange(30)
    expected = left @ left.T / (1 + 2 * place[:, None] + place)
    assert found.toarray() == pytest.approx(top(expected, 5))


def test_scipy_comes_with_an_extra(tiny_data: HeteroData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "scipy")
    message = r"A product of sparse matrices .* 'scipy', .*the extra 'train'"
    with pytest.raises(ImportError, match=message):
        ItemKNN.from_data(tiny_data).fit(tiny_data)


@pytest.mark.parametrize(("part", "wrong"), [("column", 80), ("column", -1), ("start", 10**6)])
def test_parts_that_point_outside_are_refused(part: str, wrong: int, tiny_data: HeteroData) -> None:
    model = ItemKNN.from_data(tiny_data).fit(tiny_data)
    model.get_buffer(f"nearest_{part}")[5] = wrong
    with pytest.raises(ValueError, match="ind"):
        model.recommend(tiny_data, 0)
