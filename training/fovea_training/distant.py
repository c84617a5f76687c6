"""Windows that are a part of a larger picture: text of 6.5 to 10 pixels, with nothing, pictures or unreadable text around it.

Real screenshots are seldom cut at the border of a window. Text of that height is hard but not impossible to read, and a small letter
elsewhere does not make a readable button unreadable; screens that are readable as a whole, or not at all, teach neither.
"""

from PIL import Image

from .canvas import COLOURS, FRAME, PATCH, Canvas
from .loose import LOOSE_KINDS, LooseScreenMaker
from .screen import BLOCK_HEIGHT, Screen, near
from .small_text import DRAWN_TEXT, LARGEST_TEXT

SCALES = (0.64, 0.68, 0.72, 0.76, 0.8, 0.85, 0.9)
NARROWEST = 176
"""Drawing units that a window needs at least; buttons and fields do not fit otherwise."""
ZOOMS = (1.0, 1.5, 2.0, 3.0)


class DistantScreenMaker(LooseScreenMaker):
    def make(self, kind: str | None = None, zoom: float | None = None, height: int | None = None) -> Screen:
        rng = self.rng
        kind = kind or rng.choices(list(LOOSE_KINDS), list(LOOSE_KINDS.values()))[0]
        blocks = self._blocks(kind)
        scale = rng.choice(SCALES)
        needed = 30 + sum(BLOCK_HEIGHT[block] for block in blocks) + 12
        if height is None:
            height = FRAME if rng.random() < 0.4 else rng.randint(min(FRAME, int(needed * scale) + 1), FRAME)
        desktop = near(rng, rng.choice(list(COLOURS.values())) if rng.random() < 0.4 else (rng.randint(0, 255),) * 3, 20)
        canvas = Canvas(desktop, height, zoom or rng.choice(ZOOMS), scale)
        around = rng.random() < 0.45
        if around:
            self._fill(canvas)
        screen = self._compose(kind, blocks, needed, canvas)
        screen.text_around = around
        # What is said about the screen as a whole is about the window; is it dark when its surroundings are light?
        screen.shade_is_plain = not around
        return screen

    def _fill(self, canvas: Canvas) -> None:
        """Columns of text that is too small to be read, as a page or an editor behind the window has them."""
        rng, image = self.rng, canvas.image
        side = round(FRAME * canvas.zoom * LARGEST_TEXT / DRAWN_TEXT / rng.choice([1.0, 1.2, 1.5]))
        edge = 0
        while edge < image.width:
            wall = self.make_wall().canvas.image.resize((side, side), Image.Resampling.BICUBIC)
            width = rng.randint(image.width // 5, image.width)
            for x in range(edge, min(image.width, edge + width), side):
                for y in range(0, image.height, side):
                    image.paste(wall.crop((0, 0, min(side, edge + width - x), side)), (x, y))
            edge += width

    def _window(self, needed: int, blocks: int) -> None:
        rng, canvas = self.rng, self.canvas
        self.gap = 0
        width = rng.uniform(NARROWEST, min(canvas.width - 2, 1.4 * NARROWEST))
        self.left = rng.uniform(0, canvas.width - 1 - width)
        self.right = self.left + width
        self.y = canvas.top + rng.uniform(0, max(0.0, canvas.height - needed - 1))
        self.padding = rng.randint(4, 14)
        bottom = min(canvas.top + canvas.height - 1, self.y + needed + rng.uniform(0, PATCH))
        self.box = (self.left, self.y, self.right, bottom)
        canvas.rectangle(self.box, fill=self.window_colour, outline=near(rng, (120, 120, 120), 60) if rng.random() < 0.8 else self.window_colour)
        canvas.mark(self.box, "window")
