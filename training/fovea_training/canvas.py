"""A drawing surface that records, for every patch of the model's frame, what was drawn there.

Coordinates are drawing units: `scale` pixels of the model's frame (192 x 192) each, one by default. The source image may be
larger (`zoom`) and not square: it is then padded to a square and scaled down exactly as the extension does with a screenshot.
"""

import dataclasses
import functools
import os
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FRAME = 192
PATCH = 8
GRID = FRAME // PATCH
SLOTS = 3
"""Characters that one patch can hold."""
LONGEST_RUN = 31
MOST_INSTANCES = 7
MOST_LINES = 15

PAD_COLOUR = (122, 116, 104)
"""CLIP's mean colour: what LLaVA pads a screenshot with."""

CHARACTERS = [chr(code) for code in range(32, 127)]
CHARACTER_ID = {character: index + 1 for index, character in enumerate(CHARACTERS)}
CHARACTER_CLASSES = len(CHARACTERS) + 2
"""0 = no character, 1..95 = the printable ASCII characters, 96 = beyond the end of the run."""
END_OF_RUN = CHARACTER_CLASSES - 1

ROLES = (
    "background pad window titlebar button button_highlighted box_ticked box_empty field progress_full progress_empty bar "
    "icon_info icon_warning icon_error icon_question terminal "
    "text_title text_message text_button text_highlighted text_ticked text_unticked text_field_label text_field_value "
    "text_bar text_bar_tallest text_bar_shortest text_bar_value text_percent "
    "text_command text_file text_passed text_failed text_time text_other"
).split()
ROLE_ID = {role: index for index, role in enumerate(ROLES)}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 50, 50),
    "green": (40, 150, 70),
    "blue": (45, 105, 215),
    "orange": (235, 135, 30),
    "purple": (130, 70, 185),
    "gray": (125, 130, 135),
    "teal": (20, 150, 160),
    "pink": (225, 100, 160),
    "yellow": (225, 190, 40),
}
COLOUR_NAMES = list(COLOURS)
COLOUR_ID = {name: index + 1 for index, name in enumerate(COLOUR_NAMES)}

FONT_FOLDER = pathlib.Path(os.environ.get("FOVEA_FONTS", "/usr/share/fonts/truetype"))
SANS = ("dejavu/DejaVuSans.ttf", "liberation/LiberationSans-Regular.ttf")
BOLD = {SANS[0]: "dejavu/DejaVuSans-Bold.ttf", SANS[1]: "liberation/LiberationSans-Bold.ttf"}
FURTHER_SANS = ("open-sans/OpenSans-Regular.ttf", "roboto/unhinted/RobotoTTF/Roboto-Regular.ttf", "lato/Lato-Regular.ttf")
BOLD |= {name: name.replace("-Regular", "-Bold") for name in FURTHER_SANS}
MONO = ("dejavu/DejaVuSansMono.ttf", "liberation/LiberationMono-Regular.ttf")


@functools.lru_cache(maxsize=512)
def load_font(name: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT_FOLDER / name), size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=None)
def advances(name: str, size: float) -> dict[str, float]:
    """Width of every printable character, measured once at a large size so that every zoom lays text out alike."""
    font = load_font(name, size)
    return {character: font.getlength(character) for character in CHARACTERS}


@dataclasses.dataclass(frozen=True)
class Font:
    name: str
    size: float

    def width(self, text: str) -> float:
        table = advances(self.name, self.size)
        return sum(table[character] for character in text)


