"""
Visual-token reductions in float64, written from the published descriptions and nothing else.

Everywhere: where two tokens score exactly the same, the one with the LOWER index wins, both when choosing what to
keep and when choosing which target a token merges into. Kept indices are given in ascending order.

Each selection also returns its margin: how far, relative to the scale of what is compared, the closest decision was
from going the other way (infinity where there was nothing to decide, 0 for an exact tie). Tests that compare a float32
implementation need inputs whose margins are well above float32's rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


def count_to_keep(tokens: int, keep: float) -> int:
    """A fraction of the tokens up to 1, a number of tokens above; never less than one, never more than there are."""
    return min(tokens, max(1, round_half_up(tokens * keep) if keep <= 1 else int(keep)))


def descending(scores: Array) -> Array:
    """Indices by falling score; a stable sort keeps lower indices first among equals."""
    return np.argsort(-scores, kind="stable")


def top(scores: Array, count: int) -> tuple[list[int], float]:
    order = descending(scores)
    if count >= len(scores):
        return list(range(len(scores))), math.inf
    margin = math.inf if count == 0 else (scores[order[count - 1]] - scores[order[count]]) / np.abs(scores).max()
    return sorted(int(index) for index in order[:count]), float(margin)


def normalised(rows: Array) -> Array:
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.where(length == 0, 1, length)


def cosine(rows: Array, others: Array) -> Array:
    return normalised(rows) @ normalised(others).T


def similarities(rows: Array) -> Array:
    """All cosines among the rows; exactly symmetric, which a matrix product in floating point need not be."""
    product = cosine(rows, rows)
    return (product + product.T) / 2


def best(values: Array, candidates: Array) -> tuple[int, float]:
    """The candidate with the highest value, and its lead over the runner-up relative to the largest value."""
    order = candidates[descending(values[candidates])]
    if len(order) == 1:
        return int(order[0]), math.inf
    scale = max(float(np.abs(values[candidates]).max()), 1e-300)
    return int(order[0]), float((values[order[0]] - values[order[1]]) / scale)


# --- FastV ------------------------------------------------------------------------------------------------------------


def fastv(scores: Array, keep: float) -> tuple[list[int], float]:
    """`scores`: attention of layer K-1, mean over heads, over the image tokens; the last query's row or column sums."""
    return top(scores, count_to_keep(len(scores), keep))


# --- VisionZip --------------------------------------------------------------------------------------------------------


@dataclass
class Merge:
    target: int
    sources: list[int]  # ascending, the target among them
    weights: list[float]


@dataclass
class VisionZipResult:
    """Tokens go on in this order: the class token (if any), the dominant patches, the merged ones."""

    class_token: bool
    dominant: list[int]
    merged: list[Merge]
    margin: float


def visionzip(attention: Array, keys: Array, has_class: bool, dominant: int, contextual: int, merge: str) -> VisionZipResult:
    """
    attention: [patches] what each patch receives from the class token (summed over heads), or without one from all
    patches (mean over heads and queries). keys: [patches, headDim] key projection, mean over heads. The class token is
    one of the `dominant`. `merge`: 'sum' is target + mean(assigned), 'average' the mean of the target and all assigned.
    """
    kept, margin = top(attention, dominant - 1 if has_class else dominant)
    chosen = set(kept)
    remaining = [index for index in range(len(attention)) if index not in chosen]
    if contextual == 0:
        return VisionZipResult(has_class, kept, [], margin)
    step = len(remaining) // contextual
    targets = [remaining[position * step] for position in range(contextual)]
    others = [index for index in remaining if index not in set(targets)]
    assigned: dict[int, list[int]] = {target: [] for target in targets}
    if others:
        similarity = cosine(keys[others], keys[targets])
        for row, index in zip(similarity, others, strict=True):
            winner, lead = best(row, np.arange(len(targets)))
            assigned[targets[winner]].append(index)
            margin = min(margin, lead)
    merged = []
    for target in targets:
        members = assigned[target]
        sources = sorted([target, *members])
        if merge == "sum":
            weights = [1.0 if index == target else 1.0 / len(members) for index in sources]
        elif merge == "average":
            weights = [1.0 / len(sources)] * len(sources)
        else:
            raise ValueError(merge)
        merged.append(Merge(target, sources, weights))
    return VisionZipResult(has_class, kept, merged, margin)


def visionzip_output(result: VisionZipResult, patches: Array, class_token: Array | None) -> Array:
    """The tokens that go on, [dominant + contextual, dim]."""
    rows = [class_token] if result.class_token else []
    rows += [patches[index] for index in result.dominant]
    rows += [np.asarray(merge.weights) @ patches[merge.sources] for merge in result.merged]
    return np.stack(rows)


# --- Greedy selections ------------------------------------------------------------------------------------------------


def mmr(features: Array, importance: Array, budget: int, balance: float = 0.5) -> tuple[list[int], float]:
    """
    Maximal marginal relevance: again and again the token with the highest balance * importance - (1 - balance) * (its
    cosine with the most similar token already chosen). Importance is scaled to 0..1 by its minimum and maximum (to 0
    where all are equal); before anything is chosen the second term is 0.
    """
    spread = importance.max() - importance.min()
    scaled = (importance - importance.min()) / spread if spread > 0 else np.zeros_like(importance)
    similarity = similarities(features)
    nearest = np.zeros(len(features))
    chosen: list[int] = []
    margin = math.inf
    free = np.arange(len(features))
    for _ in range(min(budget, len(features))):
        pick, lead = best(balance * scaled - (1 - balance) * nearest, free)
        margin = min(margin, lead)
        nearest = similarity[pick].copy() if not chosen else np.maximum(nearest, similarity[pick])
        chosen.append(pick)
        free = free[free != pick]
    return sorted(chosen), margin


