"""test/fixtures/checkpoints: for every configuration a checkpoint folder and what transformers computes from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image

from . import files, images, transformers_run
from .checkpoints import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD, image_tokens, write_checkpoint
from .configurations import CONFIGURATIONS, Configuration
from .pixel_fixtures import to_bytes

FOLDER = "checkpoints"

# A test compares ids after 32 greedy steps; the engine may differ by 2e-4 of the logits' scale (about 10), so a
# margin of this size cannot be lost to rounding.
SMALLEST_MARGIN = 0.04
FEWEST_DISTINCT_TOKENS = 14


def source_images(configuration: Configuration) -> list[Image.Image]:
    return [
        images.screenshot(width, height, configuration.image_seed + index)
        for index, (width, height) in enumerate(configuration.images)
    ]


# Texts that tokenizers and templates stumble over: other scripts, bytes outside the vocabulary, white space, contractions.
HARD_QUESTIONS = [
    "Größe des Fensters: 12 × 34½? 日本語 🙂",
    "  two  spaces,\n\nnew lines\tand tabs ",
    "It's 3,141.59% 'quoted'; don't we'll {{ braces }} & <b>tags</b>?",
    "E\u0301tait-ce \ufb01ni\u00a0?",
    "x",
]


# Asked of every checkpoint; where generation_config.json names a second end-of-text token, this answer runs into it.
STOPPING_QUESTION = "What is in window 7?"


def other_questions(configuration: Configuration, folder: Path, sources: list[Image.Image]) -> list[dict]:
    model, processor = transformers_run.load(folder)
    asked = [(question, configuration.system) for question in HARD_QUESTIONS]
    asked.append((configuration.question, "Look closely."))
    asked.append((STOPPING_QUESTION, configuration.system))
    answers = [
        {
            "question": question,
            "system": system,
            **transformers_run.answer(model, processor, sources, question, system, SMALLEST_MARGIN),
        }
        for question, system in asked
    ]
    if configuration.second_stop is not None and not answers[-1]["endsWithStop"]:
        raise RuntimeError(f"{configuration.name}: '{STOPPING_QUESTION}' is not answered up to token {configuration.second_stop}")
    return answers


def is_lively(facts: dict) -> bool:
    return (
        facts["greedyMargin"] >= SMALLEST_MARGIN
        and facts["distinctAnswerTokens"] >= FEWEST_DISTINCT_TOKENS
        and len(facts["answerIds"]) == transformers_run.ANSWER_TOKENS
        and 0.3 < facts["attentionEntropy"] < 0.9
    )


def find_seed(configuration: Configuration) -> int:
    for seed in range(1, 200):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / configuration.name
            write_checkpoint(configuration, folder, seed)
            run = transformers_run.run(folder, source_images(configuration), configuration.question, configuration.system)
        if is_lively(run.facts):
            return seed
    raise RuntimeError(f"{configuration.name}: no seed below 200 is lively enough")


def make_one(configuration: Configuration, root: Path) -> None:
    folder = root / FOLDER / configuration.name
    write_checkpoint(configuration, folder, configuration.seed)
    sources = source_images(configuration)
    run = transformers_run.run(folder, sources, configuration.question, configuration.system)
    if not is_lively(run.facts):
        raise RuntimeError(f"{configuration.name}: seed {configuration.seed} is degenerate; run --find-seeds")
    reference = folder / "reference"
    reference.mkdir(exist_ok=True)
    for index, image in enumerate(sources):
        image.save(reference / f"image-{index}.png", optimize=True)
    files.write_tensors(reference / "tensors.safetensors", run.tensors)
    files.write_json(
        reference / "questions.json", {"meaning": QUESTIONS, "questions": other_questions(configuration, folder, sources)}
    )
    if configuration.pictures:
        write_pictures(configuration, folder, reference)
    files.write_json(
        reference / "fixture.json",
        {
            "name": configuration.name,
            "note": configuration.note,
            "madeWith": {
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "attention": "eager",
                "dtype": "float32",
            },
            "weights": {
                "seed": configuration.seed,
                "dtype": configuration.dtype,
                "names": configuration.names,
                "shards": configuration.shards,
            },
            "images": [
                {"file": f"image-{index}.png", "width": width, "height": height, "seed": configuration.image_seed + index}
                for index, (width, height) in enumerate(configuration.images)
            ],
            "imageTokensPerImage": run.facts.pop("imageTokens") if configuration.pictures else image_tokens(configuration),
            "question": configuration.question,
            "system": configuration.system,
            **run.facts,
            "tensors": {
                name: {"shape": list(tensor.shape), "meaning": run.shapes[name]} for name, tensor in sorted(run.tensors.items())
            },
        },
    )


def write_pictures(configuration: Configuration, folder: Path, reference: Path) -> None:
    """Pictures of other shapes: what the processor makes of them, and what the model."""
    tensors, cases = {}, []
    siglip = configuration.vision["model_type"] == "siglip_vision_model"
    mean, std = (SIGLIP_MEAN, SIGLIP_STD) if siglip else (CLIP_MEAN, CLIP_STD)
    for sizes in configuration.pictures:
        sources = [
            images.screenshot(width, height, configuration.image_seed + index) for index, (width, height) in enumerate(sizes)
        ]
        name = "+".join(f"{width}x{height}" for width, height in sizes)
        made, facts = transformers_run.picture_case(folder, sources, configuration.question, SMALLEST_MARGIN)
        tensors[f"{name}.pixels"] = torch.from_numpy(
            np.stack([to_bytes(tile, mean, std) for tile in made.pop("pixels").numpy()])
        )
        tensors |= {f"{name}.{key}": value for key, value in made.items()}
        for source in sources:
            source.save(reference / f"{source.width}x{source.height}.png", optimize=True)
        cases.append({"name": name, "images": [f"{width}x{height}.png" for width, height in sizes], **facts})
    files.write_tensors(reference / "pictures.safetensors", tensors)
    files.write_json(reference / "pictures.json", {"meaning": PICTURES, "question": configuration.question, "cases": cases})


PICTURES = (
    "Pictures of other shapes, asked the same question. tiles: tower inputs of each picture, the overview included. In"
    " pictures.safetensors, by name: pixels [tiles, 3, size, size] bytes before normalisation; packed: as in fixture.json; logits"
    " [positions from the last image token on, vocabulary]. answerIds as in questions.json."
)
QUESTIONS = (
    "More questions about the same images: prompt ids, and greedy answer ids up to the end of text (then endsWithStop), 32 tokens or the first"
    f" step whose choice is led by less than {SMALLEST_MARGIN} in logits"
)


def make(root: Path) -> None:
    for configuration in CONFIGURATIONS:
        make_one(configuration, root)
