"""DyRate on a frozen fovea-nano: a classifier that reads where a position looked and says what share of the image tokens may go.

After Chen et al., Dynamic Token Reduction during Generation for Vision Language Models (arXiv 2501.14204), whose code is not public:
m = sum_k c_k m^k, where c is either a Gumbel-softmax sample of the classifier's rates (straight through: one rate forward, its
relaxation backward) or the plain expectation over them, and m^k keeps the share 1 - k / K of the tokens by a fixed order of importance.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from .batch import AFTER_IMAGE, BEFORE_IMAGE, PATCHES, Batch, attention_layout
from .modules import Decoder, Trace

RATES = 8
"""K of the paper: rates r_k = k / K, k = 0 .. K - 1."""
PROFILE = 16
HIDDEN = 64
VARIANTS = ("gumbel", "expectation")
LONG_ANSWERS = frozenset("read_all describe buttons fields bar_labels title message field_value terminal_file terminal_command which_ticked".split())


class RateClassifier(nn.Module):
    """C_theta: attention features of one step -> logits over the rates. [*, heads * (4 + profile)] -> [*, K]"""

    def __init__(self, heads: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(heads * (4 + PROFILE), HIDDEN), nn.Linear(HIDDEN, RATES)
        nn.init.zeros_(self.fc2.weight)
        with torch.no_grad():
            self.fc2.bias.copy_(torch.linspace(1, -1, RATES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(features)))


@dataclasses.dataclass
class Context:
    """One sequence of packed questions over all patches, and what the frozen decoder does with it unreduced."""

    x: torch.Tensor
    position: torch.Tensor
    mask: torch.Tensor
    features: torch.Tensor
    """[B, text, heads * (4 + profile)]"""
    rank: torch.Tensor
    """[B, text, patches], 0 = most important, for the question that a row belongs to."""

    @property
    def image(self) -> slice:
        return IMAGE


IMAGE = slice(len(BEFORE_IMAGE), len(BEFORE_IMAGE) + PATCHES)


@torch.no_grad()
def prepare(modules: dict[str, nn.Module], batch: Batch) -> Context:
    assert batch.ids is not None and batch.targets is not None
    decoder = modules["decoder"]
    count = len(batch.ids)
    embed = lambda ids: decoder.embed_tokens(torch.tensor(ids, device=batch.ids.device)).expand(count, -1, -1)
    image = modules["projector"](modules["tower"](batch.pixels)[:, 1:])
    x = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), decoder.embed_tokens(batch.ids)], 1)
    kept = torch.arange(PATCHES, device=x.device).expand(count, -1)
    position, mask = attention_layout(batch, kept)
    _, trace = decoder(x, position, mask)
    attention = attention_rows(trace, mask, batch.ids.shape[1])
    return Context(x, position, mask, step_features(attention, batch), importance_ranks(attention, batch))


def attention_rows(trace: Trace, mask: torch.Tensor, text: int) -> torch.Tensor:
    """Attention of the text rows, mean over the layers. [B, heads, text, L]"""
    total = torch.zeros(())
    for query, key in zip(trace.queries, trace.keys):
        scores = query[:, :, -text:].float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
        total = total + scores.masked_fill(~mask[:, :, -text:], -torch.inf).softmax(-1)
    return total / len(trace.queries)


def answered_rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that predict a token of an answer, and the first of them in each question (the last of the prompt). [B, text]"""
    assert batch.targets is not None
    answered = batch.targets != -100
    return answered, answered & ~F.pad(answered[:, :-1], (1, 0))


def step_features(attention: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Per head: the mass on system, image, instruction and output tokens; then, for equal parts of the image tokens sorted by their
    attention, log(1 + parts * mass of the part). [B, text, heads * (4 + profile)]"""
    text = attention.shape[2]
    answered, first = answered_rows(batch)
    output = F.pad(answered[:, :-1], (1, 0)) & ~F.pad(torch.zeros_like(first[:, :-1]), (1, 0))
    of_image, on_text = attention[..., IMAGE], attention[..., -text:]
    masses = [
        attention[..., : IMAGE.start].sum(-1),
        of_image.sum(-1),
        (on_text * ~output[:, None, None]).sum(-1) + attention[..., IMAGE.stop : -text].sum(-1),
        (on_text * output[:, None, None]).sum(-1),
    ]
    parts = of_image.sort(-1, descending=True).values.unflatten(-1, (PROFILE, -1)).sum(-1)
    features = torch.cat([torch.stack(masses, -1), (parts * PROFILE).log1p()], -1)
    return features.transpose(1, 2).flatten(2)


def importance_ranks(attention: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The rank of each patch by the attention (mean over layers and heads) of the prompt's last row, for all rows of a question."""
    assert batch.segment is not None
    score = attention.mean(1)[..., IMAGE]
    result = torch.zeros(score.shape, device=score.device)
    for row, column in answered_rows(batch)[1].nonzero().tolist():
        where = batch.segment[row] == batch.segment[row, column]
        result[row, where] = score[row, column].argsort(descending=True, stable=True).argsort().float()
    return result


def seen_masks(choice: torch.Tensor, rank: torch.Tensor, batch: Batch) -> torch.Tensor:
    """What each answer row sees: what all earlier rows of the same answer left. [B, text, patches] in 0..1

    choice: [B, text, K], one-hot or probabilities. The row that chooses sees what was there; its choice acts from the next row on, and what is dropped stays dropped."""
    limits = PATCHES - torch.round(PATCHES * torch.arange(RATES, device=rank.device) / RATES)
    kept_by_rate = (rank[..., None] < limits).float()
    own = (kept_by_rate * choice[:, :, None]).sum(-1)
    answered, first = answered_rows(batch)
    seen, rows = torch.ones_like(rank[:, 0]), []
    for step in range(rank.shape[1]):
        seen = torch.where((first | ~answered)[:, step, None], torch.ones_like(seen), seen)
        rows.append(seen)
        seen = torch.where(answered[:, step, None], torch.minimum(seen, own[:, step]), seen)
    return torch.stack(rows, 1)


def masked_loss(decoder: Decoder, context: Context, batch: Batch, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the answers under a mask over the image tokens, and which tokens are right [B, text]."""
    assert batch.targets is not None
    text = seen.shape[1]
    bias = torch.zeros(context.mask.shape, device=seen.device).masked_fill(~context.mask, -1e4)
    # Added, not clamped: a straight-through mask of exactly 0 must still tell the classifier what the dropped token would have given.
    extra = F.pad((seen + 1e-4).log(), (IMAGE.start, bias.shape[3] - IMAGE.stop))[:, None]
    bias = torch.cat([bias[:, :, :-text], bias[:, :, -text:] + extra], 2)
    hidden, _ = decoder(context.x, context.position, bias)
    learnt = batch.targets != -100
    logits = decoder.lm_head(hidden[:, -text:][learnt]).float()
    right = torch.ones_like(learnt)
    right[learnt] = logits.argmax(-1) == batch.targets[learnt]
    return F.cross_entropy(logits, batch.targets[learnt]), right


def soft_choice(logits: torch.Tensor, variant: str, temperature: float) -> torch.Tensor:
    return F.gumbel_softmax(logits, temperature, hard=True) if variant == "gumbel" else logits.softmax(-1)


def hard_choice(logits: torch.Tensor) -> torch.Tensor:
    """What the engine does at run time: the likeliest rate."""
    return F.one_hot(logits.argmax(-1), RATES).float()
