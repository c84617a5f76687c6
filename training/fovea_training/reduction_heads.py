"""Stage 6: the heads of the two trained reductions on a frozen checkpoint, stored beside it.

    python -m fovea_training.reduction_heads dyrate ../model --variant gumbel --lambda 0.1
    python -m fovea_training.reduction_heads llama-vid ../model --content 16

Each run writes `heads/<name>.safetensors` and `heads/<name>.json` (what the run-time needs, and what was measured).
"""

import argparse
import dataclasses
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from .batch import AFTER_IMAGE, BEFORE_IMAGE, PATCHES, Batch, BatchSource, Plan, attention_layout
from .canvas import GRID
from .export import modules_of
from .modules import Decoder, Trace
from .run import Run, batches

RATES = 8
"""K of the paper: rates r_k = (k - 1) / K."""
PROFILE_BINS = 16
FEATURE_LAYER = 3
"""Decoder layer whose attention the classifier reads."""
RANK_LAYER = 1
"""Decoder layer whose last instruction row ranks the image tokens (FastV's score before layer 2)."""
LONG_ANSWERS = frozenset(["read_all", "describe", "buttons", "title", "message", "field_value", "terminal_file", "terminal_command"])
CONTEXT_QUERIES = 32


class RateClassifier(nn.Module):
    """C_theta: attention features of one step -> logits over the rates. [*, heads * (4 + bins)] -> [*, K]"""

    def __init__(self, heads: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(heads * (4 + PROFILE_BINS), 64), nn.Linear(64, RATES)
        nn.init.zeros_(self.fc2.weight)
        with torch.no_grad():
            self.fc2.bias.copy_(torch.linspace(1, -1, RATES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(features)))


@dataclasses.dataclass
class Context:
    """One sequence of packed questions over all patches of frozen features."""

    x: torch.Tensor
    position: torch.Tensor
    mask: torch.Tensor
    answer_rows: torch.Tensor
    """[B, text] True at rows that predict a token of an answer."""

    @property
    def image(self) -> slice:
        return slice(len(BEFORE_IMAGE), len(BEFORE_IMAGE) + PATCHES)


def prepare(modules: dict[str, nn.Module], batch: Batch) -> Context:
    assert batch.ids is not None and batch.targets is not None
    decoder = modules["decoder"]
    count = len(batch.ids)
    embed = lambda ids: decoder.embed_tokens(torch.tensor(ids, device=batch.ids.device)).expand(count, -1, -1)
    image = modules["projector"](modules["tower"](batch.pixels)[:, 1:])
    x = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), decoder.embed_tokens(batch.ids)], 1)
    kept = torch.arange(PATCHES, device=x.device).expand(count, -1)
    return Context(x, *attention_layout(batch, kept), batch.targets != -100)


def attention_rows(trace: Trace, layer: int, context: Context) -> torch.Tensor:
    """Attention of the text rows at one layer. [B, heads, text, L]"""
    text = context.answer_rows.shape[1]
    query, key = trace.queries[layer][:, :, -text:].float(), trace.keys[layer].float()
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.masked_fill(~context.mask[:, :, -text:], -torch.inf).softmax(-1)


def step_features(attention: torch.Tensor, batch: Batch, image: slice) -> torch.Tensor:
    """Per head: mass on system, image, instruction and generated tokens, and the sorted image profile pooled to a fixed length."""
    assert batch.targets is not None
    text = attention.shape[2]
    of_image = attention[..., image]
    generated = F.pad((batch.targets != -100)[:, :-1], (1, 0))
    on_text = attention[..., -text:]
    masses = [
        attention[..., : image.start].sum(-1),
        of_image.sum(-1),
        (on_text * ~generated[:, None, None]).sum(-1) + attention[..., image.stop : -text].sum(-1),
        (on_text * generated[:, None, None]).sum(-1),
    ]
    ranked = of_image.sort(-1, descending=True).values
    profile = F.adaptive_avg_pool1d(ranked.flatten(0, 2)[:, None], PROFILE_BINS)[:, 0].view(*of_image.shape[:3], PROFILE_BINS)
    features = torch.cat([torch.stack(masses, -1), (profile * PATCHES).log1p()], -1)  # [B, heads, text, 4 + bins]
    return features.transpose(1, 2).flatten(2)


def ranks(attention: torch.Tensor, batch: Batch, image: slice) -> torch.Tensor:
    """For every text row, the rank (0 = most important) of each patch for that row's question. [B, text, patches]"""
    assert batch.segment is not None and batch.targets is not None
    score = attention.mean(1)[..., image]
    first = (batch.targets != -100) & ~F.pad((batch.targets != -100)[:, :-1], (1, 0))  # the last row of each question
    result = torch.zeros(score.shape, device=score.device)
    for row, column in first.nonzero().tolist():
        where = batch.segment[row] == batch.segment[row, column]
        result[row, where] = score[row, column].argsort(descending=True).argsort().float()
    return result


