"""Stage 2: the decoder learns to answer from the true codes of the patches, without waiting for the tower."""

import argparse
import pathlib

import torch

from .answering import answer, by_type, choose_patches
from .batch import Batch, BatchSource, Plan
from .canvas import CHARACTERS, LONGEST_RUN
from .modules import Decoder, PatchCode, Probes, SIZES, Size
from .run import Run
from .stream import batches
from .tokenizer import character_tokens, vocabulary_size

KEPT = 112
TEXT_LENGTH = 256
FIRST = frozenset(
    "title message percent highlighted buttons terminal_passed terminal_failed terminal_command terminal_file terminal_time "
    "tallest shortest theme dialog_kind screen_kind".split()
)
"""The questions of the first part: one text, found by its role."""


def blurred(labels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Labels with the mistakes that a tower makes: a wrong character here and there, an index that is off by one far into a run."""
    device = labels["role"].device
    chance = lambda share: torch.rand(labels["role"].shape, device=device) < share
    changed = dict(labels)
    characters = labels["characters"].clone()
    wrong = chance(0.03) & (characters[..., 0] > 0)
    characters[..., 0] = torch.where(wrong, torch.randint_like(characters[..., 0], 1, len(CHARACTERS) + 1), characters[..., 0])
    changed["characters"] = characters
    for name in ("previous", "following"):
        wrong = chance(0.05) & (characters[..., 0] > 0)
        changed[name] = torch.where(wrong, torch.randint_like(labels[name], 1, len(CHARACTERS) + 1), labels[name])
    unsure = torch.rand(labels["index"].shape, device=device) < labels["index"] * 0.015
    step = torch.randint_like(labels["index"], 0, 2) * 2 - 1
    changed["index"] = torch.where(unsure, (labels["index"] + step).clamp(0, LONGEST_RUN), labels["index"])
    return changed


@torch.no_grad()
def evaluate(decoder: Decoder, probes: Probes, code: PatchCode, run: Run, count: int = 8) -> dict[str, float]:
    """Share of whole answers that are right, on held-out words."""
    source = BatchSource(Plan(16, TEXT_LENGTH, held_out=True, noise=False), seed=4712)
    results: dict[str, list[bool]] = {}
    for _ in range(count):
        batch = source.draw().to(run.device)
        with run.precision():
            answered = answer(decoder, probes, batch, code(batch.labels, decoder.embed_tokens), choose_patches(batch, 160, True))
        for name, right in by_type(batch, answered.right).items():
            results.setdefault(name, []).extend(right)
    return {name: round(sum(right) / len(right), 3) for name, right in sorted(results.items())}


def train(folder: pathlib.Path, minutes: float, first: float = 0.1, size: Size = Size(), images: int = 8, rate: float = 2e-3, workers: int = 0) -> None:
    torch.manual_seed(2)
    decoder, probes = Decoder(size, vocabulary_size()), Probes(size)
    code = PatchCode(size, character_tokens())
    run = Run(folder, {"decoder": decoder, "probes": probes, "code": code}, minutes, rate)
    run.extra["size"] = size
    seed = 100_000 + run.step
    early = batches(Plan(images, 160, only=FIRST, noise=False), seed, workers, run.device)
    late = batches(Plan(images, TEXT_LENGTH, noise=False), seed + 1, workers, run.device)
    while run.progress < 1:
        batch: Batch = next(early if run.progress < first else late)
        with run.precision():
            codes = code(blurred(batch.labels), decoder.embed_tokens)
            answered = answer(decoder, probes, batch, codes, choose_patches(batch, KEPT, True))
        run.update(answered.language + 0.5 * answered.pointers + 0.15 * answered.probes, images, language=float(answered.language.detach()), **answered.figures)
        if run.step % 250 == 0:
            run.log(held_out=evaluate(decoder, probes, code, run, 2))
    run.save()
    run.log(held_out=evaluate(decoder, probes, code, run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/decoder"))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--first", type=float, default=0.1, help="share of the budget for the easiest questions")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    train(options.folder, options.minutes, options.first, size=SIZES[options.size], images=options.images, rate=options.rate, workers=options.workers)


if __name__ == "__main__":
    main()
