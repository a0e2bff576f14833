"""Nearest neighbours that were searched before, on disk."""

import logging
from pathlib import Path

from torch import Tensor

from mentor_pyg.files import user_cache
from mentor_pyg.graph import knn_graph
from mentor_pyg.tensor_files import checksum, load_checked, save_checked

__all__ = ["cached_knn_graph"]

_FORMAT = 2
"""To be raised with every change of what is written or of what the search finds."""

_logger = logging.getLogger(__name__)


def cached_knn_graph(x: Tensor, k: int, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return what :func:`~mentor_pyg.graph.knn_graph` returns, searched for once.

    The file's name is a checksum of all that the result depends on, so it is never stale, and its
    contents are checked with one of their own. It is in ``mentor_pyg/item_graphs`` in the user's
    cache folder (``$XDG_CACHE_HOME``, or ``~/.cache``), where it may be deleted at any time. A
    damaged file is named in a warning and written anew; where none can be read or written, the
    neighbours are searched.

    Args:
        x: Item features ``[num_items, channels]``.
        k: The number of neighbours of every item.
        present: Which items have features, bool ``[num_items]``.
    """
    key = checksum({"x": x, "present": present}, f"knn_graph {_FORMAT} {k}")
    try:
        path = user_cache() / "item_graphs" / f"{key}.safetensors"
    except RuntimeError as error:
        _logger.info("Item graphs are not cached: %s", error)
        return knn_graph(x, k, present)
    graph = _read(path, key, int(present.sum()) * k)
    if graph is None:
        graph = knn_graph(x, k, present)
        _write(path, key, graph)
    edge_index, similarity = graph
    return edge_index.to(x.device), similarity.to(x.device)


def _read(path: Path, key: str, num_edges: int) -> tuple[Tensor, Tensor] | None:
    try:
        tensors, content = load_checked(path)
        edge_index, similarity = tensors["edge_index"], tensors["similarity"]
        if (content, edge_index.shape, similarity.shape) != (key, (2, num_edges), (num_edges,)):
            raise ValueError(f"{path} holds another item graph than its name says")
    except FileNotFoundError:
        return None
    except OSError as error:
        _logger.info("The item graph %s cannot be read (%s)", path, error)
        return None
    except (KeyError, ValueError) as error:
        _logger.warning("The item graph in %s is searched anew (%s)", path, error)
        return None
    return edge_index, similarity


def _write(path: Path, key: str, graph: tuple[Tensor, Tensor]) -> None:
    edge_index, similarity = graph
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checked({"edge_index": edge_index.cpu(), "similarity": similarity.cpu()}, path, key)
    except OSError as error:
        _logger.info("The item graph is not cached (%s)", error)
