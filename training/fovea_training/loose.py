"""Screens that keep to no grid, drawn as toolkits and pages of all kinds draw them.

The plain generator (`screen.py`) sets every line of text into the middle of a row of patches, in one range of sizes, with one look
for each widget. What learns from it alone reads its screens and no others. Here the same content is drawn at any size and height, and each widget
in several looks: headers without a bar, gradients, labels above their fields, selected text, charts with axes, terminals of several test runners.
The held-out sets stay plain; what these screens are good for is measured on real screenshots.
"""

import random

from .canvas import BOLD, COLOUR_NAMES, COLOURS, FRAME, FURTHER_SANS, MONO, PATCH, SANS, Canvas, Font, Piece, Run
from .screen import BLOCK_HEIGHT, KINDS, Bar, Screen, ScreenMaker, luminance, near
from .words import COMMANDS, FIELDS, SUFFIXES

SCALES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.15, 1.25, 1.4, 1.6)
ZOOMS = (0.75, 1.0, 1.0, 1.25, 1.5, 2.0, 3.0)
LOOSE_KINDS = KINDS | {"chart": 24, "terminal": 17}
"""Charts and terminals vary most."""
LARGEST = {"chart": 1.25, "terminal": 1.3}
"""Charts and terminals need their height, and may not grow more than this."""
NARROWEST_FIELD = 32
"""Units."""


