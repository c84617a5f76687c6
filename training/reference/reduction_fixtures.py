"""
test/fixtures/reductions/model-*.{json,safetensors}: FastV (all its scores), SparseVLM's ranking and VisionZip inside the float64 LLaVA, on the checkpoints of
test/fixtures/checkpoints. Inputs are the checkpoint's own prompt with its own pixels (input 0) or other seeded pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from . import checkpoint_fixtures, files, images, methods, transformers_run
from .checkpoints import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD
from .llava64 import Decoded, Llava64, Vision

FOLDER = "reductions"

# First answer token and the eight after it.
ANSWER_TOKENS = 9
OTHER_PIXELS = (101, 102)

# A case is stored only where a float32 engine cannot tip a decision: a selection led by this much of the scores'
# scale, a greedy token by this much in logits (their scale is about 10).
SELECTION_MARGIN = 1e-4
GREEDY_MARGIN = 0.02

# transformers in float32 against this float64 model, relative to the tensor's largest value.
AGREEMENT = 2e-5


@dataclass(frozen=True)
class FastV:
    layer: int
    keep: float
    score: str = "lastQuery"

    def spec(self) -> str:
        return f"fastv:layer={self.layer},keep={self.keep:g}" + (f",score={self.score}" if self.score != "lastQuery" else "")


@dataclass(frozen=True)
class SparseVlm:
    """FastV's place with SparseVLM's ranking: attention of all text behind the (last) picture, mean over heads and queries."""

    layer: int
    keep: float
    score: str = "textQueries"

    def spec(self) -> str:
        return f"sparsevlm:layer={self.layer},keep={self.keep:g}"


@dataclass(frozen=True)
class VisionZip:
    dominant: int
    contextual: int
    merge: str = "sum"

    def spec(self) -> str:
        return f"visionzip:dominant={self.dominant},contextual={self.contextual}" + (
            f",merge={self.merge}" if self.merge != "sum" else ""
        )


FASTV = [
    FastV(2, 0.5),
    FastV(2, 0.5, "columnSum"),
    FastV(1, 0.25),
    FastV(1, 0.1, "columnSum"),
    FastV(2, 1),
    FastV(1, 1, "columnSum"),
    FastV(2, 0.01),
    FastV(1, 7),
]
FASTV_DEEP = [FastV(3, 0.5), FastV(3, 0.25, "columnSum")]
FEATHER = [FastV(2, 0.5, "lastQueryNoRotary"), FastV(1, 0.2, "lastQueryNoRotary")]
SPARSE_VLM = [SparseVlm(2, 0.5), SparseVlm(1, 0.2)]
VISIONZIP = [
    VisionZip(9, 3),
    VisionZip(9, 3, "average"),
    VisionZip(5, 5),
    VisionZip(1, 1),
    VisionZip(12, 0),
    VisionZip(2, 8, "average"),
    VisionZip(20, 60),
]

REDUCTIONS = {
    "clip-llama": FASTV + FASTV_DEEP + FEATHER + SPARSE_VLM + VISIONZIP,
    "siglip-qwen2": FASTV + FASTV_DEEP + FEATHER + SPARSE_VLM + VISIONZIP,
    "clip-qwen2-two-images": [
        FastV(2, 0.5),
        FastV(1, 0.25, "columnSum"),
        FastV(3, 5),
        FastV(2, 0.3, "lastQueryNoRotary"),
        SparseVlm(2, 0.5),
        VisionZip(6, 4),
        VisionZip(4, 3, "average"),
    ],
    "siglip-llama-bias-linear": [FastV(1, 0.5), FastV(2, 0.3, "columnSum"), VisionZip(8, 4)],
    "clip-mistral-layers-sharded": [FastV(2, 0.4), FastV(1, 0.5, "columnSum")],
    "clip-llama-llama3-bfloat16": [FastV(2, 0.5), FastV(5, 0.2), VisionZip(9, 7)],
}


def other_pixels(model: Llava64, count: int, seed: int) -> Tensor:
    size, (mean, std) = model.vision_config["image_size"], (CLIP_MEAN, CLIP_STD) if model.has_class else (SIGLIP_MEAN, SIGLIP_STD)
    raw = np.stack([np.asarray(images.screenshot(size, size, seed + 1000 * index)) for index in range(count)])
    return torch.from_numpy(((raw / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def demand_agreement(what: str, ours: Tensor, theirs: Tensor) -> None:
    error = float((ours - theirs.double()).abs().max() / theirs.abs().max())
    if not error < AGREEMENT:
        raise RuntimeError(f"{what}: the float64 model and transformers differ by {error}")


class Case:
    """One question: a checkpoint (as `hf` in transformers), its prompt, some pixels."""

    def __init__(self, model: Llava64, hf, ids: list[int], pixels: Tensor):
        self.model, self.hf, self.ids = model, hf, ids
        self.vision = [model.vision(image) for image in pixels]
        self.features = [model.image_features(vision) for vision in self.vision]
        self.embeddings, self.image_rows = model.embed(ids, [model.project(features) for features in self.features])

    def plain(self) -> Decoded:
        return self.model.decode(self.embeddings, ANSWER_TOKENS)

    def fastv(self, reduction: FastV | SparseVlm) -> tuple[Decoded, dict, float]:
        seen: dict = {}

        def drop(attention: Tensor, without_rotary: Tensor) -> list[int]:
            rows = attention.mean(dim=0)
            everywhere = {
                "lastQuery": rows[-1],
                "columnSum": rows.sum(dim=0),
                "lastQueryNoRotary": without_rotary.mean(dim=0),
                "textQueries": rows[self.image_rows[-1] + 1 :].mean(dim=0),
            }
            scores = everywhere[reduction.score][self.image_rows].numpy()
            kept, seen["margin"] = methods.fastv(scores, reduction.keep)
            seen["kept"], seen["scores"] = kept, torch.from_numpy(scores)
            gone = {row for index, row in enumerate(self.image_rows) if index not in set(kept)}
            return [row for row in range(attention.shape[-1]) if row not in gone]

        decoded = self.model.decode(self.embeddings, ANSWER_TOKENS, {reduction.layer: drop})
        self.check_decoding_at_once(decoded, reduction.layer)
        facts = {
            "keepCount": len(seen["kept"]),
            "kept": seen["kept"],
            "keptPositions": [self.image_rows[index] for index in seen["kept"]],
            "promptCacheTokensPerLayer": [len(layer.positions) - (ANSWER_TOKENS - 1) for layer in decoded.cache],
            "scores": seen["scores"],
        }
        return decoded, facts, seen["margin"]

    def check_decoding_at_once(self, decoded: Decoded, layer: int) -> None:
        """
        Prompt and answer in one pass, without a cache, give the same logits: in this model with the rows dropped, and in
        transformers with the rows hidden.
        """
        answer = self.model.weights["text.embed_tokens.weight"][decoded.answer_ids[:-1]]
        text = torch.cat([self.embeddings, answer])
        kept = decoded.cache[layer].positions
        whole = self.model.decode(text, 1, {layer: lambda *_attention: kept})
        error = float((whole.prompt_logits[-ANSWER_TOKENS:] - decoded.answer_logits).abs().max())
        if not error < 1e-9:
            raise RuntimeError(f"cached decoding differs from decoding at once by {error}")
        hidden = sorted(set(range(len(text))) - set(kept))
        theirs = transformers_run.logits_with_hidden_rows(self.hf, text, layer, hidden)[-ANSWER_TOKENS:]
        demand_agreement(f"rows hidden from layer {layer} on", decoded.answer_logits, theirs)

    def visionzip(self, reduction: VisionZip) -> tuple[Decoded, dict, float]:
        described, rows, margin = [], [], float("inf")
        for vision, features in zip(self.vision, self.features, strict=True):
            if reduction.dominant + reduction.contextual >= len(features):
                # Nothing to save: every token goes on as it is, and no class token is added.
                described.append({"unchanged": True})
                rows.append(features)
                continue
            result = self.zip_one(vision, reduction)
            patches = vision.features[1:] if self.model.has_class else vision.features
            output = methods.visionzip_output(
                result, patches.numpy(), vision.features[0].numpy() if self.model.has_class else None
            )
            rows.append(torch.from_numpy(output))
            described.append(describe(result))
            margin = min(margin, result.margin)
        projected = [self.model.project(features) for features in rows]
        embeddings, image_rows = self.model.embed(self.ids, projected)
        decoded = self.model.decode(embeddings, ANSWER_TOKENS)
        facts = {"images": described, "promptLength": len(embeddings), "imagePositions": image_rows, "features": torch.cat(rows)}
        return decoded, facts, margin

    def zip_one(self, vision: Vision, reduction: VisionZip) -> methods.VisionZipResult:
        heads = self.model.vision_config["num_attention_heads"]
        keys = vision.keys.unflatten(-1, (heads, -1)).mean(dim=1)
        if self.model.has_class:
            attention, keys = vision.attention[:, 0, 1:].sum(dim=0), keys[1:]
        else:
            attention = vision.attention.mean(dim=(0, 1))
        return methods.visionzip(
            attention.numpy(), keys.numpy(), self.model.has_class, reduction.dominant, reduction.contextual, reduction.merge
        )


def describe(result: methods.VisionZipResult) -> dict:
    return {
        "classToken": result.class_token,
        "dominant": result.dominant,
        "merged": [{"target": merge.target, "sources": merge.sources, "weights": merge.weights} for merge in result.merged],
    }


def greedy_margin(decoded: Decoded) -> float:
    best = decoded.answer_logits.topk(2, dim=-1).values
    return float((best[:, 0] - best[:, 1]).min())


def rounded(margin: float) -> float | None:
    return None if margin == float("inf") else float(f"{margin:.3g}")


def make_checkpoint(root: Path, name: str, reductions: list[FastV | SparseVlm | VisionZip]) -> None:
    checkpoint = root / checkpoint_fixtures.FOLDER / name
    model, (hf, _) = Llava64(checkpoint), transformers_run.load(checkpoint)
    reference = load_file(checkpoint / "reference" / "tensors.safetensors")
    ids = reference["prompt_ids"].tolist()
    stops = hf.generation_config.eos_token_id
    stops = set(stops if isinstance(stops, list) else [stops])
    tensors: dict[str, Tensor] = {}
    inputs, cases = [], []
    for number, seed in enumerate((None, *OTHER_PIXELS)):
        pixels = reference["pixel_values"] if seed is None else other_pixels(model, len(reference["pixel_values"]), seed)
        case = Case(model, hf, ids, pixels)
        plain = case.plain()
        inputs.append({"pixels": "reference" if seed is None else f"input{number}.pixel_values", "seed": seed})
        if seed is None:
            demand_agreement(f"{name}, prompt", plain.prompt_logits, reference["prompt_logits"])
            demand_agreement(f"{name}, answer", plain.answer_logits, reference["answer_logits"][:ANSWER_TOKENS])
        else:
            tensors[f"input{number}.pixel_values"] = pixels
        wanted: list[FastV | SparseVlm | VisionZip | None] = [None, *reductions]
        for reduction in wanted:
            if reduction is None:
                decoded, facts, margin = plain, {}, float("inf")
            elif isinstance(reduction, FastV | SparseVlm):
                decoded, facts, margin = case.fastv(reduction)
            else:
                decoded, facts, margin = case.visionzip(reduction)
            unclear = margin < SELECTION_MARGIN or greedy_margin(decoded) < GREEDY_MARGIN
            # An engine would stop there, this model does not.
            if unclear or stops & set(decoded.answer_ids):
                continue
            spec = "none" if reduction is None else reduction.spec()
            key = f"input{number}.{spec}"
            # Every step's logits where the cache was thinned inside the decoder (first input), else the first step's.
            traced = seed is None and isinstance(reduction, FastV)
            tensors[f"{key}.logits"] = (decoded.answer_logits if traced else decoded.answer_logits[:1]).float()
            for part in ("scores", "features"):
                if part in facts:
                    tensors[f"{key}.{part}"] = facts.pop(part).float()
            margins = {"selection": rounded(margin), "greedy": rounded(greedy_margin(decoded))}
            cases.append(
                {"input": number, "spec": spec, "key": key, **facts, "answerIds": decoded.answer_ids, "margins": margins}
            )
    for reduction in reductions:
        if not any(case["spec"] == reduction.spec() for case in cases):
            raise RuntimeError(f"{name}: no input decides {reduction.spec()} clearly")
    folder = root / FOLDER
    files.write_tensors(folder / f"model-{name}.safetensors", tensors)
    files.write_json(
        folder / f"model-{name}.json",
        {"checkpoint": name, "meaning": MEANING, "promptIds": ids, "inputs": inputs, "cases": cases},
    )


MEANING = {
    "input": "index into `inputs`; its pixels are pixel_values of the checkpoint's reference, or the tensor named here",
    "key": "prefix of the case's tensors: `.logits` [steps, vocabulary] (all 9 steps for FastV on input 0, else the first),"
    " `.scores` [image tokens] (FastV) and `.features` [image tokens left, visionHidden] before the projector, all images in order (VisionZip)",
    "kept": "FastV: image tokens that stay, ascending, counted over all images of the prompt; `keptPositions` their rotary positions",
    "promptCacheTokensPerLayer": "FastV: prompt tokens in each decoder layer's cache",
    "images": "VisionZip, per image: tokens go on as class token, dominant (ascending), merged (in this order); indices are patches in"
    " raster order; a merged token is sum(weights * sources). `unchanged`: the budget is no smaller than the image, so it passes as it is",
    "imagePositions": "VisionZip: rotary positions of the image tokens; the prompt is renumbered without gaps",
    "answerIds": "first answer token and the 8 greedy ones after it, decoded with the cache",
    "ties": "an exact tie goes to the lower index",
    "margins": "how clear the closest decision was: selection relative to the scores' scale, greedy in logits",
}


def make(root: Path) -> None:
    for name, reductions in REDUCTIONS.items():
        make_checkpoint(root, name, reductions)
