"""Several candidates for one point, the likeliest first: for rewards that pay exploration (InfiGUI-G1).

json: `[{"point_2d": [x, y]}, ...]`; the other notations: the point of `vlmrl.answers.coordinates`, repeated.

| completion                                              | result               |
|---------------------------------------------------------|----------------------|
| one to MOST_POINTS points, each as a single point is    | the points, in order |
| empty list, more points, a bad point anywhere           | Unparsed             |
| any three of them on one line, two of them the same one | Unparsed             |

The last rule is InfiGUI-G1's (arXiv 2508.05731, reward_fn.py): without it a grid of guesses would be an answer. There
two equal points are refused only beside a third one, with which they are on one line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import parse_json
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import GRID, MARKUP, POINT, placed
from vlmrl.geometry import Point, Unit
from vlmrl.types import Points, Refusal, Sample, Unparsed

MOST_POINTS = 20
"""Candidates of the longest answer. The published reward has no limit; each further candidate makes it smaller."""
SCATTER = ((0.2, 0.3), (0.7, 0.2), (0.4, 0.8), (0.9, 0.6), (0.5, 0.5))
"""Guesses of an attack, in fractions of the picture's sides; no three are on one line."""


@dataclass(frozen=True)
class PointsAnswer(AnswerType):
    """One or more points on the picture that is asked about."""

    refusable: bool = False
    """Whether a single point with negative coordinates refuses, as in `CoordinateAnswer`."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        shown = f"{self._written([POINT.names], convention, more=True)}, one or more candidates, the likeliest first"
        refusal = f", or {self._written([(-1, -1)], convention)} if it is not in the picture" if self.refusable else ""
        return f"Answer {'with JSON only:' if convention.notation == 'json' else 'only with'} {shown}{refusal}"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The gold point, or the centre of a gold box, as the only candidate."""
        if isinstance(sample.gold, Refusal):
            return self._written([(-1, -1)], convention)
        return self._written([convention.coordinates(POINT.asked(sample.gold), sample.asked)], convention)

    def read(self, block: str, sample: Sample, convention: Convention) -> Points | Refusal | Unparsed:
        """The points in original pixels, or why the completion is no answer (rules in the module's docstring)."""
        written = _from_json(block) if convention.notation == "json" else _from_markup(block, convention)
        if isinstance(written, Unparsed):
            return written
        if self.refusable and len(written) == 1 and max(written[0]) < 0:
            return Refusal()
        if not 1 <= len(written) <= MOST_POINTS:
            return Unparsed(f"{len(written)} points; an answer has 1 to {MOST_POINTS}")
        if len({tuple(numbers) for numbers in written}) < len(written):
            return Unparsed("the same point twice")
        if any(_on_one_line(*three) for three in combinations(written, 3)):
            return Unparsed("three points on one line")
        points = []
        for number, numbers in enumerate(written):
            point = placed(numbers, sample.asked, convention)
            if not isinstance(point, Point):
                return Unparsed(f"point {number}: {point.reason if isinstance(point, Unparsed) else 'is a box'}")
            points.append(point)
        return Points(tuple(points))

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Guesses that do not look at the picture, and ways to name many places."""
        frame = sample.asked.frame(Unit.ORIGINAL)

        def at(*shares: tuple[float, float]) -> str:
            points = [Point(x * frame.width, y * frame.height, frame) for x, y in shares]
            return self._written([convention.coordinates(point, sample.asked) for point in points], convention)

        steps = [(i + 0.5) / GRID for i in range(GRID)]
        refusals = [Attack("a refusal", self._written([(-1, -1)], convention), guess=True, blind=True)]
        return [
            *(refusals if self.refusable else []),
            Attack("the picture's centre", at((0.5, 0.5)), guess=True, blind=True),
            Attack("scattered guesses", at(*SCATTER), guess=True, blind=True),
            Attack("a line of guesses", at(*((0.5, step) for step in steps))),
            Attack("a grid of guesses", at(*((x, y) for x in steps for y in steps))),
            Attack("the format without numbers", self._written([POINT.names], convention), blind=True),
        ]

    @staticmethod
    def _written(points: Sequence[Sequence[object]], convention: Convention, more: bool = False) -> str:
        if convention.notation != "json":
            return "".join(MARKUP[convention.notation].point.format(*numbers) for numbers in points) + " ..." * more
        listed = ", ".join(f'{{"{POINT.key}": [{", ".join(map(str, numbers))}]}}' for numbers in points)
        return f"[{listed}{', ...' * more}]"


def _from_json(block: str) -> list[list[float]] | Unparsed:
    value = parse_json(block)
    if isinstance(value, Unparsed):
        return value
    if not isinstance(value, list):
        return Unparsed("expected a list of points")
    written = []
    for number, item in enumerate(value):
        numbers = POINT.numbers(item)
        if isinstance(numbers, Unparsed):
            return Unparsed(f"point {number}: {numbers.reason}")
        written.append(numbers)
    return written


def _from_markup(block: str, convention: Convention) -> list[list[float]] | Unparsed:
    point = MARKUP[convention.notation].pattern(2)
    position, written = 0, []
    while match := re.compile(rf"{point}\s*").match(block, position):
        written.append([float(number) for number in match.groups()])
        position = match.end()
    if position < len(block):
        return Unparsed(f"expected {MARKUP[convention.notation].point.format(*POINT.names)} ...")
    return written


def _on_one_line(a: list[float], b: list[float], c: list[float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) == (b[1] - a[1]) * (c[0] - a[0])


POINTS = PointsAnswer()
