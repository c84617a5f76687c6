"""Seeded source images that look a little like screenshots: flat areas, edges, lines of 'text', a gradient."""

from __future__ import annotations

import numpy as np
from PIL import Image


def screenshot(width: int, height: int, seed: int) -> Image.Image:
    """An RGB image of exactly this size; the same seed gives the same pixels."""
    random = np.random.default_rng([seed, width, height])
    across = np.linspace(0, 1, width)[None, :, None]
    down = np.linspace(0, 1, height)[:, None, None]
    corner, right, below = random.uniform(0, 255, (3, 3))
    pixels = corner + (right - corner) * across * 0.5 + (below - corner) * down * 0.5
    for _ in range(6):
        left, top = random.integers(0, width), random.integers(0, height)
        wide, high = random.integers(1, max(2, width // 2 + 1)), random.integers(1, max(2, height // 2 + 1))
        pixels[top : top + high, left : left + wide] = random.uniform(0, 255, 3)
    for top in range(int(random.integers(0, 5)), height, 7):
        dots = random.random(width) < 0.5
        pixels[top : top + 2, dots] = random.uniform(0, 255, 3)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), "RGB")