def kept_masks(choice: torch.Tensor, rank: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The mask that each answer row sees: what all earlier steps of the same answer left. [B, text, patches] in 0..1

    choice: [B, text, K], one-hot or probabilities: m = sum_k choice_k m^k, and what is dropped stays dropped."""
    assert batch.segment is not None and batch.targets is not None
    limits = PATCHES * (1 - torch.arange(RATES, device=rank.device) / RATES)
    own = torch.zeros_like(rank)
    for k in range(RATES):
        own = own + choice[..., k, None] * (rank < limits[k]).float()
    answered = batch.targets != -100
    seen, rows = torch.ones_like(rank[:, 0]), []
    for step in range(rank.shape[1]):
        starts = answered[:, step] & (~answered[:, step - 1] if step else torch.ones_like(answered[:, 0]))
        seen = torch.where(starts[:, None], torch.ones_like(seen), seen)
        rows.append(torch.where(answered[:, step, None], seen, torch.ones_like(seen)))
        seen = torch.where(answered[:, step, None], torch.minimum(seen, own[:, step]), seen)
    return torch.stack(rows, 1)


def masked_loss(decoder: Decoder, context: Context, batch: Batch, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the answers under a mask over the image tokens, and which tokens are right."""
    assert batch.targets is not None
    text = seen.shape[1]
    bias = torch.zeros(context.mask.shape, device=seen.device).masked_fill(~context.mask, -1e4)
    rows = torch.cat([torch.ones(len(seen), bias.shape[2] - text, PATCHES, device=seen.device), seen], 1)
    extra = F.pad(rows.clamp(min=1e-4).log(), (context.image.start, bias.shape[3] - context.image.stop))[:, None]
    hidden, _ = decoder(context.x, context.position, bias + extra)
    learnt = batch.targets != -100
    logits = decoder.lm_head(hidden[:, -text:][learnt]).float()
    return F.cross_entropy(logits, batch.targets[learnt]), logits.argmax(-1) == batch.targets[learnt]


def dyrate_step(modules: dict[str, nn.Module], classifier: RateClassifier, batch: Batch, variant: str, temperature: float) -> dict[str, torch.Tensor]:
    """One pass: the training loss of the variant, and the same with the hard choice of run time."""
    with torch.no_grad():
        context = prepare(modules, batch)
        _, trace = modules["decoder"](context.x, context.position, context.mask)
        features = step_features(attention_rows(trace, FEATURE_LAYER, context), batch, context.image)
        rank = ranks(attention_rows(trace, RANK_LAYER, context), batch, context.image)
    logits = classifier(features)
    choice = F.gumbel_softmax(logits, temperature, hard=True) if variant == "gumbel" else logits.softmax(-1)
    hard = F.one_hot(logits.argmax(-1), RATES).float()
    answered = batch.targets != -100
    seen = kept_masks(choice, rank, batch)
    loss, _ = masked_loss(modules["decoder"], context, batch, seen)
    with torch.no_grad():
        seen_hard = kept_masks(hard, rank, batch)
        loss_hard, right = masked_loss(modules["decoder"], context, batch, seen_hard)
    return {
        "loss": loss, "kept": seen[answered].mean(), "hard_loss": loss_hard,
        "hard_kept": seen_hard[answered].mean(), "hard_token": right.float().mean(),
    }


def train_dyrate(model: pathlib.Path, runs: pathlib.Path, variant: str, weight: float, minutes: float, images: int = 4, workers: int = 0) -> None:
    modules = _frozen(model)
    heads = modules["decoder"].layers[0].self_attn.heads
    classifier = RateClassifier(heads)
    name = f"dyrate-{variant}-{weight:g}"
    run = Run(runs / name, {"classifier": classifier}, minutes, 2e-3)
    _to(modules, run)
    stream = batches(Plan(images, 224, only=LONG_ANSWERS), seed=500_000 + run.step, workers=workers)
    while run.progress < 1:
        batch = next(stream).to(run.device)
        found = dyrate_step(modules, classifier, batch, variant, max(0.3, 1 - run.progress))
        run.update(found["loss"] + weight * found["kept"], images, **{key: float(value.detach()) for key, value in found.items() if key != "loss"})
    run.save()
    measured = _average(lambda batch: dyrate_step(modules, classifier, batch, variant, 0.3), run)
    description = {
        "method": "dyrate", "variant": variant, "lambda": weight, "rates": RATES, "profileBins": PROFILE_BINS,
        "featureLayer": FEATURE_LAYER, "rankLayer": RANK_LAYER, "heldOut": measured,
    }
    _store(model, name, classifier, description)


class ContextAttention(nn.Module):
    """LLaMA-VID's context token and the adapter of the pooled content tokens."""

    def __init__(self, tower_width: int, width: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(CONTEXT_QUERIES, width) * 0.3)
        self.text_k_proj, self.text_v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.k_proj = nn.Linear(width, tower_width), nn.Linear(tower_width, tower_width)
        self.context_projector = nn.Linear(tower_width, width)
        self.content_projector = nn.Sequential(nn.Linear(tower_width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, question: torch.Tensor, asked: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Question embeddings [n, T, width] with their mask [n, T], features [n, 576, tower] -> context token [n, 1, width], weights [n, 576]"""
        scores = self.queries @ self.text_k_proj(question).transpose(1, 2) / math.sqrt(question.shape[-1])
        text = scores.masked_fill(~asked[:, None], -torch.inf).softmax(-1) @ self.text_v_proj(question)
        weights = (self.q_proj(text) @ self.k_proj(features).transpose(1, 2) / math.sqrt(features.shape[-1])).softmax(-1).mean(1)
        return self.context_projector(weights[:, None] @ features), weights

    def content(self, features: torch.Tensor, tokens: int) -> torch.Tensor:
        """Average pooling to sqrt(tokens) x sqrt(tokens), then an MLP. [n, tokens, width]"""
        side = math.isqrt(tokens)
        grid = features.transpose(1, 2).unflatten(2, (GRID, GRID))
        return self.content_projector(F.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2))


def llama_vid_step(modules: dict[str, nn.Module], attention: ContextAttention, batch: Batch, tokens: int) -> dict[str, torch.Tensor]:
    """Each question alone with 1 + l tokens: the language loss and the share of whole answers that are right."""
    assert batch.ids is not None and batch.segment is not None and batch.targets is not None
    decoder = modules["decoder"]
    with torch.no_grad():
        features = modules["tower"](batch.pixels)[:, 1:]
    pairs = [(row, segment) for row in range(len(batch.ids)) for segment in range(1, int(batch.segment[row].max()) + 1)]
    rows = torch.tensor([row for row, _ in pairs], device=features.device)
    where = [batch.segment[row] == segment for row, segment in pairs]
    pad = lambda values, fill: nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=fill)
    ids = pad([batch.ids[row][mask] for (row, _), mask in zip(pairs, where)], 3)
    targets = pad([batch.targets[row][mask] for (row, _), mask in zip(pairs, where)], -100)
    learnt = targets != -100
    asked = (learnt.cumsum(1) - learnt.int() == 0) & (ids != 3)
    text = decoder.embed_tokens(ids)
    context, _ = attention(text, asked, features[rows])
    image = torch.cat([context, attention.content(features, tokens)[rows]], 1)
    embed = lambda values: decoder.embed_tokens(torch.tensor(values, device=ids.device)).expand(len(ids), -1, -1)
    x = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), text], 1)
    length = x.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None, None]
    hidden, _ = decoder(x, torch.arange(length, device=x.device)[None], mask)
    logits = decoder.lm_head(hidden[:, -ids.shape[1] :][learnt]).float()
    right = torch.ones_like(learnt)
    right[learnt] = logits.argmax(-1) == targets[learnt]
    return {"loss": F.cross_entropy(logits, targets[learnt]), "exact": right.all(1).float().mean()}


def train_llama_vid(model: pathlib.Path, runs: pathlib.Path, tokens: int, minutes: float, images: int = 8, workers: int = 0) -> None:
    modules = _frozen(model)
    attention = ContextAttention(modules["projector"].linear_1.in_features, modules["projector"].linear_2.out_features)
    name = f"llama-vid-{tokens}"
    run = Run(runs / name, {"attention": attention}, minutes, 2e-3)
    _to(modules, run)
    stream = batches(Plan(images, 160), seed=600_000 + run.step, workers=workers)
    while run.progress < 1:
        batch = next(stream).to(run.device)
        found = llama_vid_step(modules, attention, batch, tokens)
        run.update(found["loss"], images, exact=float(found["exact"]))
    run.save()
    measured = _average(lambda batch: llama_vid_step(modules, attention, batch, tokens), run)
    description = {"method": "llama-vid", "queries": CONTEXT_QUERIES, "contentTokens": tokens, "order": ["context", "content"], "heldOut": measured}
    _store(model, name, attention, description)


def _frozen(model: pathlib.Path) -> dict[str, nn.Module]:
    modules = modules_of(model)
    for module in modules.values():
        module.requires_grad_(False)
    return modules


def _to(modules: dict[str, nn.Module], run: Run) -> None:
    for module in modules.values():
        module.to(run.device)


@torch.no_grad()
def _average(step, run: Run, count: int = 12) -> dict[str, float]:
    source = BatchSource(Plan(4, 224, held_out=True, noise=False, only=LONG_ANSWERS), seed=4714)
    sums: dict[str, float] = {}
    for _ in range(count):
        for name, value in step(source.draw().to(run.device)).items():
            sums[name] = sums.get(name, 0.0) + float(value) / count
    return {name: round(value, 4) for name, value in sums.items()}


def _store(model: pathlib.Path, name: str, module: nn.Module, description: dict[str, object]) -> None:
    folder = model / "heads"
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["dyrate", "llama-vid"])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--variant", choices=["gumbel", "expectation"], default="gumbel")
    parser.add_argument("--lambda", dest="weight", type=float, default=0.1)
    parser.add_argument("--content", type=int, choices=[1, 4, 16, 64], default=16)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    if options.method == "dyrate":
        train_dyrate(options.model, options.runs, options.variant, options.weight, options.minutes, workers=options.workers)
    else:
        train_llama_vid(options.model, options.runs, options.content, options.minutes, workers=options.workers)


if __name__ == "__main__":
    main()
