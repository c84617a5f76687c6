"""A few held-out screens as sample screenshots, small and large, with questions and true answers.

    python -m fovea_training.samples samples
"""

import argparse
import json
import pathlib
import random

from .questions import Questioner
from .screen import ScreenMaker, Style

SHAPES = {"small": (1.0, 192), "large": (10 / 3, 192), "wide": (5.0, 128)}
"""Zoom and height in the model's frame: 192 x 192, 640 x 640 and 960 x 640 pixels."""
SHAPES_OF_KIND = {
    "dialog": ("small", "large", "wide"),
    "form": ("small", "large"),
    "settings": ("small", "large"),
    "chart": ("small", "large"),
    "terminal": ("small", "large"),
    "progress": ("small", "wide"),
}
SEED = 7


def write(folder: pathlib.Path) -> None:
    rng = random.Random(SEED)
    maker = ScreenMaker(rng, held_out=True, style=Style(random_share=0.0))
    questioner = Questioner(rng, maker.words)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for kind, shapes in SHAPES_OF_KIND.items():
        for shape in shapes:
            zoom, height = SHAPES[shape]
            screen = maker.make(kind, zoom, height)
            name = f"{kind}-{shape}.png"
            screen.canvas.image.save(folder / name, optimize=True)
            questions = [{"type": q.type, "question": q.text, "answer": q.answer} for q in questioner.ask(screen)]
            samples.append({"image": name, "kind": kind, "size": list(screen.canvas.image.size), "questions": questions})
    (folder / "samples.json").write_text(json.dumps({"samples": samples}, indent=1) + "\n")
    print(f"{len(samples)} samples in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
