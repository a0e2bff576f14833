"""Synthetic multimodal interactions with the shape of real ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset

from mentor_pyg.data import check_modality_name
from mentor_pyg.datasets.assembly import Interactions, assemble
from mentor_pyg.datasets.synthetic_sampling import (
    apportion,
    draw_features,
    draw_latent_factors,
    sample_interactions,
)
from mentor_pyg.transforms.random_interaction_split import random_labels
from mentor_pyg.typing import Modality

__all__ = ["SYNTHETIC_SIZES", "SyntheticMultimodal", "SyntheticSize"]

_MIN_DEGREE = 5  # interactions of a user before the split, as in the field's 5-core data


@dataclass(frozen=True, kw_only=True)
class SyntheticSize:
    """The counts of a synthetic dataset, which it meets exactly.

    Args:
        num_users: The number of users; at least 5 interactions each need to fit the counts.
        num_items: The number of items.
        num_train: The number of train interactions.
        num_val: The number of validation interactions, at least one per user.
        num_test: The number of test interactions, likewise.
        channels: Per modality the width of its features.
        default_channels: The width for modalities that ``channels`` does not name.
    """

    num_users: int
    num_items: int
    num_train: int
    num_val: int
    num_test: int
    channels: Mapping[Modality, int] = field(default_factory=dict)
    default_channels: int = 32

    def __post_init__(self) -> None:
        total = self.num_train + self.num_val + self.num_test
        if min(self.num_val, self.num_test) < self.num_users:
            raise ValueError(
                f"'num_val' and 'num_test' need at least one interaction per user, "
                f"{self.num_users} (got {self.num_val} and {self.num_test})"
            )
        low, high = _MIN_DEGREE * self.num_users, self.max_degree * self.num_users
        if not low <= total <= high:
            raise ValueError(
                f"'num_train', 'num_val' and 'num_test' need a sum from {low} to {high}, which "
                f"is {_MIN_DEGREE} to {self.max_degree} interactions per user (got {total})"
            )

    @property
    def max_degree(self) -> int:
        """The most interactions that a user may have, a quarter of the items."""
        return self.num_items // 4


SYNTHETIC_SIZES: Mapping[str, SyntheticSize] = MappingProxyType(
    {
        "tiny": SyntheticSize(
            num_users=60,
            num_items=80,
            num_train=384,
            num_val=60,
            num_test=60,
            channels={"visual": 24, "textual": 16},
            default_channels=12,
        ),
        "demo": SyntheticSize(
            num_users=1_500,
            num_items=800,
            num_train=15_200,
            num_val=1_900,
            num_test=1_900,
            channels={"visual": 128, "textual": 64},
        ),
        "baby": SyntheticSize(
            num_users=19_445,
            num_items=7_050,
            num_train=118_551,
            num_val=20_559,
            num_test=21_682,
            channels={"visual": 4_096, "textual": 384},
            default_channels=128,
        ),
    }
)
"""The named sizes: for tests, for a first training run in under two minutes on two cores, and
with the counts and widths of Amazon Baby for measurements."""


class SyntheticMultimodal(InMemoryDataset):
    r"""A synthetic multimodal dataset, made in memory; nothing is downloaded or written.

    Items and users have latent factors around common cluster centres. Users differ in activity
    and items in popularity, both with heavy tails; a user's items are drawn without replacement
    with odds of popularity times :math:`\exp(\beta \, \mathbf{z}_u^\top \mathbf{z}_i)`. Features
    are random projections of noisy item factors, so that they say something, but not everything,
    about who interacts with what. Every user has at least five interactions, of which at least
    one each is for validation and test; about 8:1:1 in all, except for the size ``"baby"``, whose
    counts are those of the real split. ``dataset[0]`` has the same layout as that of
    :class:`~mentor_pyg.datasets.InteractionFolder`.

    Args:
        size: ``"tiny"``, ``"demo"`` or ``"baby"``, see :obj:`SYNTHETIC_SIZES`, or a
            :class:`SyntheticSize`.
        seed: Equal seeds give equal datasets; the global generator is left alone.
        modalities: The names of the modalities; may be empty.
        missing: The share of items that lack a modality, drawn for every modality anew.
        transform: Applied to the graph on every access.

    Raises:
        ValueError: If the size is unknown, ``missing`` is not in :math:`[0, 1)`, or a modality is
            named twice or cannot be one.
    """

    def __init__(
        self,
        size: str | SyntheticSize = "demo",
        seed: int = 0,
        modalities: Sequence[Modality] = ("visual", "textual"),
        missing: float = 0.0,
        *,
        transform: Callable[[HeteroData], HeteroData] | None = None,
    ) -> None:
        super().__init__(None, transform)
        self.size = _resolve_size(size)
        self._size_name = size if isinstance(size, str) else repr(size)
        self.seed = seed
        _check_modalities(modalities)
        if not 0 <= missing < 1:
            raise ValueError(f"'missing' needs to be at least 0 and below 1 (got {missing})")
        generator = torch.Generator().manual_seed(seed)
        user_factor, item_factor = draw_latent_factors(
            self.size.num_users, self.size.num_items, generator
        )
        interactions = _draw_interactions(self.size, user_factor, item_factor, generator)
        features = {
            modality: draw_features(
                item_factor,
                self.size.channels.get(modality, self.size.default_channels),
                # Text says more about an item than its picture or sound does.
                noise=0.4 if modality == "textual" else 0.7,
                missing=missing,
                generator=generator,
            )
            for modality in modalities
        }
        self.data = assemble(interactions, features)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self._size_name}, seed={self.seed})"


def _resolve_size(size: str | SyntheticSize) -> SyntheticSize:
    if isinstance(size, SyntheticSize):
        return size
    if size not in SYNTHETIC_SIZES:
        raise ValueError(
            f"'size' needs to be a SyntheticSize or one of {sorted(SYNTHETIC_SIZES)} (got {size!r})"
        )
    return SYNTHETIC_SIZES[size]


def _check_modalities(modalities: Sequence[Modality]) -> None:
    if isinstance(modalities, str):
        raise TypeError(f"'modalities' needs a sequence of names (got {modalities!r})")
    for name in modalities:
        check_modality_name(name, "'modalities'")
    if len(set(modalities)) < len(modalities):
        raise ValueError(f"'modalities' needs every name once (got {list(modalities)})")


def _draw_interactions(
    size: SyntheticSize, user_factor: Tensor, item_factor: Tensor, generator: torch.Generator
) -> Interactions:
    users = size.num_users
    total = size.num_train + size.num_val + size.num_test
    one = torch.ones(users, dtype=torch.long)
    quantile = (torch.randperm(users, generator=generator) + 0.5).double() / users
    degree = apportion(
        total,
        share=quantile.pow(-0.4) - 0.99,  # a Pareto tail with exponent 2.5
        low=one * _MIN_DEGREE,
        high=one * size.max_degree,
    )
    num_val, num_test = (
        apportion(
            count,
            share=(degree * (count / total) - 1).double().clamp(min=1e-3),
            low=one,
            high=(degree - 1) // 2,  # leaves at least one for training
        )
        for count in (size.num_val, size.num_test)
    )
    edge_index = sample_interactions(user_factor, item_factor, degree, generator)
    label = random_labels(edge_index[0], num_val, num_test, generator)
    train, val, test = (edge_index[:, label == number] for number in range(3))
    return Interactions(num_users=users, num_items=size.num_items, train=train, val=val, test=test)