def place_of(x: float, y: float) -> tuple[int, int]:
    """The patch at a point of the frame, and slot 0."""
    row, column = (min(GRID - 1, max(0, int(value // PATCH))) for value in (y, x))
    return row * GRID + column, 0


@dataclasses.dataclass
class Run:
    """One piece of text on the screen, and the patch and slot that hold each of its characters."""

    text: str
    role: str
    instance: int
    row: int
    x: int
    places: list[tuple[int, int] | None]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a run, copied into an answer."""

    run: Run
    start: int = 0
    end: int | None = None

    @property
    def text(self) -> str:
        return self.run.text[self.start : self.end]

    @property
    def places(self) -> list[tuple[int, int] | None]:
        return self.run.places[self.start : self.end]


class Canvas:
    """Draws in drawing units and keeps the labels of the patches.

    `height` is the height of the drawn area inside the frame, in frame pixels (the rest is padding above and below);
    `zoom` source pixels stand for one frame pixel, and `scale` frame pixels for one unit.
    """

    def __init__(self, background: tuple[int, int, int], height: int = FRAME, zoom: float = 1.0, scale: float = 1.0):
        self.zoom = zoom
        self.scale = scale
        self.padding = (FRAME - height) // 2
        """Frame pixels above the drawn area."""
        self.top = self.padding / scale
        self.height = height / scale
        self.width = FRAME / scale
        self.image = Image.new("RGB", (round(FRAME * zoom), round(height * zoom)), background)
        self.draw = ImageDraw.Draw(self.image)
        self.role = np.zeros((GRID, GRID), np.uint8)
        self.colour = np.zeros((GRID, GRID), np.uint8)
        self.instance = np.zeros((GRID, GRID), np.uint8)
        self.line = np.zeros((GRID, GRID), np.uint8)
        self.index = np.zeros((GRID, GRID), np.uint8)
        self.theme = np.zeros((GRID, GRID), np.uint8)
        self.previous = np.zeros((GRID, GRID), np.uint8)
        self.following = np.zeros((GRID, GRID), np.uint8)
        self.characters = np.zeros((GRID, GRID, SLOTS), np.uint8)
        self.runs: list[Run] = []
        rows = self.padding // PATCH
        if rows:
            self.role[:rows] = self.role[GRID - rows :] = ROLE_ID["pad"]

    def _source(self, *values: float) -> list[float]:
        """Units x, y, x, y... to source pixels."""
        return [(value - (self.top if index % 2 else 0)) * self.scale * self.zoom for index, value in enumerate(values)]

    def in_frame(self, x: float, y: float) -> tuple[float, float]:
        """A point in frame pixels."""
        return x * self.scale, y * self.scale

    def place(self, x: float, y: float) -> tuple[int, int]:
        """The patch at a point, and slot 0."""
        return place_of(*self.in_frame(x, y))

    def rectangle(self, box: tuple[float, float, float, float], radius: float = 0, **style: object) -> None:
        self.draw.rounded_rectangle(self._source(*box), radius=radius * self.scale * self.zoom, **self._styled(style))

    def ellipse(self, box: tuple[float, float, float, float], **style: object) -> None:
        self.draw.ellipse(self._source(*box), **self._styled(style))

    def polygon(self, points: tuple[float, ...], **style: object) -> None:
        self.draw.polygon(self._source(*points), **self._styled(style))

    def stroke(self, points: tuple[float, ...], fill: object, width: float = 1) -> None:
        self.draw.line(self._source(*points), fill=fill, width=max(1, round(width * self.scale * self.zoom)))

    def _styled(self, style: dict[str, object]) -> dict[str, object]:
        return {**style, "width": max(1, round(self.scale * self.zoom))} if "outline" in style else style

    def _font(self, font: Font) -> ImageFont.FreeTypeFont:
        return load_font(font.name, font.size * self.scale * self.zoom)

    def glyph(self, x: float, y: float, text: str, font: Font, fill: object) -> None:
        """Text without labels, centred on a point."""
        self.draw.text(tuple(self._source(x, y)), text, font=self._font(font), fill=fill, anchor="mm")

    def text(
        self, x: float, y: float, text: str, font: Font, fill: object, role: str, instance: int = 0, align: str = "left"
    ) -> Run:
        """Draws one run of text centred on the line `y` and records its characters."""
        x -= {"left": 0, "middle": font.width(text) / 2, "right": font.width(text)}[align]
        x = round(x)
        large = self._font(font)
        scale = large.getlength(text) / max(font.width(text), 1) / self.zoom
        self.draw.text(tuple(self._source(x, y)), text, font=large, fill=fill, anchor="lm")
        row = int(y * self.scale // PATCH)
        table = advances(font.name, font.size)
        places: list[tuple[int, int] | None] = []
        pen = left = x * self.scale
        for position, character in enumerate(text):
            advance = table[character] * scale
            column = int((pen + advance / 2) // PATCH)
            pen += advance
            places.append(self._place(row, column, text, position, role, instance))
        run = Run(text, role, instance, row, round(left), places)
        self.runs.append(run)
        return run

    def _place(self, row: int, column: int, text: str, position: int, role: str, instance: int) -> tuple[int, int] | None:
        if not (0 <= row < GRID and 0 <= column < GRID):
            return None
        slots = self.characters[row, column]
        slot = int((slots > 0).sum())
        if slot == SLOTS:
            return None
        slots[slot] = CHARACTER_ID[text[position]]
        if slot == 0:
            self.role[row, column] = ROLE_ID[role]
            self.instance[row, column] = min(instance, MOST_INSTANCES)
            self.index[row, column] = min(position, LONGEST_RUN)
            self.previous[row, column] = CHARACTER_ID[text[position - 1]] if position else END_OF_RUN
        self.following[row, column] = CHARACTER_ID[text[position + 1]] if position + 1 < len(text) else END_OF_RUN
        return row * GRID + column, slot

    def mark(self, box: tuple[float, float, float, float], role: str, instance: int = 0, colour: str | None = None) -> None:
        """Labels the patches of a widget (those that hold text keep their text's role, and take the colour)."""
        box = tuple(value * self.scale for value in box)
        left, top, right, bottom = (int((value + PATCH / 2) // PATCH) for value in box)
        if left >= right:
            left = min(GRID - 1, int((box[0] + box[2]) / 2 // PATCH))
            right = left + 1
        if top >= bottom:
            top = min(GRID - 1, int((box[1] + box[3]) / 2 // PATCH))
            bottom = top + 1
        self.role[top:bottom, left:right] = ROLE_ID[role]
        self.instance[top:bottom, left:right] = min(instance, MOST_INSTANCES)
        if colour:
            self.colour[top:bottom, left:right] = COLOUR_ID[colour]

    def relabel(self, run: Run, role: str) -> None:
        """Changes the role of a run that was already drawn (which bar is the tallest is known last)."""
        run.role = role
        for place in run.places:
            if place is not None:
                self.role[place[0] // GRID, place[0] % GRID] = ROLE_ID[role]

    def number_lines(self) -> list[Run]:
        """Gives every run its place in reading order, and returns the runs in that order."""
        ordered = sorted(self.runs, key=lambda run: (run.row, run.x))
        for number, run in enumerate(ordered):
            for place in run.places:
                if place is not None:
                    self.line[place[0] // GRID, place[0] % GRID] = min(number + 1, MOST_LINES)
        return ordered

    def set_theme(self, dark: bool) -> None:
        """1 = part of a light window, 2 = of a dark one."""
        self.theme[self.role > ROLE_ID["pad"]] = 1 + dark

    def frame(self) -> np.ndarray:
        """What the model sees. uint8 [192, 192, 3]"""
        return to_frame(self.image)


def to_frame(source: Image.Image) -> np.ndarray:
    """Pads an image to a square with CLIP's mean colour and scales it to the frame. uint8 [192, 192, 3]"""
    side = max(source.size)
    if source.size != (side, side):
        square = Image.new("RGB", (side, side), PAD_COLOUR)
        square.paste(source, ((side - source.width) // 2, (side - source.height) // 2))
        source = square
    if side != FRAME:
        source = source.resize((FRAME, FRAME), Image.Resampling.BICUBIC)
    return np.asarray(source)
