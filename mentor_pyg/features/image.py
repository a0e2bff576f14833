"""Features of images, by a model of transformers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mentor_pyg.dependencies import require
from mentor_pyg.devices import resolve_device
from mentor_pyg.features.models import load_pretrained, load_whole, state_sha256
from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["IMAGE_MODEL", "ImageEncoder", "open_image"]

IMAGE_MODEL = "openai/clip-vit-base-patch32"
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What is opened; some of Pillow's others, such as PostScript, run programs."""
_MOST_PIXELS = 50_000_000
"""A larger image is not opened: a small file can hold one that fills the memory."""
_LONGEST = 100
"""Times that an image may be as long as it is wide; processors scale by the shorter side."""


def open_image(path: Path) -> Any:
    """Return an image in RGB, turned as its EXIF data say.

    Raises:
        MissingPackageError: If Pillow is not installed.
        UnusableError: If the file is no image, broken, cut off, too large or too narrow.
    """
    pillow, operations = (
        cast(Any, require(name, extra="image", purpose="Opening images"))
        for name in ("PIL.Image", "PIL.ImageOps")
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images, which are refused.
            with pillow.open(path, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise UnusableError(f"its image has {width} x {height} pixels, too many")
                if max(width, height) > _LONGEST * min(width, height):
                    raise UnusableError(f"its image has {width} x {height} pixels, too narrow")
                return operations.exif_transpose(image).convert("RGB")
    except UnusableError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many kinds.
        raise UnusableError(f"its image cannot be read ({type(error).__name__})") from error


class ImageEncoder:
    """Embeds images by a model of the transformers library.

    The features are what the model projects images to, where it does, as CLIP and SigLIP do; else
    the mean of its last hidden states.

    Args:
        model: The name of a model on the Hugging Face Hub, or a folder that holds one.
        device: Where it runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        MissingPackageError: If transformers is not installed.
        ValueError: If there is no such device, or the model cannot be loaded.
    """

    suffixes = (
        *(".jpg", ".png", ".webp", ".jpeg", ".jpe", ".jfif"),
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    )
    """What the names of images end in."""

    def __init__(self, model: str = IMAGE_MODEL, device: str = "cpu") -> None:
        self.device = resolve_device(device)
        library: Any = require("transformers", extra="image", purpose="Embedding images")
        # Of one backend, so that features do not depend on what else is installed.
        self.processor = load_pretrained(
            library.AutoImageProcessor.from_pretrained, model, backend="pil"
        )
        self.model = load_whole(library.AutoModel, model, self.device)
        self.about = {
            "model": model,
            "sha256": state_sha256(self.model),
            "processor": self.processor.to_dict(),
            "transformers": library.__version__,
        }

    def read(self, path: Path) -> dict[str, Tensor]:
        """Return what the model takes of an image, which is small however large the image is.

        Raises:
            UnusableError: As :func:`open_image` says.
        """
        return dict(self.processor(open_image(path), return_tensors="pt"))

    def __call__(self, images: list[dict[str, Tensor]]) -> Features:
        """Return the features ``[num_images, channels]`` of what was read."""
        if len({tuple(x.shape for x in image.values()) for image in images}) > 1:
            return np.concatenate([self([image]) for image in images])
        inputs = {n: torch.cat([image[n] for image in images]).to(self.device) for n in images[0]}
        with torch.inference_mode():
            return np.asarray(self._embedded(inputs).float().cpu())

    def _embedded(self, inputs: dict[str, Tensor]) -> Tensor:
        if hasattr(self.model, "get_image_features"):
            found = self.model.get_image_features(**inputs)
            projected: Tensor = getattr(found, "pooler_output", found)
            return projected
        states: Tensor = self.model(**inputs).last_hidden_state
        return states.flatten(2).mean(dim=2) if states.dim() == 4 else states.mean(dim=1)
