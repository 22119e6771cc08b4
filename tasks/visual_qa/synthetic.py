"""Drawn bar charts with questions about them: an endless supply of rows with exact answers.

A chart is a pure function of an integer seed. Bars stand side by side on the lowest line; their heights are whole
numbers of `UNIT` pixels, with a faint line at each unit, so that values can be read without a scale.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmrl.synthetic.drawn_rows import split_of
from vlmrl.synthetic.shapes import BACKGROUNDS, COLOURS, Colour, draw_shape
from vlmrl.task import Split

SIZES = ((128, 96), (160, 96), (128, 128))
"""Width and height."""
BARS = (2, 5)
"""Fewest and most bars; each has a colour of its own."""
UNIT = 8
TALLEST = 9
MARGIN = 8
"""Pixels left free at each edge."""
GRID_SHADE = 24
"""How far the lines at each unit differ from the background, of 255."""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart."""

    colour: str
    value: int
    """Its height in units of the chart."""


@dataclass(frozen=True)
class Question:
    """A question about a chart and its answer."""

    kind: str
    """value, count, name or difference."""
    text: str
    answer: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart and one question about it."""

    image: Image.Image
    bars: tuple[Bar, ...]
    """From the left."""
    question: Question
    split: Split


def draw_chart(seed: int) -> Chart:
    """The chart of `seed`."""
    rng = random.Random(f"chart {seed}")
    size, background = rng.choice(SIZES), rng.choice(BACKGROUNDS)
    colours = rng.sample(list(COLOURS), rng.randint(*BARS))
    bars = tuple(Bar(colour, rng.randint(1, TALLEST)) for colour in colours)
    image = _picture(size, background, bars)
    return Chart(image, bars, rng.choice(questions(bars)), split_of(image))


def _picture(size: tuple[int, int], background: Colour, bars: tuple[Bar, ...]) -> Image.Image:
    image = Image.new("RGB", size, background)
    canvas = ImageDraw.Draw(image)
    width, height = size
    floor = height - MARGIN
    red, green, blue = (level - GRID_SHADE if level > 127 else level + GRID_SHADE for level in background)
    for line in range(TALLEST + 1):
        canvas.line((MARGIN, floor - line * UNIT, width - MARGIN, floor - line * UNIT), fill=(red, green, blue))
    step = (width - 2 * MARGIN) // len(bars)
    for i, bar in enumerate(bars):
        left = MARGIN + i * step + step // 4
        draw_shape(canvas, "square", (left, floor - bar.value * UNIT, left + step // 2, floor - 1), COLOURS[bar.colour])
    return image


def questions(bars: tuple[Bar, ...]) -> list[Question]:
    """Every question that these bars answer, each with one answer."""
    asked = [Question("value", f"how many units high is the {bar.colour} bar?", str(bar.value)) for bar in bars]
    asked.append(Question("count", "how many bars are there?", str(len(bars))))
    for word, extreme in (("highest", max), ("lowest", min)):
        limit = extreme(bar.value for bar in bars)
        named = [bar.colour for bar in bars if bar.value == limit]
        if len(named) == 1:
            asked.append(Question("name", f"which colour is the {word} bar?", named[0]))
    for high in bars:
        for low in bars:
            if high.value > low.value:
                text = f"how many units is the {high.colour} bar higher than the {low.colour} bar?"
                asked.append(Question("difference", text, str(high.value - low.value)))
    return asked
