"""Gold and answers drawn over a picture, in original pixels.

The drawing's viewBox is the original picture, so a coordinate is drawn as it stands; only pen widths and labels are
scaled, by the number of original pixels that one pixel on the page covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlmrl.geometry import Box, ImageRecord, Point, Size
from vlmrl.report.logged import LoggedRollout
from vlmrl.report.markup import Html, element, join
from vlmrl.report.numbers import ranges
from vlmrl.report.pictures import shown
from vlmrl.types import Action, Answer, Boxes, Points, Unparsed

MAX_WIDTH = 480
"""Of a drawing on the page, in page pixels."""
MAX_ENLARGEMENT = 3.0
LEAST_SIDE = 160
"""The longer side of a picture of a few pixels is enlarged to this many page pixels."""
LEAST_EXTENT = 48
"""A drawing of a picture that is only a strip has room for marks beside it, up to this many page pixels in all."""
SAME_PLACE = 3.0
"""Marks closer than this (page pixels) share one label."""

Kind = Literal["hit", "miss", "answer"]
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """What an answer puts on a picture: a point or a box, with the class of the object or the kind of action."""

    place: Point | Box
    label: str = ""


def shapes(answer: Answer) -> tuple[Shape, ...]:
    """What of an answer lies on a picture."""
    match answer:
        case Point() | Box():
            return (Shape(answer),)
        case Points(items):
            return tuple(map(Shape, items))
        case Boxes(items):
            return tuple(Shape(item.box, item.label) for item in items)
        case Action(kind, Point() as point):
            return (Shape(point, kind),)
    return ()


@dataclass(frozen=True)
class Target:
    """What is drawn as right, and what answers are held against."""

    gold: Answer
    box: Box | None = None
    """Where a gold action may be placed, if its row says so."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        allowed = (Shape(self.box, self.gold.kind),) if self.box and isinstance(self.gold, Action) else ()
        return (*allowed, *shapes(self.gold))

    def kind_of(self, shape: Shape) -> Kind:
        """Whether a point, or a box's centre, lies in a gold box of its label; "answer" if there is no gold box."""
        boxes = [(gold.place, gold.label) for gold in self.shapes if isinstance(gold.place, Box)]
        if not boxes:
            return "answer"
        position = shape.place.center if isinstance(shape.place, Box) else shape.place
        inside = any(
            position.frame == box.frame and box.contains(position) and label == shape.label for box, label in boxes
        )
        return "hit" if inside else "miss"


def drawing(
    record: ImageRecord,
    picture: str | None,
    target: Target,
    rollouts: Sequence[LoggedRollout],
    *,
    numbered: bool = True,
    max_height: int,
) -> Html:
    """One picture with the gold answer and the rollouts' answers that lie on it; rollouts are numbered from 1.

    Without a picture the drawing is an empty frame of its size.
    """
    size = record.original
    scale = _scale(size, max_height)
    width, height = (max(1, round(extent * scale)) for extent in (size.width, size.height))
    canvas = _Canvas(size, 1 / scale)
    gold = [shape for shape in target.shapes if shape.place.frame.image == record.index]
    answers = [
        (number, shape)
        for number, rollout in enumerate(rollouts, start=1)
        if not isinstance(rollout.answer, Unparsed)
        for shape in shapes(rollout.answer)
        if shape.place.frame.image == record.index
    ]
    marks = _marks(answers, target, canvas)
    gold_layers = [canvas.gold(shape.place) for shape in gold]
    # From the many to the few: misses must not cover gold, nor anything the one good answer of a group.
    layers = [shown(picture, size)] if picture else []
    layers += [halo for halo, _ in gold_layers]
    layers += [
        _of([number], canvas.answer_box(shape.place, target.kind_of(shape)))
        for number, shape in answers
        if isinstance(shape.place, Box)
    ]
    layers += [_of(mark.numbers, canvas.mark(mark)) for mark in marks if mark.kind != "hit"]
    layers += [outline for _, outline in gold_layers]
    layers += [_of(mark.numbers, canvas.mark(mark)) for mark in marks if mark.kind == "hit"]
    # A class is written where there is more than one; boxes of a single class need no name.
    labelled = len({shape.label for shape in (*gold, *(shape for _, shape in answers))}) > 1
    if labelled:
        layers += [canvas.name(shape) for shape in gold if shape.label]
    for mark in marks:
        words = [*([ranges(mark.numbers)] if numbered else []), *([mark.label] if labelled else [])]
        if any(words):
            layers.append(_of(mark.numbers, canvas.label(mark, " ".join(words))))
    drawn = len({number for number, _ in answers})
    left, above = (max(0, LEAST_EXTENT - extent) * canvas.unit / 2 for extent in (width, height))
    return element(
        "svg",
        *layers,
        class_="drawing" if picture else "drawing blank",
        viewBox=f"{0 - left:g} {0 - above:g} {size.width + 2 * left:g} {size.height + 2 * above:g}",
        width=max(width, LEAST_EXTENT),
        height=max(height, LEAST_EXTENT),
        role="img",
        aria_label=f"Picture of {size} pixels with the gold answer and {drawn} of {len(rollouts)} answers drawn",
    )


def _of(numbers: Sequence[int], *drawn: Html) -> Html:
    """What belongs to these answers, so that the page can show one answer alone."""
    return element("g", *drawn, data_answers=" ".join(map(str, numbers)))


