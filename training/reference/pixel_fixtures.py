"""
test/fixtures/pixels: what HF's image processors (their PIL path) make of sources of awkward sizes.

- crop: CLIP's own way, the short side resized to S, then an S x S centre crop.
- stretch: SigLIP's own way, both sides resized to S whatever the aspect ratio.
- pad: the original LLaVA's way, the source centred on a square of the mean colour (integer part of 255 * mean), then S x S.

Stored are the bytes after resizing and cropping; `pixel_values = (bytes / 255 - mean) / std`, checked here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from . import files, images
from .checkpoints import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD

FOLDER = "pixels"
SEED = 11
SMALL, LARGE = 48, 80
# width, height, S
SOURCES = [
    (67, 41, SMALL),
    (41, 97, SMALL),
    (200, 31, SMALL),
    (33, 33, SMALL),
    (48, 48, SMALL),
    (5, 7, SMALL),
    (1, 1, SMALL),
    (333, 187, SMALL),
    (640, 361, LARGE),
]


def expand_to_square(image: Image.Image, mean: list[float]) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(channel * 255) for channel in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def processors(size: int):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    clip = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return clip, SiglipImageProcessorPil(size={"height": size, "width": size})


def llava_padded(image: Image.Image, size: int) -> np.ndarray:
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    processor = LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return np.asarray(processor(image)["pixel_values"][0])


def to_bytes(pixel_values: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    column = lambda values: np.array(values)[:, None, None]  # noqa: E731
    raw = (pixel_values.astype(np.float64) * column(std) + column(mean)) * 255
    rounded = np.rint(raw)
    again = (rounded / 255 - column(mean)) / column(std)
    if np.abs(again - pixel_values).max() > 2e-6:
        raise RuntimeError("pixel_values are not normalised bytes")
    return rounded.astype(np.uint8)


def make(root: Path) -> None:
    folder = root / FOLDER
    tensors, cases = {}, []
    for width, height, size in SOURCES:
        source = images.screenshot(width, height, SEED)
        name = f"{width}x{height}"
        folder.mkdir(parents=True, exist_ok=True)
        source.save(folder / f"{name}.png", optimize=True)
        clip, siglip = processors(size)
        clip_pad = np.asarray(clip(expand_to_square(source, CLIP_MEAN))["pixel_values"][0])
        if not np.array_equal(clip_pad, llava_padded(source, size)):
            raise RuntimeError("HF's own padding differs from the original LLaVA's")
        made = {
            ("clip", "crop"): np.asarray(clip(source)["pixel_values"][0]),
            ("clip", "pad"): clip_pad,
            ("siglip", "stretch"): np.asarray(siglip(source)["pixel_values"][0]),
            ("siglip", "pad"): np.asarray(siglip(expand_to_square(source, SIGLIP_MEAN))["pixel_values"][0]),
        }
        for (processor, fit), values in made.items():
            mean, std = (CLIP_MEAN, CLIP_STD) if processor == "clip" else (SIGLIP_MEAN, SIGLIP_STD)
            tensor = f"{name}.{processor}.{fit}"
            tensors[tensor] = to_bytes(values, mean, std)
            cases.append({"source": f"{name}.png", "processor": processor, "fit": fit, "size": size, "tensor": tensor})
    files.write_tensors(folder / "tensors.safetensors", tensors)
    files.write_json(
        folder / "fixture.json",
        {
            "meaning": __doc__.strip(),
            "tensorShape": "[3, size, size] uint8, RGB planes",
            "normalisation": {
                "clip": {"mean": CLIP_MEAN, "std": CLIP_STD, "padding": [int(c * 255) for c in CLIP_MEAN]},
                "siglip": {"mean": SIGLIP_MEAN, "std": SIGLIP_STD, "padding": [int(c * 255) for c in SIGLIP_MEAN]},
            },
            "cases": cases,
        },
    )
