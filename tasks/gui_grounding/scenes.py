"""Drawn screens as warm-up scenes: every element labelled, every question answered."""

import random
from collections.abc import Iterator

from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT
from vlmrl.geometry import Box, Frame, ImageRecord, Point, Size, Unit
from vlmrl.training.scenes import Region, Scene, Turn

from .synthetic import Element, Screen, screens

BOX_SHARE = 0.15
"""Share of the questions that ask for the element's box instead of a point in it."""
FIRST_SCREEN = 1 << 48
"""Screen seeds from here on are the warm-up's; a seed of the warm-up reserves 2**32 of them."""


def draw_scenes(seed: int, convention: Convention) -> Iterator[Scene]:
    """Training screens without end, with answers in `convention`."""
    for screen in screens("train", FIRST_SCREEN + (seed << 32)):
        yield _scene(screen, convention)


def _scene(screen: Screen, convention: Convention) -> Scene:
    rng = random.Random(f"answers {screen.seed}")
    record = ImageRecord(index=0, original=Size(*screen.image.size))
    frame = record.frame(Unit.ORIGINAL)
    turns = []
    for question in screen.questions():
        x1, y1, x2, y2 = question.target.box
        gold: Point | Box
        if rng.random() < BOX_SHARE:
            answer, gold = BOX, Box(*_hundredths(x1, y1, frame), *_hundredths(x2, y2, frame), frame)
        else:
            answer, gold = POINT, Point(*_hundredths((x1 + x2) / 2, (y1 + y2) / 2, frame), frame)
        request = f"{question.instruction}\n{answer.request(convention)}"
        turns.append(Turn(request, answer.render(gold, convention, record)))
    return Scene(
        image=screen.image,
        regions=tuple(Region(Box(*element.box, frame), _attributes(element)) for element in screen.elements),
        turns=tuple(turns),
    )


def _hundredths(x: float, y: float, frame: Frame) -> tuple[float, float]:
    """The position rounded to hundredths of the picture: answers without a third digit are learnt sooner."""
    return round(100 * x / frame.width) * frame.width / 100, round(100 * y / frame.height) * frame.height / 100


def _attributes(element: Element) -> dict[str, str]:
    if element.kind == "button":
        return {"colour": f" {element.colour}", "word": element.label}
    return {"colour": f" {element.colour}", "shape": f" {element.label}"}
