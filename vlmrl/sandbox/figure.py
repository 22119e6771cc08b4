"""What a script drew, as typed values; and the strict reading of the untrusted JSON that describes it.

The facts come out of the process that ran the script. They are checked here for form and size, so that nothing in them
can harm the reader, but a script that tampers with its own process can lie about its own figure. Rewards should
therefore also look at the picture.
"""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from PIL import Image as PIL

MAX_AXES = 64
MAX_TEXTS = 1_000
MAX_ELEMENTS = 500
MAX_COLORS = 64
MAX_STRING = 300
MAX_SERIES = 2_000
MAX_NUMBERS = 30_000

TEXT_ROLES = frozenset(
    {"figure_title", "figure_xlabel", "figure_ylabel", "title", "xlabel", "ylabel", "zlabel", "xtick", "ytick", "ztick"}
    | {"xoffset", "yoffset", "zoffset", "legend", "legend_title", "annotation", "table"}
)

SERIES: dict[str, tuple[str, ...]] = {
    "bars": ("position", "length", "base", "thickness"),
    "line": ("x", "y", "z"),
    "horizontal": ("x", "y"),
    "vertical": ("x", "y"),
    "points": ("x", "y", "z", "value"),
    "segments": ("x", "y"),
    "polygons": ("x", "y"),
    "patch": ("x", "y"),
    "wedges": ("share", "radius", "thickness"),
    "image": ("value",),
    "mesh": ("value",),
    "contour": ("level",),
    "filled_contour": ("level",),
    "arrows": ("x", "y", "u", "v"),
    "surface": (),
    "other": ("x", "y"),
}
"""The kinds of elements and the series of numbers that each may have."""


class InvalidResult(ValueError):
    """What a script's process handed back is not a figure; the message names the place."""


@dataclass(frozen=True, slots=True)
class Text:
    """A visible, non-empty text."""

    role: str
    """One of `TEXT_ROLES`. Texts placed freely, pie and bar labels included, are `annotation`."""
    text: str
    axes: int | None
    """Index of its axes; None for the figure's own."""
    x: float
    y: float
    """Its centre as a share of the figure's width and height, from the lower left."""
    points: float
    color: str
    """As `#rrggbb`, like all colours here."""
    position: tuple[float, float]
    """Where the script put it, in the text's own coordinates: data, shares of its axes, pixels, or a mixture; nan where
    they are no numbers (dates, categories)."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A place in a grid of subplots: of `rows` x `columns`, the rows and columns from `start` up to before `stop`."""

    rows: int
    columns: int
    row_start: int
    row_stop: int
    column_start: int
    column_stop: int


@dataclass(frozen=True, slots=True)
class Element:
    """One drawn thing with its data: a series of bars, a line, a cloud of points, a pie, an image ..."""

    kind: str
    """A key of `SERIES`."""
    call: str
    """The plotting function that made it (`bar`, `hist`, `boxplot` ...); empty if it was added by hand."""
    call_number: int
    """Elements made by one call share it and no others have it. 0 without a call."""
    label: str
    series: dict[str, tuple[float, ...]]
    """Numbers in data coordinates, at most `MAX_SERIES` each; nan where there is a gap. Dates are matplotlib's day
    numbers and categories 0, 1, 2 ... Bars lie along `position` and reach from `base` by `length`; wedges are shares of
    the circle; outlines are joined with a gap between; images and meshes are read row by row."""
    colors: tuple[str, ...]
    """Distinct colours in order: faces if filled, lines if not."""
    colormap: str
    """Name of the colormap, if values are shown by colour."""
    line_style: str
    marker: str
    orientation: str
    """`vertical` or `horizontal` for bars."""
    shape: tuple[int, int] | None
    """Rows and columns of an image or mesh."""


