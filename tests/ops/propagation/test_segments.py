import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.segments import split_rows
from mentor_pyg.ops.propagation.triton_csr import row_segments


def rowptr_of(degrees: list[int]) -> Tensor:
    return torch.tensor([0, *degrees]).cumsum(0)


def test_long_rows_are_cut_and_the_longest_segments_come_first() -> None:
    segments = split_rows(rowptr_of([2, 0, 9, 4, 8]), max_edges=4)
    assert segments.table.tolist() == [
        [2, 2, 6, 0],
        [2, 6, 10, 1],
        [3, 11, 15, -1],
        [4, 15, 19, 3],
        [4, 19, 23, 4],
        [0, 0, 2, -1],
        [2, 10, 11, 2],
        [1, 2, 2, -1],
    ]
    assert segments.split_row.tolist() == [2, 4]
    assert segments.split_ptr.tolist() == [0, 3, 5]
    assert segments.num_slots == 5
    for tensor in (segments.table, segments.split_row, segments.split_ptr):
        assert tensor.dtype == torch.int32


@pytest.mark.parametrize("max_edges", [1, 3, 16, 1000])
def test_segments_cover_every_edge_once(max_edges: int) -> None:
    degree = torch.randint(40, (50,)) * torch.randint(2, (50,))
    rowptr = rowptr_of(degree.tolist())
    segments = split_rows(rowptr, max_edges)
    row, begin, end, slot = segments.table.long().unbind(dim=1)
    assert set(row.tolist()) == set(range(50))
    assert (end - begin).max() <= max_edges
    covered = torch.zeros(int(rowptr[-1]), dtype=torch.long)
    for r, b, e in zip(row.tolist(), begin.tolist(), end.tolist(), strict=True):
        assert rowptr[r] <= b <= e <= rowptr[r + 1]
        covered[b:e] += 1
    assert (covered == 1).all()
    # Slots follow the edges, so that adding them up in order is adding along the row.
    part = slot >= 0
    assert slot[part][begin[part].argsort()].tolist() == list(range(segments.num_slots))
    assert segments.split_row.tolist() == (degree > max_edges).nonzero().flatten().tolist()
    count = torch.bincount(row[part], minlength=50)
    assert segments.split_ptr.diff().tolist() == count[segments.split_row.long()].tolist()


def test_no_rows_have_no_segments() -> None:
    segments = split_rows(torch.zeros(1, dtype=torch.long))
    assert segments.table.shape == (0, 4)
    assert segments.split_ptr.tolist() == [0]
    assert segments.num_slots == 0


def test_segments_need_room_for_an_edge() -> None:
    with pytest.raises(ValueError, match=r"'max_edges' needs to be a positive .* \(got 0\)"):
        split_rows(rowptr_of([1]), max_edges=0)


def test_row_segments_are_kept_and_cut_no_short_row() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1, 1], [0, 0, 2]]), num_nodes=3)
    segments = adjacency.layout(row_segments)
    assert adjacency.layout(row_segments) is segments
    assert sorted(segments.table.tolist()) == [[0, 0, 2, -1], [1, 2, 2, -1], [2, 2, 3, -1]]
