"""Drawn screens as warm-up scenes: every element labelled and asked for."""

import random
from collections.abc import Iterator

from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT
from vlmrl.geometry import Box, Frame, ImageRecord, Point, Size, Unit
from vlmrl.synthetic.shapes import PixelBox
from vlmrl.training.scenes import Region, Scene, SceneKind, Turn
from vlmrl.types import Sample

from .synthetic import Element, Question, Screen, screens

BOX_SHARE = 0.15
"""Share of the questions that ask for the element's box instead of a point in it."""
FIRST_SCREEN = 1 << 48
"""Screen seeds from here on are the warm-up's; a seed of the warm-up reserves 2**32 of them."""


CROWD = (3, 7)
"""Fewest and most elements of a crowded screen."""
SCATTER = 2.0
"""Scattered points are uniform in the target's box stretched by this factor about its centre."""


def draw_scenes(seed: int, convention: Convention, kind: SceneKind) -> Iterator[Scene]:
    """Training screens without end, with answers in `convention`."""
    first = FIRST_SCREEN + (seed << 32)
    drawn = screens("train", first, CROWD) if kind is SceneKind.CROWDED else screens("train", first)
    for screen in drawn:
        yield _scene(screen, convention, kind)


def _scene(screen: Screen, convention: Convention, kind: SceneKind) -> Scene:
    rng = random.Random(f"turns {screen.seed}")
    record = ImageRecord(index=0, original=Size(*screen.image.size))
    frame = record.frame(Unit.ORIGINAL)
    questions: dict[PixelBox, list[Question]] = {}
    for question in screen.questions():
        questions.setdefault(question.target.box, []).append(question)
    chosen = [rng.choice(about_one) for about_one in questions.values()]
    rng.shuffle(chosen)
    scatter = SCATTER if kind is SceneKind.SCATTERED else 0.0
    return Scene(
        image=screen.image,
        regions=tuple(Region(Box(*element.box, frame), _attributes(element)) for element in screen.elements),
        turns=tuple(_turn(screen, question, rng, convention, record, scatter) for question in chosen),
    )


def _turn(
    screen: Screen, question: Question, rng: random.Random, convention: Convention, record: ImageRecord, scatter: float
) -> Turn:
    frame = record.frame(Unit.ORIGINAL)
    x1, y1, x2, y2 = question.target.box
    gold: Point | Box
    if rng.random() < BOX_SHARE:
        answer, gold = BOX, Box(*_hundredths(x1, y1, frame), *_hundredths(x2, y2, frame), frame)
    else:
        x, y = _scattered(x1, x2, scatter, rng), _scattered(y1, y2, scatter, rng)
        answer, gold = POINT, Point(*_hundredths(x, y, frame), frame)
    row = Sample("scene", (screen.image,), (record,), question.instruction, gold)
    return Turn(f"{row.question}\n{answer.request(row, convention)}", answer.render(row, convention))


def _scattered(low: float, high: float, scatter: float, rng: random.Random) -> float:
    """A number drawn uniformly from the interval stretched by `scatter` about its middle."""
    reach = scatter * (high - low) / 2
    return (low + high) / 2 + rng.uniform(-reach, reach)


def _hundredths(x: float, y: float, frame: Frame) -> tuple[float, float]:
    """The position rounded to hundredths of the picture: answers without a third digit are learnt sooner."""
    return round(100 * x / frame.width) * frame.width / 100, round(100 * y / frame.height) * frame.height / 100


def _attributes(element: Element) -> dict[str, str]:
    if element.kind == "button":
        return {"colour": f" {element.colour}", "word": element.label}
    return {"colour": f" {element.colour}", "shape": f" {element.label}"}
