"""Stage 6: the heads of the two trained reductions, stored beside a checkpoint in `heads/`.

    python -m fovea_training.reduction_heads dyrate ../model --lambdas 0.1 0.3 1
    python -m fovea_training.reduction_heads llama-vid ../model

Each file names in its metadata what it is and which weights it was trained for. DyRate's classifiers (every variant, every lambda) learn side by side
on the same batches. LLaMA-VID's attention comes out of `refine` (`--state`), where the decoder learnt to read its tokens; further minutes train it on
the frozen decoder.
"""

import argparse
import collections
import hashlib
import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

from .batch import Batch, BatchSource, Plan
from .dyrate import LONG_ANSWERS, PROFILE, VARIANTS, RateClassifier, hard_choice, masked_loss, prepare, seen_masks, soft_choice
from .checkpoint import modules_of
from .llama_vid import CONTENT_GRIDS, ContextAttention, vid_loss
from .refine import size_of
from .run import Run, load_modules
from .stream import batches


def dyrate_name(variant: str, weight: float) -> str:
    return f"dyrate-{variant}-{weight:g}"


def begin_with(classifiers: nn.ModuleDict, plans: dict[str, tuple[str, float]], state: pathlib.Path) -> None:
    """Each classifier begins as the earlier one of its variant whose lambda is nearest (as a ratio)."""
    saved = torch.load(state, map_location="cpu", weights_only=False)["modules"]["classifiers"]
    earlier = sorted({key.split(".")[0] for key in saved})
    for name, (variant, weight) in plans.items():
        apart = {old: abs(math.log(float(old.rsplit("-", 1)[1].replace("_", ".")) / weight)) for old in earlier if old.startswith(f"dyrate-{variant}-")}
        nearest = min(apart, key=apart.__getitem__)
        own = classifiers[name.replace(".", "_")]
        own.load_state_dict({key: saved[f"{nearest}.{key}"] for key in own.state_dict()})


def train_dyrate(model: pathlib.Path, runs: pathlib.Path, weights: list[float], minutes: float, state: pathlib.Path | None = None, images: int = 2, workers: int = 0) -> dict[str, dict[str, float]]:
    modules = frozen(model)
    heads = modules["decoder"].layers[0].self_attn.heads
    plans = {dyrate_name(variant, weight): (variant, weight) for variant in VARIANTS for weight in weights}
    classifiers = nn.ModuleDict({name.replace(".", "_"): RateClassifier(heads) for name in plans})
    run = Run(runs / "dyrate", {"classifiers": classifiers}, minutes, 5e-3, matrix_scale=0.3)
    if run.step == 0 and state is not None:
        begin_with(classifiers, plans, state)
    move(modules, run)
    stream = batches(Plan(images, 224, only=LONG_ANSWERS), seed=500_000 + run.step, workers=workers, device=run.device)
    while run.progress < 1:
        batch = next(stream)
        total, figures = torch.zeros((), device=run.device), {}
        with run.precision():
            context = prepare(modules, batch)
            for name, (variant, weight) in plans.items():
                choice = soft_choice(classifiers[name.replace(".", "_")](context.features), variant, max(0.3, 1 - run.progress))
                seen = seen_masks(choice, context.rank, batch)
                loss, _ = masked_loss(modules["decoder"], context, batch, seen)
                kept = seen[batch.targets != -100].mean()
                total = total + loss + weight * kept
                figures |= {f"{name} loss": float(loss.detach()), f"{name} kept": float(kept.detach())}
        run.update(total, images, **figures)
    run.save()
    measured = measure_dyrate(modules, {name: (classifiers[name.replace(".", "_")], *plan) for name, plan in plans.items()}, run)
    run.log(held_out=measured)
    for name, (variant, weight) in plans.items():
        store(model, name, classifiers[name.replace(".", "_")], {"method": "dyrate", "variant": variant, "lambda": f"{weight:g}", "profile": str(PROFILE), "heldOut": json.dumps(measured[name])})
    return measured


