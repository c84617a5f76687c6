"""Batches: images, patch labels and packed questions as tensors.

All questions about one image share one sequence: every question sees the image and itself, and positions restart after the
image, so each question stands exactly as it would alone (`USER: <image>\\nquestion ASSISTANT: answer</s>`).
"""

import collections.abc
import dataclasses
import random

import numpy as np
import torch

from .canvas import CHARACTER_CLASSES, GRID, ROLES
from .distant import DistantScreenMaker
from .loose import LooseScreenMaker
from .questions import Question, Questioner
from .screen import Screen, ScreenMaker, Style
from .small_text import SmallTextScreenMaker
from .tokenizer import BEGIN, PADDING, encode

PATCHES = GRID * GRID
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])
PATCH_LABELS = ("role", "colour", "instance", "line", "index", "theme", "previous", "following", "characters")
NO_PLACE = -1
LONG = frozenset(["read_all", "describe"])

BEFORE_IMAGE = [BEGIN, *encode("USER: ")]
AFTER_IMAGE = list(encode("\n"))


@dataclasses.dataclass
class Batch:
    """pixels [B, 3, 192, 192]; labels: name -> [B, 576] (characters [B, 576, 3]); the rest [B, text] or None."""

    pixels: torch.Tensor
    labels: dict[str, torch.Tensor]
    ids: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    """Next token at the places where an answer is learnt, -100 elsewhere."""
    weight: torch.Tensor | None = None
    """Weight of each target: tokens of its answer ** -0.75, so that a yes or a colour is not drowned by long readings."""
    segment: torch.Tensor | None = None
    """1, 2, ... for the questions of an image, 0 for padding."""
    position: torch.Tensor | None = None
    pointer: torch.Tensor | None = None
    """Patch that holds the character to be written next (or, in a quotation, the character itself); -1 for none. The slot is in `slot`."""
    slot: torch.Tensor | None = None
    quoted: torch.Tensor | None = None
    """True where the pointer belongs to a character that a question quotes."""
    questions: list[list[Question]] = dataclasses.field(default_factory=list)
    screens: list[Screen] = dataclasses.field(default_factory=list)

    def to(self, device: torch.device) -> "Batch":
        moved = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                moved[field.name] = value.to(device, non_blocking=True)
        labels = {name: value.to(device, non_blocking=True) for name, value in self.labels.items()}
        return dataclasses.replace(self, labels=labels, **moved)


