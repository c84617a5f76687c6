"""
test/fixtures/reductions/pure-pixels.json: the methods that look at pixels or at the raster alone, on small drawn screens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import files, methods
from .methods import Array
from .reduction_fixtures import rounded

FOLDER = "reductions"
PATCH = 3
SHAPES = ((4, 4), (6, 5), (9, 12), (24, 24))
SMALLEST_MARGIN = 2e-6


def drawn(rows: int, columns: int, seed: int) -> Array:
    """Flat windows over a flat desktop, letters in some patches, a gradient, and a little noise: [patches, PATCH, PATCH, 3]."""
    random = np.random.default_rng([seed, rows, columns])
    screen = np.empty((rows * PATCH, columns * PATCH, 3))
    screen[:] = random.integers(40, 200, 3)
    for _ in range(3):
        top, left = random.integers(0, rows * PATCH), random.integers(0, columns * PATCH)
        screen[top : top + random.integers(3, rows * PATCH), left : left + random.integers(3, columns * PATCH)] = random.integers(0, 256, 3)
    strip = screen[: PATCH * max(1, rows // 4)]
    strip += np.linspace(0, 60, strip.shape[1])[None, :, None]
    letters = random.random((rows * PATCH, columns * PATCH)) < 0.3
    letters &= np.kron(random.random((rows, columns)) < 0.2, np.ones((PATCH, PATCH))) > 0
    screen[letters] = 255 - screen[letters]
    screen += random.integers(0, 4, screen.shape)
    patches = screen.clip(0, 255).astype(np.uint8).reshape(rows, PATCH, columns, PATCH, 3)
    return patches.transpose(0, 2, 1, 3, 4).reshape(rows * columns, PATCH, PATCH, 3)


def make(root: Path) -> None:
    tensors: dict[str, Array] = {}
    graph, prune, pooled = [], [], []
    for rows, columns in SHAPES:
        for seed in (1, 2):
            name = f"{rows}x{columns}-seed{seed}"
            pixels = drawn(rows, columns, seed)
            importance = np.random.default_rng([seed, 7]).random(rows * columns).astype(np.float32)
            tensors |= {f"{name}.pixels": pixels.astype(np.float32), f"{name}.importance": importance}
            for threshold in (0, 4, 8, 40, 256):
                for keep in (2, 1.0, 0.4, 0.001):
                    kept, margin = methods.ui_graph(pixels, rows, columns, importance.astype(np.float64), threshold, keep)
                    if margin >= SMALLEST_MARGIN:
                        graph.append({"input": name, "threshold": threshold, "keep": keep, "kept": kept, "margin": rounded(margin)})
            for threshold in (0, 3, 8, 40, 255):
                kept = methods.pixel_prune(pixels, rows, columns, threshold)
                prune.append({"input": name, "threshold": threshold, "kept": kept})
        for grid in (1, 2, 3, 5, 8, 24, 30):
            pooled.append({"rows": rows, "columns": columns, "grid": grid, "cells": methods.pool(rows, columns, grid)})
    folder = root / FOLDER
    files.write_tensors(folder / "pure-pixels.safetensors", tensors)
    files.write_json(
        folder / "pure-pixels.json",
        {
            "meaning": "inputs are RASTER-seedN, `.pixels` [patches, 3, 3, 3] with whole numbers 0 to 255 and `.importance` [patches] of"
            " pure-pixels.safetensors. uigraph: `keep` is a fraction up to 1 (rounded half up, at least one) of each part, a number above.",
            "uigraph": graph,
            "pixelprune": prune,
            "pool": pooled,
        },
    )