@dataclass(frozen=True, slots=True)
class Axes:
    """One pair (or triple) of axes and what is drawn in it."""

    projection: str
    """`rectilinear`, `polar`, `3d` ..."""
    grid: Grid | None
    """None if it was placed by hand."""
    position: tuple[float, float, float, float]
    """Left, bottom, right, top as shares of the figure."""
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    x_scale: str
    y_scale: str
    colorbar: bool
    legend: bool
    grid_lines: bool
    elements: tuple[Element, ...]

    def calls(self) -> dict[str, int]:
        """How often each plotting function was called, counting only calls whose artists are still there."""
        seen = {element.call_number: element.call for element in self.elements if element.call}
        counts: dict[str, int] = {}
        for name in seen.values():
            counts[name] = counts.get(name, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it was drawn."""

    inches: tuple[float, float]
    """Width and height as the script set them."""
    size: tuple[int, int]
    """Width and height of the picture in pixels."""
    axes: tuple[Axes, ...]
    texts: tuple[Text, ...]
    complete: bool
    """False if the figure has more than the bounds above and the rest was left out."""
    figures: int
    """How many figures with axes the script drew; this is the one that counts."""
    pixels: bytes = field(repr=False)
    """Rows of RGB bytes from the top."""

    def image(self) -> PIL.Image:
        """The picture."""
        return PIL.frombytes("RGB", self.size, self.pixels)


def parse(value: Any, pixels: bytes, max_pixels: int) -> Figure:
    """The figure that a script's process claims to have drawn, from its JSON as read and the picture's RGB bytes.

    Raises:
        InvalidResult: if anything is missing, superfluous, of the wrong type, out of range or too long.
    """
    found = _Fields(value, "figure")
    width, height = found.tuple_of("size", _integer, 2)
    if width < 1 or height < 1 or width * height > max_pixels:
        raise InvalidResult(f"figure.size is {width} x {height}")
    if len(pixels) != 3 * width * height:
        raise InvalidResult(f"{len(pixels)} bytes of pixels for {width} x {height}")
    numbers = [MAX_NUMBERS]
    axes = found.items("axes", lambda item, at: _axes(item, at, numbers), MAX_AXES)
    if sum(len(one.elements) for one in axes) > MAX_ELEMENTS:
        raise InvalidResult(f"more than {MAX_ELEMENTS} elements")
    figure = Figure(
        inches=found.tuple_of("inches", _finite, 2),
        size=(width, height),
        axes=axes,
        texts=found.items("texts", lambda item, at: _text(item, at, len(axes)), MAX_TEXTS),
        complete=found.value("complete", _boolean),
        figures=found.value("figures", _integer),
        pixels=pixels,
    )
    found.end()
    if min(figure.inches) <= 0:
        raise InvalidResult(f"figure.inches is {figure.inches}")
    return figure


def _axes(value: Any, at: str, numbers: list[int]) -> Axes:
    found = _Fields(value, at)
    axes = Axes(
        projection=found.value("projection", _string),
        grid=None if found.is_null("grid") else Grid(*found.tuple_of("grid", _integer, 6)),
        position=found.tuple_of("position", _number, 4),
        x_limits=found.tuple_of("x_limits", _number, 2),
        y_limits=found.tuple_of("y_limits", _number, 2),
        x_scale=found.value("x_scale", _string),
        y_scale=found.value("y_scale", _string),
        colorbar=found.value("colorbar", _boolean),
        legend=found.value("legend", _boolean),
        grid_lines=found.value("grid_lines", _boolean),
        elements=found.items("elements", lambda item, at: _element(item, at, numbers), MAX_ELEMENTS),
    )
    found.end()
    return axes


def _text(value: Any, at: str, axes: int) -> Text:
    found = _Fields(value, at)
    text = Text(
        role=found.value("role", _string),
        text=found.value("text", _string),
        axes=None if found.is_null("axes") else found.value("axes", _integer),
        x=found.value("x", _number),
        y=found.value("y", _number),
        points=found.value("points", _finite),
        color=found.value("color", _color),
        position=found.tuple_of("position", _number, 2),
    )
    found.end()
    if text.role not in TEXT_ROLES or (text.axes is not None and text.axes >= axes):
        raise InvalidResult(f"{at}: role {text.role!r} in axes {text.axes}")
    return text


def _element(value: Any, at: str, numbers: list[int]) -> Element:
    found = _Fields(value, at)
    kind = found.value("kind", _string)
    series = found.value("series", _object)
    if kind not in SERIES or not series.keys() <= set(SERIES[kind]):
        raise InvalidResult(f"{at}: kind {kind!r} with series {sorted(series)}"[:MAX_STRING])
    element = Element(
        kind=kind,
        call=found.value("call", _string),
        call_number=found.value("call_number", _integer),
        label=found.value("label", _string),
        series={name: _sequence(values, f"{at}.series.{name}", _number, MAX_SERIES) for name, values in series.items()},
        colors=found.items("colors", _color, MAX_COLORS),
        colormap=found.value("colormap", _string),
        line_style=found.value("line_style", _string),
        marker=found.value("marker", _string),
        orientation=found.value("orientation", _string),
        shape=None if found.is_null("shape") else found.tuple_of("shape", _integer, 2),
    )
    found.end()
    numbers[0] -= sum(map(len, element.series.values()))
    if numbers[0] < 0:
        raise InvalidResult(f"more than {MAX_NUMBERS} numbers")
    return element


Read = TypeVar("Read")


class _Fields:
    """The fields of one JSON object, each of which must be asked for exactly once."""

    def __init__(self, value: Any, at: str) -> None:
        self._left = dict(_object(value, at))
        self._at = at

    def value(self, name: str, read: Callable[[Any, str], Read]) -> Read:
        if name not in self._left:
            raise InvalidResult(f"{self._at}.{name} is missing")
        return read(self._left.pop(name), f"{self._at}.{name}")

    def is_null(self, name: str) -> bool:
        if self._left.get(name, 0) is not None:
            return False
        del self._left[name]
        return True

    def items(self, name: str, read: Callable[[Any, str], Read], most: int) -> tuple[Read, ...]:
        return self.value(name, lambda value, at: _sequence(value, at, read, most))

    def tuple_of(self, name: str, read: Callable[[Any, str], Any], length: int) -> Any:
        found = self.items(name, read, length)
        if len(found) != length:
            raise InvalidResult(f"{self._at}.{name} has {len(found)} values, not {length}")
        return found

    def end(self) -> None:
        if self._left:
            raise InvalidResult(f"{self._at} has unknown fields")


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidResult(f"{at} is not an object")
    return value


def _sequence(value: Any, at: str, read: Callable[[Any, str], Read], most: int) -> tuple[Read, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise InvalidResult(f"{at} is not a list of at most {most}")
    return tuple(read(item, f"{at}[{index}]") for index, item in enumerate(value))


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_STRING:
        raise InvalidResult(f"{at} is not a string of at most {MAX_STRING} characters")
    return value


def _boolean(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidResult(f"{at} is not true or false")
    return value


def _integer(value: Any, at: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise InvalidResult(f"{at} is not a count")
    return value


def _number(value: Any, at: str) -> float:
    return math.nan if value is None else _finite(value, at)


def _finite(value: Any, at: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise InvalidResult(f"{at} is not a finite number")
    return float(value)


def _color(value: Any, at: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("#[0-9a-f]{6}", value):
        raise InvalidResult(f"{at} is not a colour")
    return value
