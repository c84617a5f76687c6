"""Synthetic screens: windows, dialogs, forms, settings, charts and terminals, with exact ground truth."""

import collections.abc
import dataclasses
import random

import numpy as np

from .canvas import BOLD, COLOUR_NAMES, COLOURS, FRAME, MONO, PATCH, SANS, Canvas, Font, Piece, Run
from .tokenizer import TEMPLATE_WORDS
from .words import BUTTONS, COMMANDS, FIELDS, SUFFIXES, WordSource

Colour = tuple[int, int, int]

KINDS = {"dialog": 25, "form": 22, "settings": 20, "chart": 12, "terminal": 13, "progress": 8}
BLOCK_HEIGHT = {"message": 32, "box": 16, "progress": 24, "buttons": 32, "field": 24, "chart": 112, "terminal": 112}


@dataclasses.dataclass(frozen=True)
class Style:
    """How the screens are made; the defaults are those of the CPU training."""

    random_share: float = 0.3
    """Share of words that are random letters."""
    vertical_jitter: int = 1
    """Text lines lie within this many pixels of the middle of a row of patches (4 = anywhere)."""
    zoomed_share: float = 0.15
    """Share of screens drawn large and scaled down as a screenshot is."""
    padded_share: float = 0.2
    """Share of screens that are wider than high."""


@dataclasses.dataclass
class Button:
    run: Run
    highlighted: bool
    colour: str
    centre: tuple[float, float]


@dataclasses.dataclass
class Box:
    run: Run
    ticked: bool


@dataclasses.dataclass
class Bar:
    label: Run
    value: Run | None
    height: int
    colour: str
    place: tuple[int, int]


@dataclasses.dataclass
class Screen:
    """Everything that is true about one screen."""

    kind: str
    dark: bool
    canvas: Canvas
    title: Run | None = None
    title_colour: str | None = None
    dialog_kind: str | None = None
    icon_place: tuple[int, int] | None = None
    message: Run | None = None
    buttons: list[Button] = dataclasses.field(default_factory=list)
    boxes: list[Box] = dataclasses.field(default_factory=list)
    fields: list[tuple[Run, Run]] = dataclasses.field(default_factory=list)
    percent: Run | None = None
    progress_colour: str | None = None
    progress_place: tuple[int, int] | None = None
    progress_centre: tuple[float, float] | None = None
    bars: list[Bar] = dataclasses.field(default_factory=list)
    terminal: dict[str, Piece] = dataclasses.field(default_factory=dict)
    reading_order: list[Run] = dataclasses.field(default_factory=list)
    text_around: bool = False
    """Whether there is text beside the window that is too small to be read."""
    shade_is_plain: bool = True
    """Whether all of it is dark or all of it light."""

    def image(self) -> np.ndarray:
        return self.canvas.frame()


def near(rng: random.Random, colour: Colour, spread: int = 14) -> Colour:
    red, green, blue = (max(0, min(255, value + rng.randint(-spread, spread))) for value in colour)
    return red, green, blue


