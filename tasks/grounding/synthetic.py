"""Drawn pictures of coloured shapes: an endless supply of referring expressions with exact boxes.

A picture is a pure function of an integer seed. Every shape on it can be named without ambiguity.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, PixelBox, draw_shape
from vlmrl.task import Split

"""left, top, right, bottom in pixels; right and bottom exclusive."""
Naming = Literal["shape", "colour", "both", "position"]

SIZES = ((128, 128), (160, 96), (96, 160))
"""Width and height of the pictures."""
SIDES = (16, 24)
"""Sides of a shape's cell; the shape ends one pixel inside it."""
GRID = 8
"""Cells start at multiples of it, in pixels."""
COUNTS = (2, 5)
"""Fewest and most shapes of a picture."""
REPEATED = 0.4
"""Chance that a further shape is of a kind that is there already, so that its colour or place must tell it apart."""
MAX_PLACEMENT_TRIES = 20
LEAD = 8
"""Pixels by which the leftmost, ... shape is ahead of the next one, from centre to centre, to be called so."""


@dataclass(frozen=True)
class Shape:
    """Something that can be referred to."""

    shape: str
    colour: str
    box: PixelBox

    @property
    def center(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Reference:
    """An expression that fits exactly one shape of its picture."""

    expression: str
    target: Shape
    by: Naming
    """What tells the target from the rest."""


@dataclass(frozen=True)
class Picture:
    """One drawn picture and everything known about it."""

    seed: int
    image: Image.Image
    shapes: tuple[Shape, ...]
    split: Split

    def references(self) -> list[Reference]:
        """Every unambiguous expression for every shape, in the order the shapes were drawn."""
        return [reference for shape in self.shapes for reference in _references(shape, self.shapes)]


def draw_picture(seed: int) -> Picture:
    """Draw the picture of `seed`. Fewer shapes than drawn by lot are placed when there is no room for more."""
    rng = random.Random(seed)
    size = rng.choice(SIZES)
    image = Image.new("RGB", size, rng.choice(BACKGROUNDS))
    canvas = ImageDraw.Draw(image)
    shapes = _lay_out(rng, size, rng.randint(*COUNTS))
    for shape in shapes:
        left, top, right, bottom = shape.box
        draw_shape(canvas, shape.shape, (left, top, right - 1, bottom - 1), COLOURS[shape.colour])
    return Picture(seed, image, tuple(shapes), split_of(image))


def _lay_out(rng: random.Random, size: tuple[int, int], count: int) -> list[Shape]:
    """Shapes that neither touch nor share both kind and colour."""
    columns, rows = (side // GRID for side in size)
    placed: list[Shape] = []
    for _ in range(MAX_PLACEMENT_TRIES * count):
        if len(placed) == count:
            break
        side = rng.choice(SIDES)
        left, top = GRID * rng.randint(0, columns - side // GRID), GRID * rng.randint(0, rows - side // GRID)
        kind = rng.choice(placed).shape if placed and rng.random() < REPEATED else rng.choice(SHAPES)
        shape = Shape(kind, rng.choice(list(COLOURS)), (left + 1, top + 1, left + side - 1, top + side - 1))
        if not any(_touch(shape.box, other.box) or _alike(shape, other) for other in placed):
            placed.append(shape)
    return placed


def _references(target: Shape, shapes: Sequence[Shape]) -> list[Reference]:
    of_kind = [shape for shape in shapes if shape.shape == target.shape]
    references = [Reference(f"the {target.colour} {target.shape}", target, "both")]
    if len(of_kind) == 1:
        references.append(Reference(f"the {target.shape}", target, "shape"))
    if sum(shape.colour == target.colour for shape in shapes) == 1:
        references.append(Reference(f"the {target.colour} shape", target, "colour"))
    others = [shape.center for shape in of_kind if shape is not target]
    if others:
        x, y = target.center
        leads = {
            "leftmost": min(other[0] for other in others) - x,
            "rightmost": x - max(other[0] for other in others),
            "topmost": min(other[1] for other in others) - y,
            "lowest": y - max(other[1] for other in others),
        }
        references += [
            Reference(f"the {place} {target.shape}", target, "position")
            for place, lead in leads.items()
            if lead >= LEAD
        ]
    return references


def _touch(first: PixelBox, second: PixelBox) -> bool:
    return first[0] <= second[2] and second[0] <= first[2] and first[1] <= second[3] and second[1] <= first[3]


def _alike(first: Shape, second: Shape) -> bool:
    return (first.shape, first.colour) == (second.shape, second.colour)
