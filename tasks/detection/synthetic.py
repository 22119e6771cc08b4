"""Drawn shapes to be found among others: an endless supply of detection rows with exact boxes.

A drawing is a pure function of an integer seed. Shapes stand on an 8-pixel grid and do not touch; boxes are in pixels,
(left, top, right, bottom) with the right and bottom edges exclusive.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, PixelBox, draw_shape, overlap
from vlmrl.task import Split

SIZES = ((128, 128), (160, 96), (96, 160))
GRID = 8
"""Every shape starts and ends one pixel inside a grid line."""
SIDES = (16, 24)
SHAPES_IN_PICTURE = (2, 5)
KINDS_IN_PICTURE = 2
"""Different shapes, and different colours, that one picture takes from: few, so that several fit one question."""
MOST_TARGETS = 3
"""Objects of the longest answer: it must fit the completion limit of a small model."""
PLACEMENT_TRIES = 20


@dataclass(frozen=True)
class Shape:
    """One shape on the picture."""

    name: str
    colour: str
    box: PixelBox


@dataclass(frozen=True)
class Question:
    """What is asked for and what answers it."""

    text: str
    classes: tuple[str, ...]
    targets: tuple[Shape, ...]
    """In reading order: by the top edge, then by the left one."""


@dataclass(frozen=True)
class Drawing:
    """A picture and its question."""

    image: Image.Image
    shapes: tuple[Shape, ...]
    question: Question
    split: Split


def draw(seed: int) -> Drawing:
    """The drawing of `seed`."""
    rng = random.Random(seed)
    size = rng.choice(SIZES)
    image = Image.new("RGB", size, rng.choice(BACKGROUNDS))
    shapes = _placed(rng, size)
    canvas = ImageDraw.Draw(image)
    for shape in shapes:
        left, top, right, bottom = shape.box
        draw_shape(canvas, shape.name, (left, top, right - 1, bottom - 1), COLOURS[shape.colour])
    return Drawing(image, shapes, rng.choice(_questions(shapes)), split_of(image))


def _placed(rng: random.Random, size: tuple[int, int]) -> tuple[Shape, ...]:
    """Shapes that do not overlap. The first two differ, so that one of their names has no more than MOST_TARGETS."""
    names, colours = rng.sample(SHAPES, KINDS_IN_PICTURE), rng.sample(list(COLOURS), KINDS_IN_PICTURE)
    count = rng.randint(*SHAPES_IN_PICTURE)
    placed: list[Shape] = []
    for _ in range(PLACEMENT_TRIES * count):
        if len(placed) == count:
            break
        side = rng.choice(SIDES)
        left, top = (GRID * rng.randint(0, (extent - side) // GRID) for extent in size)
        name = names[len(placed)] if len(placed) < KINDS_IN_PICTURE else rng.choice(names)
        shape = Shape(name, rng.choice(colours), (left + 1, top + 1, left + side - 1, top + side - 1))
        if not any(overlap(shape.box, other.box) for other in placed):
            placed.append(shape)
    return tuple(placed)


def _questions(shapes: tuple[Shape, ...]) -> list[Question]:
    """Every question about these shapes with 1 to MOST_TARGETS answers, in the order the shapes were placed."""
    names = tuple(dict.fromkeys(shape.name for shape in shapes))
    kinds = dict.fromkeys((shape.colour, shape.name) for shape in shapes)
    questions = [_question(f"find every {name}", (name,), [s for s in shapes if s.name == name]) for name in names]
    for colour, name in kinds:
        alike = [shape for shape in shapes if (shape.colour, shape.name) == (colour, name)]
        questions.append(_question(f"find every {colour} {name}", (name,), alike))
    if len(names) > 1:
        questions.append(_question(f"find every {' and every '.join(names)}", names, list(shapes)))
    return [question for question in questions if len(question.targets) <= MOST_TARGETS]


def _question(text: str, classes: tuple[str, ...], targets: list[Shape]) -> Question:
    return Question(text, classes, tuple(sorted(targets, key=lambda shape: (shape.box[1], shape.box[0]))))
