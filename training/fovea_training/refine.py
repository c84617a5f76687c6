"""Stage 4b: an exported checkpoint goes on learning, everything together, through real pixels.

    torchrun --nproc-per-node 2 -m fovea_training.refine ../model --minutes 60

It begins with what the checkpoint has lost or never had: the label heads are fitted to its tower, and the projector is fitted once
more so that roles, colours and light or dark stand out in what the decoder sees. In every step the decoder also answers a few questions from
LLaMA-VID's tokens (`llama_vid.py`), so that one checkpoint can do both; those heads are stored beside it by `reduction_heads`.
"""

import argparse
import pathlib
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from .batch import Batch, BatchSource, Plan
from .checkpoint import modules_of
from .joint import align, evaluate
from .llama_vid import CONTENT_GRIDS, ContextAttention, vid_loss
from .modules import SHOWN_CLASSES, LabelHeads, Probes, Projector, ShownHeads, Size
from .run import Run, load_modules
from .stream import POOL, Pool, batches
from .tower import ROLE_WEIGHT, label_loss

STRENGTH = 0.5
"""Length of the added codes, relative to that of the projector's own output (both root mean square)."""
SCREEN_WEIGHT = 3.0
VID_QUESTIONS, VID_WEIGHT = 10, 0.4


def shown_loss(shown: ShownHeads, projected: torch.Tensor, labels: dict[str, torch.Tensor]) -> torch.Tensor:
    """Roles, colours and light or dark, told from the projector's output."""
    logits = shown(projected)
    weight = {"role": ROLE_WEIGHT.to(projected.device)}
    return sum((F.cross_entropy(value.float().flatten(0, 1), labels[name].flatten(), weight=weight.get(name)) for name, value in logits.items()), torch.zeros(()))


def _features(tower: torch.nn.Module, run: Run, rounds: int) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    source, seen = BatchSource(Plan(8), seed=300_001), []
    with torch.no_grad(), run.precision():
        for _ in range(rounds):
            batch = source.draw().to(run.device)
            seen.append((tower(batch.pixels), batch.labels))
    return seen


