"""What a click must hit: a box, a polygon, or nothing at all where the right answer is a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from vlmrl.geometry import Box, Frame, Point
from vlmrl.rewards import boxes
from vlmrl.types import Points, Refusal, Sample

Click = Point | Points | Box | Refusal


@dataclass(frozen=True)
class Polygon:
    """A target that is no rectangle, by its corners in order; the last one is joined to the first."""

    corners: tuple[tuple[float, float], ...]
    """At least three."""
    frame: Frame

    def contains(self, point: Point) -> bool:
        """Whether a ray from the point to the right crosses the outline an odd number of times.

        Points on a left or upper edge are inside and those on a right or lower one are not, as in OSWorld-G's scorer
        (evaluation/eval.py) and its ports.
        """
        moved = point.to(self.frame)
        crossings = self._crossings(moved.y)
        return sum(moved.x < x for x in crossings) % 2 == 1

    @property
    def bounds(self) -> Box:
        xs, ys = zip(*self.corners, strict=True)
        return Box(min(xs), min(ys), max(xs), max(ys), self.frame)

    @property
    def inner_point(self) -> Point:
        """A point well inside: the middle of the longest stretch, halfway between two corners' heights."""
        heights = sorted({y for _, y in self.corners})
        stretches = [
            (right - left, (left + right) / 2, (above + below) / 2)
            for above, below in pairwise(heights)
            for left, right in _pairs(sorted(self._crossings((above + below) / 2)))
        ]
        _, x, y = max(stretches)
        return Point(x, y, self.frame)

    def _crossings(self, y: float) -> list[float]:
        """Where the outline crosses the height y."""
        edges = zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True)
        return [x1 + (x2 - x1) * (y - y1) / (y2 - y1) for (x1, y1), (x2, y2) in edges if (y1 > y) != (y2 > y)]


def _pairs(values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


def target_box(sample: Sample) -> Box:
    """The target's box, or the box around it."""
    if not isinstance(sample.gold, Box):
        raise TypeError(f"row {sample.id}: the target of GUI grounding is a box, not {sample.gold}")
    return sample.gold


def first_click(answer: Point | Points | Box) -> Point | Box:
    """The click of an answer: the first of several candidates counts."""
    return answer.items[0] if isinstance(answer, Points) else answer


def hits(answer: Click, sample: Sample) -> bool:
    """Whether the click (a box clicks its centre) is in the target, edges of boxes included, or a refusal is right."""
    if isinstance(answer, Refusal) or isinstance(sample.gold, Refusal):
        return isinstance(answer, Refusal) and isinstance(sample.gold, Refusal)
    click = first_click(answer)
    polygon = sample.extra.get("polygon")
    if isinstance(polygon, Polygon):
        return polygon.contains(boxes.click_point(click))
    return boxes.point_in_box(click, target_box(sample)) == 1.0


def exploration(answer: Click, sample: Sample) -> float:
    """1 / sqrt(N k) for N candidates of which the k-th is the first hit; -1 / N if none hits. A refusal is one.

    Source: InfiGUI-G1 (arXiv 2508.05731, reward_fn.py), its accuracy reward. Its -1 for candidates on one line is that
    of an unparsed completion here.
    """
    candidates = answer.items if isinstance(answer, Points) else (answer,)
    ranks = [rank for rank, candidate in enumerate(candidates, start=1) if hits(candidate, sample)]
    return 1 / sqrt(len(candidates) * ranks[0]) if ranks else -1 / len(candidates)
