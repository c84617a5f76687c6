"""Stages 3 and 4: the projector is fitted to the decoder's patch codes, then everything is trained together.

The projector's output is pulled towards the true code of each patch; the pull decays while the answers take over.
"""

import argparse
import dataclasses
import functools
import pathlib
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .answering import answer, by_type, choose_patches, patches_for
from .batch import PATCHES, Batch, BatchSource, Plan
from .modules import Decoder, LabelHeads, PatchCode, Probes, Projector, SIZES, Size, Tower
from .run import Run, load_modules
from .stream import batches
from .tokenizer import character_tokens, vocabulary_size
from .tower import label_loss


def assemble(size: Size) -> dict[str, torch.nn.Module]:
    return {
        "tower": Tower(size),
        "heads": LabelHeads(size),
        "projector": Projector(size),
        "decoder": Decoder(size, vocabulary_size()),
        "probes": Probes(size),
        "code": PatchCode(size, character_tokens()),
    }


def code_distance(projected: torch.Tensor, codes: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Squared distance relative to the codes' own spread; patches with text weigh most."""
    distance = (projected.float() - codes.float()).square().sum(-1)
    spread = (codes.float() - codes.float().mean((0, 1))).square().sum(-1)
    near = lambda where: distance[where].sum() / spread[where].sum().clamp(min=1e-6)
    return near(text) + 0.3 * near(~text)


def fit_projector(modules: dict[str, torch.nn.Module], run: Run, rounds: int = 25, steps: int = 500) -> float:
    """Regresses the codes from the frozen tower's features; returns the relative error on the last step."""
    tower, projector, decoder, code = modules["tower"], modules["projector"], modules["decoder"], modules["code"]
    source = BatchSource(Plan(8), seed=300_000)
    features, codes = [], []
    with torch.no_grad():
        for _ in range(rounds):
            batch = source.draw().to(run.device)
            with run.precision():
                hidden = tower(batch.pixels)[:, 1:].float()
            wanted = code(batch.labels, decoder.embed_tokens).float()
            chosen = (batch.labels["characters"][..., 0] > 0) | (torch.rand(hidden.shape[:2], device=run.device) < 0.15)
            features.append(hidden[chosen])
            codes.append(wanted[chosen])
        features, codes = torch.cat(features), torch.cat(codes)
        projector.linear_1.weight /= features.std()
    adam = torch.optim.AdamW(projector.parameters(), 3e-3)
    error = 0.0
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        chosen = torch.randint(len(features), (1024,), device=run.device)
        loss = F.mse_loss(projector(features[chosen]), codes[chosen]) / codes.var(0).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        error = float(loss.detach())
    return error


def align(run: Run, modules: dict[str, torch.nn.Module], batch: Batch, further_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], screen_weight: float = 1.0) -> None:
    """One step of everything together through real pixels. `further_loss` takes the tower's and the projector's output."""
    with run.precision():
        hidden = modules["tower"](batch.pixels)
        seeing, seen = label_loss(modules["heads"], hidden, batch.labels, screen_weight)
        projected = modules["projector"](hidden[:, 1:])
        chance = random.Random(run.step)
        kept = choose_patches(batch, *patches_for(chance))
        answered = answer(modules["decoder"], modules["probes"], batch, projected, kept, closed=chance.random() < 0.5)
        further = further_loss(hidden, projected)
    loss = answered.language + 0.4 * answered.pointers + 0.1 * answered.probes + 0.35 * seeing + further
    figures = {name: seen[name] for name in ("characters", "index", "role", "colour", "theme")}
    run.update(loss, len(batch.pixels), language=float(answered.language.detach()), **answered.figures, **figures, further=float(further.detach()))


@functools.lru_cache(maxsize=16)
def held_out_batches(plan: Plan, count: int, device: torch.device) -> list[Batch]:
    """Drawn once in a run: that takes longer than answering them does on a GPU."""
    source = BatchSource(plan, seed=4713)
    return [dataclasses.replace(source.draw(), screens=[]).to(device) for _ in range(count)]


@torch.no_grad()
def evaluate(modules: dict[str, torch.nn.Module], run: Run, count: int = 6, kept: int = PATCHES, closed: bool = False, **plan: float) -> dict[str, float]:
    """Share of whole answers that are right, on held-out words, through the tower."""
    results: dict[str, list[bool]] = {}
    for batch in held_out_batches(Plan(8, 320, held_out=True, noise=False, **plan), count, run.device):
        with run.precision():
            projected = modules["projector"](modules["tower"](batch.pixels)[:, 1:])
            answered = answer(modules["decoder"], modules["probes"], batch, projected, choose_patches(batch, kept, True), closed)
        for name, right in by_type(batch, answered.right).items():
            results.setdefault(name, []).extend(right)
    figures = {name: round(sum(right) / len(right), 3) for name, right in sorted(results.items())}
    every = [value for right in results.values() for value in right]
    return {"all": round(sum(every) / len(every), 4)} | figures


def train(
    folder: pathlib.Path, tower: pathlib.Path, decoder: pathlib.Path, minutes: float, size: Size = Size(), images: int = 8,
    rate: float = 5e-4, text_length: int = 224, workers: int = 0, evaluate_every: int = 400, fit_rounds: int = 25, freeze_tower: bool = False,
) -> None:
    torch.manual_seed(3)
    modules = assemble(size)
    seeing_parts = [] if freeze_tower else ["tower", "heads"]
    for name in ("tower", "heads"):
        modules[name].requires_grad_(not freeze_tower)
    run = Run(folder, modules, minutes, rate, trained=[*seeing_parts, "projector", "decoder", "probes"], matrix_scale=2.0)
    run.extra["size"] = size
    if run.step == 0:
        load_modules(tower, {name: modules[name] for name in ("tower", "heads")})
        load_modules(decoder, {name: modules[name] for name in ("decoder", "probes", "code")})
        error = fit_projector(modules, run, fit_rounds)
        run.share_weights()
        run.extra["reference"] = modules["decoder"].embed_tokens.weight.detach().clone()
        run.log(projector_error=round(error, 4))
    reference = torch.nn.Embedding.from_pretrained(run.extra["reference"], freeze=True)
    modules["code"].requires_grad_(False)
    stream = batches(Plan(images, text_length), seed=200_000 + run.step + 50_000 * run.rank, workers=workers, device=run.device)
    while run.progress < 1:
        batch: Batch = next(stream)
        strength = max(0.1, 1 - 1.5 * run.progress)

        def pull(_: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                codes = modules["code"](batch.labels, reference)
            return strength * code_distance(projected, codes, batch.labels["characters"][..., 0] > 0)

        align(run, modules, batch, pull)
        if run.step % evaluate_every == 0 and not run.rank:
            run.log(held_out=evaluate(modules, run))
    run.save()
    run.log(held_out=evaluate(modules, run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/joint"))
    parser.add_argument("--tower", type=pathlib.Path, default=pathlib.Path("runs/tower/state.pt"))
    parser.add_argument("--decoder", type=pathlib.Path, default=pathlib.Path("runs/decoder/state.pt"))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--text-length", type=int, default=224)
    parser.add_argument("--freeze-tower", action="store_true", help="align projector and decoder only: twice as fast")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    train(
        options.folder, options.tower, options.decoder, options.minutes,
        size=SIZES[options.size], images=options.images, rate=options.rate, text_length=options.text_length, workers=options.workers, freeze_tower=options.freeze_tower,
    )


if __name__ == "__main__":
    main()
