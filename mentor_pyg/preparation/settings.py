"""How data are prepared."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from mentor_pyg.config import AtLeastOne, Config, Count, Share
from mentor_pyg.datasets.feature_file import MODALITY_ALIASES
from mentor_pyg.preparation.splits import SplitName
from mentor_pyg.version import __version__

__all__ = ["Preparation"]


@dataclass(frozen=True, kw_only=True)
class Preparation(Config):
    """Settings of :func:`~mentor_pyg.preparation.prepare`.

    Args:
        name: The name of the dataset; by default that of the folder.
        user: The column of users. It and the next three are guessed where they are not given.
        item: The column of items.
        rating: The column of ratings.
        time: The column of times: numbers, or dates as text.
        time_format: The form of times as text, as ``"%d.%m.%Y %H:%M"``; every time has to have it.
        decimal_comma: Whether ratings may have a comma for a point.
        columns: The names of all columns of text files without a header.
        items: A file of items: ids, and titles, descriptions, images or links.
        features: Per modality a file: a ``.npy`` array, whose rows are those of ``items``, or
            Amazon's binary image features of 2014, ``.b``.
        min_rating: The least rating of an interaction that is kept.
        core: How many interactions every user and item that is kept has at least.
        split: How train, validation and test come about.
        val_ratio: The share of validation.
        test_ratio: The share of test.
        seed: Of what the split draws.
        max_errors: How many malformed lines are put up with.
        memory: What the database may take; the process takes up to a GiB more.
        threads: How many threads it may take; by default one a core.
    """

    name: str | None = None
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    time_format: str | None = None
    decimal_comma: bool = False
    columns: tuple[str, ...] | None = None
    items: str | None = None
    features: Mapping[str, str] = field(default_factory=dict)
    min_rating: float | None = None
    core: AtLeastOne = 1
    split: SplitName = "random"
    val_ratio: Share = 0.1
    test_ratio: Share = 0.1
    seed: Count = 0
    max_errors: Count = 0
    memory: str = "2GiB"
    threads: AtLeastOne | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: If a value is of another type or out of range, or features have two names
                of one modality.
        """
        super().__post_init__()
        if self.name is not None and Path(self.name).name != self.name:
            raise ValueError(f"'name' needs to be one of a file (got {self.name!r})")
        for one, modality in MODALITY_ALIASES.items():
            if {one, modality} <= set(self.features):
                raise ValueError(
                    f"'features' needs one name of a modality (got {one!r} and {modality!r})"
                )
        if self.val_ratio <= 0 or self.test_ratio <= 0 or self.val_ratio + self.test_ratio >= 1:
            raise ValueError(
                f"'val_ratio' and 'test_ratio' need to be above 0 and to leave something for train "
                f"(got {self.val_ratio} and {self.test_ratio})"
            )

    def command(self, files: Sequence[str | Path], out: str | Path) -> str:
        """Return the command that does the same."""
        words = ["mentor-pyg", "prepare", *map(str, files), "--out", str(out)]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "features":
                for modality, path in value.items():
                    words += ["--features", f"{modality}={path}"]
            elif value != one.default:
                text = ",".join(value) if one.name == "columns" else str(value)
                words.append(f"--{one.name.replace('_', '-')}")
                words += [] if value is True else [text]
        return shlex.join(words)

    def identity(self, paths: Sequence[Path]) -> str:
        """Return what tables come of: all files as they are, and the settings that matter."""
        files = [
            [str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths
        ]
        settings = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name not in ("memory", "threads")
        }
        parts = {"version": __version__, "tables": 5, "files": files, "settings": settings}
        return json.dumps(parts, default=dict)