def scope(features: Array, importance: Array, budget: int, alpha: float = 1.0) -> tuple[list[int], float]:
    """
    Coverage gain times importance: gain_j = sum_i max(0, cos_ij - covered_i) * importance_j ** alpha, with covered_i the
    highest cosine of token i with a chosen token, 0 before anything is chosen.
    """
    similarity = similarities(features)
    covered = np.zeros(len(features))
    chosen: list[int] = []
    margin = math.inf
    free = np.arange(len(features))
    for _ in range(min(budget, len(features))):
        gain = np.maximum(0, similarity - covered[:, None]).sum(axis=0) * importance**alpha
        pick, lead = best(gain, free)
        margin = min(margin, lead)
        covered = np.maximum(covered, similarity[:, pick])
        chosen.append(pick)
        free = free[free != pick]
    return sorted(chosen), margin


def divprune(embeddings: Array, budget: int) -> tuple[list[int], float]:
    """
    Max-min diversity under the cosine distance 1 - cos: first the token that is farthest from its nearest neighbour, then
    always the token that is farthest from the nearest chosen one. The first choice is often an exact tie, between two
    tokens that are each other's nearest neighbour.
    """
    distance = 1 - similarities(embeddings)
    apart = distance + np.diag(np.full(len(embeddings), np.inf))
    free = np.arange(len(embeddings))
    if len(embeddings) == 1:
        return [0], math.inf
    pick, margin = best(apart.min(axis=1), free)
    chosen = [pick]
    nearest = distance[pick].copy()
    for _ in range(min(budget, len(embeddings)) - 1):
        free = free[free != pick]
        pick, lead = best(nearest, free)
        margin = min(margin, lead)
        nearest = np.minimum(nearest, distance[pick])
        chosen.append(pick)
    return sorted(chosen), margin


# --- PyramidDrop ------------------------------------------------------------------------------------------------------


def pyramid_stages(layers: int, tokens: int, ratio: float = 0.5) -> list[tuple[int, int]]:
    """
    (layer, tokens kept from it on): before layers floor(L/4), floor(L/2), floor(3L/4). Stage s keeps tokens * ratio^s of
    the tokens that ENTERED the decoder, rounded half up, at least one. A stage before layer 0 has no attention to look at
    and is left out; where two stages fall on one layer only the later one is.
    """
    stages: dict[int, int] = {}
    for stage, layer in enumerate((layers // 4, layers // 2, 3 * layers // 4), start=1):
        if layer > 0:
            stages[layer] = max(1, round_half_up(tokens * ratio**stage))
    return sorted(stages.items())


def pyramiddrop(stage_scores: list[Array], layers: int, ratio: float = 0.5) -> tuple[list[dict], float]:
    """`stage_scores[s]`: [tokens that entered] the last query's attention at stage s, of which the surviving ones count."""
    alive = np.arange(len(stage_scores[0]))
    margin, stages = math.inf, []
    for (layer, count), scores in zip(pyramid_stages(layers, len(alive), ratio), stage_scores, strict=True):
        kept, lead = top(scores[alive], count)
        margin = min(margin, lead)
        alive = alive[kept]
        stages.append({"layer": layer, "kept": [int(index) for index in alive]})
    return stages, margin


# --- Pixels: UI graph, predictive de-duplication, average pooling -----------------------------------------------------


def difference(a: Array, b: Array) -> int:
    """The largest difference of any channel of any pixel between two patches, 0 to 255."""
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


def ui_graph(pixels: Array, rows: int, columns: int, importance: Array, threshold: float, keep: float) -> tuple[list[int], float]:
    """
    `pixels`: [patches, size, size, 3]. Neighbours (left, right, above, below) that differ by less than `threshold` are
    connected; of every connected part the `keep` most important patches stay (a fraction up to 1, a number above).
    """
    part = np.full(rows * columns, -1)
    kept, margin = [], math.inf
    for seed in range(rows * columns):
        if part[seed] >= 0:
            continue
        part[seed] = seed
        waiting, members = [seed], []
        while waiting:
            patch = waiting.pop()
            members.append(patch)
            row, column = divmod(patch, columns)
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                other = r * columns + c
                if 0 <= r < rows and 0 <= c < columns and part[other] < 0 and difference(pixels[patch], pixels[other]) < threshold:
                    part[other] = seed
                    waiting.append(other)
        members.sort()
        chosen, lead = top(importance[members], count_to_keep(len(members), keep))
        kept += [members[index] for index in chosen]
        margin = min(margin, lead)
    return sorted(kept), margin


def pixel_prune(pixels: Array, rows: int, columns: int, threshold: float) -> list[int]:
    """
    In raster order a patch is dropped when what a receiver has on its left, or else above it, differs by no more than
    `threshold`; the receiver then has that in its place.
    """
    received: dict[tuple[int, int], Array] = {}
    kept = []
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        known = [received[place] for place in ((row, column - 1), (row - 1, column)) if place in received]
        guess = next((other for other in known if difference(pixels[patch], other) <= threshold), None)
        received[row, column] = pixels[patch] if guess is None else guess
        if guess is None:
            kept.append(patch)
    return kept


def pool(rows: int, columns: int, grid: int) -> list[list[int]]:
    """The patches of each cell in raster order of the cells: a patch belongs to the cell that its centre lies in."""
    down, across = min(grid, rows), min(grid, columns)
    cells: dict[tuple[int, int], list[int]] = {}
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        # (row + 1/2) * down / rows, in integers.
        cell = ((2 * row + 1) * down // (2 * rows), (2 * column + 1) * across // (2 * columns))
        cells.setdefault(cell, []).append(patch)
    return [cells[cell] for cell in sorted(cells)]
