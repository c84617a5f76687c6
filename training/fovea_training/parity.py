"""What transformers and this code compute from an exported checkpoint, for the engine's test of the embedded model.

    python -m fovea_training.parity ../model ../bench/data/heldout ../test/fixtures/model.json

For 20 held-out screens: a question, the greedy ids and the first step's likeliest logits by transformers in float32. For the heads beside
the checkpoint: LLaMA-VID's first logits with every number of content tokens, and the rate that each DyRate classifier chooses after the prompt.
"""

import argparse
import collections
import hashlib
import json
import pathlib

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

from .batch import AFTER_IMAGE, BEFORE_IMAGE, Batch, normalise, pack
from .canvas import to_frame
from .dyrate import RateClassifier, prepare
from .checkpoint import modules_of
from .llama_vid import CONTENT_GRIDS, CUE, ContextAttention
from .questions import Question
from .refine import size_of
from .tokenizer import encode

SCREENS = 20
LONGEST = 32
TOP = 5


def top(logits: torch.Tensor) -> list[list[float]]:
    values, ids = logits.topk(TOP)
    return [[int(index), round(float(value), 5)] for index, value in zip(ids, values)]


@torch.no_grad()
def parity(model: pathlib.Path, heldout: pathlib.Path) -> dict[str, object]:
    by_image: dict[str, list[dict[str, str]]] = collections.defaultdict(list)
    for question in json.loads((heldout / "questions.json").read_text())["questions"]:
        by_image[question["image"]].append(question)
    names = list(by_image)
    reference = LlavaForConditionalGeneration.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    processor = AutoProcessor.from_pretrained(model)
    modules = modules_of(model)
    heads = read_heads(model, modules)
    screens = []
    for number in range(SCREENS):
        name = names[number * len(names) // SCREENS]
        # Another type of question for every screen, as far as they go.
        question = by_image[name][number % len(by_image[name])]["question"]
        image = Image.open(heldout / name).convert("RGB")
        square = Image.fromarray(to_frame(image))
        inputs = processor(images=square, text=f"USER: <image>\n{question} ASSISTANT:", return_tensors="pt")
        generated = reference.generate(**inputs, max_new_tokens=LONGEST, do_sample=False, output_logits=True, return_dict_in_generate=True)
        entry = {
            "image": name, "question": question, "answerIds": generated.sequences[0, inputs["input_ids"].shape[1] :].tolist(),
            "firstStep": top(generated.logits[0][0]), "llamavid": {}, "dyrate": {},
        }
        pixels = normalise(to_frame(image)[None])
        if "llamavid" in heads:
            for cells in CONTENT_GRIDS:
                entry["llamavid"][str(cells)] = top(vid_logits(modules, heads["llamavid"], pixels, question, cells))
        for head, classifier in heads.items():
            if isinstance(classifier, RateClassifier):
                entry["dyrate"][head] = chosen_rate(modules, classifier, pixels, question)
        screens.append(entry)
    files = [model / "model.safetensors", *sorted((model / "heads").glob("*.safetensors"))]
    return {"hashes": {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}, "screens": screens}


def read_heads(model: pathlib.Path, modules: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    found: dict[str, torch.nn.Module] = {}
    for file in sorted((model / "heads").glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        if metadata["method"] == "dyrate":
            head: torch.nn.Module = RateClassifier(modules["decoder"].layers[0].self_attn.heads)
        else:
            head = ContextAttention(size_of(modules))
        head.load_state_dict(load_file(file))
        found[file.stem] = head.eval()
    return found


def vid_logits(modules: dict[str, torch.nn.Module], attention: ContextAttention, pixels: torch.Tensor, question: str, cells: int) -> torch.Tensor:
    decoder = modules["decoder"]
    ids = torch.tensor([encode(question + " ASSISTANT:")])
    text = decoder.embed_tokens(ids)
    features = modules["tower"](pixels)[:, 1:]
    asked = torch.arange(ids.shape[1])[None] < ids.shape[1] - CUE
    context, _ = attention(text, asked, features)
    embed = lambda values: decoder.embed_tokens(torch.tensor([values]))
    x = torch.cat([embed(BEFORE_IMAGE), context, attention.content(features, cells), embed(AFTER_IMAGE), text], 1)
    mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()[None, None]
    return decoder.lm_head(decoder(x, torch.arange(x.shape[1])[None], mask)[0][0, -1])


def chosen_rate(modules: dict[str, torch.nn.Module], classifier: RateClassifier, pixels: torch.Tensor, question: str) -> int:
    batch = Batch(pixels, {})
    asked = Question("any", question, ("x",))
    pack(batch, [[asked]], len(encode(question + " ASSISTANT:")) + 4)
    logits = classifier(prepare(modules, batch).features[0])
    first = int((batch.targets[0] != -100).int().argmax())
    return int(logits[first].argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("heldout", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    options.output.write_text(json.dumps(parity(options.model, options.heldout), indent=1) + "\n")


if __name__ == "__main__":
    main()
