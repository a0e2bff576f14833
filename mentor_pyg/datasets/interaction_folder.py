"""Datasets on disk in the field's common layout."""

import logging
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

from torch_geometric.data import HeteroData, InMemoryDataset

from mentor_pyg.datasets.assembly import Interactions, assemble
from mentor_pyg.datasets.cache import (
    cache_file_name,
    cache_folder,
    file_sha256,
    read_cache,
    write_cache,
)
from mentor_pyg.datasets.checksums import log_published
from mentor_pyg.datasets.feature_file import find_feature_files, num_feature_rows, read_features
from mentor_pyg.datasets.id_mapping_file import find_id_mappings, read_id_mapping
from mentor_pyg.datasets.inter_file import read_inter_file

__all__ = ["InteractionFolder"]

_logger = logging.getLogger(__name__)


class InteractionFolder(InMemoryDataset):
    r"""A folder of interactions and item features, as one heterogeneous graph.

    The folder holds ``<name>.inter`` or ``<name>.inter.gz``, tab-separated ``userID itemID
    [rating] [timestamp] x_label`` with label 0 for train, 1 for validation and 2 for test, and
    any number of ``<modality>_feat.npy`` or ``.pt`` files of shape ``[num_items, channels]``,
    where ``image`` means visual, ``text`` textual and ``audio`` acoustic. Rows of NaN or zeros
    mean that the item lacks the modality. ``u_id_mapping.csv`` and ``i_id_mapping.csv``, if they
    are there, hold the original ids: tab-separated, a column of these and one of ``userID`` or
    ``itemID``. Other files are ignored. ``dataset[0]`` is a
    :class:`~torch_geometric.data.HeteroData` with

    * ``data["user"].num_nodes`` and ``data["item"].num_nodes``, and ``raw_id`` of either, a list
      of text, where there are original ids,
    * ``data["item"].x_<modality>`` in float32 and, where some items lack it,
      ``data["item"].has_<modality>``,
    * ``data["user", "interacts", "item"]`` with the train ``edge_index`` sorted by user and item,
      ``val_edge_label_index``, ``test_edge_label_index`` and, where the file has them, ``rating``
      and ``time`` of the train edges; ``data["item", "rev_interacts", "user"].edge_index``.

    These are facts. What a model makes of them, such as item graphs, it adds by its transform.

    The processed dataset is cached. The name of the cache file is a checksum of the contents of
    all sources and of all settings, so it is never stale; what it holds has a checksum, too, and
    a damaged file is named in a warning and written anew. It is written into ``cache_dir``; by
    default into ``processed`` below ``root``, or into ``mentor_pyg`` in the user's cache folder
    where ``root`` cannot be written to.

    Args:
        root: The folder.
        name: The name of the dataset; by default that of the only ``.inter`` file.
        num_items: The number of items; by default the number of rows of the feature files, or,
            without any, one more than the largest item id; item ids then have to be dense from 0.
        cache_dir: Where to cache the processed dataset.
        transform: Applied to the graph on every access.
        force_reload: Process the sources even if they are cached.

    Raises:
        FileNotFoundError: If the folder or the ``.inter`` file is missing.
        OSError: If the cache cannot be written.
        ValueError: If a file or an argument is not as described; the message names it.
    """

    def __init__(
        self,
        root: str | Path,
        name: str | None = None,
        *,
        num_items: int | None = None,
        cache_dir: str | Path | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
    ) -> None:
        folder = Path(root).expanduser()
        self._inter_file = _find_inter_file(folder, name)
        self._feature_files = find_feature_files(folder)
        self._id_mappings = find_id_mappings(folder)
        self._num_items = _check_num_items(num_items)
        self.name = _dataset_name(self._inter_file)
        self._cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._cache_file = self._locate_cache(folder)
        # PyG's own processing unpickles files that it finds in the cache folder, prints, and
        # takes a damaged cache file for a good one: without a `process` it leaves that to us.
        super().__init__(str(folder), transform, force_reload=force_reload)
        cached = None if force_reload else read_cache(self._cache_file)
        self.data = self._read_sources() if cached is None else cached

    def _locate_cache(self, folder: Path) -> Path:
        mappings = {f"{side} ids": path for side, path in self._id_mappings.items()}
        roles = {"inter": self._inter_file, **mappings, **self._feature_files}
        checksums = {role: file_sha256(path) for role, path in roles.items()}
        log_published(self.name, {path: checksums[role] for role, path in roles.items()})
        file_name = cache_file_name(self.name, checksums, {"num_items": self._num_items})
        return cache_folder(folder, self._cache_dir, file_name) / file_name

    @property
    def raw_dir(self) -> str:
        """The folder itself."""
        return str(self.root)

    @property
    def raw_file_names(self) -> list[str]:
        """The interactions, the original ids and the feature files."""
        others = (*self._id_mappings.values(), *self._feature_files.values())
        return [path.name for path in (self._inter_file, *others)]

    @property
    def processed_dir(self) -> str:
        """The folder of the cache."""
        return str(self._cache_file.parent)

    @property
    def processed_file_names(self) -> list[str]:
        """The cache file, named by everything that it depends on."""
        return [self._cache_file.name]

    def _read_sources(self) -> HeteroData:
        """Read and check the sources and write the cache file."""
        self._prepare_cache_folder()
        num_items, counted_by = self._num_items, "'num_items'"
        if num_items is None and self._feature_files:
            num_items = num_feature_rows(self._feature_files.values())
            counted_by = f"the number of rows of {next(iter(self._feature_files.values()))}"
        interactions = read_inter_file(self._inter_file, num_items, counted_by)
        features = {
            modality: read_features(path, interactions.num_items)
            for modality, path in self._feature_files.items()
        }
        counts = {"user": interactions.num_users, "item": interactions.num_items}
        raw_ids = {
            side: read_id_mapping(path, side, counts[side])
            for side, path in self._id_mappings.items()
        }
        _log_counts(self.name, interactions)
        data = assemble(interactions, features)
        for side, ids in raw_ids.items():
            data[side].raw_id = ids
        beside = self._inter_file.parent / "processed"
        own = self._cache_dir is None and self._cache_file.parent == beside
        write_cache(data, self._cache_file, alone=own)
        return data

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
    files = [path for path in sorted(root.glob("*.inter")) if path.is_file()]
    files += [path for path in sorted(root.glob("*.inter.gz")) if path.is_file()]
    names = [path.name for path in files]
    if name is not None:
        files = [path for path in files if _dataset_name(path) == name]
        if not files:
            raise FileNotFoundError(
                f"{root / name}.inter does not exist, nor does {name}.inter.gz; "
                f"the .inter files of {root} are {names or 'none'}"
            )
    if not files:
        raise FileNotFoundError(f"{root} holds no .inter file; add one or correct 'root'")
    if len(files) > 1:
        same = len({_dataset_name(path) for path in files}) == 1
        mend = "remove one" if same else "choose one with 'name'"
        raise ValueError(
            f"{root} holds several .inter files, {[path.name for path in files]}; {mend}"
        )
    return files[0]


def _check_num_items(num_items: object) -> int | None:
    if num_items is None:
        return None
    if isinstance(num_items, bool) or not isinstance(num_items, Integral) or num_items < 1:
        raise ValueError(f"'num_items' needs to be a positive integer (got {num_items!r})")
    return int(num_items)


def _dataset_name(inter_file: Path) -> str:
    return inter_file.name.removesuffix(".gz").removesuffix(".inter")


def _log_counts(name: str, interactions: Interactions) -> None:
    users, items = (row.unique().numel() for row in interactions.train)
    _logger.info(
        "%s: %d users (%d without train interactions), %d items (%d without), "
        "%d train, %d val and %d test interactions",
        name, interactions.num_users, interactions.num_users - users,
        interactions.num_items, interactions.num_items - items,
        interactions.train.size(1), interactions.val.size(1), interactions.test.size(1),
    )  # fmt: skip
