"""
test/fixtures/reductions/pure-*: the selections alone, from seeded features, keys and attention to indices. Inputs are
float32 (what an implementation receives), the selection is computed from exactly these values in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import files, methods
from .methods import Array
from .reduction_fixtures import rounded

FOLDER = "reductions"

FEATURE_DIM, KEY_DIM = 16, 8
SIZES = {16: (1, 2, 3), 64: (1, 2, 3), 576: (1, 2)}
BUDGETS = {16: (1, 3, 8, 16), 64: (1, 10, 32, 64), 576: (16, 64, 192)}

# Decisions closer than this are left out (see methods.py); exact ties are in, they have a rule.
SMALLEST_MARGIN = 2e-6
TIES = "ties"


def seeded(tokens: int, seed: int) -> dict[str, Array]:
    """Neighbouring tokens resemble each other and a few stand out, as in a real picture."""
    random = np.random.default_rng([seed, tokens])
    centres = random.standard_normal((max(3, tokens // 12), FEATURE_DIM))
    nearest = np.sort(random.integers(0, len(centres), tokens))
    features = centres[nearest] + 0.6 * random.standard_normal((tokens, FEATURE_DIM))
    mix = random.standard_normal((FEATURE_DIM, KEY_DIM)) / np.sqrt(FEATURE_DIM)
    keys = features @ mix + 0.3 * random.standard_normal((tokens, KEY_DIM))
    logits = 1.5 * random.standard_normal(tokens)
    attention = np.exp(logits) / np.exp(logits).sum()
    stages = np.exp(1.5 * random.standard_normal((3, tokens)))
    raw = {
        "features": features,
        "class_feature": random.standard_normal(FEATURE_DIM),
        "keys": keys,
        "attention": attention,
        "stage_attention": stages / stages.sum(axis=1, keepdims=True),
    }
    return {name: values.astype(np.float32) for name, values in raw.items()}


def tied() -> dict[str, Array]:
    """
    16 tokens full of exact ties. Vectors lie on axes with lengths that are powers of two, scores are multiples of 1/4,
    so that every sum and cosine is exact in any precision and any order, and only the rule for ties decides.
    """
    axes = np.array([0, 1, 0, 2, 3, 1, 2, 3, 0, 1, 2, 3, 0, 0, 1, 2])
    lengths = np.array([1, 2, 4, 1, 2, 1, 2, 4, 2, 4, 1, 1, 0.5, 1, 1, 2])
    score = np.array([2, 1, 2, 4, 1, 2, 0, 4, 3, 3, 2, 1, 0, 2, 4, 3]) / 4
    features, keys = np.zeros((16, FEATURE_DIM)), np.zeros((16, KEY_DIM))
    features[np.arange(16), axes] = lengths
    keys[np.arange(16), axes[::-1]] = lengths
    stages = np.stack([score, np.roll(score, 5), np.roll(score, 11)])
    class_feature = np.zeros(FEATURE_DIM)
    class_feature[5] = 1
    raw = {"features": features, "class_feature": class_feature, "keys": keys, "attention": score, "stage_attention": stages}
    return {name: values.astype(np.float32) for name, values in raw.items()}


def inputs() -> dict[str, dict[str, Array]]:
    made = {f"n{tokens}-seed{seed}": seeded(tokens, seed) for tokens, seeds in SIZES.items() for seed in seeds}
    return made | {TIES: tied()}


Cases = list[tuple[dict, float]]


def budgets(tokens: int) -> tuple[int, ...]:
    return BUDGETS[tokens]


def fastv_cases(data: dict[str, Array]) -> Cases:
    found = []
    for keep in (1.0, 0.5, 0.25, 0.1, 0.03125, 0.001, 2, 5):
        kept, margin = methods.fastv(data["attention"], keep)
        found.append(({"keep": keep, "kept": kept}, margin))
    return found


def visionzip_cases(data: dict[str, Array]) -> Cases:
    found = []
    tokens = len(data["attention"])
    for has_class in (True, False):
        for budget in budgets(tokens):
            contextual = round(budget * 10 / 64)
            splits = {(budget - contextual, contextual)} | ({(1, budget - 1), (budget, 0)} if tokens < 576 else set())
            for dominant, extra in sorted(splits):
                if budget >= tokens:
                    continue
                result = {
                    merge: methods.visionzip(data["attention"], data["keys"], has_class, dominant, extra, merge)
                    for merge in ("sum", "average")
                }
                merged = [describe_merge(*pair) for pair in zip(result["sum"].merged, result["average"].merged, strict=True)]
                case = {"hasClassToken": has_class, "dominant": dominant, "contextual": extra}
                found.append((case | {"dominantPatches": result["sum"].dominant, "merged": merged}, result["sum"].margin))
    return found


def describe_merge(summed: methods.Merge, averaged: methods.Merge) -> dict:
    """Both merges take the same sources; only the weight of the target and of each other source differs."""
    others = [index for index in summed.sources if index != summed.target]
    weights = {}
    for name, merge in (("sum", summed), ("average", averaged)):
        weight = dict(zip(merge.sources, merge.weights, strict=True))
        weights[name] = [weight[summed.target], *(weight[index] for index in others[:1])]
    return {"target": summed.target, "assigned": others, "weights": weights}


def budget_cases(
    select: Callable[..., tuple[list[int], float]], *fields: str, **variants: tuple[float, ...]
) -> Callable[[dict], Cases]:
    """Every budget, and for a method with a parameter every value of it."""
    (name, values) = next(iter(variants.items()), (None, (None,)))

    def cases(data: dict[str, Array]) -> Cases:
        found = []
        for budget in budgets(len(data["features"])):
            for value in values:
                extra = {} if name is None else {name: value}
                kept, margin = select(*(data[field] for field in fields), budget, **extra)
                found.append(({"budget": budget, **extra, "kept": kept}, margin))
        return found

    return cases


def pyramid_cases(data: dict[str, Array]) -> Cases:
    found = []
    tokens = data["stage_attention"].shape[1]
    for layers in (2, 3, 4, 26) if tokens < 576 else (32,):
        for ratio in (0.5, 0.7):
            stages = methods.pyramid_stages(layers, tokens, ratio)
            result, margin = methods.pyramiddrop(list(data["stage_attention"][: len(stages)]), layers, ratio)
            found.append(({"layers": layers, "ratio": ratio, "stages": result}, margin))
    return found


METHODS: dict[str, tuple[str, Callable[[dict[str, Array]], Cases]]] = {
    "fastv": ("Input `attention`. `keep`: fraction up to 1 (rounded half up, at least one token), a number above.", fastv_cases),
    "visionzip": (
        "Inputs `attention` (from the class token summed over heads, or received), `keys` (mean over heads), `features`, `class_feature`."
        " `dominantPatches` are without the class token, which goes first where there is one and counts as one of `dominant`. A merged token is"
        " weights[0] * features[target] + weights[1] * (sum of features[assigned]); weights[1] is missing where nothing is assigned.",
        visionzip_cases,
    ),
    "mmr": (
        "Inputs `features`, `attention` as importance, scaled to 0..1 by minimum and maximum. `balance` is lambda.",
        budget_cases(methods.mmr, "features", "attention", balance=(0.5, 0.8)),
    ),
    "scope": (
        "Inputs `features`, `attention` as importance. `alpha` is its exponent.",
        budget_cases(methods.scope, "features", "attention", alpha=(1.0, 0.5)),
    ),
    "divprune": ("Input `features` (in use: projected embeddings).", budget_cases(methods.divprune, "features")),
    "pyramiddrop": (
        "Input `stage_attention` [3, tokens]: row s holds the scores at the s-th stage listed, of which those of the surviving tokens count."
        " Stages are before layers floor(L/4), floor(L/2), floor(3L/4) where that is above 0; stage s of these three keeps tokens * ratio^s"
        " of the tokens at the start, rounded half up, at least one; of two stages on one layer only the later one is left.",
        pyramid_cases,
    ),
}


def make(root: Path) -> None:
    folder = root / FOLDER
    given = inputs()
    files.write_tensors(
        folder / "pure-inputs.safetensors",
        {f"{name}.{part}": values for name, data in given.items() for part, values in data.items()},
    )
    for method, (meaning, cases) in METHODS.items():
        listed = []
        for name, data in given.items():
            widened = {part: values.astype(np.float64) for part, values in data.items()}
            for case, margin in cases(widened):
                if margin == 0 or margin >= SMALLEST_MARGIN:
                    listed.append({"input": name, **case, "margin": rounded(margin)})
        check_coverage(method, listed)
        files.write_json(
            folder / f"pure-{method}.json",
            {
                "method": method,
                "inputs": "pure-inputs.safetensors: tensors `<input>.<name>`, float32",
                "meaning": meaning,
                "ties": "an exact tie goes to the lower index; the input `ties` is full of them, with arithmetic that is exact in float32",
                "margin": "lead of the closest decision relative to the scale of what is compared; null: nothing to decide; 0: an exact tie",
                "cases": listed,
            },
        )


def check_coverage(method: str, listed: list[dict]) -> None:
    """Leaving out what is too close must not leave a whole size out."""
    for tokens in SIZES:
        if not any(case["input"].startswith(f"n{tokens}-") for case in listed):
            raise RuntimeError(f"{method}: no clear case with {tokens} tokens")
    if not any(case["input"] == TIES and case["margin"] == 0 for case in listed):
        raise RuntimeError(f"{method}: no exact tie")
