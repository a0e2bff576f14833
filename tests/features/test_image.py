import gc
import struct
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mentor_pyg.features import ImageEncoder, UnusableError, open_image

transformers: Any = pytest.importorskip("transformers")
pillow: Any = pytest.importorskip("PIL.Image")

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
VISION = {**SIZES, "image_size": 32, "patch_size": 16}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random vision transformer of one layer."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(**VISION)).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": 10}
    config = transformers.CLIPConfig(vision_config=VISION, text_config=text, projection_dim=4)
    transformers.CLIPModel(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessor(**sizes).save_pretrained(folder)
    return folder


def noise(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Path:
    rows = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    pillow.fromarray(rows).convert(mode).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [noise(tmp_path / "a.png"), noise(tmp_path / "b.png", "L", (50, 90))]


def inputs(folder: Path, images: list[Path]) -> Any:
    """Return what a processor makes of all images at once."""
    load = transformers.AutoImageProcessor.from_pretrained
    return load(folder, backend="pil")([open_image(one) for one in images], return_tensors="pt")


def embedded(folder: Path, images: list[Path]) -> Any:
    encoder = ImageEncoder(str(folder))
    return encoder([encoder.read(one) for one in images])


def test_reads_one_by_one_what_a_processor_makes_of_all(clip: Path, images: list[Path]) -> None:
    encoder, expected = ImageEncoder(str(clip)), inputs(clip, images)
    for number, path in enumerate(images):
        found = encoder.read(path)
        assert found.keys() == expected.keys() == {"pixel_values"}
        assert torch.equal(found["pixel_values"], expected["pixel_values"][number : number + 1])


def test_keeps_no_image_that_it_has_read(
    clip: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Any]] = []

    def watched(path: Path) -> Any:
        image = open_image(path)
        opened.append(weakref.ref(image))
        return image

    monkeypatch.setattr("mentor_pyg.features.image.open_image", watched)
    encoder = ImageEncoder(str(clip))
    kept = [encoder.read(one) for one in images]
    gc.collect()
    assert [one() for one in opened] == [None, None]
    assert sum(one["pixel_values"].nbytes for one in kept) == 2 * 3 * 32 * 32 * 4


def test_images_that_keep_their_sizes_are_embedded_one_by_one(
    tmp_path: Path, images: list[Path]
) -> None:
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[6], depths=[1])
    model = transformers.ResNetModel(config).eval()
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(do_resize=False).save_pretrained(tmp_path)
    found = embedded(tmp_path, images)
    assert found.shape == (2, 6)
    for row, path in zip(found, images, strict=True):
        with torch.no_grad():
            states = model(**inputs(tmp_path, [path])).last_hidden_state
        np.testing.assert_allclose(row, states[0].mean(dim=(1, 2)).numpy(), atol=1e-5)


def test_embeds_the_mean_of_the_last_states(vit: Path, images: list[Path]) -> None:
    found = embedded(vit, images)
    model = transformers.ViTModel.from_pretrained(vit).eval()
    with torch.no_grad():
        expected = model(**inputs(vit, images)).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.shape == (2, 8) and not np.allclose(found[0], found[1])


def test_embeds_what_clip_projects_to(clip: Path, images: list[Path]) -> None:
    found = embedded(clip, images)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    with torch.no_grad():
        hidden = model.vision_model(**inputs(clip, images)).pooler_output
        expected = model.visual_projection(hidden)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.shape == (2, 4)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'model' .* cannot be loaded.*give a folder"):
        ImageEncoder(str(tmp_path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = open_image(noise(tmp_path / "a.tiff", mode))
    assert (image.mode, image.size) == ("RGB", (40, 30))


def test_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = pillow.open(noise(tmp_path / "a.png"))
    exif = image.getexif()
    exif[0x0112] = 6  # Turned by a quarter.
    image.save(tmp_path / "b.jpg", exif=exif)
    assert open_image(tmp_path / "b.jpg").size == (30, 40)


def test_formats_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    noise(tmp_path / "a.eps")
    with pytest.raises(UnusableError, match="its image cannot be read"):
        open_image(tmp_path / "a.eps")


def test_a_model_that_lacks_weights_is_refused(vit: Path, tmp_path: Path) -> None:
    model = transformers.ViTModel.from_pretrained(vit)
    state = model.state_dict()
    kept = {name: one for name, one in state.items() if "pooler" not in name}
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, state_dict=kept)
    ImageEncoder(str(tmp_path))  # The pooler has no part in it.
    lost = next(name for name in kept if "attention" in name)
    del kept[lost]
    model.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(ValueError, match=rf"lacks weights, {lost} among"):
        ImageEncoder(str(tmp_path))


def bomb(path: Path, width: int, height: int) -> Path:
    """Write a PNG of a few bytes that says it has very many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_what_is_no_whole_image_says_so(tmp_path: Path) -> None:
    whole = noise(tmp_path / "a.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    for name in ("cut.jpg", "text.jpg", "empty.png", "page.svg"):
        with pytest.raises(UnusableError, match="its image cannot be read"):
            open_image(tmp_path / name)


def test_an_image_of_too_many_pixels_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnusableError, match=r"has 10000 x 5001 pixels, too many"):
        open_image(bomb(tmp_path / "bomb.png", 10_000, 5_001))
    with pytest.raises(UnusableError):  # Pillow's own limit.
        open_image(bomb(tmp_path / "bomb.png", 2**31 - 1, 2**31 - 1))
    path = noise(tmp_path / "a.png")
    monkeypatch.setattr("mentor_pyg.features.image._MOST_PIXELS", 40 * 30)
    open_image(path)
    monkeypatch.setattr("mentor_pyg.features.image._MOST_PIXELS", 40 * 30 - 1)
    with pytest.raises(UnusableError, match=r"has 40 x 30 pixels, too many"):
        open_image(path)


def test_a_narrow_image_is_not_opened(tmp_path: Path) -> None:
    """Scaled until its shorter side is as a model needs it, it would fill the memory."""
    with pytest.raises(UnusableError, match=r"has 10 x 5000000 pixels, too narrow"):
        open_image(bomb(tmp_path / "bomb.png", 10, 5_000_000))
    for size in ((301, 3), (3, 301)):
        with pytest.raises(UnusableError, match="too narrow"):
            open_image(noise(tmp_path / "a.png", size=size))
    open_image(noise(tmp_path / "a.png", size=(300, 3)))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'device' needs to be 'auto', 'cpu', 'cuda' or"):
        ImageEncoder(str(tmp_path), device="banana")
