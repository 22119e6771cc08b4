"""How far the figures of two scripts agree: ChartMimic's four low-level scores, Plot2Code's text match, and the data.

The four follow ChartMimic (arXiv 2406.09961, `chart2code/utils/evaluator`): each is an F1. What differs, so that every
gold figure scores 1 against itself and no order of rows matters:

- Where neither figure has any text (place in a grid, plotting call, colour), the score is 1; there it is 0, or for
  types whatever the pair before had scored.
- Colours are assigned by the Hungarian method; there all permutations are tried, and to make that bearable figures with
  more than 10 colours lose those that look alike.
- Facts come from the figure after a script that ran to its end; there a script that raises still scores what it drew
  before, and everything after the first `savefig` or `show` is cut off.
- Tick labels of a third axis are no text either, and graphs are laid out like other charts (there every axes of a file
  named graph counts as one cell).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vlmrl.rewards.colors import color_similarity
from vlmrl.sandbox.figure import Axes, Element, Figure

TICKS = frozenset({"xtick", "ytick", "ztick", "xoffset", "yoffset", "zoffset"})
"""Roles of texts that ChartMimic takes away before it reads a figure's texts."""
REACH = 0.25
"""Error at which a number earns nothing, as a share of the axis it is read from. Values read off a chart are mostly
within a few hundredths of an axis; at a quarter of it even the order of bars is often lost."""
NEAR = 100 * math.log(1.25)
"""Distance from which Plot2Code's similarity of places, exp(-distance / 100), is no longer above 0.8."""
LINES = ("line",)
"""Kinds compared as curves where x rises: how many samples a curve has cannot be seen."""
UNORDERED = ("bars", "points")
"""Kinds whose items look the same in any order; they are sorted before they are compared."""


def is_blank(figure: Figure) -> bool:
    """Whether nothing is plotted: no axes, or only texts and empty axes."""
    return not any(axes.elements for axes in figure.axes)


def text_f1(answer: Figure, gold: Figure) -> float:
    """F1 of the multisets of strings, line by line as a renderer draws them; without ticks and wherever they are."""
    return _multiset_f1(_texts(answer), _texts(gold))


def layout_f1(answer: Figure, gold: Figure) -> float:
    """F1 of the multisets of the axes' places in their grids (rows, columns, first and last row and column); axes
    placed by hand do not count."""
    return _multiset_f1(*(Counter(axes.grid for axes in figure.axes if axes.grid) for figure in (answer, gold)))


def type_f1(answer: Figure, gold: Figure) -> float:
    """F1 of how often each plotting function was called; only outermost calls count."""
    return _multiset_f1(_calls(answer), _calls(gold))


def color_f1(answer: Figure, gold: Figure) -> float:
    """F1 of the colours and colormaps per plotting function; a pair counts `color_similarity`, 0 across functions."""
    mine, target = _colors(answer), _colors(gold)
    matched = 0.0
    for call in mine.keys() & target.keys():
        matched += _matched([[color_similarity(a, b) for b in target[call]] for a in mine[call]])
    return _f1(matched, sum(map(len, mine.values())), sum(map(len, target.values())))


def text_match(answer: Figure, gold: Figure) -> float:
    """Plot2Code's text match: texts that are equal and near each other, divided by those of either figure; 1 if neither
    has any.

    Equal once case and surrounding space are folded; near if the distance of their own coordinates, the answer's scaled
    by the ratio of the figures' sides, is below 100 ln 1.25. Ticks count too. Each of gold's texts takes the first one
    that is left. Source: plot2code/eval/text_match_score.py of TencentARC/Plot2Code (arXiv 2405.07990), which also
    counts texts that are not shown, such as ticks beyond the axes' limits.
    """
    ratio = (gold.inches[0] / answer.inches[0], gold.inches[1] / answer.inches[1])
    left = list(answer.texts)
    matched = 0
    for text in gold.texts:
        x, y = text.position
        for other in left:
            distance = math.hypot(x - other.position[0] * ratio[0], y - other.position[1] * ratio[1])
            if other.text.strip().lower() == text.text.strip().lower() and distance < NEAR:
                left.remove(other)
                matched += 1
                break
    either = len(answer.texts) + len(gold.texts) - matched
    return matched / either if either else 1.0


def low_level(answer: Figure, gold: Figure) -> float:
    """ChartMimic's low-level score: the mean of the four, in 0..1."""
    return sum(score(answer, gold) for score in (text_f1, layout_f1, type_f1, color_f1)) / 4


def data_agreement(answer: Figure, gold: Figure) -> float | None:
    """How far the numbers agree, 0..1; None if gold has none that can be read (surfaces, photographs).

    Elements of one kind in axes of one index are matched one to one (Hungarian) by their agreement; the sum is divided
    by the larger number of elements, so that neither missing nor surplus ones pay. Two elements agree by the mean over
    their items of the product over their series of max(0, 1 - |a - g| / (REACH * span)), again divided by the larger
    number of items. The span is gold's axis (on logarithmic axes everything is in decades), and for series that belong
    to no axis (shares, levels, values of cells) the range of gold's numbers. Lines whose x rises are compared as
    curves: each at the other's x, linearly between its own points, and the mean of both ways.
    """
    mine, target = _data(answer), _data(gold)
    if not target:
        return None
    matched = 0.0
    for place in mine.keys() & target.keys():
        matched += _matched([[_element_agreement(a, g) for g in target[place]] for a in mine[place]])
    return matched / max(sum(map(len, mine.values())), sum(map(len, target.values())))


def _texts(figure: Figure) -> Counter[str]:
    shown = (text.text for text in figure.texts if text.role not in TICKS)
    return Counter(line for text in shown for line in text.split("\n") if line.strip())


