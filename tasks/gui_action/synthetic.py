"""Drawn screens with a goal that one action serves: an endless supply of GUI steps with exact labels.

A screen is a pure function of an integer seed: one to three coloured shapes on an 8-pixel grid, in one of several
themes, sizes and scales. Whether the goal asks for a tap or a scroll is decided by what is on it.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmrl.answers.action import DIRECTIONS
from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, Colour, PixelBox, draw_shape, overlap
from vlmrl.task import Split

SIZES = {"web": (128, 128), "desktop": (160, 96), "mobile": (96, 160)}
"""Width and height at scale 1; those of GUI grounding."""
SCALES = (1, 2)
GRID = 8
SIDES = (16, 24)
MOST_SHAPES = 3
TRIES = 20
"""Placements tried per shape before a screen is left with fewer."""
WORDS = ("hello", "thanks", "yes", "no")
"""What is typed."""
APPS = ("Mail", "Play", "Find", "Menu")
"""What is opened; words of GUI grounding's buttons."""
WISHES = {"tap": 6, "scroll": 1, "type": 1, "open": 1, "press": 1}
"""How often each kind of goal is drawn. A tap is asked for most, as in the recorded data sets."""
ABSENT_SHARE = 0.25
"""Share of the taps whose shape is not on the screen, so that scrolling is right."""
KEYS = {"go back": "back", "go to the home screen": "home"}


@dataclass(frozen=True)
class Element:
    """A shape on the screen."""

    shape: str
    colour: str
    box: PixelBox
    """Pixels of the drawn image, right and bottom exclusive."""


@dataclass(frozen=True)
class Screen:
    """One drawn screen, its goal and the action that serves it."""

    seed: int
    device: str
    image: Image.Image
    elements: tuple[Element, ...]
    goal: str
    kind: str
    argument: str
    """Text or direction of the action; empty for a click."""
    target: PixelBox | None
    """What to click."""
    split: Split
    """The side this screen is on; a screen and its double-density twin are on the same one."""


def draw_screen(seed: int) -> Screen:
    """The screen of `seed`."""
    rng = random.Random(f"action {seed}")
    device, scale, background = rng.choice(list(SIZES)), rng.choice(SCALES), rng.choice(BACKGROUNDS)
    elements = _lay_out(rng, SIZES[device])
    logical = _drawn(SIZES[device], background, elements, 1)
    scaled = tuple(Element(e.shape, e.colour, _times(e.box, scale)) for e in elements)
    goal, kind, argument, target = _wish(rng, scaled)
    return Screen(
        seed=seed,
        device=device,
        image=logical if scale == 1 else _drawn(SIZES[device], background, elements, scale),
        elements=scaled,
        goal=goal,
        kind=kind,
        argument=argument,
        target=target,
        split=split_of(logical),
    )


def _wish(rng: random.Random, elements: tuple[Element, ...]) -> tuple[str, str, str, PixelBox | None]:
    """Goal, kind, argument and target."""
    (wish,) = rng.choices(list(WISHES), list(WISHES.values()))
    match wish:
        case "tap":
            shown = {(element.colour, element.shape): element for element in elements}
            if rng.random() < ABSENT_SHARE:
                absent = [(colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in shown]
                return _tap(*rng.choice(absent)), "scroll", "down", None
            element = rng.choice(elements)
            return _tap(element.colour, element.shape), "click", "", element.box
        case "scroll":
            direction = rng.choice(DIRECTIONS)
            return f"scroll {direction}", "scroll", direction, None
        case "type":
            word = rng.choice(WORDS)
            return f"type {word}", "type", word, None
        case "open":
            app = rng.choice(APPS)
            return f"open {app}", "open_app", app, None
    goal = rng.choice(list(KEYS))
    return goal, "press_key", KEYS[goal], None


def _tap(colour: str, shape: str) -> str:
    return f"tap the {colour} {shape}, else scroll down"


def _lay_out(rng: random.Random, size: tuple[int, int]) -> tuple[Element, ...]:
    """Shapes in logical pixels that do not touch; no two have the same colour and shape."""
    columns, rows = (side // GRID for side in size)
    count = rng.randint(1, MOST_SHAPES)
    placed: list[Element] = []
    for _ in range(TRIES * count):
        if len(placed) == count:
            break
        side = rng.choice(SIDES)
        left, top = (GRID * rng.randint(0, cells - side // GRID) for cells in (columns, rows))
        box = (left + 1, top + 1, left + side - 1, top + side - 1)
        element = Element(rng.choice(SHAPES), rng.choice(list(COLOURS)), box)
        twin = any((other.colour, other.shape) == (element.colour, element.shape) for other in placed)
        if not twin and not any(overlap(box, other.box) for other in placed):
            placed.append(element)
    return tuple(placed)


def _times(box: PixelBox, scale: int) -> PixelBox:
    left, top, right, bottom = (edge * scale for edge in box)
    return left, top, right, bottom


def _drawn(size: tuple[int, int], background: Colour, elements: tuple[Element, ...], scale: int) -> Image.Image:
    image = Image.new("RGB", (size[0] * scale, size[1] * scale), background)
    canvas = ImageDraw.Draw(image)
    for element in elements:
        left, top, right, bottom = _times(element.box, scale)
        draw_shape(canvas, element.shape, (left, top, right - 1, bottom - 1), COLOURS[element.colour])
    return image
