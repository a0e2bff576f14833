import torch

from mentor_pyg.graph import Adjacency, common_edges


def graph(*edges: tuple[int, int]) -> Adjacency:
    """Return edges (source, target) between five nodes."""
    return Adjacency.from_edge_index(torch.tensor(edges).t(), num_nodes=5)


def found(*graphs: Adjacency) -> list[tuple[int, ...]]:
    return [tuple(edge) for edge in common_edges(graphs).t().tolist()]


def test_edges_are_in_all_graphs() -> None:
    a = graph((1, 0), (2, 0), (0, 1), (2, 1), (3, 2))
    b = graph((2, 0), (3, 0), (0, 1), (2, 3))
    c = graph((2, 0), (1, 0), (2, 1), (0, 1))
    # Node 2 has edges in the first alone, node 3 in the second alone.
    assert found(a, b, c) == [(2, 0), (0, 1), (3, 2), (2, 3)]
    assert found(c, b, a) == found(a, b, c)
    assert found(a, c) == [(1, 0), (2, 0), (0, 1), (2, 1), (3, 2)]


def test_directions_differ() -> None:
    assert found(graph((1, 0)), graph((0, 1), (2, 0))) == [(0, 1)]


def test_loops_and_repeated_edges_do_not_count() -> None:
    assert found(graph((0, 0), (1, 0), (1, 0)), graph((0, 0), (2, 0))) == []
    assert found(graph((0, 0), (1, 0), (1, 0))) == [(1, 0)]


def test_nothing_in_common() -> None:
    edges = common_edges([graph((1, 0)), graph((2, 0))])
    assert edges.shape == (2, 0)
    assert edges.dtype == torch.long