def _calls(figure: Figure) -> Counter[str]:
    counts: Counter[str] = Counter()
    for axes in figure.axes:
        counts.update(axes.calls())
    return counts


def _colors(figure: Figure) -> dict[str, list[str]]:
    """Distinct colours and colormaps of each plotting function."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for axes in figure.axes:
        for element in axes.elements:
            if element.call:
                found[element.call] |= dict.fromkeys([element.colormap] if element.colormap else element.colors)
    return {call: list(colors) for call, colors in found.items() if colors}


def _multiset_f1(answer: Counter[Any], gold: Counter[Any]) -> float:
    return _f1((answer & gold).total(), answer.total(), gold.total())


def _f1(matched: float, answered: int, gold: int) -> float:
    """2 P R / (P + R) with P = matched / answered and R = matched / gold; 1 if there is nothing on either side."""
    return 2 * matched / (answered + gold) if answered + gold else 1.0


def _matched(similarity: Sequence[Sequence[float]]) -> float:
    """Sum of the best one-to-one assignment."""
    matrix = np.asarray(similarity)
    return float(matrix[linear_sum_assignment(matrix, maximize=True)].sum())


@dataclass(frozen=True)
class _Numbers:
    """An element's series in the units of its axes, and the span that errors in each are measured by."""

    kind: str
    shape: tuple[int, int] | None
    series: Mapping[str, Any]
    spans: Mapping[str, float]


def _data(figure: Figure) -> dict[Hashable, list[_Numbers]]:
    """Elements with numbers, by the index of their axes and their kind. A colorbar only repeats its chart's colours."""
    found: dict[Hashable, list[_Numbers]] = defaultdict(list)
    for index, axes in enumerate(figure.axes):
        for element in () if axes.colorbar else axes.elements:
            if any(element.series.values()):
                found[index, element.kind].append(_numbers(element, axes))
    return found


def _numbers(element: Element, axes: Axes) -> _Numbers:
    series, spans = {}, {}
    for name, values in element.series.items():
        if not values:
            continue
        numbers, limits = np.asarray(values, dtype=float), None
        axis = _axis(name, element)
        if axis:
            limits, scale = (axes.x_limits, axes.x_scale) if axis == "x" else (axes.y_limits, axes.y_scale)
            if scale == "log" and name in ("x", "y", "position", "length"):
                numbers, limits = _decades(numbers), tuple(_decades(np.asarray(limits)))
        series[name], spans[name] = numbers, _span(numbers, limits)
    if len({len(numbers) for numbers in series.values()}) == 1:
        whole = np.all([np.isfinite(numbers) for numbers in series.values()], axis=0)
        order = np.flatnonzero(whole)
        if element.kind in UNORDERED:
            order = order[np.lexsort([numbers[order] for numbers in reversed(series.values())])]
        series = {name: numbers[order] for name, numbers in series.items()}
    return _Numbers(element.kind, element.shape, series, spans)


def _axis(series: str, element: Element) -> str | None:
    """Which axis a series is read from."""
    along, across = ("y", "x") if element.orientation == "horizontal" else ("x", "y")
    bars = {"position": along, "thickness": along, "length": across, "base": across}
    return bars.get(series) if element.kind == "bars" else series if series in ("x", "y") else None


def _decades(numbers: Any) -> Any:
    """Logarithms to base 10; nan where there is none."""
    return np.log10(np.where(numbers > 0, numbers, np.nan))


def _span(numbers: Any, limits: tuple[float, ...] | None) -> float:
    """Length of the axis; without one the range of the numbers, or their size where all are equal, or 1."""
    finite = numbers[np.isfinite(numbers)]
    axis = abs(limits[1] - limits[0]) if limits else 0.0
    if np.isfinite(axis) and axis > 0:
        return float(axis)
    return float(np.ptp(finite) or abs(finite[0]) or 1.0) if len(finite) else 1.0


def _element_agreement(answer: _Numbers, gold: _Numbers) -> float:
    mine, target = answer.series, gold.series
    if answer.shape != gold.shape or mine.keys() != target.keys():
        return 0.0
    if gold.kind in LINES and set(target) == {"x", "y"} and _rises(mine["x"]) and _rises(target["x"]):
        return _curve_agreement(mine, gold)
    items = max(len(numbers) for numbers in (*mine.values(), *target.values()))
    product = np.ones(items)
    for name, numbers in target.items():
        ends = sorted((len(mine[name]), len(numbers)))  # beyond the second, the series has ended on both sides
        product[: ends[0]] *= _closeness(mine[name][: ends[0]], numbers[: ends[0]], gold.spans[name])
        product[ends[0] : ends[1]] = 0
    return float(product.mean()) if items else 1.0


def _rises(numbers: Any) -> bool:
    return len(numbers) > 1 and bool(np.all(np.diff(numbers) > 0))


def _curve_agreement(answer: Mapping[str, Any], gold: _Numbers) -> float:
    ways = []
    for here, there in ((gold.series, answer), (answer, gold.series)):
        nearest = here["x"].clip(there["x"][0], there["x"][-1])
        across = _closeness(np.interp(nearest, there["x"], there["y"]), here["y"], gold.spans["y"])
        ways.append(float((across * _closeness(nearest, here["x"], gold.spans["x"])).mean()))
    return sum(ways) / 2


def _closeness(first: Any, second: Any, span: float) -> Any:
    """max(0, 1 - |first - second| / (REACH * span)); two gaps are equal, a gap on one side is wrong."""
    close = np.nan_to_num(np.maximum(0, 1 - np.abs(first - second) / (REACH * span)), nan=0.0)
    return np.where(np.isnan(first) & np.isnan(second), 1.0, close)
