"""LLaMA-VID on fovea-nano: one context token that the question gathers from all patches, and averaged content tokens.

The decoder must have seen such tokens: `refine` trains it with them now and then, beside whole pictures.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .batch import AFTER_IMAGE, BEFORE_IMAGE, Batch
from .canvas import GRID
from .modules import Decoder, Size
from .tokenizer import PADDING, encode

CONTEXT_QUERIES = 32
CONTENT_GRIDS = (1, 2, 4, 6, 8, 12)
"""Cells along each side: 1, 4, 16 and 64 content tokens."""
CUE = len(encode(" ASSISTANT:"))
"""Tokens between a question and its answer; they are not part of what attends to the picture."""


class ContextAttention(nn.Module):
    """The context token and the projector of the content tokens."""

    def __init__(self, size: Size):
        super().__init__()
        tower_width, width = size.tower_width, size.width
        self.queries = nn.Parameter(torch.randn(CONTEXT_QUERIES, width) * 0.3)
        self.text_k_proj, self.text_v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.k_proj = nn.Linear(width, tower_width), nn.Linear(tower_width, tower_width)
        self.feature_norm = nn.LayerNorm(tower_width)
        self.context_projector = nn.Linear(tower_width, width)
        self.linear_1, self.linear_2 = nn.Linear(tower_width, width), nn.Linear(width, width)

    def forward(self, question: torch.Tensor, asked: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Question embeddings [n, T, width] with their mask [n, T], features [n, 576, tower] -> context token [n, 1, width], weights [n, 576]"""
        features = self.feature_norm(features)
        scores = self.queries @ self.text_k_proj(question).transpose(1, 2) / math.sqrt(question.shape[-1])
        text = scores.masked_fill(~asked[:, None], -torch.inf).softmax(-1) @ self.text_v_proj(question)
        weights = (self.q_proj(text) @ self.k_proj(features).transpose(1, 2) / math.sqrt(features.shape[-1])).softmax(-1).mean(1)
        return self.context_projector(weights[:, None] @ features), weights

    def content(self, features: torch.Tensor, cells: int) -> torch.Tensor:
        """Average pooling to cells x cells, then an MLP. [n, 576, tower] -> [n, cells * cells, width]"""
        grid = self.feature_norm(features).transpose(1, 2).unflatten(2, (GRID, GRID))
        pooled = F.adaptive_avg_pool2d(grid, cells).flatten(2).transpose(1, 2)
        return self.linear_2(F.gelu(self.linear_1(pooled)))


def vid_loss(
    decoder: Decoder, attention: ContextAttention, batch: Batch, features: torch.Tensor, cells: int, most: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Each question of the batch alone, with 1 + cells * cells image tokens.

    features: [B, 576, tower]; most: at most that many questions, spread over the images.
    Returns the language loss, which whole answers are right [n], and their types."""
    assert batch.ids is not None and batch.segment is not None and batch.targets is not None and batch.weight is not None
    pairs = [(row, number) for row, count in enumerate(batch.segment.amax(1).tolist()) for number in range(1, count + 1)]
    if most is not None and len(pairs) > most:
        pairs = [pairs[index * len(pairs) // most] for index in range(most)]
    rows, numbers = torch.tensor(pairs, device=features.device).T
    where = batch.segment[rows] == numbers[:, None]
    lengths = where.sum(1, keepdim=True)
    offset = torch.arange(int(lengths.max()), device=rows.device)[None]
    place = (where.int().argmax(1, keepdim=True) + offset).clamp(max=where.shape[1] - 1)  # a question's tokens stand side by side
    own = lambda packed, fill: packed[rows].gather(1, place).masked_fill(offset >= lengths, fill)
    ids, targets, weight = own(batch.ids, PADDING), own(batch.targets, -100), own(batch.weight, 0.0)
    learnt = targets != -100
    first = learnt.int().argmax(1)  # the last token of the cue predicts the first of the answer
    asked = torch.arange(ids.shape[1], device=ids.device)[None] <= (first - CUE)[:, None]
    text = decoder.embed_tokens(ids)
    context, _ = attention(text, asked, features[rows])
    image = torch.cat([context, attention.content(features, cells)[rows]], 1)
    embed = lambda values: decoder.embed_tokens(torch.tensor(values, device=ids.device)).expand(len(ids), -1, -1)
    x = torch.cat([embed(BEFORE_IMAGE), image, embed(AFTER_IMAGE), text], 1)
    length = x.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None, None]
    hidden, _ = decoder(x, torch.arange(length, device=x.device)[None], mask)
    logits = decoder.lm_head(hidden[:, -ids.shape[1] :][learnt]).float()
    losses = F.cross_entropy(logits, targets[learnt], reduction="none")
    right = torch.ones_like(learnt)
    right[learnt] = logits.argmax(-1) == targets[learnt]
    types = [batch.questions[row][number - 1].type if batch.questions else "" for row, number in pairs]
    return (losses * weight[learnt]).sum() / weight[learnt].sum(), right.all(1), types