def normalise(frames: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 [B, 192, 192, 3] to CLIP's float [B, 3, 192, 192], on the device of the frames."""
    frames = frames if isinstance(frames, torch.Tensor) else torch.from_numpy(np.array(frames))
    return ((frames.float() / 255 - MEAN.to(frames.device)) / DEVIATION.to(frames.device)).permute(0, 3, 1, 2).contiguous()


def disturb(pixels: torch.Tensor) -> torch.Tensor:
    """A little contrast, tint and noise."""
    count, device = pixels.shape[0], pixels.device
    pixels = pixels * (1 + 0.06 * torch.randn(count, 1, 1, 1, device=device)) + 0.06 * torch.randn(count, 3, 1, 1, device=device)
    return pixels + 0.03 * torch.randn_like(pixels)


def seen(frames: torch.Tensor, noise: bool) -> torch.Tensor:
    """What the tower gets of frames: [B, 192, 192, 3] -> [B, 3, 192, 192]"""
    pixels = normalise(frames)
    return disturb(pixels) if noise else pixels


def patch_labels(screens: list[Screen]) -> dict[str, torch.Tensor]:
    labels = {}
    for name in PATCH_LABELS:
        stacked = np.stack([getattr(screen.canvas, name) for screen in screens]).astype(np.int64)
        labels[name] = torch.from_numpy(stacked).flatten(1, 2)
    return labels


def bag(labels: dict[str, torch.Tensor]) -> torch.Tensor:
    """What CLS must know: which characters and which roles are on the screen. [B, characters + roles]"""
    count = labels["role"].shape[0]
    characters = torch.zeros(count, CHARACTER_CLASSES, device=labels["role"].device)
    characters.scatter_(1, labels["characters"].flatten(1), 1.0)
    roles = torch.zeros(count, len(ROLES), device=characters.device).scatter_(1, labels["role"], 1.0)
    return torch.cat([characters, roles], 1)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a stage wants from its batches."""

    images: int
    text_length: int = 0
    """Tokens of packed questions per image; 0 = none."""
    only: frozenset[str] | None = None
    """Question types of a curriculum; None = all."""
    walls: float = 0.0
    """Share of images that are walls of text, without questions."""
    loose: float = 0.0
    """Share of the other images that keep to no grid (`loose.py`)."""
    distant: float = 0.0
    """Share of the other images that show a window on a larger picture (`distant.py`)."""
    small_text: float = 0.0
    """Share of images whose text is too small to be read."""
    free: float = 0.0
    """Share of questions put in words of their own (`wordings.as_typed`)."""
    long_share: float = 0.5
    """Share of the longest answers ("read everything", "describe") that are asked, so that more of the others fit."""
    noise: bool = True
    held_out: bool = False
    style: Style = Style()


class BatchSource:
    """An endless, reproducible stream of batches."""

    def __init__(self, plan: Plan, seed: int):
        self.plan = plan
        self.rng = random.Random(seed)
        self.maker = ScreenMaker(self.rng, plan.held_out, plan.style)
        self.loose = LooseScreenMaker(self.rng, plan.held_out, plan.style)
        self.distant = DistantScreenMaker(self.rng, plan.held_out, plan.style)
        self.small_text = SmallTextScreenMaker(self.rng, self.maker, self.loose)
        self.questioner = Questioner(self.rng, self.maker.words, plan.free)

    def __iter__(self) -> collections.abc.Iterator[Batch]:
        while True:
            yield self.draw()

    def draw(self) -> Batch:
        batch = self.draw_frames()
        return dataclasses.replace(batch, pixels=seen(batch.pixels, self.plan.noise))

    def draw_frames(self) -> Batch:
        """A batch whose pixels are frames still: uint8 [B, 192, 192, 3]."""
        plan = self.plan
        screens = [self._screen() for _ in range(plan.images)]
        frames = torch.from_numpy(np.stack([screen.image() for screen in screens]))
        batch = Batch(frames, patch_labels(screens), screens=screens)
        if plan.text_length:
            self._pack(batch, [self._choose(screen) for screen in screens])
        return batch

    def _screen(self) -> Screen:
        if self.rng.random() < self.plan.walls:
            return self.maker.make_wall()
        # A plan without loose or distant screens, or without small text, draws as it did before there were any.
        if self.plan.small_text > 0 and self.rng.random() < self.plan.small_text:
            return self.small_text.make()
        if self.plan.distant > 0 and self.rng.random() < self.plan.distant:
            return self.distant.make()
        loose = self.plan.loose > 0 and self.rng.random() < self.plan.loose
        return (self.loose if loose else self.maker).make()

    def _choose(self, screen: Screen) -> list[Question]:
        questions = self.questioner.ask(screen)
        if self.plan.only is not None:
            questions = [question for question in questions if question.type in self.plan.only]
        self.rng.shuffle(questions)
        return [question for question in questions if question.type not in LONG or self.rng.random() < self.plan.long_share]

    def _pack(self, batch: Batch, asked: list[list[Question]]) -> None:
        pack(batch, asked, self.plan.text_length)


def pack(batch: Batch, asked: list[list[Question]], text_length: int) -> None:
    """Writes the questions of each image, one after the other, as far as they fit, into the batch."""
    shape = (len(asked), text_length)
    ids = np.full(shape, PADDING, np.int64)
    targets, pointer = np.full(shape, -100, np.int64), np.full(shape, NO_PLACE, np.int64)
    segment, position, slot = (np.zeros(shape, np.int64) for _ in range(3))
    weight = np.zeros(shape, np.float32)
    quoted = np.zeros(shape, bool)
    for row, questions in enumerate(asked):
        start, kept = 0, []
        for question in questions:
            asking, asked_places = question.question_tokens()
            answer, answer_places = question.answer_tokens()
            answer_places[0] = answer_places[0] or question.evidence
            end = start + len(asking) + len(answer)
            if end > shape[1]:
                continue
            kept.append(question)
            first = start + len(asking)
            ids[row, start:end] = asking + answer
            targets[row, first - 1 : end - 1] = answer
            weight[row, first - 1 : end - 1] = len(answer) ** -0.75
            segment[row, start:end] = len(kept)
            position[row, start:end] = range(end - start)
            for offset, place in enumerate(asked_places):
                if place is not None:
                    pointer[row, start + offset], slot[row, start + offset] = place
                    quoted[row, start + offset] = True
            for offset, place in enumerate(answer_places):
                if place is not None:
                    pointer[row, first - 1 + offset], slot[row, first - 1 + offset] = place
            start = end
        batch.questions.append(kept)
    batch.ids, batch.targets, batch.segment, batch.position = map(torch.from_numpy, (ids, targets, segment, position))
    batch.pointer, batch.slot, batch.quoted, batch.weight = map(torch.from_numpy, (pointer, slot, quoted, weight))


def attention_layout(batch: Batch, kept: torch.Tensor, closed: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [B, L] and mask [B, 1, L, L] of: begin tokens, the kept patches [B, K], the line feed, the packed questions.

    Kept patches keep the positions that they have among all 576, as after a reduction inside the decoder; `closed`: they close up, as after
    one before it."""
    assert batch.segment is not None and batch.position is not None
    count, size = kept.shape
    device, before = kept.device, len(BEFORE_IMAGE)
    places = torch.arange(size, device=device).expand(count, size) if closed else kept
    patches = size if closed else PATCHES
    position = torch.cat(
        [
            torch.arange(before, device=device).expand(count, before),
            before + places,
            torch.full((count, len(AFTER_IMAGE)), before + patches, device=device),
            batch.position + before + patches + len(AFTER_IMAGE),
        ],
        1,
    )
    shared = before + size + len(AFTER_IMAGE)
    segment = torch.cat([torch.zeros(count, shared, dtype=torch.long, device=device), batch.segment], 1)
    is_shared = torch.arange(position.shape[1], device=device) < shared
    causal = torch.ones(position.shape[1], position.shape[1], dtype=torch.bool, device=device).tril()
    mask = causal & (is_shared[None, None, :] | (segment[:, None, :] == segment[:, :, None]))
    return position, mask[:, None]
