"""Datasets on disk in the field's common layout."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from torch_geometric.data import HeteroData, InMemoryDataset

from mentor_pyg.data import resolve_modality_weights
from mentor_pyg.datasets.assembly import Interactions, assemble
from mentor_pyg.datasets.cache import (
    cache_file_name,
    cache_folder,
    file_sha256,
    read_cache,
    write_cache,
)
from mentor_pyg.datasets.checksums import log_published
from mentor_pyg.datasets.feature_file import find_feature_files, read_features
from mentor_pyg.datasets.inter_file import read_inter_file
from mentor_pyg.transforms.item_knn_graph import check_num_neighbours
from mentor_pyg.typing import Modality

__all__ = ["InteractionFolder"]

_logger = logging.getLogger(__name__)


class InteractionFolder(InMemoryDataset):
    r"""A folder of interactions and item features, as one heterogeneous graph.

    The folder holds ``<name>.inter``, tab-separated ``userID itemID [rating] [timestamp]
    x_label`` with label 0 for train, 1 for validation and 2 for test, and any number of
    ``<modality>_feat.npy`` or ``.pt`` files of shape ``[num_items, channels]``, where ``image``
    means visual, ``text`` textual and ``audio`` acoustic. Rows of NaN or zeros mean that the
    item lacks the modality. Other files are ignored. ``dataset[0]`` is a
    :class:`~torch_geometric.data.HeteroData` with

    * ``data["user"].num_nodes`` and ``data["item"].num_nodes``,
    * ``data["item"].x_<modality>`` in float32 and, where some items lack it,
      ``data["item"].has_<modality>``,
    * ``data["user", "interacts", "item"]`` with the train ``edge_index`` sorted by user and item,
      ``val_edge_label_index``, ``test_edge_label_index`` and, where the file has them, ``rating``
      and ``time`` of the train edges; ``data["item", "rev_interacts", "user"].edge_index``,
    * the item graphs of :class:`~mentor_pyg.transforms.ItemKNNGraph` and
      :class:`~mentor_pyg.transforms.MergeItemGraphs`, if there are features.

    The processed dataset is cached. The name of the cache file is a checksum of the contents of
    all sources and of all settings, so it is never stale. It is written into ``cache_dir``; by
    default into ``processed`` below ``root``, or into ``mentor_pyg`` in the user's cache folder
    where ``root`` cannot be written to.

    Args:
        root: The folder.
        name: The name of the dataset; by default that of the only ``.inter`` file.
        k: The number of neighbours in the item graphs.
        modality_weights: The weight of every modality in the merged item graph; by default 0.1
            visual and 0.9 textual where these two are the modalities, and equal weights otherwise.
        num_items: The number of items where some have no interactions; by default item ids have
            to be dense from 0.
        cache_dir: Where to cache the processed dataset.
        transform: Applied to the graph on every access.
        force_reload: Process the sources even if they are cached.

    Raises:
        FileNotFoundError: If the folder or the ``.inter`` file is missing.
        PermissionError: If the cache cannot be written.
        ValueError: If a file or an argument is not as described; the message names it.
    """

    def __init__(
        self,
        root: str | Path,
        name: str | None = None,
        k: int = 10,
        modality_weights: Mapping[Modality, float] | None = None,
        *,
        num_items: int | None = None,
        cache_dir: str | Path | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
    ) -> None:
        folder = Path(root).expanduser()
        self._inter_file = _find_inter_file(folder, name)
        self._feature_files = find_feature_files(folder)
        self._num_items = num_items
        self.name = self._inter_file.stem
        self.k = check_num_neighbours(k)
        self.modality_weights = resolve_modality_weights(self._feature_files, modality_weights)
        self._cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._cache_file = self._locate_cache(folder)
        super().__init__(str(folder), transform, force_reload=force_reload)
        self.data = read_cache(self._cache_file)

    def _locate_cache(self, folder: Path) -> Path:
        roles = {"inter": self._inter_file, **self._feature_files}
        checksums = {role: file_sha256(path) for role, path in roles.items()}
        log_published(self.name, {path: checksums[role] for role, path in roles.items()})
        settings = {
            "k": self.k,
            "modality_weights": self.modality_weights,
            "num_items": self._num_items,
        }
        file_name = cache_file_name(self.name, checksums, settings)
        return cache_folder(folder, self._cache_dir, file_name) / file_name

    @property
    def raw_dir(self) -> str:
        """The folder itself."""
        return str(self.root)

    @property
    def raw_file_names(self) -> list[str]:
        """The interactions and the feature files."""
        return [path.name for path in (self._inter_file, *self._feature_files.values())]

    @property
    def processed_dir(self) -> str:
        """The folder of the cache."""
        return str(self._cache_file.parent)

    @property
    def processed_file_names(self) -> list[str]:
        """The cache file, named by everything that it depends on."""
        return [self._cache_file.name]

    def _process(self) -> None:
        # PyG's own method unpickles files that it finds in the cache folder, prints, and takes a
        # damaged cache file for a good one.
        if self.force_reload or read_cache(self._cache_file, mmap=True) is None:
            self.process()

    def process(self) -> None:
        """Read and check the sources and write the cache file."""
        self._prepare_cache_folder()
        interactions = read_inter_file(self._inter_file, self._num_items)
        features = {
            modality: read_features(path, interactions.num_items)
            for modality, path in self._feature_files.items()
        }
        _log_counts(self.name, interactions)
        write_cache(
            assemble(interactions, features, self.k, self.modality_weights),
            self._cache_file,
        )

    def _prepare_cache_folder(self) -> None:
        """Fail before the work is done rather than after it."""
        folder = self._cache_file.parent
        probe = folder / f".{self._cache_file.name}.probe"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink(missing_ok=True)  # another process may probe too
        except OSError as error:
            raise PermissionError(
                f"'cache_dir' needs to be a folder that can be written to (got {folder}: "
                f"{error.strerror}); pass another one"
            ) from error

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}('{self.name}')"


def _find_inter_file(root: Path, name: str | None) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"'root' needs to be a folder (got {root})")
    files = sorted(path for path in root.glob("*.inter") if path.is_file())
    names = [path.name for path in files]
    if name is not None:
        path = root / f"{name}.inter"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; the .inter files of {root} are {names or 'none'}"
            )
        return path
    if not files:
        raise FileNotFoundError(f"{root} holds no .inter file; add one or correct 'root'")
    if len(files) > 1:
        raise ValueError(f"{root} holds several .inter files, {names}; choose one with 'name'")
    return files[0]


def _log_counts(name: str, interactions: Interactions) -> None:
    users, items = (row.unique().numel() for row in interactions.train)
    _logger.info(
        "%s: %d users (%d without train interactions), %d items (%d without), "
        "%d train, %d val and %d test interactions",
        name, interactions.num_users, interactions.num_users - users,
        interactions.num_items, interactions.num_items - items,
        interactions.train.size(1), interactions.val.size(1), interactions.test.size(1),
    )  # fmt: skip
