"""The decoder's side of a training step: sequence, language loss, and the supervision of its copying heads."""

import dataclasses
import random

import torch
import torch.nn.functional as F

from .batch import AFTER_IMAGE, BEFORE_IMAGE, NO_PLACE, PATCHES, Batch, attention_layout
from .canvas import GRID, SLOTS
from .modules import Decoder, Probes, Trace

QUOTE_LAYER = 1
"""The characters that a question quotes look for themselves on the screen here."""
PROBE_LAYER = 2
"""After this layer a state must know which character comes next (role, instance, row, index in its run)."""
COPY_LAYER = 3
"""Heads 0, 1, 2 of this layer look at the patch whose slot 0, 1, 2 holds the next character, or at the begin token."""


@dataclasses.dataclass
class Answered:
    language: torch.Tensor
    pointers: torch.Tensor
    probes: torch.Tensor
    right: torch.Tensor
    """[B, text] True where an answer's token is predicted right, or where nothing is asked."""
    figures: dict[str, float]


def choose_patches(batch: Batch, count: int, prefer_text: bool) -> torch.Tensor:
    """Which patches the decoder gets, ascending. [B, count]"""
    role = batch.labels["role"]
    if count >= PATCHES:
        return torch.arange(PATCHES, device=role.device).expand(len(role), PATCHES)
    score = torch.rand(role.shape, device=role.device) + 0.7 * (role > 2)
    if prefer_text:
        score = score + 2.0 * (batch.labels["characters"][..., 0] > 0)
    return score.topk(count, 1).indices.sort(1).values


def answer(decoder: Decoder, probes: Probes, batch: Batch, codes: torch.Tensor, kept: torch.Tensor, closed: bool = False) -> Answered:
    """codes: [B, 576, width] of all patches; kept: [B, K] ascending; closed: their positions close up."""
    assert batch.ids is not None and batch.targets is not None and batch.weight is not None
    width = codes.shape[-1]
    image = codes.gather(1, kept[..., None].expand(-1, -1, width))
    constant = lambda ids: decoder.embed_tokens(torch.tensor(ids, device=codes.device)).expand(len(codes), -1, width)
    x = torch.cat([constant(BEFORE_IMAGE), image, constant(AFTER_IMAGE), decoder.embed_tokens(batch.ids)], 1)
    position, mask = attention_layout(batch, kept, closed)
    hidden, trace = decoder(x, position, mask)
    length = batch.ids.shape[1]
    learnt = batch.targets != -100
    logits = decoder.lm_head(hidden[:, -length:][learnt]).float()
    losses = F.cross_entropy(logits, batch.targets[learnt], reduction="none")
    language = (losses * batch.weight[learnt]).sum() / batch.weight[learnt].sum()
    right = torch.ones_like(learnt)
    right[learnt] = logits.argmax(-1) == batch.targets[learnt]
    pointers, pointed = _pointer_loss(batch, trace, kept, mask)
    probing, figures = _probe_loss(batch, probes, trace)
    figures |= {"token": float(right[learnt].float().mean()), "pointed": pointed}
    return Answered(language, pointers, probing, right, figures)


def _pointer_loss(batch: Batch, trace: Trace, kept: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Cross-entropy of the copying heads' attention against the patch that they should look at."""
    assert batch.pointer is not None and batch.slot is not None and batch.quoted is not None
    assert batch.targets is not None and batch.weight is not None
    length = batch.pointer.shape[1]
    index_of = torch.full((len(kept), PATCHES + 1), NO_PLACE, device=kept.device)
    order = torch.arange(kept.shape[1], device=kept.device).expand_as(kept)
    index_of.scatter_(1, kept, order + len(BEFORE_IMAGE))
    key_index = index_of.gather(1, batch.pointer.where(batch.pointer >= 0, PATCHES))
    total, share = torch.zeros((), device=kept.device), 0.0
    for layer, asked in ((QUOTE_LAYER, batch.quoted), (COPY_LAYER, batch.targets != -100)):
        asked = asked & ((key_index != NO_PLACE) | (batch.pointer < 0))
        if not asked.any():
            continue
        row, column = asked.nonzero(as_tuple=True)
        query = trace.queries[layer][:, :SLOTS, -length:].float()  # [B, slots, text, dim]
        key = trace.keys[layer][:, :SLOTS].float()  # [B, slots, L, dim]
        visible = mask[:, 0, -length:][row, column]  # [n, L]
        scores = (query @ key.transpose(-1, -2)).transpose(1, 2)[row, column]  # [n, slots, L]
        scores = (scores * query.shape[-1] ** -0.5).masked_fill(~visible[:, None], -torch.inf)
        places, slots = key_index[row, column], batch.slot[row, column]
        here = torch.arange(SLOTS, device=kept.device)[None] == slots[:, None]
        truth = torch.where(here & (places >= 0)[:, None], places[:, None], 0)  # the begin token where there is nothing to read
        losses = F.cross_entropy(scores.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
        weight = torch.where(here & (places >= 0)[:, None], 1.0, 0.3)
        if layer == COPY_LAYER:
            weight = weight * batch.weight[row, column][:, None]
        total = total + (losses * weight).sum() / weight.sum()
        if layer == COPY_LAYER:
            hit = (scores.argmax(-1) == truth)[here & (places >= 0)[:, None]]
            share = float(hit.float().mean()) if len(hit) else 1.0
    return total, share


def _probe_loss(batch: Batch, probes: Probes, trace: Trace) -> tuple[torch.Tensor, dict[str, float]]:
    assert batch.pointer is not None and batch.slot is not None and batch.targets is not None
    asked = (batch.targets != -100) & (batch.pointer >= 0)
    row, _ = asked.nonzero(as_tuple=True)
    patch, slot = batch.pointer[asked], batch.slot[asked]
    truth = {name: batch.labels[name][row, patch] for name in ("role", "instance", "index")}
    truth["index"] = truth["index"] + slot
    truth["row"] = patch // GRID
    length = batch.pointer.shape[1]
    logits = probes(trace.states[PROBE_LAYER][:, -length:][asked])
    loss = sum((F.cross_entropy(logits[name], truth[name]) for name in truth), torch.zeros((), device=patch.device))
    return loss, {f"knows_{name}": float((logits[name].argmax(-1) == truth[name]).float().mean()) for name in truth}


def by_type(batch: Batch, right: torch.Tensor) -> dict[str, list[bool]]:
    """Whether each answer is right as a whole, by question type (equal to greedy decoding being right)."""
    assert batch.segment is not None
    results: dict[str, list[bool]] = {}
    for row, questions in enumerate(batch.questions):
        for number, question in enumerate(questions, 1):
            results.setdefault(question.type, []).append(bool(right[row][batch.segment[row] == number].all()))
    return results


def patches_for(rng: random.Random) -> tuple[int, bool]:
    """How many patches to keep in one step of the joint training, and whether text is preferred."""
    return rng.choices([72, 144, 288, PATCHES], [4, 4, 1, 1])[0], rng.random() < 0.75
