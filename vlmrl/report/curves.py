"""Line charts as inline SVG.

Drawn by hand rather than by a plotting library: the lines take the page's colours in light and dark, text stays
selectable, and a chart is a few kilobytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

from vlmrl.report.markup import Html, element, join
from vlmrl.report.numbers import fixed, percent, significant

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 8, 24
COLOURS = 6
"""Series colours in page.css, s0 to s5."""
SMOOTH_FROM = 40
"""Series with fewer points are drawn as they are."""
SMOOTH_SHARE = 20
"""The running mean covers one twentieth of the points."""

Unit = Literal["share", "number"]
WRITERS: dict[Unit, Callable[[float | None], str]] = {"share": percent, "number": significant}


@dataclass(frozen=True)
class Series:
    """Values over steps. A None is a gap."""

    name: str
    steps: Sequence[int]
    values: Sequence[float | None]
    band: Sequence[tuple[float, float]] | None = None
    """Lower and upper bound of each point, filled: an interval, or a layer of a stack."""
    style: Literal["noisy", "measured", "layer"] = "noisy"
    """noisy: thin line, with a running mean once there are many points; measured: dots joined by a line; layer: the
    band alone is drawn."""


@dataclass(frozen=True)
class Chart:
    title: str
    unit: Unit
    series: Sequence[Series]


def stacked(names: Sequence[str], steps: Sequence[int], values: Sequence[Sequence[float]]) -> list[Series]:
    """Layers on top of each other; `values` has one sequence per name."""
    base = [0.0] * len(steps)
    layers = []
    for name, thickness in zip(names, values, strict=True):
        top = [low + more for low, more in zip(base, thickness, strict=True)]
        layers.append(Series(name, steps, thickness, list(zip(base, top, strict=True)), "layer"))
        base = top
    return layers


def figure(chart: Chart, last_step: int) -> Html:
    """The chart over steps 0 to `last_step` with its legend. The vertical axis always includes zero."""
    bounds = [value for series in chart.series for value in series.values if value is not None]
    bounds += [bound for series in chart.series for pair in series.band or () for bound in pair]
    ticks_y = _ticks(min([0.0, *bounds]), max([0.0, *bounds]), 4)
    ticks_x = [tick for tick in _ticks(0, max(last_step, 1), 5, whole=True) if tick <= max(last_step, 1)]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(last_step, 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (ticks_y[-1] - value) / (ticks_y[-1] - ticks_y[0])

    axes = [
        join(
            element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)),
            element("text", _tick_label(tick, ticks_y, chart.unit), class_="tick", x=LEFT - 6, y=y(tick) + 4.0),
        )
        for tick in ticks_y
    ]
    axes += [element("text", f"{tick:,.0f}", class_="tick step", x=x(tick), y=HEIGHT - 6) for tick in ticks_x]
    lines = [_series(series, index % COLOURS, x, y) for index, series in enumerate(chart.series)]
    legend = [_legend(series, index % COLOURS, chart.unit) for index, series in enumerate(chart.series)]
    return element(
        "figure",
        element("figcaption", chart.title),
        element("p", *legend, class_="legend"),
        element(
            "svg",
            *axes,
            *lines,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=f"{chart.title} over steps",
        ),
        class_="chart",
    )


def _series(series: Series, index: int, x: Callable[[float], float], y: Callable[[float], float]) -> Html:
    parts: list[Html] = []
    if series.band and series.steps:
        upper = [f"{x(step):.1f} {y(high):.1f}" for step, (_, high) in zip(series.steps, series.band, strict=True)]
        lower = [f"{x(step):.1f} {y(low):.1f}" for step, (low, _) in zip(series.steps, series.band, strict=True)]
        path = f"M{'L'.join([*upper, *reversed(lower)])}Z"
        parts.append(element("path", class_=f"{'layer' if series.style == 'layer' else 'band'} s{index}", d=path))
    if series.style != "layer":
        smooth = smoothed(series.values) if series.style == "noisy" else None
        if smooth is not None:
            parts.append(_line(series.steps, series.values, f"raw s{index}", x, y))
        parts.append(_line(series.steps, smooth or series.values, f"line s{index}", x, y))
    if series.style == "measured":
        parts += [
            element(
                "circle",
                element("title", f"step {step}"),
                class_=f"point s{index}",
                cx=x(step),
                cy=y(value),
                r=3,
            )
            for step, value in zip(series.steps, series.values, strict=True)
            if value is not None
        ]
    return element("g", *parts)


def _line(
    steps: Sequence[int],
    values: Sequence[float | None],
    style: str,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> Html:
    path, pen = [], "M"
    for step, value in zip(steps, values, strict=True):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{x(step):.1f} {y(value):.1f}")
        pen = "L"
    # A lone point has no length: a zero-length line with round caps shows as a dot.
    if len(path) == 1:
        path.append("h0")
    return element("path", class_=style, d="".join(path))


def smoothed(values: Sequence[float | None]) -> list[float | None] | None:
    """Centred running mean over a twentieth of the points; None where there are too few to need one."""
    if len(values) < SMOOTH_FROM:
        return None
    reach = max(1, len(values) // SMOOTH_SHARE // 2)
    means: list[float | None] = []
    for index, value in enumerate(values):
        window = [near for near in values[max(0, index - reach) : index + reach + 1] if near is not None]
        means.append(sum(window) / len(window) if value is not None else None)
    return means


def _legend(series: Series, index: int, unit: Unit) -> Html:
    write = WRITERS[unit]
    values = (smoothed(series.values) if series.style == "noisy" else None) or series.values
    known = [value for value in values if value is not None]
    if series.style == "layer":
        summary = f"mean {write(sum(known) / len(known))}"
    elif len(known) > 1:
        summary = f"{write(known[0])} → {write(known[-1])}"
    else:
        summary = write(known[0])
    return element("span", element("i", class_=f"swatch s{index}"), f"{series.name} ", element("b", summary))


def _ticks(low: float, high: float, wanted: int, *, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    if high <= low:
        high = low + 1
    raw = (high - low) / wanted
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, ceil(step))
    return [step * index for index in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def _tick_label(tick: float, ticks: Sequence[float], unit: Unit) -> str:
    step = ticks[1] - ticks[0]
    if unit == "share":
        tick, step = 100 * tick, 100 * step
    decimals = next((digits for digits in range(6) if abs(round(step, digits) - step) < 1e-9 * step), 6)
    written = fixed(tick, decimals)
    return f"{written}%" if unit == "share" else written
