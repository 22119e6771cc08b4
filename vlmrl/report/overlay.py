"""Gold and answers drawn over a picture, in original pixels.

The drawing's viewBox is the original picture, so a coordinate is drawn as it stands; only pen widths and labels are
scaled, by the number of original pixels that one pixel on the page covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vlmrl.geometry import Box, ImageRecord, Point, Size
from vlmrl.report.markup import Html, element, join
from vlmrl.report.numbers import ranges
from vlmrl.report.pictures import shown
from vlmrl.report.run_folder import LoggedRollout
from vlmrl.types import Action, Answer, Boxes, Points, Unparsed

MAX_WIDTH = 480
"""Of a drawing on the page, in page pixels."""
MAX_ENLARGEMENT = 3.0
SAME_PLACE = 3.0
"""Marks closer than this (page pixels) share one label."""

Kind = Literal["hit", "miss", "answer"]
Rectangle = tuple[float, float, float, float]


def shapes(answer: Answer) -> tuple[Point | Box, ...]:
    """What of an answer lies on a picture."""
    match answer:
        case Point() | Box():
            return (answer,)
        case Points(items):
            return items
        case Boxes(items):
            return tuple(item.box for item in items)
        case Action(_, Point() as point):
            return (point,)
    return ()


def kind_of(answer: Answer, gold: Answer) -> Kind:
    """Whether every point, or box's centre, lies in a gold box; "answer" where there is no box to be inside of."""
    targets = [shape for shape in shapes(gold) if isinstance(shape, Box)]
    if not targets or not shapes(answer):
        return "answer"
    return "hit" if all(_inside(shape, targets) for shape in shapes(answer)) else "miss"


def _inside(shape: Point | Box, targets: Sequence[Box]) -> bool:
    position = shape.center if isinstance(shape, Box) else shape
    return any(position.frame == target.frame and target.contains(position) for target in targets)


def drawing(
    record: ImageRecord,
    picture: str,
    gold: Answer,
    rollouts: Sequence[LoggedRollout],
    *,
    numbered: bool = True,
    max_height: int,
) -> Html:
    """One picture with the gold answer and the rollouts' answers that lie on it; rollouts are numbered from 1."""
    size = record.original
    width, height = _display_size(size, max_height)
    canvas = _Canvas(size, size.width / width)
    answers = [
        (number, shape)
        for number, rollout in enumerate(rollouts, start=1)
        if not isinstance(rollout.answer, Unparsed)
        for shape in shapes(rollout.answer)
        if shape.frame.image == record.index
    ]
    marks = _marks(answers, gold, canvas)
    gold_layers = [canvas.gold(shape) for shape in shapes(gold) if shape.frame.image == record.index]
    # From the many to the few: misses must not cover gold, nor anything the one good answer of a group.
    layers = [shown(picture, size), *(halo for halo, _ in gold_layers)]
    layers += [canvas.answer_box(shape, kind_of(shape, gold)) for _, shape in answers if isinstance(shape, Box)]
    layers += [canvas.mark(mark) for mark in marks if mark.kind != "hit"]
    layers += [outline for _, outline in gold_layers]
    layers += [canvas.mark(mark) for mark in marks if mark.kind == "hit"]
    if numbered:
        layers += [canvas.label(mark) for mark in marks]
    drawn = len({number for number, _ in answers})
    return element(
        "svg",
        *layers,
        class_="drawing",
        viewBox=f"0 0 {size.width} {size.height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"Picture of {size} pixels with the gold answer and {drawn} of {len(rollouts)} answers drawn",
    )


@dataclass
class _Mark:
    x: float
    y: float
    kind: Kind
    numbers: list[int] = field(default_factory=list)


def _marks(answers: Sequence[tuple[int, Point | Box]], gold: Answer, canvas: "_Canvas") -> list[_Mark]:
    marks: list[_Mark] = []
    for number, answer in answers:
        position = answer.center if isinstance(answer, Box) else answer
        x, y = canvas.clamped(position)
        kind = kind_of(answer, gold)
        for mark in marks:
            near = max(abs(mark.x - x), abs(mark.y - y)) <= SAME_PLACE * canvas.unit
            if mark.kind == kind and near:
                mark.numbers.append(number)
                break
        else:
            marks.append(_Mark(x, y, kind, [number]))
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

    def label(self, mark: _Mark) -> Html:
        """The mark's numbers beside it, at the first of eight places that covers nothing, or the least covering one."""
        written = ranges(mark.numbers)
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
        return element(
            "text",
            written,
            class_=f"{mark.kind} number",
            x=place[0] + self.unit,
            y=place[3] - 2.5 * self.unit,
            font_size=11 * self.unit,
            stroke_width=3 * self.unit,
        )

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


def _display_size(size: Size, max_height: int) -> tuple[int, int]:
    scale = min(MAX_WIDTH / size.width, max_height / size.height, MAX_ENLARGEMENT)
    return max(1, round(size.width * scale)), max(1, round(size.height * scale))
