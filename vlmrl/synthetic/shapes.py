"""Coloured shapes: what synthetic pictures of every task are made of, so that one small model can know them all."""

import math
from collections.abc import Callable

from PIL import ImageDraw

Colour = tuple[int, int, int]
Edges = tuple[float, float, float, float]
"""left, top, right, bottom; all four are drawn."""
PixelBox = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom exclusive."""

BACKGROUNDS: tuple[Colour, ...] = ((245, 245, 245), (255, 255, 255), (40, 42, 50), (232, 226, 214))
"""What pictures are filled with before anything is drawn: three light ones and a dark one."""

COLOURS: dict[str, Colour] = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 90, 220),
    "yellow": (205, 170, 0),
    "orange": (240, 120, 20),
    "purple": (140, 60, 180),
    "pink": (230, 100, 165),
    "cyan": (0, 160, 180),
    "gray": (130, 130, 130),
    "brown": (130, 80, 40),
}


def _circle(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    canvas.ellipse(edges, fill=fill)


def _square(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    canvas.rectangle(edges, fill=fill)


def _ring(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    canvas.ellipse(edges, outline=fill, width=max(3, round((edges[2] - edges[0]) / 6)))


def _triangle(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    left, top, right, bottom = edges
    canvas.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=fill)


def _diamond(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    left, top, right, bottom = edges
    x, y = (left + right) / 2, (top + bottom) / 2
    canvas.polygon([(x, top), (right, y), (x, bottom), (left, y)], fill=fill)


def _cross(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    left, top, right, bottom = edges
    x, y, arm = (left + right) / 2, (top + bottom) / 2, (right - left) / 6
    canvas.rectangle((x - arm, top, x + arm, bottom), fill=fill)
    canvas.rectangle((left, y - arm, right, y + arm), fill=fill)


def _heart(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    left, top, right, bottom = edges
    x, lobe = (left + right) / 2, (right - left) / 2
    canvas.ellipse((left, top, x, top + lobe), fill=fill)
    canvas.ellipse((x, top, right, top + lobe), fill=fill)
    shoulder = top + 0.65 * lobe
    canvas.polygon([(left, shoulder), (right, shoulder), (x, bottom)], fill=fill)


def _star(canvas: ImageDraw.ImageDraw, edges: Edges, fill: Colour) -> None:
    left, top, right, bottom = edges
    x, y, outer = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    tips = []
    for corner in range(10):
        radius = outer if corner % 2 == 0 else 0.4 * outer
        angle = corner * math.pi / 5
        tips.append((x + radius * math.sin(angle), y - radius * math.cos(angle)))
    canvas.polygon(tips, fill=fill)


_PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, Edges, Colour], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "diamond": _diamond,
}
SHAPES = tuple(_PAINTERS)


def draw_shape(canvas: ImageDraw.ImageDraw, shape: str, edges: Edges, fill: Colour) -> None:
    """One of `SHAPES`, filling the box whose edges are drawn too."""
    _PAINTERS[shape](canvas, edges, fill)


def overlap(first: PixelBox, second: PixelBox) -> bool:
    """Whether two boxes share a pixel."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
