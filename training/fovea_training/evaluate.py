"""Accuracy of an exported checkpoint on a held-out set, by question type, with 95 % confidence intervals (Wilson).

    python -m fovea_training.evaluate ../model                     the 2 000 questions, all of an image in one pass
    python -m fovea_training.evaluate ../model --random            the same on screens of random letters
    python -m fovea_training.evaluate ../model --other-words       the 2 000 in wordings that training never uses
    python -m fovea_training.evaluate ../model --small-text        screens whose text is too small to be read
    python -m fovea_training.evaluate ../model --greedy FOLDER     word by word, on a set that `heldout` wrote

An answer counts when it equals the truth exactly. The quick way asks for every token of the true answer whether it is the likeliest
one after those before it: when all are, greedy decoding writes exactly this answer, and only then.
"""

import argparse
import collections
import json
import math
import os
import pathlib

import torch
from PIL import Image

from . import heldout
from .batch import AFTER_IMAGE, BEFORE_IMAGE, PATCHES, Batch, attention_layout, normalise, pack
from .canvas import to_frame
from .checkpoint import LONGEST_ANSWER, modules_of
from .modules import Decoder
from .questions import Question
from .screen import Screen
from .tokenizer import END, encode, shared_tokenizer


class Answerer:
    """Greedy answers from an exported checkpoint; the image's keys and values are computed once per image."""

    def __init__(self, folder: pathlib.Path):
        self.modules = modules_of(folder)

    @torch.no_grad()
    def answers(self, image: Image.Image, questions: list[str]) -> list[str]:
        decoder: Decoder = self.modules["decoder"]
        pixels = normalise(to_frame(image.convert("RGB"))[None])
        projected = self.modules["projector"](self.modules["tower"](pixels)[:, 1:])
        embed = lambda ids: decoder.embed_tokens(torch.tensor([ids]))
        prefix = torch.cat([embed(BEFORE_IMAGE), projected, embed(AFTER_IMAGE)], 1)
        shared = self._extend(prefix, [])
        return [self._greedy(list(encode(question + " ASSISTANT:")), shared) for question in questions]

    def _extend(self, x: torch.Tensor, cache: list[tuple[torch.Tensor, torch.Tensor]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Runs [1, n, width] after a cache; returns the longer cache. The last state is kept in `self.state`."""
        decoder: Decoder = self.modules["decoder"]
        past = cache[0][0].shape[2] if cache else 0
        length = x.shape[1]
        rotation = decoder.rotation(torch.arange(past, past + length)[None])
        mask = torch.ones(length, past + length, dtype=torch.bool).tril(past)[None, None]
        longer = []
        for number, layer in enumerate(decoder.layers):
            normed = layer.input_layernorm(x)
            query, key = layer.self_attn.rotated(normed, rotation)
            value = layer.self_attn.v_proj(normed).unflatten(-1, (layer.self_attn.heads, -1)).transpose(1, 2)
            if cache:
                key, value = torch.cat([cache[number][0], key], 2), torch.cat([cache[number][1], value], 2)
            longer.append((key, value))
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            x = x + layer.self_attn.o_proj(mixed.transpose(1, 2).flatten(2))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        self.state = decoder.norm(x[:, -1])
        return longer

    def _greedy(self, ids: list[int], cache: list[tuple[torch.Tensor, torch.Tensor]]) -> str:
        decoder: Decoder = self.modules["decoder"]
        written: list[int] = []
        while len(written) < LONGEST_ANSWER:
            cache = self._extend(decoder.embed_tokens(torch.tensor([ids])), cache)
            best = int(decoder.lm_head(self.state).argmax())
            if best == END:
                break
            written.append(best)
            ids = [best]
        return shared_tokenizer().decode(written).strip()


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share."""
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def character_errors(truth: str, answer: str) -> int:
    """Edit distance."""
    row = list(range(len(answer) + 1))
    for i, wanted in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(answer, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got))
    return row[-1]


def evaluate(model: pathlib.Path, folder: pathlib.Path, limit: int | None = None) -> dict[str, object]:
    answerer = Answerer(model)
    questions = json.loads((folder / "questions.json").read_text())["questions"][:limit]
    by_image: dict[str, list[dict[str, str]]] = collections.defaultdict(list)
    for question in questions:
        by_image[question["image"]].append(question)
    right: dict[str, list[bool]] = collections.defaultdict(list)
    errors: dict[str, list[float]] = collections.defaultdict(list)
    samples: list[dict[str, str]] = []
    for name, asked in by_image.items():
        answers = answerer.answers(Image.open(folder / name), [question["question"] for question in asked])
        for question, answer in zip(asked, answers):
            right[question["type"]].append(answer == question["answer"])
            errors[question["type"]].append(character_errors(question["answer"], answer) / max(1, len(question["answer"])))
            samples.append({**question, "given": answer})
    return summary(right, {name: ("character_error", values) for name, values in errors.items()}) | {"samples": samples}


def table(result: dict[str, object]) -> str:
    lines = ["| question type | n | exact | 95 % interval | tokens right |", "|---|---|---|---|---|"]
    for name, row in [*result["types"].items(), ("**all**", result["all"])]:
        tokens = f"{100 * row['tokens']:.0f} %" if "tokens" in row else ""
        lines.append(f"| {name} | {row['n']} | {100 * row['exact']:.1f} % | {100 * row['low']:.1f}-{100 * row['high']:.1f} | {tokens} |")
    return "\n".join(lines)


@torch.no_grad()
def evaluate_packed(model: pathlib.Path, drawn: collections.abc.Iterable[tuple[Screen, list[Question]]]) -> dict[str, object]:
    """Exact answers, all questions of an image in one pass."""
    modules = modules_of(model)
    decoder: Decoder = modules["decoder"]
    results: dict[str, list[bool]] = collections.defaultdict(list)
    tokens: dict[str, list[float]] = collections.defaultdict(list)
    for screen, asked in drawn:
        batch = Batch(normalise(screen.image()[None]), {})
        pack(batch, [asked], sum(len(q.question_tokens()[0]) + len(q.answer_tokens()[0]) for q in asked))
        embed = lambda ids: decoder.embed_tokens(torch.tensor([ids]))
        image = modules["projector"](modules["tower"](batch.pixels)[:, 1:])
        x = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), decoder.embed_tokens(batch.ids)], 1)
        states, _ = decoder(x, *attention_layout(batch, torch.arange(PATCHES)[None]))
        hit = decoder.lm_head(states[0, -batch.ids.shape[1] :]).argmax(-1) == batch.targets[0]
        for number, question in enumerate(asked, 1):
            here = hit[(batch.segment[0] == number) & (batch.targets[0] != -100)]
            results[question.type].append(bool(here.all()))
            tokens[question.type].append(float(here.float().mean()))
    return summary(results, {name: ("tokens", values) for name, values in tokens.items()})


def summary(right: dict[str, list[bool]], more: dict[str, tuple[str, list[float]]]) -> dict[str, object]:
    def figures(values: list[bool]) -> dict[str, float]:
        low, high = wilson(sum(values), len(values))
        return {"n": len(values), "right": sum(values), "exact": round(sum(values) / len(values), 4), "low": round(low, 4), "high": round(high, 4)}

    types = {name: figures(values) | {more[name][0]: round(sum(more[name][1]) / len(values), 4)} for name, values in sorted(right.items())}
    return {"all": figures([value for values in right.values() for value in values]), "types": types}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--greedy", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--other-words", action="store_true")
    parser.add_argument("--small-text", action="store_true")
    parser.add_argument("--questions", type=int, default=heldout.QUESTIONS)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("FOVEA_THREADS", "1")))
    if options.greedy:
        result = evaluate(options.model, options.greedy, options.questions)
    else:
        drawn = heldout.draw_small_text(options.questions) if options.small_text else heldout.draw(options.questions, options.random)
        result = evaluate_packed(options.model, heldout.in_other_words(drawn) if options.other_words else drawn)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