def fit_heads(heads: LabelHeads, seen: list[tuple[torch.Tensor, dict[str, torch.Tensor]]], run: Run, passes: int = 8) -> float:
    """The label heads on the frozen tower's features; returns the share of characters they read on the last pass."""
    adam = torch.optim.AdamW(heads.parameters(), 1e-2)
    read = 0.0
    for number in range(passes):
        for hidden, labels in seen:
            for group in adam.param_groups:
                group["lr"] = 1e-2 * (1 - number / passes)
            with run.precision():
                loss, figures = label_loss(heads, hidden, labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            read = 0.95 * read + 0.05 * figures["characters"]
    return read


def strengthen(projector: Projector, seen: list[tuple[torch.Tensor, dict[str, torch.Tensor]]], steps: int = 1200) -> float:
    """Fits the projector to its own output plus a fixed random code for each role, colour and theme. Returns the relative error at the end."""
    features = torch.cat([hidden[:, 1:].float().flatten(0, 1) for hidden, _ in seen])
    labels = {name: torch.cat([labels[name].flatten() for _, labels in seen]) for name in SHOWN_CLASSES}
    with torch.no_grad():
        wanted = projector(features)
        size = wanted.square().mean().sqrt() * STRENGTH
        generator = torch.Generator().manual_seed(6)
        for name, classes in SHOWN_CLASSES.items():
            codes = torch.randn(classes, wanted.shape[1], generator=generator).to(wanted.device)
            wanted = wanted + size * codes[labels[name]] * (0.5 if name == "role" else 1.0)
    adam = torch.optim.AdamW(projector.parameters(), 3e-3, weight_decay=0.0)
    spread, error = wanted.var(0).mean(), 0.0
    # Bare background is most of a screen; it need not be most of the fit.
    chance = torch.where(labels["role"] > 2, 1.0, 0.15)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        chosen = torch.multinomial(chance, 2048, replacement=True)
        loss = F.mse_loss(projector(features[chosen]), wanted[chosen]) / spread
        adam.zero_grad()
        loss.backward()
        adam.step()
        error = 0.98 * error + 0.02 * float(loss.detach()) if step else float(loss.detach())
    return error


def size_of(modules: dict[str, torch.nn.Module]) -> Size:
    tower, decoder = modules["tower"], modules["decoder"]
    first = decoder.layers[0]
    return Size(
        tower_width=tower.class_embedding.shape[0], tower_layers=len(tower.layers), tower_heads=tower.layers[0].self_attn.heads,
        width=first.mlp.down_proj.out_features, layers=len(decoder.layers), heads=first.self_attn.heads,
        feed_forward=first.mlp.down_proj.in_features, rope_theta=decoder.theta,
    )


def train(
    folder: pathlib.Path, model: pathlib.Path, minutes: float, images: int = 8, rate: float = 5e-4, text_length: int = 224,
    walls: float = 0.0, loose: float = 0.5, distant: float = 0.2, small_text: float = 0.06, free: float = 0.5, workers: int = 0, evaluate_every: int = 300, fit_rounds: int = 40, state: pathlib.Path | None = None,
    probe: int = 0,
) -> None:
    torch.manual_seed(4)
    modules = {name: module.train() for name, module in modules_of(model).items()}
    size = size_of(modules)
    modules |= {"heads": LabelHeads(size), "probes": Probes(size), "shown": ShownHeads(size)}
    modules["vid"] = ContextAttention(size)
    run = Run(folder, modules, minutes, rate, matrix_scale=2.0)
    run.extra["size"] = size
    if run.step == 0 and state is not None:
        load_modules(state, modules)
    elif run.step == 0:
        if not run.rank:
            seen = _features(modules["tower"], run, fit_rounds)
            read = fit_heads(modules["heads"], seen, run)
            run.log(heads_read=round(read, 4), projector_error=round(strengthen(modules["projector"], seen), 4))
            del seen
        run.share_weights()
        run.begin()
    stream = batches(Plan(images, text_length, walls=walls, loose=loose, distant=distant, small_text=small_text, free=free), seed=700_000 + run.step + 50_000 * run.rank, workers=workers, device=run.device)
    if probe:
        measure(run, modules, stream, probe)
        return
    if run.step == 0:
        next(stream)
        if not run.rank:
            run.log(**_held_out(modules, run))
        run.begin()
    while run.progress < 1:
        learn(run, modules, next(stream))
        if run.step % evaluate_every == 0 and not run.rank:
            run.log(**_held_out(modules, run))
    run.save()
    run.log(**_held_out(modules, run))


def learn(run: Run, modules: dict[str, torch.nn.Module], batch: Batch) -> None:
    """One step."""

    def further(hidden: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
        loss = 0.3 * shown_loss(modules["shown"], projected, batch.labels)
        cells = CONTENT_GRIDS[run.step % len(CONTENT_GRIDS)]
        questions = max(VID_QUESTIONS, len(batch.pixels))
        return loss + VID_WEIGHT * vid_loss(modules["decoder"], modules["vid"], batch, hidden[:, 1:].detach(), cells, questions)[0]

    align(run, modules, batch, further, SCREEN_WEIGHT)


def measure(run: Run, modules: dict[str, torch.nn.Module], stream: Iterator[Batch], steps: int) -> None:
    """How fast screens are drawn and learnt from; nothing is saved."""
    figures: dict[str, float] = {}
    if isinstance(stream, Pool):
        next(stream)
        began, before = time.monotonic(), stream.drawn
        while time.monotonic() - began < 4:
            stream.take(POOL)
        figures["drawn images/s"] = round((stream.drawn - before) / (time.monotonic() - began))
    for warm in (True, False):
        began = time.monotonic()
        for _ in range(steps):
            batch = next(stream)
            learn(run, modules, batch)
        seconds = (time.monotonic() - began) / steps
        figures["ms a step" + " (first steps)" * warm] = round(1000 * seconds)
    figures["learnt images/s"] = round(len(batch.pixels) / seconds)
    if run.device.type == "cuda":
        figures["GiB at most"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
        figures["GiB on the device"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    run.log(**figures)


def _held_out(modules: dict[str, torch.nn.Module], run: Run) -> dict[str, dict[str, float]]:
    """Plain screens, loose ones, loose ones in words as people type, distant ones, text too small, and a quarter of the patches with their positions closed up."""
    return {
        "held_out": evaluate(modules, run),
        "held_out_loose": evaluate(modules, run, loose=1.0),
        "held_out_free": evaluate(modules, run, loose=0.5, free=1.0),
        "held_out_distant": evaluate(modules, run, distant=1.0),
        "held_out_small_text": evaluate(modules, run, count=2, small_text=1.0),
        "held_out_closed": evaluate(modules, run, kept=144, closed=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/refine"))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--walls", type=float, default=0.0)
    parser.add_argument("--loose", type=float, default=0.5, help="share of screens that keep to no grid")
    parser.add_argument("--distant", type=float, default=0.2, help="share of the other screens that are a small part of a larger picture")
    parser.add_argument("--small-text", type=float, default=0.06, help="share of screens whose text is too small to be read")
    parser.add_argument("--free", type=float, default=0.5, help="share of questions in words as people type them")
    parser.add_argument("--text-length", type=int, default=224)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--evaluate-every", type=int, default=300, help="steps")
    parser.add_argument("--probe", type=int, default=0, metavar="STEPS", help="only measure how fast it is, in that many steps")
    parser.add_argument("--state", type=pathlib.Path, help="modules of an earlier state.pt of this stage, with a fresh optimiser")
    options = parser.parse_args()
    train(
        options.folder, options.model, options.minutes, options.images, options.rate, options.text_length, options.walls, options.loose, options.distant, options.small_text, options.free,
        options.workers, options.evaluate_every, state=options.state, probe=options.probe,
    )


if __name__ == "__main__":
    main()
