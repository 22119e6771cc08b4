"""Drawn user interfaces: an endless supply of GUI grounding screens with exact labels.

A screen is a pure function of an integer seed. It shows text buttons and icons on an 8-pixel layout grid, in one of
several themes, logical sizes and device scales. All boxes are in pixels of the drawn image, ``(left, top, right,
bottom)`` with the right and bottom edges exclusive.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import COLOURS, SHAPES, Colour, PixelBox, draw_shape, overlap
from vlmrl.task import Split

WORDS = (
    "Save", "Open", "Close", "Edit", "OK", "Help", "Login", "Buy",
    "Home", "Next", "Undo", "Menu", "Back", "Find", "Play", "Mail",
)  # fmt: skip
THEMES: tuple[tuple[Colour, Colour], ...] = (
    ((245, 245, 245), (225, 225, 230)),
    ((255, 255, 255), (205, 220, 240)),
    ((40, 42, 50), (60, 62, 75)),
    ((232, 226, 214), (205, 196, 178)),
)
"""Background and title-bar colour of each theme."""

LOGICAL_SIZES = {"web": (128, 128), "desktop": (160, 96), "mobile": (96, 160)}
"""Width and height at device scale 1 of each kind of device."""

DEVICE_SCALES = (1, 2)
GRID = 8
"""Layout grid in logical pixels: every element starts and ends one pixel inside a grid line."""

ICON_SIDES = (16, 24)
BUTTON_WIDTHS = (40, 56)
BUTTON_HEIGHT = 16
FONT_SIZE = 11
TEXT_COLOUR: Colour = (255, 255, 255)
TITLE_BAR_HEIGHTS = (8, 16)
ICON_SHARE = 0.4
MAX_PLACEMENT_TRIES = 20


@dataclass(frozen=True)
class Element:
    """Something on the screen that can be clicked."""

    kind: Literal["button", "icon"]
    label: str
    """The word on a button or the shape of an icon."""
    colour: str
    box: PixelBox
    """Pixels of the drawn image; right and bottom exclusive."""


@dataclass(frozen=True)
class Question:
    """An instruction that names exactly one element of its screen."""

    instruction: str
    target: Element


@dataclass(frozen=True)
class Screen:
    """One drawn screen and everything known about it."""

    seed: int
    device: str
    """``web``, ``desktop`` or ``mobile``; decides the aspect."""
    scale: int
    """Device pixels per logical pixel."""
    image: Image.Image
    elements: tuple[Element, ...]
    split: Split
    """The side this screen is on; a screen and its double-density twin are on the same one."""

    def questions(self) -> list[Question]:
        """Every unambiguous instruction for every element, in the order the elements were drawn."""
        return [
            Question(instruction, element)
            for element in self.elements
            for instruction in _unambiguous_instructions(element, self.elements)
        ]


def draw_screen(seed: int, elements: tuple[int, int] = (1, 3)) -> Screen:
    """Draw the screen of ``seed`` with a number of elements from the inclusive range ``elements``.

    Every element has at least one unambiguous instruction. Fewer elements than asked for are drawn when the
    screen has no room left for more.
    """
    rng = random.Random(seed)
    device = rng.choice(list(LOGICAL_SIZES))
    scale = rng.choice(DEVICE_SCALES)
    background, bar_colour = rng.choice(THEMES)
    bar_height = rng.choice(TITLE_BAR_HEIGHTS) if rng.random() < 0.5 else 0
    layout = _lay_out(rng, LOGICAL_SIZES[device], bar_height, rng.randint(*elements))

    def render(pixel_scale: int) -> Image.Image:
        width, height = (side * pixel_scale for side in LOGICAL_SIZES[device])
        image = Image.new("RGB", (width, height), background)
        canvas = ImageDraw.Draw(image)
        if bar_height:
            canvas.rectangle((0, 0, width - 1, bar_height * pixel_scale - 1), fill=bar_colour)
        for element in layout:
            _draw_element(canvas, _scaled(element, pixel_scale), pixel_scale)
        return image

    logical = render(1)
    return Screen(
        seed=seed,
        device=device,
        scale=scale,
        image=logical if scale == 1 else render(scale),
        elements=tuple(_scaled(element, scale) for element in layout),
        split=split_of(logical),
    )


def screens(split: Split, first_seed: int = 0, elements: tuple[int, int] = (1, 3)) -> Iterator[Screen]:
    """Draw the screens of ``split`` in the order of their seeds, from ``first_seed`` on, for ever."""
    for seed in itertools.count(first_seed):
        screen = draw_screen(seed, elements)
        if screen.split == split:
            yield screen


def _lay_out(rng: random.Random, size: tuple[int, int], bar_height: int, count: int) -> list[Element]:
    """Place elements in logical pixels so that none touch and each can be named without ambiguity."""
    columns, rows = (side // GRID for side in size)
    first_row = bar_height // GRID
    placed: list[Element] = []
    for _ in range(MAX_PLACEMENT_TRIES * count):
        if len(placed) == count:
            break
        kind: Literal["button", "icon"] = "icon" if rng.random() < ICON_SHARE else "button"
        width, height = (
            (side := rng.choice(ICON_SIDES), side) if kind == "icon" else (rng.choice(BUTTON_WIDTHS), BUTTON_HEIGHT)
        )
        left = GRID * rng.randint(0, columns - width // GRID)
        top = GRID * rng.randint(first_row, rows - height // GRID)
        element = Element(
            kind=kind,
            label=rng.choice(SHAPES if kind == "icon" else WORDS),
            colour=rng.choice(list(COLOURS)),
            box=(left + 1, top + 1, left + width - 1, top + height - 1),
        )
        candidates = [*placed, element]
        if any(overlap(element.box, other.box) for other in placed):
            continue
        if all(_unambiguous_instructions(one, candidates) for one in candidates):
            placed = candidates
    return placed


def _unambiguous_instructions(target: Element, elements: tuple[Element, ...] | list[Element]) -> list[str]:
    same_colour = sum(one.colour == target.colour for one in elements)
    same_label = sum(one.label == target.label for one in elements)
    same_both = sum((one.colour, one.label) == (target.colour, target.label) for one in elements)
    colour, label = target.colour, target.label
    if target.kind == "button":
        by_label = [f'click on "{label}"', f'press the "{label}" button']
        by_both = [f'click the {colour} "{label}" button']
        by_colour = [f"click the {colour} button", f"press the {colour} button"]
    else:
        by_label = [f"click the {label} icon", f"tap the {label}"]
        by_both = [f"click the {colour} {label}", f"tap the {colour} {label} icon"]
        by_colour = [f"click the {colour} icon"]
    return [
        *(by_label if same_label == 1 else []),
        *(by_colour if same_colour == 1 else []),
        *(by_both if same_both == 1 else []),
    ]


def _scaled(element: Element, scale: int) -> Element:
    left, top, right, bottom = (edge * scale for edge in element.box)
    return Element(element.kind, element.label, element.colour, (left, top, right, bottom))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_element(canvas: ImageDraw.ImageDraw, element: Element, scale: int) -> None:
    fill = COLOURS[element.colour]
    left, top, right, bottom = element.box
    inclusive = (left, top, right - 1, bottom - 1)
    if element.kind == "icon":
        draw_shape(canvas, element.label, inclusive, fill)
        return
    canvas.rounded_rectangle(inclusive, 3 * scale, fill=fill)
    centre = ((left + right) / 2, (top + bottom) / 2)
    canvas.text(centre, element.label, fill=TEXT_COLOUR, font=_font(FONT_SIZE * scale), anchor="mm")