@torch.no_grad()
def measure_dyrate(modules: dict[str, nn.Module], trained: dict[str, tuple[RateClassifier, str, float]], run: Run, count: int = 8) -> dict[str, dict[str, float]]:
    """On held-out words, teacher-forced: loss, kept share and right tokens under the soft mask of training and the hard one of run time, and without reduction."""
    source = BatchSource(Plan(4, 224, held_out=True, noise=False, only=LONG_ANSWERS), seed=4714)
    sums: dict[str, dict[str, float]] = collections.defaultdict(lambda: collections.defaultdict(float))
    for _ in range(count):
        batch = source.draw().to(run.device)
        context = prepare(modules, batch)
        learnt = batch.targets != -100

        def add(name: str, kind: str, seen: torch.Tensor) -> None:
            loss, right = masked_loss(modules["decoder"], context, batch, seen)
            for key, value in {"loss": loss, "kept": seen[learnt].mean(), "token": right[learnt].float().mean()}.items():
                sums[name][f"{kind}_{key}"] += float(value) / count

        add("unreduced", "hard", torch.ones_like(context.rank))
        for name, (classifier, variant, _) in trained.items():
            logits = classifier(context.features)
            add(name, "soft", seen_masks(soft_choice(logits, variant, 0.3), context.rank, batch))
            add(name, "hard", seen_masks(hard_choice(logits), context.rank, batch))
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in sums.items()}


def train_llama_vid(model: pathlib.Path, runs: pathlib.Path, minutes: float, state: pathlib.Path | None = None, images: int = 8, workers: int = 0) -> dict[str, float]:
    modules = frozen(model)
    attention = ContextAttention(size_of(modules))
    run = Run(runs / "llama-vid", {"vid": attention}, minutes, 1e-3)
    if run.step == 0 and state is not None:
        load_modules(state, {"vid": attention})
    move(modules, run)
    stream = batches(Plan(images, 224), seed=600_000 + run.step, workers=workers, device=run.device)
    while run.progress < 1:
        batch = next(stream)
        with run.precision():
            with torch.no_grad():
                features = modules["tower"](batch.pixels)[:, 1:]
            loss, right, _ = vid_loss(modules["decoder"], attention, batch, features, CONTENT_GRIDS[run.step % len(CONTENT_GRIDS)], max(60, 2 * images))
        run.update(loss, images, exact=float(right.float().mean()))
    run.save()
    measured = measure_llama_vid(modules, attention, run)
    run.log(held_out=measured)
    store(model, "llamavid", attention, {"method": "llamavid"})
    return measured


@torch.no_grad()
def measure_llama_vid(modules: dict[str, nn.Module], attention: ContextAttention, run: Run, count: int = 8) -> dict[str, float]:
    """Share of whole answers that are right with 1 + l tokens, on held-out words: all questions, and each type at the largest l."""
    source = BatchSource(Plan(8, 320, held_out=True, noise=False), seed=4715)
    found: dict[str, list[bool]] = collections.defaultdict(list)
    for _ in range(count):
        batch = source.draw().to(run.device)
        features = modules["tower"](batch.pixels)[:, 1:]
        for cells in CONTENT_GRIDS:
            _, right, types = vid_loss(modules["decoder"], attention, batch, features, cells)
            found[f"1+{cells * cells}"] += right.tolist()
            if cells == CONTENT_GRIDS[-1]:
                for type_, value in zip(types, right.tolist()):
                    found[type_].append(value)
    return {name: round(sum(values) / len(values), 3) for name, values in sorted(found.items())}


def frozen(model: pathlib.Path) -> dict[str, nn.Module]:
    modules = modules_of(model)
    for module in modules.values():
        module.requires_grad_(False)
    return modules


def move(modules: dict[str, nn.Module], run: Run) -> None:
    for module in modules.values():
        module.to(run.device)


def store(model: pathlib.Path, name: str, module: nn.Module, metadata: dict[str, str]) -> None:
    folder = model / "heads"
    folder.mkdir(exist_ok=True)
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    tensors = {key: tensor.detach().cpu().float().contiguous() for key, tensor in module.state_dict().items()}
    save_file(tensors, folder / f"{name}.safetensors", {**metadata, "weights": weights})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["dyrate", "llama-vid"])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--lambdas", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    parser.add_argument("--state", type=pathlib.Path, help="where to begin: state.pt of `refine` for llama-vid, of earlier classifiers for dyrate")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--images", type=int, help="images a step; by default 2 for dyrate, 8 for llama-vid")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    images = {"images": options.images} if options.images else {}
    if options.method == "dyrate":
        measured = train_dyrate(options.model, options.runs, options.lambdas, options.minutes, options.state, **images, workers=options.workers)
    else:
        measured = train_llama_vid(options.model, options.runs, options.minutes, options.state, **images, workers=options.workers)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
