"""Drawn shapes to be counted: an endless supply of rows with exact counts.

A drawing is a pure function of an integer seed.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, draw_shape
from vlmrl.task import Split

from .schemas import how_many

SIZES = ((128, 128), (160, 96), (96, 160))
CELL = 32
"""Every shape stands in a cell of its own, so none covers another."""
SIDES = (16, 24)
MOST_SHAPES = 9
KINDS = 2
"""Different shapes, and different colours, that one picture takes from."""
ABSENT = 0.1
"""Share of the questions whose answer is none."""


@dataclass(frozen=True)
class Drawing:
    """A picture and its question."""

    image: Image.Image
    question: str
    count: int
    split: Split


def draw(seed: int) -> Drawing:
    """The drawing of `seed`."""
    rng = random.Random(seed)
    width, height = rng.choice(SIZES)
    image = Image.new("RGB", (width, height), rng.choice(BACKGROUNDS))
    canvas = ImageDraw.Draw(image)
    names, colours = rng.sample(SHAPES, KINDS), rng.sample(list(COLOURS), KINDS)
    cells = [(left, top) for left in range(0, width, CELL) for top in range(0, height, CELL)]
    kinds = []
    for left, top in rng.sample(cells, rng.randint(1, MOST_SHAPES)):
        name, colour, side = rng.choice(names), rng.choice(colours), rng.choice(SIDES)
        x, y = left + rng.randint(1, CELL - side - 1), top + rng.randint(1, CELL - side - 1)
        draw_shape(canvas, name, (x, y, x + side - 1, y + side - 1), COLOURS[colour])
        kinds.append((colour, name))
    question, count = _question(rng, kinds)
    return Drawing(image, question, count, split_of(image))


def _question(rng: random.Random, kinds: list[tuple[str, str]]) -> tuple[str, int]:
    """How many of a shape, of a colour, or of both; or of a shape that is not there."""
    if rng.random() < ABSENT:
        absent = rng.choice([name for name in SHAPES if name not in {name for _, name in kinds}])
        return how_many(_plural(absent)), 0
    colour, name = rng.choice(kinds)
    match rng.choice(("shape", "colour", "both")):
        case "shape":
            return how_many(_plural(name)), sum(kind[1] == name for kind in kinds)
        case "colour":
            return how_many(f"{colour} shapes"), sum(kind[0] == colour for kind in kinds)
    return how_many(f"{colour} {_plural(name)}"), kinds.count((colour, name))


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith("s") else f"{name}s"
