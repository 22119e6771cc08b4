"""Tiny charts with the scripts that draw them.

The picture is drawn here, in this process, from the chart's own fields; its script, run in the sandbox, draws the same
(a test compares the pixels). No text of a model is involved.
"""

import hashlib
import random
from dataclasses import dataclass, replace

from PIL import Image as PIL

from vlmrl.synthetic.drawn_rows import HELD_OUT_BYTES
from vlmrl.task import Split

COLOURS = ("red", "green", "blue", "orange", "purple", "brown", "pink", "gray", "cyan")
"""Names that matplotlib knows and that look different at this size."""
KINDS = ("bar", "plot", "scatter")
TITLES = ("sales", "rain", "cost", "heat", "mass", "time")
TITLE_SHARE = 0.25
FEWEST, MOST = 2, 4
LARGEST = 9
DPI = 20
"""The default figure of 6.4 x 4.8 inches has 128 x 96 pixels at it: what the embedded model sees."""
PREAMBLE = "import matplotlib.pyplot as plt\nplt.axis([0, 5, 0, 10])\nplt.axis('off')\n"
"""Runs before the answer and before gold. The stated limits make values readable where tick labels would not be; ticks
that are not drawn cost no time either."""
QUESTION = "Continue this script so that it draws the chart:\n" + PREAMBLE.strip()


@dataclass(frozen=True)
class Chart:
    """What a picture shows: values at x = 1, 2, ..."""

    kind: str
    values: tuple[int, ...]
    colour: str
    title: str

    @property
    def positions(self) -> list[int]:
        return list(range(1, len(self.values) + 1))

    @property
    def split(self) -> Split:
        """Different scripts draw different pictures, so the script's fingerprint separates the pictures too, and no
        picture is drawn only to be refused."""
        digest = hashlib.sha256(self.script().encode()).digest()
        return "held_out" if digest[0] < HELD_OUT_BYTES else "train"

    def script(self) -> str:
        """The shortest continuation of `PREAMBLE` that draws the chart."""
        x, y = (str(list(numbers)).replace(" ", "") for numbers in (self.positions, self.values))
        drawn = f"plt.{self.kind}({x},{y},color='{self.colour}')"
        return f"{drawn}\nplt.title('{self.title}')" if self.title else drawn

    def picture(self) -> PIL.Image:
        """The picture, 128 x 96 pixels."""
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with matplotlib.style.context("default"):  # whatever the user's matplotlibrc says
            figure = Figure(dpi=DPI)
            canvas = FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            axes.axis((0, 5, 0, 10))
            axes.axis("off")
            getattr(axes, self.kind)(self.positions, self.values, color=self.colour)
            if self.title:
                axes.set_title(self.title)
            canvas.draw()
        width, height = canvas.get_width_height()
        return PIL.frombytes("RGBA", (width, height), bytes(canvas.buffer_rgba())).convert("RGB")


def draw_chart(seed: int) -> Chart:
    """The chart of a seed."""
    rng = random.Random(seed)
    return Chart(
        kind=rng.choice(KINDS),
        values=tuple(rng.randint(1, LARGEST) for _ in range(rng.randint(FEWEST, MOST))),
        colour=rng.choice(COLOURS),
        title=rng.choice(TITLES) if rng.random() < TITLE_SHARE else "",
    )


def scattered(chart: Chart, rng: random.Random) -> Chart:
    """The chart misread: each value off by up to two, and the colour wrong one time in four."""
    values = tuple(min(max(value + rng.randint(-2, 2), 1), LARGEST) for value in chart.values)
    colour = rng.choice(COLOURS) if rng.random() < 0.25 else chart.colour
    return replace(chart, values=values, colour=colour)