class LooseScreenMaker(ScreenMaker):
    """Draws the screens of `ScreenMaker` in looser styles."""

    def make(self, kind: str | None = None, zoom: float | None = None, height: int | None = None) -> Screen:
        rng = self.rng
        kind = kind or rng.choices(list(LOOSE_KINDS), list(LOOSE_KINDS.values()))[0]
        blocks = self._blocks(kind)
        scale = min(rng.choice(SCALES), LARGEST.get(kind, 2.0))
        needed = lambda: 30 + sum(BLOCK_HEIGHT[block] for block in blocks) + 12
        while needed() * scale > FRAME and len(blocks) > 1:
            blocks.pop(0)
        scale = min(scale, FRAME / needed())
        if height is None:
            # Half of the real pictures are of a window alone, cut out at its border.
            fewest = min(FRAME, int(needed() * scale) + 1)
            height = fewest if rng.random() < 0.5 else rng.randint(fewest, FRAME)
        desktop = near(rng, rng.choice(list(COLOURS.values())), 40) if rng.random() < 0.4 else near(rng, (rng.randint(0, 255),) * 3, 10)
        return self._compose(kind, blocks, needed(), Canvas(desktop, height, zoom or rng.choice(ZOOMS), scale))

    def _family(self) -> str:
        draw = self.rng.random()
        return SANS[0] if draw < 0.45 else SANS[1] if draw < 0.65 else self.rng.choice(FURTHER_SANS)

    def _window(self, needed: int, blocks: int) -> None:
        rng, canvas = self.rng, self.canvas
        spare = max(0.0, canvas.height - needed)
        self.gap = 0
        tight = spare < PATCH or rng.random() < 0.4
        self.left = 0.0 if tight else rng.uniform(0, 12)
        self.right = canvas.width - 1 - (0.0 if tight else rng.uniform(0, 12))
        self.y = canvas.top + (0.0 if tight else rng.uniform(0, spare))
        self.padding = rng.randint(4, 14)
        bottom = canvas.top + canvas.height - 1 if tight else min(canvas.top + canvas.height - 1, self.y + needed)
        self.box = (self.left, self.y, self.right, bottom)
        canvas.rectangle(self.box, fill=self.window_colour, outline=near(rng, (120, 120, 120), 60) if rng.random() < 0.8 else self.window_colour)
        canvas.mark(self.box, "window")

    def _highlighted(self, count: int) -> int:
        return super()._highlighted(count) if self.rng.random() < 0.5 else -1

    def _line(self, row: int) -> float:
        return self.y + row * PATCH + PATCH / 2 + self.rng.uniform(-1.5, 1.5)

    def _shade(self, box: tuple[float, float, float, float], colour: tuple[int, int, int]) -> None:
        """A gradient from top to bottom, as title bars and buttons have."""
        left, top, right, bottom = box
        change = self.rng.randint(-45, 45) if self.rng.random() < 0.5 else 0
        steps = 6 if change else 1
        for step in range(steps):
            part = tuple(max(0, min(255, value + change * step // steps)) for value in colour)
            self.canvas.rectangle((left, top + (bottom - top) * step / steps, right, top + (bottom - top) * (step + 1) / steps), fill=part)

    def _title(self) -> None:
        rng, canvas = self.rng, self.canvas
        draw = rng.random()
        if draw < 0.05:
            self.y += PATCH
            return
        if draw < 0.3:
            self._header()
            return
        name = rng.choice(COLOUR_NAMES) if rng.random() < 0.55 else None
        grey = rng.choice([self.base + 30 if self.dark else self.base - 28, rng.randint(30, 80), rng.randint(190, 240)])
        colour = near(rng, COLOURS[name] if name else (grey,) * 3, 16)
        height = rng.uniform(17, 26)
        box = (self.left, self.y, self.right, self.y + height)
        self._shade(box, colour)
        canvas.mark(box, "titlebar", colour=name or "gray")
        ink = (250, 250, 250) if luminance(colour) < 140 else (15, 15, 20)
        font = self.bold if rng.random() < 0.6 else self.font
        text = self._fit(self.words.phrase(1, 3, 20), font, self.right - self.left - 40)
        centred = rng.random() < 0.5
        x = (self.left + self.right) / 2 if centred else self.left + rng.uniform(3, 12)
        self.screen.title = canvas.text(x, self.y + height / 2 + rng.uniform(-1, 1), text, font, ink, "text_title", align="middle" if centred else "left")
        self.screen.title_colour = name
        if rng.random() < 0.8:
            cx, cy, arm = self.right - height / 2, self.y + height / 2, rng.choice([3, 3, 4])
            if rng.random() < 0.5:
                canvas.rectangle((cx - 6, cy - 6, cx + 6, cy + 6), rng.choice([0, 2]), fill=near(rng, colour, 40), outline=ink)
            canvas.stroke((cx - arm, cy - arm, cx + arm, cy + arm), ink, rng.choice([1, 2]))
            canvas.stroke((cx - arm, cy + arm, cx + arm, cy - arm), ink, rng.choice([1, 2]))
        self.y += max(height, 20) + rng.uniform(0, 6)

    def _header(self) -> None:
        """A title without a bar of its own, as cards on web pages have."""
        rng, canvas = self.rng, self.canvas
        large = Font(self.bold.name, self.font.size + rng.choice([0, 1, 2]))
        box = (self.left, self.y, self.right, self.y + 24)
        if rng.random() < 0.5:
            canvas.rectangle(box, fill=near(rng, self.window_colour, 8))
            canvas.stroke((self.left, self.y + 24, self.right, self.y + 24), near(rng, (128, 128, 128), 60))
        canvas.mark(box, "titlebar", colour="gray")
        text = self._fit(self.words.phrase(1, 3, 20), large, self.right - self.left - 2 * self.padding)
        self.screen.title = canvas.text(self.left + self.padding, self.y + rng.uniform(10, 14), text, large, self.ink, "text_title")
        self.y += 25

    def _draw_message(self) -> None:
        if self.rng.random() < 0.65:
            super()._draw_message()
            return
        rng, canvas = self.rng, self.canvas
        font = self.bold if rng.random() < 0.25 else self.font
        text = self.words.phrase(2, 4, 22) + rng.choice(["", ".", ".", "!", "?"])
        text = self._fit(text, font, self.right - self.left - 2 * self.padding)
        middle = rng.random() < 0.2
        x = (self.left + self.right) / 2 if middle else self.left + self.padding
        self.screen.message = canvas.text(x, self.y + rng.uniform(8, 20), text, font, self.ink, "text_message", align="middle" if middle else "left")

    def _icon(self, kind: str, x: float, y: float, radius: float) -> None:
        rng, canvas = self.rng, self.canvas
        if rng.random() < 0.4:
            super()._icon(kind, x, y, radius)
            return
        circle = (x - radius, y - radius, x + radius, y + radius)
        if kind == "info":
            if rng.random() < 0.5:
                canvas.ellipse((x - radius * 0.65, y - radius, x + radius * 0.65, y + radius * 0.3), fill=near(rng, (240, 235, 190), 15), outline=(90, 90, 90))
                canvas.rectangle((x - radius * 0.3, y + radius * 0.3, x + radius * 0.3, y + radius), fill=(120, 120, 120))
            else:
                canvas.ellipse(circle, fill="white", outline=COLOURS["blue"])
                canvas.glyph(x, y, "i", Font(BOLD[SANS[0]], 14), near(rng, COLOURS["blue"]))
        elif kind == "warning":
            canvas.polygon((x, y - radius, x + radius, y + radius - 1, x - radius, y + radius - 1), fill=near(rng, rng.choice([COLOURS["orange"], (250, 250, 250)])))
            canvas.stroke((x, y - radius, x + radius, y + radius - 1, x - radius, y + radius - 1, x, y - radius), near(rng, rng.choice([COLOURS["orange"], COLOURS["red"]])), 1)
            canvas.glyph(x, y + 2, "!", Font(BOLD[SANS[0]], 12), rng.choice(["black", "white"]) if rng.random() < 0.3 else "black")
        elif kind == "error":
            canvas.ellipse(circle, fill=near(rng, COLOURS["red"]), outline=rng.choice(["white", (150, 20, 20)]))
            canvas.rectangle((x - radius * 0.6, y - 2, x + radius * 0.6, y + 2), fill="white")
        else:
            canvas.polygon((x, y - radius, x + radius, y, x, y + radius, x - radius, y), fill=near(rng, COLOURS["blue"], 30))
            canvas.glyph(x, y, "?", Font(BOLD[SANS[0]], 13), "white")

    def _draw_field(self) -> None:
        rng, canvas = self.rng, self.canvas
        number = len(self.screen.fields) + 1
        # A large scale leaves a narrow window, which the widest label and margin would fill.
        offset = min(rng.randint(36, 64), self.right - self.left - 2 * self.padding - NARROWEST_FIELD)
        left = self.left + self.padding + offset
        right = max(left + NARROWEST_FIELD, self.right - rng.choice([self.padding, self.padding, rng.randint(4, 40)]))
        y, half = self._line(1), rng.uniform(8, 11)
        name = self._unused(lambda: self._fit(self.words.label(FIELDS, 0.5), self.font, offset - 2))
        align = rng.random() < 0.2
        label = canvas.text(left - 4 if align else self.left + self.padding, y, name, self.font, self.ink, "text_field_label", number, "right" if align else "left")
        box = (left, y - half, right, y + half)
        paper = rng.choice([(15, 15, 18), self.window_colour, (50, 50, 55)]) if self.dark else rng.choice([(255, 255, 255), self.window_colour])
        border = near(rng, COLOURS["blue"], 20) if rng.random() < 0.2 else near(rng, (130, 130, 130), 50)
        canvas.rectangle(box, rng.choice([0, 0, 3]), fill=paper, outline=border)
        canvas.mark(box, "field", number)
        text = self._fit(self.words.value(), self.font, right - left - 9)
        x, ink = left + rng.uniform(3, 7), self.ink
        if rng.random() < 0.15:
            canvas.rectangle((x - 1, y - 6, min(right - 1, x + self.font.width(text) + 1), y + 6), fill=near(rng, COLOURS["blue"], 20))
            ink = (255, 255, 255)
        self.screen.fields.append((label, canvas.text(x, y, text, self.font, ink, "text_field_value", number)))

    def _draw_progress(self) -> None:
        if self.rng.random() < 0.45:
            super()._draw_progress()
            return
        # The figure stands over the bar, or above it.
        rng, canvas = self.rng, self.canvas
        percent, name = rng.randint(0, 100), rng.choice(COLOUR_NAMES)
        y, half = self._line(1), rng.uniform(5, 8)
        left, right = self.left + self.padding, self.right - self.padding
        canvas.rectangle((left, y - half, right, y + half), fill=(75, 75, 75) if self.dark else (200, 200, 200))
        canvas.mark((left, y - half, right, y + half), "progress_empty", colour=name)
        end, fill = left + (right - left) * percent / 100, near(rng, COLOURS[name])
        if percent > 2:
            canvas.rectangle((left, y - half, end, y + half), fill=fill)
            canvas.mark((left, y - half, end, y + half), "progress_full", colour=name)
            self.screen.progress_colour = name
            self.screen.progress_place = canvas.place(left + 2, y)
        centre = (left + right) / 2 if rng.random() < 0.6 else max(left + 16.0, (left + end) / 2)
        under = fill if centre < end - 8 else (75, 75, 75) if self.dark else (200, 200, 200)
        ink = (250, 250, 250) if luminance(under) < 140 else (15, 15, 20)
        font = Font(self.font.name, min(self.font.size, 11))
        self.screen.percent = canvas.text(centre, y, f"{percent}%", font, ink, "text_percent", align="middle")
        self.screen.progress_centre = canvas.in_frame((left + right) / 2, y)

    def _draw_chart(self) -> None:
        if self.rng.random() < 0.3:
            super()._draw_chart()
            return
        rng, canvas = self.rng, self.canvas
        count = rng.randint(2, 5)
        heights = rng.sample(range(10, 100), count)
        while len({height // 6 for height in heights}) < count:
            heights = rng.sample(range(10, 100), count)
        most = max(heights)
        factor = rng.choice([0.1, 1, 1, 1, 10])
        small = Font(self.font.name, rng.choice([9, 10, 11]))
        axis = self.left + self.padding + small.width("000") + 4
        right, base, top = self.right - self.padding, self.y + 94, self.y + 14
        room = (right - axis) / count
        canvas.rectangle((axis, top - 4, right, base), fill=self.window_colour, outline=self.ink)
        canvas.mark((axis, top - 4, right, base), "window")
        for step in range(0, 4):
            y = base - (base - top) * step / 3.4
            canvas.stroke((axis - 3, y, axis, y), self.ink)
            canvas.text(axis - 4, y, str(round(most * factor * step / 3.4)), small, self.ink, "text_other", align="right")
        one_colour = rng.choice(COLOUR_NAMES) if rng.random() < 0.5 else None
        colours = [one_colour] * count if one_colour else rng.sample(COLOUR_NAMES, count)
        for number, (height, colour) in enumerate(zip(heights, colours), 1):
            middle = axis + room * (number - 0.5)
            end = base - (base - top - 8) * height / most
            half = room * rng.uniform(0.3, 0.42)
            box = (middle - half, end, middle + half, base)
            canvas.rectangle(box, fill=near(rng, COLOURS[colour]))
            canvas.mark(box, "bar", number, colour)
            name = self._unused(lambda: self._fit(self.words.word(5).capitalize(), small, room - 3))
            label = canvas.text(middle, base + 9, name, small, self.ink, "text_bar", number, "middle")
            value = canvas.text(middle, end - 5, str(max(1, round(height * factor))), small, self.ink, "text_bar_value", number, "middle")
            self.screen.bars.append(Bar(label, value, height, colour, canvas.place(middle, base - 4)))
        ordered = sorted(self.screen.bars, key=lambda bar: bar.height)
        canvas.relabel(ordered[-1].label, "text_bar_tallest")
        canvas.relabel(ordered[0].label, "text_bar_shortest")

    def _draw_terminal(self) -> None:
        rng, canvas = self.rng, self.canvas
        lines = self._terminal_lines()
        longest = max(sum(len(text) + 1 for _, text in line) for line in lines)
        name = rng.choice(MONO)
        room = (self.right - self.left - 12) / (longest * Font(name, 100).width("m") / 100)
        font = Font(name, min(rng.choice([10, 11, 12, 13]), int(2 * room) / 2))
        light = rng.random() < 0.25
        paper = near(rng, (250, 250, 250) if light else rng.choice([(14, 14, 18), (0, 0, 0), (35, 35, 38)]), 5)
        self.dark = self.screen.dark = not light
        box = (self.left, self.y, self.right, self.box[3])
        canvas.rectangle(box, fill=paper)
        canvas.mark(box, "terminal")
        plain = (25, 25, 25) if light else (225, 225, 225)
        green, red = ((30, 130, 50), (200, 40, 40)) if light else ((80, 220, 100), (250, 90, 90))
        if rng.random() < 0.4:
            green = red = plain
        pitch = font.size * rng.uniform(1.15, 1.5)
        y, x = self.y + pitch * rng.uniform(0.6, 0.9), self.left + rng.uniform(2, 9)
        for line in lines:
            pen = x
            for role, text in line:
                ink = green if role == "passed" else red if role == "failed" else plain
                run = canvas.text(pen, y, text, font, ink, f"text_{role}")
                pen += font.width(text) + font.width(" ")
                self._note(role, run)
            y += pitch
            if y > self.box[3] - 4:
                break
        if "passed" not in self.screen.terminal or "failed" not in self.screen.terminal:
            for role in ("passed", "failed", "time"):
                self.screen.terminal.pop(role, None)

    def _note(self, role: str, run: Run) -> None:
        terminal, text = self.screen.terminal, run.text
        if role == "command":
            terminal[role] = Piece(run, 2)
        elif role == "file":
            terminal[role] = Piece(run, text.rindex(" ") + 1 if " " in text else 0)
        elif role in ("passed", "failed"):
            start = next(index for index, character in enumerate(text) if character.isdigit())
            end = next((index for index in range(start, len(text)) if not text[index].isdigit()), len(text))
            terminal[role] = Piece(run, start, end)
        elif role == "time":
            start = next(index for index, character in enumerate(text) if character.isdigit())
            terminal[role] = Piece(run, start)

    def _terminal_lines(self) -> list[list[tuple[str, str]]]:
        """Lines of (role, text): a test runner's summary in one of its forms, or a command and what it printed."""
        rng = self.rng
        file = f"{self.words.word()}.{rng.choice(SUFFIXES)}"
        tool = rng.choice(["node --test ", "pytest ", "node ", "python ", "./", "run ", "cat ", "make "])
        command = [("command", "$ " + (rng.choice(COMMANDS) if rng.random() < 0.3 else tool + rng.choice([self.words.word(), file])))]
        passed, failed = rng.randint(0, 250), rng.choice([0, 0, rng.randint(1, 30)])
        duration = f"{rng.random() * rng.choice([1, 10, 60]):.2f}s"
        other = lambda: [("other", self.words.phrase(1, 3, 18))]
        form = rng.random()
        if form < 0.25:
            lines = [other() for _ in range(rng.randint(0, 1))]
            lines += [[("failed", f"{failed} failed,"), ("passed", f"{passed} passed"), *([("time", f"in {duration}")] if rng.random() < 0.5 else [])]]
        elif form < 0.5:
            sign = rng.choice(["#", "-", "*"])
            lines = [[("other", f"{sign} tests {passed + failed}")]] if rng.random() < 0.6 else []
            lines += [[("passed", f"{sign} pass {passed}")], [("failed", f"{sign} fail {failed}")]]
        elif form < 0.7:
            lines = [[("file", ("FAIL " if failed else "PASS ") + file)], [("passed", f"{passed} passed")], [("failed", f"{failed} failed")]]
            lines += [[("time", f"Time: {duration}")]] if rng.random() < 0.5 else []
        else:
            lines = [other() for _ in range(rng.randint(1, 5))]
        prompt = [[("other", "$")]] if rng.random() < 0.4 else []
        return [command, *lines, *prompt]
