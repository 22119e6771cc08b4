"""Points, boxes and time spans that know which coordinate frame they are in.

There is no bare list of four numbers anywhere in vlmrl. A `Point` or `Box` carries its `Frame`, so comparing numbers
of two frames raises `FrameError` instead of giving a wrong score, and moving a value to another frame is one explicit
call.
"""

from dataclasses import dataclass
from enum import Enum
from math import hypot, isfinite


class FrameError(ValueError):
    """Two values of different coordinate frames were mixed, or a value does not fit its frame."""


class Unit(Enum):
    """What one unit of a coordinate means. Coordinates are continuous: pixel column c spans c to c + 1."""

    ORIGINAL = "original pixels"
    """Pixels of the picture as stored (after its EXIF rotation)."""
    MODEL = "model pixels"
    """Pixels of the resized picture that the vision tower receives."""
    NORM1000 = "0-1000"
    """Thousandths of the picture's width and height."""
    NORM1 = "0-1"
    """Fractions of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of a picture in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise FrameError(f"a picture of {self.width} x {self.height} pixels has no area")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Frame:
    """The coordinate space of one picture of one row: a unit, and how far the picture reaches in it.

    `image` is the picture's index in its row and `original` its stored size; two frames belong to the same picture only
    if both agree. `width` and `height` are the picture's extent in this frame's unit.
    """

    unit: Unit
    image: int
    original: Size
    width: float
    height: float

    def __str__(self) -> str:
        return f"{self.unit.value} of image {self.image} ({self.original})"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A picture's index in its row, its stored size, and the size the model sees once the processor has run."""

    index: int
    original: Size
    model: Size | None = None

    def frame(self, unit: Unit) -> Frame:
        """This picture's frame in `unit`. Raises FrameError for model pixels before the processor has run."""
        match unit:
            case Unit.ORIGINAL:
                width, height = float(self.original.width), float(self.original.height)
            case Unit.MODEL:
                if self.model is None:
                    raise FrameError(f"image {self.index}: its model size is known only after the processor has run")
                width, height = float(self.model.width), float(self.model.height)
            case Unit.NORM1000:
                width = height = 1000.0
            case Unit.NORM1:
                width = height = 1.0
        return Frame(unit, self.index, self.original, width, height)


def _require_same(a: Frame, b: Frame) -> None:
    if a != b:
        raise FrameError(f"cannot mix coordinates in {a} with coordinates in {b}: convert one with .to(frame)")


def _require_convertible(source: Frame, target: Frame) -> None:
    if source.image != target.image or source.original != target.original:
        raise FrameError(f"cannot convert coordinates in {source} to {target}: they belong to different pictures")
    if source.unit is target.unit and source != target:
        raise FrameError(f"{source} and {target} disagree about the picture's extent")


def _moved(along: float, source_extent: float, target_extent: float) -> float:
    # Multiplying first keeps whole numbers exact: an answer on the picture's last edge must stay on the picture.
    return along * target_extent / source_extent


def _require_finite(*values: float) -> None:
    if not all(isfinite(v) for v in values):
        raise FrameError(f"coordinates must be finite numbers, not {values}")


@dataclass(frozen=True, slots=True)
class Point:
    """A position in a frame."""

    x: float
    y: float
    frame: Frame

    def __post_init__(self) -> None:
        _require_finite(self.x, self.y)

    def to(self, frame: Frame) -> "Point":
        """The same position in another frame of the same picture; in its own frame, exactly the same."""
        if frame == self.frame:
            return self
        _require_convertible(self.frame, frame)
        x = _moved(self.x, self.frame.width, frame.width)
        y = _moved(self.y, self.frame.height, frame.height)
        return Point(x, y, frame)

    def distance(self, other: "Point") -> float:
        """Euclidean distance in the unit of the common frame."""
        _require_same(self.frame, other.frame)
        return hypot(self.x - other.x, self.y - other.y)

    @property
    def in_image(self) -> bool:
        """Whether the point lies on the picture, edges included."""
        return 0 <= self.x <= self.frame.width and 0 <= self.y <= self.frame.height


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle with x1 <= x2 and y1 <= y2 in a frame. Raises FrameError for swapped corners."""

    x1: float
    y1: float
    x2: float
    y2: float
    frame: Frame

    def __post_init__(self) -> None:
        _require_finite(self.x1, self.y1, self.x2, self.y2)
        if self.x1 > self.x2 or self.y1 > self.y2:
            raise FrameError(f"box ({self.x1}, {self.y1}, {self.x2}, {self.y2}) has swapped corners")

    def to(self, frame: Frame) -> "Box":
        """The same rectangle in another frame of the same picture; in its own frame, exactly the same."""
        if frame == self.frame:
            return self
        _require_convertible(self.frame, frame)
        x1, x2 = (_moved(x, self.frame.width, frame.width) for x in (self.x1, self.x2))
        y1, y2 = (_moved(y, self.frame.height, frame.height) for y in (self.y1, self.y2))
        return Box(x1, y1, x2, y2, frame)

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def center(self) -> Point:
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2, self.frame)

    @property
    def in_image(self) -> bool:
        """Whether the whole box lies on the picture, edges included."""
        return 0 <= self.x1 and 0 <= self.y1 and self.x2 <= self.frame.width and self.y2 <= self.frame.height

    def contains(self, point: Point) -> bool:
        """Whether the point is inside, edges included (the rule of SeeClick and ScreenSpot-Pro)."""
        _require_same(self.frame, point.frame)
        return self.x1 <= point.x <= self.x2 and self.y1 <= point.y <= self.y2

    def intersection_area(self, other: "Box") -> float:
        _require_same(self.frame, other.frame)
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(width, 0.0) * max(height, 0.0)

    def iou(self, other: "Box") -> float:
        """Intersection over union in [0, 1]; 0 when neither box has an area."""
        intersection = self.intersection_area(other)
        union = self.area + other.area - intersection
        return intersection / union if union > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Clip:
    """The time axis of one video of one row, in seconds from the clip's start."""

    video: int
    """The video's index in its row."""
    duration: float

    def __post_init__(self) -> None:
        if not isfinite(self.duration) or self.duration <= 0:
            raise FrameError(f"a clip of {self.duration} seconds has no duration")

    def __str__(self) -> str:
        return f"video {self.video} ({self.duration:g} s)"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a clip from `start` to `end`, in seconds. Raises FrameError for a reversed or non-finite span."""

    start: float
    end: float
    clip: Clip

    def __post_init__(self) -> None:
        _require_finite(self.start, self.end)
        if self.start > self.end:
            raise FrameError(f"span {self.start}..{self.end} ends before it starts")

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def in_clip(self) -> bool:
        """Whether the whole span lies in the clip, ends included."""
        return 0 <= self.start and self.end <= self.clip.duration

    def tiou(self, other: "Span") -> float:
        """Temporal IoU in [0, 1]; 0 when neither span has a length. Raises FrameError for spans of two clips."""
        if self.clip != other.clip:
            raise FrameError(f"cannot compare a span of {self.clip} with a span of {other.clip}")
        intersection = max(min(self.end, other.end) - max(self.start, other.start), 0.0)
        union = self.length + other.length - intersection
        return intersection / union if union > 0 else 0.0
