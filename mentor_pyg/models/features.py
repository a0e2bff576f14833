"""What models of item features ask of a dataset."""

from __future__ import annotations

from mentor_pyg.data import Sizes

__all__ = ["check_has_modalities"]


def check_has_modalities(model: str, sizes: Sizes) -> None:
    """Raise a ``ValueError`` if there are no item features for a model that ranks by them."""
    if not sizes.channels:
        raise ValueError(
            f"{model} needs at least one modality; add features as data['item'].x_<modality>, "
            f"or train a model of interactions alone, such as LightGCN"
        )
