"""Features of images, by a model of timm."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mentor_pyg.dependencies import require
from mentor_pyg.features.models import state_sha256
from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["IMAGE_MODEL", "ImageEncoder", "open_image"]

IMAGE_MODEL = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
_MOST_PIXELS = 50_000_000
"""A larger image is not opened: a small file can hold one that fills the memory."""


def open_image(path: Path) -> Any:
    """Return an image in RGB.

    Raises:
        ImportError: If Pillow is not installed.
        UnusableError: If the file is no image, broken, cut off or too large.
    """
    pillow: Any = require("PIL.Image", extra="image", purpose="Opening images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images, which are refused.
            with pillow.open(path) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise UnusableError(f"its image has {width} x {height} pixels, too many")
                return image.convert("RGB")
    except UnusableError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as error:
        raise UnusableError(f"its image cannot be read ({type(error).__name__})") from error
    except Exception as error:  # Pillow's decoders raise errors of many other kinds.
        raise UnusableError(f"its image cannot be read ({type(error).__name__})") from error


class ImageEncoder:
    """Embeds images by a model of the timm library, CLIP's image encoders among them.

    Args:
        model: The model's name in timm.
        weights: A ``.safetensors`` file of its weights; by default those of the Hugging Face Hub.
        device: Where it runs.

    Raises:
        ImportError: If timm is not installed.
        FileNotFoundError: If there is no such file of weights.
        ValueError: If the model cannot be loaded.
    """

    def __init__(
        self, model: str = IMAGE_MODEL, weights: Path | None = None, device: str = "cpu"
    ) -> None:
        timm: Any = require("timm", extra="image", purpose="Embedding images")
        if weights is not None and not (weights.is_file() and weights.suffix == ".safetensors"):
            raise FileNotFoundError(
                f"--weights needs a .safetensors file, from which no code runs (got {weights})"
            )
        given = {} if weights is None else {"file": str(weights)}
        try:
            self.model = timm.create_model(
                model, pretrained=True, num_classes=0, pretrained_cfg_overlay=given or None
            )
        except Exception as error:  # timm and the Hub raise errors of many kinds.
            raise ValueError(
                f"'model' {model!r} cannot be loaded: {error}; give a name of timm and, where the "
                f"Hugging Face Hub cannot be reached, a file of its weights with --weights"
            ) from error
        self.device = torch.device(device)
        self.model = self.model.eval().to(self.device)
        config = timm.data.resolve_model_data_config(self.model)
        self.transform = timm.data.create_transform(**config, is_training=False)
        self.about = {
            "model": model,
            "sha256": state_sha256(self.model),
            "input": list(config["input_size"]),
            "timm": timm.__version__,
        }

    def __call__(self, images: list[Any]) -> Features:
        """Return the features ``[num_images, channels]``."""
        batch = torch.stack([self.transform(image) for image in images]).to(self.device)
        with torch.inference_mode():
            return np.asarray(self.model(batch).float().cpu())