def luminance(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


class ScreenMaker:
    """Draws random screens. One maker draws from one side of the split of words."""

    def __init__(self, rng: random.Random, held_out: bool = False, style: Style = Style()):
        self.rng = rng
        self.style = style
        self.words = WordSource(rng, held_out, style.random_share, TEMPLATE_WORDS)

    def make(self, kind: str | None = None, zoom: float | None = None, height: int | None = None) -> Screen:
        rng = self.rng
        kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
        blocks = self._blocks(kind)
        needed = 24 + sum(BLOCK_HEIGHT[block] for block in blocks) + 8
        heights = [size for size in (112, 128, 160) if size >= needed]
        if height is None:
            height = rng.choice(heights) if heights and rng.random() < self.style.padded_share else FRAME
        while needed > height and len(blocks) > 1:
            needed -= BLOCK_HEIGHT[blocks.pop(0)]
        if needed > height:
            height = FRAME
        if zoom is None:
            zoom = rng.choice([2.0, 3.0, 10 / 3, 4.0]) if rng.random() < self.style.zoomed_share else 1.0
        desktop = near(rng, rng.choice(list(COLOURS.values())), 40) if rng.random() < 0.5 else near(rng, (rng.randint(40, 220),) * 3, 10)
        return self._compose(kind, blocks, needed, Canvas(desktop, height, zoom))

    def _compose(self, kind: str, blocks: list[str], needed: int, canvas: Canvas) -> Screen:
        """Draws a window with its blocks; `needed` is their height."""
        rng = self.rng
        self.canvas = canvas
        self._colours()
        self._window(needed, len(blocks))
        self.screen = Screen(kind, self.dark, self.canvas)
        self.taken: set[str] = set()
        self._title()
        if blocks[0] == "box":
            self.y += PATCH
        for block in blocks:
            getattr(self, "_draw_" + block)()
            self.y += BLOCK_HEIGHT[block] + PATCH * rng.randint(0, self.gap)
        self.canvas.set_theme(self.dark)
        self.screen.reading_order = self.canvas.number_lines()
        return self.screen

    def make_wall(self) -> Screen:
        """A screen full of text in every style of the domain: several times the characters of a normal screen."""
        rng = self.rng
        self.dark = rng.random() < 0.5
        paper = near(rng, (rng.randint(15, 70) if self.dark else rng.randint(215, 255),) * 3, 12)
        if rng.random() < 0.3:
            paper = near(rng, rng.choice(list(COLOURS.values())), 25)
        zoom = rng.choice([2.0, 10 / 3]) if rng.random() < self.style.zoomed_share else 1.0
        self.canvas = canvas = Canvas(paper, FRAME, zoom)
        canvas.mark((0, 0, FRAME, FRAME), "window")
        self.y = PATCH * rng.randint(0, 1)
        while self.y < FRAME - 2 * PATCH:
            self._wall_line(paper)
            self.y += PATCH * rng.choice([2, 2, 2, 3])
        return Screen("wall", self.dark, canvas)

    def _wall_line(self, paper: Colour) -> None:
        rng, canvas = self.rng, self.canvas
        family = rng.choice(SANS)
        size = rng.choice([11, 12, 12]) if family == SANS[0] else rng.choice([12, 13, 13])
        name = rng.choices([family, BOLD[family], MONO[SANS.index(family)]], [6, 2, 1.5])[0]
        font = Font(name, rng.choice([11, 12]) if name in MONO else size)
        if rng.random() < 0.35:
            grey = (rng.choice([rng.randint(10, 90), rng.randint(210, 255)]),) * 3
            paper = near(rng, rng.choice([*COLOURS.values(), grey, grey, grey, grey]), 14)
            canvas.rectangle((0, self.y + 4, FRAME, self.y + 2 * PATCH + 3), fill=paper)
        light = luminance(paper) < 140
        ink = near(rng, (240, 240, 240) if light else (18, 18, 22), 14)
        if light and luminance(paper) < 60 and rng.random() < 0.2:
            ink = rng.choice([(80, 220, 100), (250, 90, 90)])
        x, y = float(rng.randint(1, 20)), self._line(1)
        while x < FRAME - 24:
            draw = rng.random()
            if draw < 0.55:
                text = self.words.phrase(1, 3, 20)
            elif draw < 0.75:
                text = self.words.value()
            elif draw < 0.85:
                text = f"{rng.randint(0, 250)}{rng.choice(['', '%', ' passed', ' failed', 's'])}"
            else:
                text = self.words.phrase(1, 2, 14).title() + rng.choice("?!.:,/-")
            text = self._fit(text, font, FRAME - 4 - x)
            canvas.text(x, y, text, font, ink, "text_other")
            x += font.width(text) + rng.choice([9, 11, 14, 20])

    def _blocks(self, kind: str) -> list[str]:
        rng = self.rng
        if kind == "dialog":
            return ["message"] + ["box"] * (rng.random() < 0.25) + ["buttons"]
        if kind == "progress":
            return ["message"] * (rng.random() < 0.3) + ["progress"] + ["buttons"] * (rng.random() < 0.8)
        if kind == "form":
            return ["field"] * rng.randint(1, 4) + ["box"] * rng.randint(0, 2) + ["buttons"] * (rng.random() < 0.9)
        if kind == "settings":
            return ["box"] * rng.randint(2, 5) + ["progress"] * (rng.random() < 0.25) + ["buttons"] * (rng.random() < 0.7)
        if kind == "chart":
            return ["chart"] + ["buttons"] * (rng.random() < 0.3)
        return ["terminal"]

    def _family(self) -> str:
        return self.rng.choice(SANS)

    def _colours(self) -> None:
        rng = self.rng
        self.dark = rng.random() < 0.45
        self.base = rng.randint(18, 60) if self.dark else rng.randint(225, 255)
        self.window_colour = near(rng, (self.base,) * 3, 6)
        self.ink = near(rng, (235, 235, 235) if self.dark else (20, 20, 25), 15)
        self.accent = rng.choice(["blue", "green", "red", "orange", "purple", "teal"])
        family = self._family()
        self.font = Font(family, rng.choice([11, 12, 12]) if family == SANS[0] else rng.choice([12, 13, 13]))
        self.bold = Font(BOLD[family], self.font.size)

    def _window(self, needed: int, blocks: int) -> None:
        rng, canvas = self.rng, self.canvas
        spare = int((canvas.height - needed) // PATCH)
        self.gap = rng.randint(0, max(0, min(1, spare // max(1, blocks))))
        shift = rng.randint(0, max(0, spare - self.gap * blocks))
        self.left = rng.randint(0, 12)
        self.right = canvas.width - 1 - rng.randint(0, 12)
        self.y = canvas.top + shift * PATCH
        self.padding = rng.randint(6, 12)
        bottom = min(canvas.top + canvas.height - 1, self.y + needed + self.gap * PATCH * blocks)
        self.box = (self.left, self.y, self.right, bottom)
        canvas.rectangle(self.box, fill=self.window_colour, outline=near(rng, (120, 120, 120), 40))
        canvas.mark(self.box, "window")

    def _line(self, row: int) -> float:
        """The middle of a row of patches below the pen, with a little jitter."""
        jitter = self.style.vertical_jitter
        return self.y + row * PATCH + PATCH / 2 + self.rng.choice([-jitter, 0, 0, jitter])

    def _fit(self, text: str, font: Font, width: float) -> str:
        """Drops words, then letters, until the text fits."""
        while font.width(text) > width and len(text) > 2:
            text = text.rsplit(" ", 1)[0] if " " in text else text[:-1]
        return text

    def _title(self) -> None:
        rng, canvas = self.rng, self.canvas
        if rng.random() < 0.06:
            self.y += PATCH
            return
        name = rng.choice(COLOUR_NAMES) if rng.random() < 0.5 else None
        plain = (self.base + 30,) * 3 if self.dark else (self.base - 28,) * 3
        colour = near(rng, COLOURS[name] if name else plain, 12)
        box = (self.left, self.y, self.right, self.y + 3 * PATCH - 2)
        canvas.rectangle(box, fill=colour)
        canvas.mark(box, "titlebar", colour=name or "gray")
        ink = (250, 250, 250) if luminance(colour) < 140 else (15, 15, 20)
        font = self.bold if rng.random() < 0.4 else self.font
        text = self._fit(self.words.phrase(1, 3, 20), font, self.right - self.left - 44)
        centred = rng.random() < 0.3
        x = (self.left + self.right) / 2 if centred else self.left + self.padding
        self.screen.title = canvas.text(x, self._line(1), text, font, ink, "text_title", align="middle" if centred else "left")
        self.screen.title_colour = name
        if rng.random() < 0.7:
            cx, cy = self.right - 10, self.y + 11
            canvas.stroke((cx - 3, cy - 3, cx + 3, cy + 3), ink)
            canvas.stroke((cx - 3, cy + 3, cx + 3, cy - 3), ink)
        self.y += 3 * PATCH

    def _unused(self, draw: collections.abc.Callable[[], str]) -> str:
        while True:
            text = draw()
            if text.lower() not in self.taken:
                self.taken.add(text.lower())
                return text

    def _draw_message(self) -> None:
        rng, canvas = self.rng, self.canvas
        kind = rng.choice(["info", "warning", "error", "question"])
        y = self._line(1) + 4
        x, radius = self.left + self.padding + 10, rng.randint(9, 11)
        self._icon(kind, x, y, radius)
        canvas.mark((x - radius, y - radius, x + radius, y + radius), f"icon_{kind}")
        text = self.words.phrase(2, 4, 22) + ("?" if kind == "question" else rng.choice(["", ".", "!"]))
        text = self._fit(text, self.font, self.right - x - radius - 12)
        self.screen.dialog_kind = kind
        self.screen.icon_place = canvas.place(x, y)
        self.screen.message = canvas.text(x + radius + 7, self._line(1), text, self.font, self.ink, "text_message")

    def _icon(self, kind: str, x: float, y: float, radius: float) -> None:
        rng, canvas = self.rng, self.canvas
        circle = (x - radius, y - radius, x + radius, y + radius)
        if kind == "info":
            canvas.ellipse(circle, fill=near(rng, COLOURS["blue"]))
            canvas.rectangle((x - 1, y - 2, x + 1, y + 5), fill="white")
            canvas.rectangle((x - 1, y - 6, x + 1, y - 4), fill="white")
        elif kind == "warning":
            canvas.polygon((x, y - radius, x + radius, y + radius - 1, x - radius, y + radius - 1), fill=near(rng, COLOURS["yellow"]))
            canvas.rectangle((x - 1, y - 4, x + 1, y + 3), fill="black")
            canvas.rectangle((x - 1, y + 5, x + 1, y + 7), fill="black")
        elif kind == "error":
            canvas.ellipse(circle, fill=near(rng, COLOURS["red"]))
            canvas.stroke((x - 4, y - 4, x + 4, y + 4), "white", 2)
            canvas.stroke((x - 4, y + 4, x + 4, y - 4), "white", 2)
        else:
            canvas.ellipse(circle, fill=near(rng, COLOURS["purple"]))
            canvas.glyph(x, y, "?", Font(BOLD[SANS[0]], 15), "white")

    def _draw_box(self) -> None:
        rng, canvas = self.rng, self.canvas
        ticked = rng.random() < 0.5
        size, x, y = rng.randint(10, 12), self.left + self.padding, self._line(0)
        text = self._unused(lambda: self._fit(self.words.phrase(1, 2, 16).title(), self.font, self.right - x - size - 10))
        box = (x, y - size // 2, x + size, y - size // 2 + size)
        if ticked:
            filled = rng.random() < 0.6
            canvas.rectangle(box, fill=near(rng, COLOURS[self.accent]) if filled else self.window_colour, outline=self.ink)
            ink = "white" if filled else self.ink
            canvas.stroke((x + 2, y, x + size // 2 - 1, y + size // 2 - 2, x + size - 2, y - size // 2 + 3), ink, 2)
        else:
            canvas.rectangle(box, fill=self.window_colour, outline=self.ink)
        number = len(self.screen.boxes) + 1
        canvas.mark(box, "box_ticked" if ticked else "box_empty", number)
        run = canvas.text(x + size + 6, y, text, self.font, self.ink, "text_ticked" if ticked else "text_unticked", number)
        self.screen.boxes.append(Box(run, ticked))

    def _draw_progress(self) -> None:
        rng, canvas = self.rng, self.canvas
        percent, name = rng.randint(0, 100), rng.choice(COLOUR_NAMES)
        y, half = self._line(1), rng.randint(4, 6)
        left, right = self.left + self.padding, self.right - self.padding - 36
        canvas.rectangle((left, y - half, right, y + half), fill=(85, 85, 85) if self.dark else (185, 185, 185))
        canvas.mark((left, y - half, right, y + half), "progress_empty", colour=name)
        end = left + (right - left) * percent / 100
        if percent > 2:
            canvas.rectangle((left, y - half, end, y + half), fill=near(rng, COLOURS[name]))
            canvas.mark((left, y - half, end, y + half), "progress_full", colour=name)
            self.screen.progress_colour = name
            self.screen.progress_place = canvas.place(left + 2, y)
        self.screen.percent = canvas.text(right + 5, y, f"{percent}%", self.font, self.ink, "text_percent")
        self.screen.progress_centre = canvas.in_frame((left + right) / 2, y)

    def _draw_field(self) -> None:
        rng, canvas = self.rng, self.canvas
        y, offset = self._line(1), rng.randint(52, 66)
        left, right = self.left + self.padding + offset, self.right - self.padding
        number = len(self.screen.fields) + 1
        name = self._unused(lambda: self._fit(self.words.label(FIELDS, 0.65), self.font, offset - 4))
        label = canvas.text(self.left + self.padding, y, name, self.font, self.ink, "text_field_label", number)
        box = (left, y - 10, right, y + 10)
        canvas.rectangle(box, fill=(15, 15, 18) if self.dark else (255, 255, 255), outline=near(rng, (130, 130, 130), 30))
        canvas.mark(box, "field", number)
        text = self._fit(self.words.value(), self.font, right - left - 9)
        self.screen.fields.append((label, canvas.text(left + 5, y, text, self.font, self.ink, "text_field_value", number)))

    def _highlighted(self, count: int) -> int:
        """Which of the buttons stands out; -1 for none."""
        return self.rng.randrange(count) if count > 1 or self.rng.random() < 0.5 else -1

    def _draw_buttons(self) -> None:
        rng, canvas = self.rng, self.canvas
        count = rng.randint(1, 3)
        names = [self._unused(lambda: self.words.label(BUTTONS, 0.6)) for _ in range(count)]
        gap = rng.randint(6, 10)
        widths = [max(34.0, self.font.width(name) + 14) for name in names]
        while sum(widths) + gap * (len(names) - 1) > self.right - self.left - 12:
            names.pop(), widths.pop()
        count = len(names)
        total = sum(widths) + gap * (count - 1)
        chosen = self._highlighted(count)
        align = rng.random()
        x = self.right - self.padding - total if align < 0.6 else self.left + self.padding if align < 0.8 else (self.left + self.right - total) / 2
        x = max(self.left + 4, x)
        y, half, radius = self._line(1), rng.choice([9, 10, 10, 11]), rng.choice([0, 4])
        for number, (name, width) in enumerate(zip(names, widths), 1):
            highlighted = number - 1 == chosen
            colour = self.accent if highlighted else "gray"
            fill = near(rng, COLOURS[colour]) if highlighted else (78, 78, 84) if self.dark else (215, 215, 218)
            ink = (255, 255, 255) if highlighted or self.dark else (20, 20, 20)
            box = (x, y - half, x + width, y + half)
            canvas.rectangle(box, radius, fill=fill, outline=near(rng, (130, 130, 130), 20))
            canvas.mark(box, "button_highlighted" if highlighted else "button", number, colour)
            role = "text_highlighted" if highlighted else "text_button"
            run = canvas.text(x + width / 2, y, name, self.font, ink, role, number, "middle")
            self.screen.buttons.append(Button(run, highlighted, colour, canvas.in_frame(x + width / 2, y)))
            x += width + gap

    def _draw_chart(self) -> None:
        rng, canvas = self.rng, self.canvas
        count = rng.randint(3, 5)
        heights = rng.sample(range(10, 100), count)
        while len({height // 6 for height in heights}) < count:
            heights = rng.sample(range(10, 100), count)
        small = Font(self.font.name, 11)
        width = (self.right - self.left - 2 * self.padding) / count
        one_colour = rng.choice(COLOUR_NAMES) if rng.random() < 0.5 else None
        colours = [one_colour] * count if one_colour else rng.sample(COLOUR_NAMES, count)
        base, shows_values = self._line(12) - 6, rng.random() < 0.85
        for number, (height, colour) in enumerate(zip(heights, colours), 1):
            left = self.left + self.padding + width * (number - 1)
            top = base - 72 * height / 100
            box = (left + width * 0.2, top, left + width * 0.8, base)
            canvas.rectangle(box, fill=near(rng, COLOURS[colour]))
            canvas.mark(box, "bar", number, colour)
            name = self._unused(lambda: self._fit(self.words.word(5).capitalize(), small, width - 3))
            label = canvas.text(left + width / 2, base + 14, name, small, self.ink, "text_bar", number, "middle")
            value = None
            if shows_values:
                row = int((top - 7) // PATCH) * PATCH + PATCH / 2
                value = canvas.text(left + width / 2, row, str(height), small, self.ink, "text_bar_value", number, "middle")
            self.screen.bars.append(Bar(label, value, height, colour, canvas.place(left + width / 2, base - 4)))
        canvas.stroke((self.left + self.padding, base, self.right - self.padding, base), self.ink)
        ordered = sorted(self.screen.bars, key=lambda bar: bar.height)
        canvas.relabel(ordered[-1].label, "text_bar_tallest")
        canvas.relabel(ordered[0].label, "text_bar_shortest")

    def _draw_terminal(self) -> None:
        rng, canvas = self.rng, self.canvas
        name = rng.choice(MONO)
        font = Font(name, rng.choice([11, 12]))
        box = (self.left + 3, self.y, self.right - 3, self.y + BLOCK_HEIGHT["terminal"])
        canvas.rectangle(box, fill=near(rng, (14, 14, 18), 8))
        canvas.mark(box, "terminal")
        green, red, white = (80, 220, 100), (250, 90, 90), (220, 220, 220)
        command = rng.choice(COMMANDS) if rng.random() < 0.5 else rng.choice(["node ", "python ", "./", "run "]) + self.words.word()
        failed = rng.choice([0, 0, rng.randint(1, 30)])
        lines = [("command", "$ " + command, white)]
        if rng.random() < 0.7:
            file = f"{self.words.word()}.{rng.choice(SUFFIXES)}"
            lines.append(("file", ("FAIL " if failed else "PASS ") + file, red if failed else green))
        lines.append(("passed", f"{rng.randint(0, 250)} passed", green))
        lines.append(("failed", f"{failed} failed", red if failed else white))
        if rng.random() < 0.6:
            lines.append(("time", f"Time: {rng.random() * 60:.1f}s", white))
        if rng.random() < 0.3:
            lines.append(("other", self.words.phrase(1, 3, 18), white))
        for number, (role, text, ink) in enumerate(lines):
            run = canvas.text(self.left + 9, self._line(1 + 2 * number), text, font, ink, f"text_{role}")
            if role == "command":
                self.screen.terminal[role] = Piece(run, 2)
            elif role in ("file", "time"):
                self.screen.terminal[role] = Piece(run, text.index(" ") + 1)
            elif role != "other":
                self.screen.terminal[role] = Piece(run, 0, text.index(" "))
