"""Stage 1: the tower learns to see from dense labels of every patch (what is here, which characters, which one of the run)."""

import argparse
import pathlib

import torch
import torch.nn.functional as F

from .batch import Batch, BatchSource, Plan, bag
from .canvas import ROLES
from .modules import LabelHeads, SIZES, Size, Tower
from .run import Run
from .stream import batches

_WEIGHTS = {"role": 1.0, "colour": 0.5, "theme": 0.3, "instance": 0.7, "line": 0.3, "index": 0.8, "previous": 0.5, "following": 0.5}
_RARE_ROLES = {"text_bar": 3.0, "text_bar_tallest": 12.0, "text_bar_shortest": 12.0}
"""Roles that one screen in six shows a few times, and that need a look at the whole chart: unweighted they were never learnt."""
ROLE_WEIGHT = torch.tensor([_RARE_ROLES.get(role, 1.0) for role in ROLES])
_TEXT_ONLY = ("index", "previous", "following", "line")


def label_loss(heads: LabelHeads, hidden: torch.Tensor, labels: dict[str, torch.Tensor], screen_weight: float = 1.0) -> tuple[torch.Tensor, dict[str, float]]:
    """The dense loss and the accuracy of every label (on patches that hold text, where the label is about text).

    screen_weight: how much counts what CLS must tell; it is what teaches CLS to look at text (VisionZip ranks patches by that)."""
    logits, screen = heads(hidden)
    logits = {name: value.float() for name, value in logits.items()}
    text = labels["characters"][..., 0] > 0
    characters = logits["characters"][text]
    loss = 2 * F.cross_entropy(characters.flatten(0, 1), labels["characters"][text].flatten())
    loss = loss + screen_weight * F.binary_cross_entropy_with_logits(screen.float(), bag(labels))
    real = labels["characters"][text] > 0
    figures = {"characters": _share(characters.argmax(-1) == labels["characters"][text], real)}
    for name, weight in _WEIGHTS.items():
        where = text if name in _TEXT_ONLY else torch.ones_like(text)
        if name == "line":
            where = where & (labels[name] > 0)  # walls of text are not numbered
            if not where.any():
                continue
        predicted, truth = logits[name][where], labels[name][where]
        classes = ROLE_WEIGHT.to(predicted.device) if name == "role" else None
        loss = loss + weight * F.cross_entropy(predicted, truth, weight=classes)
        seen = text[where] if name == "instance" else torch.ones_like(truth, dtype=torch.bool)
        figures[name] = _share(predicted.argmax(-1) == truth, seen)
    return loss, figures


def _share(right: torch.Tensor, where: torch.Tensor) -> float:
    return float(right[where].float().mean()) if where.any() else 1.0


@torch.no_grad()
def evaluate(tower: Tower, heads: LabelHeads, run: Run, batches_: int = 10) -> dict[str, float]:
    """Label accuracies on screens of held-out words."""
    source = BatchSource(Plan(16, held_out=True, noise=False), seed=4711)
    sums: dict[str, float] = {}
    for _ in range(batches_):
        batch = source.draw().to(run.device)
        with run.precision():
            _, figures = label_loss(heads, tower(batch.pixels), batch.labels)
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value / batches_
    return {name: round(value, 4) for name, value in sums.items()}


def train(folder: pathlib.Path, minutes: float, size: Size = Size(), images: int = 8, rate: float = 2e-3, workers: int = 0, walls: float = 0.6) -> None:
    torch.manual_seed(1)
    tower, heads = Tower(size), LabelHeads(size)
    run = Run(folder, {"tower": tower, "heads": heads}, minutes, rate)
    run.extra["size"] = size
    stream = batches(Plan(images, walls=walls), seed=1 + run.step, workers=workers, device=run.device)
    while run.progress < 1:
        batch: Batch = next(stream)
        with run.precision():
            loss, figures = label_loss(heads, tower(batch.pixels), batch.labels)
        run.update(loss, images, **figures)
    run.save()
    run.log(held_out=evaluate(tower, heads, run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/tower"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--walls", type=float, default=0.6, help="share of images that are walls of text")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    train(options.folder, options.minutes, size=SIZES[options.size], images=options.images, rate=options.rate, workers=options.workers, walls=options.walls)


if __name__ == "__main__":
    main()
