"""Agreement of figures: golden numbers worked out from ChartMimic's rules, and properties that must hold."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.rewards.colors import color_similarity
from vlmrl.rewards.figures import (
    REACH,
    color_f1,
    data_agreement,
    is_blank,
    layout_f1,
    low_level,
    text_f1,
    text_match,
    type_f1,
)
from vlmrl.sandbox.figure import Axes, Element, Figure, Grid, Text

ONE = Grid(1, 1, 0, 1, 0, 1)


def element(kind="bars", call="bar", number=1, colors=("#ff0000",), colormap="", **series):
    series = {name: tuple(map(float, values)) for name, values in series.items()}
    upright = "vertical" if kind == "bars" else ""
    return Element(kind, call, number, "", series, colors, colormap, "", "", upright, None)


def bars(*lengths, **more):
    n = len(lengths)
    return element(position=range(n), length=lengths, base=[0] * n, thickness=[0.8] * n, **more)


def line(x, y, **more):
    return element("line", "plot", x=x, y=y, **more)


def axes(*elements, grid=ONE, **more):
    fields = dict(
        projection="rectilinear",
        grid=grid,
        position=(0.1, 0.1, 0.9, 0.9),
        x_limits=(0.0, 4.0),
        y_limits=(0.0, 10.0),
        x_scale="linear",
        y_scale="linear",
        colorbar=False,
        legend=False,
        grid_lines=False,
        elements=elements,
    )
    return Axes(**fields | more)


def figure(*all_axes, texts=()):
    shown = tuple(Text(role, text, 0, 0.5, 0.5, 10.0, "#000000", (0.5, 1.0)) for role, text in texts)
    return Figure((6.4, 4.8), (1, 1), all_axes, shown, True, 1, b"\0\0\0")


def titled(*strings, role="title"):
    return figure(axes(bars(1)), texts=[(role, string) for string in strings])


GOLD = figure(axes(bars(3, 1, 2)), texts=[("title", "Sales"), ("ylabel", "units")])
SCORES = [text_f1, layout_f1, type_f1, color_f1, low_level, data_agreement]


def placed(*texts: tuple[str, float, float], inches: tuple[float, float] = (6.4, 4.8)) -> Figure:
    shown = tuple(Text("annotation", text, 0, 0.5, 0.5, 10.0, "#000000", (x, y)) for text, x, y in texts)
    return replace(figure(axes(bars(1))), texts=shown, inches=inches)


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        (placed(("Sales", 0.5, 1), ("0", 0, 0)), placed(("sales", 0.5, 1), ("0", 0, 0)), 1),
        (placed(("Sales", 0.5, 1)), placed(("Sales", 0.5, 1), ("units", 0, 0.5)), 1 / 2),
        (placed(("Sales", 0.5, 1)), placed(("Sale", 0.5, 1)), 0),
        (placed(("a", 0, 0)), placed(("a", 0, 22.3)), 1),  # exp(-0.223) is above 0.8
        (placed(("a", 0, 0)), placed(("a", 0, 22.4)), 0),
        (placed(("a", 0, 0), ("a", 0, 0)), placed(("a", 0, 0)), 1 / 2),  # one that is equal is taken once
        (placed(("a", 10, 0), inches=(3.2, 4.8)), placed(("a", 40, 0)), 1),  # 10 of half the width are 20
        (placed(("a", math.nan, 0)), placed(("a", math.nan, 0)), 0),
        (placed(), placed(), 1),
        (placed(), placed(("a", 0, 0)), 0),
    ],
)
def test_text_match_of_plot2code(answer: Figure, gold: Figure, score: float) -> None:
    assert text_match(answer, gold) == pytest.approx(score)


@pytest.mark.parametrize("score", SCORES)
def test_gold_scores_one(score):
    assert score(GOLD, GOLD) == 1
    bare = figure(axes(line([1, 2], [1, 2], colors=()), grid=None))
    assert score(bare, bare) == 1


def test_text_of_the_published_example():
    """5 true, 4 generated, 3 equal: P = 3/4, R = 3/5, F1 = 2/3."""
    assert text_f1(titled("a", "b", "c", "x"), titled("a", "b", "c", "d", "e")) == pytest.approx(2 / 3)


def test_a_text_repeated_is_paid_once():
    assert text_f1(titled("a", "a", "a", "a"), titled("a", "b")) == pytest.approx(2 / 6)


def test_ticks_are_no_texts_and_lines_are_texts_of_their_own():
    assert text_f1(figure(axes(bars(1)), texts=[("title", "a"), ("xtick", "1")]), titled("a")) == 1
    assert text_f1(titled("a\nb"), titled("a", "b")) == 1
    assert text_f1(titled("A"), titled("a")) == 0


def test_one_side_without_text_scores_nothing():
    assert text_f1(titled(), titled("a")) == text_f1(titled("a"), titled()) == 0


def test_layout_counts_places_in_the_grid():
    left, right, wide = Grid(1, 2, 0, 1, 0, 1), Grid(1, 2, 0, 1, 1, 2), Grid(1, 2, 0, 1, 0, 2)
    gold = figure(axes(grid=left), axes(grid=right))
    assert layout_f1(figure(axes(grid=right), axes(grid=left)), gold) == 1
    assert layout_f1(figure(axes(grid=left)), gold) == pytest.approx(2 / 3)
    assert layout_f1(figure(axes(grid=wide)), gold) == 0


def test_type_counts_outermost_calls():
    gold = figure(axes(bars(1, number=1), bars(2, number=2), line([0, 1], [0, 1], number=3)))
    answer = figure(axes(bars(1, number=1), line([0, 1], [0, 1], number=2)))
    assert type_f1(answer, gold) == pytest.approx(2 * 2 / (2 + 3))
    assert type_f1(figure(axes(bars(1), bars(2))), figure(axes(bars(1)))) == 1  # two artists of one call


def test_charts_of_all_kinds_earn_less_than_one_of_the_wrong_kind_and_the_right_one():
    gold = figure(axes(bars(3, 1, 2)))
    kinds = ["bar", "barh", "plot", "scatter", "pie", "hist", "boxplot", "imshow", "stem", "fill_between"]
    every = figure(axes(*(bars(3, 1, 2, call=call, number=i) for i, call in enumerate(kinds, start=1))))
    assert type_f1(every, gold) == pytest.approx(2 / 11)
    assert data_agreement(every, gold) == pytest.approx(1 / 10)


def test_colours_are_matched_within_a_function():
    red, green, blue = "#ff0000", "#00ff00", "#0000ff"
    gold = figure(axes(bars(1, 2, colors=(red, green))))
    assert color_f1(figure(axes(bars(1, 2, colors=(green, red)))), gold) == 1
    assert color_f1(figure(axes(line([0, 1], [0, 1], colors=(red, green)))), gold) == 0
    near = color_similarity(blue, green)
    assert color_f1(figure(axes(bars(1, 2, colors=(red, blue)))), gold) == pytest.approx((1 + near) / 2)
    assert color_f1(figure(axes(bars(1, 2, colors=(red,)))), gold) == pytest.approx(2 / 3)


def test_many_colours_are_assigned_at_once():
    """ChartMimic tries all permutations: 40 colours would never end."""
    colors = [f"#{17 * i % 256:02x}{91 * i % 256:02x}{53 * i % 256:02x}" for i in range(40)]
    shuffled = random.Random(0).sample(colors, len(colors))
    assert color_f1(figure(axes(bars(1, colors=tuple(shuffled)))), figure(axes(bars(1, colors=tuple(colors))))) == 1


def test_colormaps_by_name():
    gold = figure(axes(element("points", "scatter", colors=(), colormap="viridis", x=[1], y=[1])))
    other = figure(axes(element("points", "scatter", colors=(), colormap="plasma", x=[1], y=[1])))
    assert color_f1(gold, gold) == 1
    assert color_f1(other, gold) == 0


def test_low_level_is_the_mean_of_the_four():
    answer = figure(axes(bars(9, colors=("#ff0000",))), texts=[("title", "Sales")])
    assert low_level(answer, GOLD) == pytest.approx((2 / 3 + 1 + 1 + 1) / 4)


def test_an_empty_generation_scores_zero_whatever_came_before():
    """ChartMimic's type evaluator returns early and keeps the last pair's score."""
    assert type_f1(GOLD, GOLD) == 1
    assert type_f1(figure(axes()), GOLD) == 0


def test_data_falls_linearly_with_the_error():
    gold = figure(axes(bars(3, 1, 2)))
    span = 10
    for error in (0.5, 1, 2):
        expected = (2 + 1 - error / (REACH * span)) / 3
        assert data_agreement(figure(axes(bars(3, 1, 2 + error))), gold) == pytest.approx(expected)
    assert data_agreement(figure(axes(bars(3, 1, 9))), gold) == pytest.approx(2 / 3)


def test_missing_and_surplus_items_do_not_pay():
    gold = figure(axes(bars(3, 1, 2)))
    assert data_agreement(figure(axes(bars(3, 1))), gold) == pytest.approx(2 / 3)
    assert data_agreement(figure(axes(bars(3, 1, 2, 5))), gold) == pytest.approx(3 / 4)
    assert data_agreement(figure(axes(bars(3, 1, 2), bars(3, 1, 2, number=2))), gold) == pytest.approx(1 / 2)
    assert data_agreement(figure(axes()), gold) == 0


def test_a_curve_is_what_is_seen_of_it():
    x = [i / 10 for i in range(41)]
    gold = figure(axes(line([0, 4], [0, 8])))
    assert data_agreement(figure(axes(line(x, [2 * v for v in x]))), gold) == pytest.approx(1)
    half = data_agreement(figure(axes(line([0, 2], [0, 4]))), gold)
    assert 0.4 < half < 0.8


def test_logarithmic_axes_are_read_in_decades():
    def log(*lengths):
        return figure(axes(bars(*lengths), y_scale="log", y_limits=(1.0, 10_000.0)))

    expected = (1 + (1 - 0.30103 / (REACH * 4))) / 2  # a factor of two on four decades
    assert data_agreement(log(10, 200), log(10, 100)) == pytest.approx(expected, abs=1e-4)
    assert data_agreement(log(10, 100), log(10, 100)) == 1


def test_a_gold_figure_without_numbers_has_no_data_score():
    surface = figure(axes(element("surface", "plot_surface")))
    assert data_agreement(GOLD, surface) is None


def test_gaps_and_constant_series_agree_with_themselves():
    image = element("image", "imshow", colors=(), colormap="viridis", value=[1, float("nan"), 1, 1])
    gap = line([0, 1, 2], [1, float("nan"), 2])
    for one in (image, gap, line([1, 1], [2, 2]), element("points", "scatter", x=[1, 2], y=[1, 2], value=[5])):
        assert data_agreement(figure(axes(one)), figure(axes(one))) == 1


def test_texts_and_empty_axes_are_blank():
    assert is_blank(figure())
    assert is_blank(figure(axes(), texts=[("annotation", "plt.bar([1, 2], [3, 4])")]))
    assert not is_blank(GOLD)


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5)
FIGURES = st.builds(
    lambda groups, strings, kinds: figure(
        axes(
            *(
                bars(*values, number=i) if kind else line(range(len(values)), values, number=i)
                for i, (values, kind) in enumerate(zip(groups, kinds, strict=False), start=1)
            )
        ),
        texts=[("title", string) for string in strings],
    ),
    st.lists(NUMBERS, max_size=4),
    st.lists(st.sampled_from("abc"), max_size=4),
    st.lists(st.booleans(), max_size=4),
)


@given(FIGURES, FIGURES)
def test_scores_are_bounded_and_gold_is_the_maximum(answer, gold):
    for score in SCORES:
        value = score(answer, gold)
        assert value is None or -1e-9 <= value <= 1 + 1e-9
        assert score(gold, gold) in (1, None) or score(gold, gold) == pytest.approx(1)


@given(FIGURES, FIGURES, st.randoms())
def test_the_order_of_elements_does_not_matter(answer, gold, rng):
    elements = list(answer.axes[0].elements)
    rng.shuffle(elements)
    shuffled = replace(answer, axes=(replace(answer.axes[0], elements=tuple(elements)),))
    for score in SCORES:
        assert score(shuffled, gold) == pytest.approx(score(answer, gold))
