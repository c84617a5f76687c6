"""Screens whose text is too small to be read once they are scaled to the frame: whole desktops, editors and long pages.

A model that has only seen readable screens invents a title for them. From these it learns to say that the text is too small.
"""

import random

from PIL import Image

from .canvas import COLOURS, FRAME, Canvas
from .loose import LooseScreenMaker
from .screen import Screen, ScreenMaker, near

LARGEST_TEXT = 4.6
"""Pixels of the frame that the font may have at most; readable screens begin at about 8."""
DRAWN_TEXT = 13.0
"""Largest usual font of the screens that are put together here."""
HEIGHTS = (90, 108, 120, 144, FRAME, FRAME)


class SmallTextScreenMaker:
    """Puts walls of text and windows together on a large picture."""

    def __init__(self, rng: random.Random, walls: ScreenMaker, windows: LooseScreenMaker):
        self.rng = rng
        self.walls = walls
        self.windows = windows

    def make(self) -> Screen:
        rng = self.rng
        times = DRAWN_TEXT / LARGEST_TEXT * rng.choice([1.0, 1.0, 1.2, 1.5, 2.0, 2.6])
        grey = (rng.randint(0, 255),) * 3
        canvas = Canvas(near(rng, rng.choice(list(COLOURS.values())) if rng.random() < 0.3 else grey, 20), rng.choice(HEIGHTS), times)
        shades = self._walls(canvas) if rng.random() < 0.6 else set()
        count = rng.randint(0 if shades else 1, 3)
        for _ in range(count):
            shades.add(self._window(canvas))
        dark = True in shades
        canvas.mark((0, canvas.top, FRAME, canvas.top + canvas.height), "window")
        if len(shades) == 1:
            canvas.set_theme(dark)
        return Screen("small_text", dark, canvas, shade_is_plain=len(shades) == 1)

    def _walls(self, canvas: Canvas) -> set[bool]:
        """Columns of text side by side, as an editor or a page has them."""
        rng, image = self.rng, canvas.image
        shades: set[bool] = set()
        edge = 0
        while edge < image.width:
            wall = self.walls.make_wall()
            width = rng.randint(image.width // 5, image.width)
            tile = wall.canvas.image if wall.canvas.image.width == FRAME else wall.canvas.image.resize((FRAME, FRAME), Image.Resampling.BICUBIC)
            for x in range(edge, min(image.width, edge + width), FRAME):
                for y in range(0, image.height, FRAME):
                    image.paste(tile.crop((0, 0, min(FRAME, edge + width - x), FRAME)), (x, y))
            shades.add(wall.dark)
            edge += width
        return shades

    def _window(self, canvas: Canvas) -> bool:
        rng, image = self.rng, canvas.image
        screen = self.windows.make(zoom=1.0)
        window = screen.canvas.image
        enlarged = screen.canvas.scale
        if enlarged > 1:
            window = window.resize((round(window.width / enlarged), round(window.height / enlarged)), Image.Resampling.BICUBIC)
        image.paste(window, (rng.randint(0, max(0, image.width - window.width)), rng.randint(0, max(0, image.height - window.height))))
        return screen.dark

