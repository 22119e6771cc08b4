"""Drawn clips: coloured shapes that appear for a while, one frame a second, with exact labels.

A clip is a pure function of an integer seed. Frame k is shown from second k to k + 1, so a shape in frames i to j - 1
is visible from i to j seconds. Sides are multiples of 32 pixels, the size of one image token of the embedded model.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, Colour, draw_shape
from vlmrl.task import Split

SIZES = ((64, 64), (96, 64), (64, 96), (96, 96))
"""Width and height of a frame."""
GRID = 8
"""Shapes start and end one pixel inside a line of this grid."""
SIDES = (16, 24)
FRAMES = (6, 8)
"""Fewest and most frames of a clip."""
LENGTHS = (1, 3)
"""Fewest and most frames that a shape is visible for: less than the clip, so that no fixed answer is often right."""


@dataclass(frozen=True)
class Appearance:
    """A shape and when it is visible."""

    shape: str
    colour: str
    edges: tuple[int, int, int, int]
    """left, top, right, bottom in pixels; all four are drawn."""
    start: int
    """First second, which is the index of the first frame that shows it."""
    end: int
    """Second at which it is gone."""

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class DrawnClip:
    """One drawn clip and everything known about it."""

    seed: int
    frames: tuple[Image.Image, ...]
    """One per second."""
    appearances: tuple[Appearance, Appearance]
    """Two shapes with different names that start at different seconds and never touch."""
    split: Split


def draw_clip(seed: int) -> DrawnClip:
    """The clip of `seed`."""
    rng = random.Random(f"clip {seed}")
    size, background = rng.choice(SIZES), rng.choice(BACKGROUNDS)
    seconds = rng.randint(*FRAMES)
    first = _appearance(rng, size, seconds)
    second = _appearance(rng, size, seconds)
    while second.name == first.name or second.start == first.start or _touch(first.edges, second.edges):
        second = _appearance(rng, size, seconds)
    shapes = (first, second)
    frames = tuple(_frame(size, background, shapes, second) for second in range(seconds))
    return DrawnClip(seed, frames, shapes, split_of(*frames))


def _appearance(rng: random.Random, size: tuple[int, int], seconds: int) -> Appearance:
    side = rng.choice(SIDES)
    left, top = (GRID * rng.randint(0, (extent - side) // GRID) for extent in size)
    length = rng.randint(*LENGTHS)
    start = rng.randint(0, seconds - length)
    edges = (left + 1, top + 1, left + side - 2, top + side - 2)
    return Appearance(rng.choice(SHAPES), rng.choice(list(COLOURS)), edges, start, start + length)


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _frame(size: tuple[int, int], background: Colour, shapes: tuple[Appearance, ...], second: int) -> Image.Image:
    image = Image.new("RGB", size, background)
    canvas = ImageDraw.Draw(image)
    for shown in shapes:
        if shown.start <= second < shown.end:
            draw_shape(canvas, shown.shape, shown.edges, COLOURS[shown.colour])
    return image