@dataclass
class _Mark:
    x: float
    y: float
    kind: Kind
    label: str
    numbers: list[int]


def _marks(answers: Sequence[tuple[int, Shape]], target: Target, canvas: "_Canvas") -> list[_Mark]:
    marks: list[_Mark] = []
    for number, shape in answers:
        position = shape.place.center if isinstance(shape.place, Box) else shape.place
        x, y = canvas.clamped(position)
        kind = target.kind_of(shape)
        for mark in marks:
            near = max(abs(mark.x - x), abs(mark.y - y)) <= SAME_PLACE * canvas.unit
            if (mark.kind, mark.label) == (kind, shape.label) and near:
                mark.numbers = sorted({*mark.numbers, number})
                break
        else:
            marks.append(_Mark(x, y, kind, shape.label, [number]))
    return marks


class _Canvas:
    """Draws on one picture; `unit` is the number of original pixels under one page pixel."""

    def __init__(self, size: Size, unit: float) -> None:
        self.size = size
        self.unit = unit
        self._taken: list[Rectangle] = []

    def clamped(self, point: Point) -> tuple[float, float]:
        """The position; if it is off the picture, the nearest place where a mark can still be seen whole."""
        if point.in_image:
            return point.x, point.y
        margin = min(6 * self.unit, self.size.width / 2, self.size.height / 2)
        x = min(max(point.x, margin), self.size.width - margin)
        return x, min(max(point.y, margin), self.size.height - margin)

    def gold(self, gold: Point | Box) -> tuple[Html, Html]:
        """Halo and outline, apart so that answers can come between them."""
        if isinstance(gold, Box):
            self._taken.append((gold.x1, gold.y1, gold.x2, gold.y2))
            return self._outlined("rect", "gold", 2, x=gold.x1, y=gold.y1, width=gold.width, height=gold.height)
        return self._outlined("circle", "gold", 2, cx=gold.x, cy=gold.y, r=7 * self.unit)

    def answer_box(self, box: Box, kind: Kind) -> Html:
        dash = f"{5 * self.unit:.2f} {3 * self.unit:.2f}"
        return join(*self._outlined("rect", kind, 1.5, dash, x=box.x1, y=box.y1, width=box.width, height=box.height))

    def mark(self, mark: _Mark) -> Html:
        reach = 5 * self.unit
        self._taken.append((mark.x - reach, mark.y - reach, mark.x + reach, mark.y + reach))
        if mark.kind == "miss":
            x, y, arm = mark.x, mark.y, 4 * self.unit
            falling = f"M{x - arm:.2f} {y - arm:.2f}L{x + arm:.2f} {y + arm:.2f}"
            rising = f"M{x - arm:.2f} {y + arm:.2f}L{x + arm:.2f} {y - arm:.2f}"
            return join(*self._outlined("path", "miss", 2.5, d=falling + rising))
        return element(
            "circle",
            class_=f"{mark.kind} dot",
            cx=mark.x,
            cy=mark.y,
            r=4.5 * self.unit,
            stroke_width=1.5 * self.unit,
        )

    def label(self, mark: _Mark, written: str) -> Html:
        """Words beside a mark, at the first of eight places that covers nothing, or the least covering one."""
        width, height, gap = (6.5 * len(written) + 2) * self.unit, 12 * self.unit, 7 * self.unit
        places = [
            (
                mark.x + (gap if dx > 0 else -gap - width if dx < 0 else -width / 2),
                mark.y + dy * gap - (1 - dy) * height / 2,
            )
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
        ]
        place = min(((x, y, x + width, y + height) for x, y in places), key=self._covered)
        self._taken.append(place)
        return self._words(written, f"{mark.kind} number", place[0] + self.unit, place[3] - 2.5 * self.unit)

    def name(self, shape: Shape) -> Html:
        """The class of a gold object at its upper left corner."""
        box = shape.place
        x, y = (box.x1, box.y1) if isinstance(box, Box) else (box.x, box.y)
        return self._words(shape.label, "gold number", x + 3 * self.unit, y + 12 * self.unit)

    def _words(self, written: str, style: str, x: float, y: float) -> Html:
        return element("text", written, class_=style, x=x, y=y, font_size=11 * self.unit, stroke_width=3 * self.unit)

    def _covered(self, place: Rectangle) -> int:
        x1, y1, x2, y2 = place
        outside = max(0.0, -x1) + max(0.0, -y1) + max(0.0, x2 - self.size.width) + max(0.0, y2 - self.size.height)
        overlap = sum(
            max(0.0, min(x2, right) - max(x1, left)) * max(0.0, min(y2, bottom) - max(y1, top))
            for left, top, right, bottom in self._taken
        )
        return round((overlap + outside * (x2 - x1 + y2 - y1)) / self.unit**2)

    def _outlined(
        self, tag: str, kind: str, pen: float, dash: str | None = None, **shape: float | str
    ) -> tuple[Html, Html]:
        """A wide pale stroke and the stroke over it, so that the shape stands out on any picture."""
        halo = element(tag, class_="halo", stroke_width=(pen + 2) * self.unit, **shape)
        return halo, element(tag, class_=kind, stroke_width=pen * self.unit, stroke_dasharray=dash, **shape)


def _scale(size: Size, max_height: int) -> float:
    """Page pixels per pixel of the picture."""
    enlargement = max(MAX_ENLARGEMENT, LEAST_SIDE / max(size.width, size.height))
    return min(MAX_WIDTH / size.width, max_height / size.height, enlargement)
