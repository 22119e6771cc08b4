"""What is read from figures, which figure counts, and the strict reading of facts that may be lies."""

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.charts import BAR_CHART
from vlmrl.sandbox import Axes, Element, Figure, Grid, Limits, Sandbox, Status
from vlmrl.sandbox.figure import MAX_ELEMENTS, MAX_SERIES, MAX_TEXTS, InvalidResult, parse
from vlmrl.sandbox.runner import outcome_of

IMPORTS = "import numpy as np\nimport matplotlib.pyplot as plt\n"


def figure_of(sandbox: Sandbox, script: str) -> Figure:
    (outcome,) = sandbox.run([IMPORTS + script])
    assert outcome.figure is not None, outcome.message
    return outcome.figure


def texts(figure: Figure, role: str) -> list[str]:
    return [text.text for text in figure.texts if text.role == role]


def only(axes: Axes) -> Element:
    (element,) = axes.elements
    return element


# Facts


@pytest.mark.parametrize(
    ("script", "figures"),
    [
        ("plt.plot([1])", 1),
        ("plt.plot([1])\nplt.savefig('a.png')\nplt.title('b')\nplt.savefig('b.png')", 1),
        ("plt.plot([1])\nplt.show()\nplt.figure()\nplt.plot([2])\nplt.show()", 2),
        ("for _ in range(3):\n  plt.figure()\n  plt.plot([1])", 3),
        ("plt.plot([1])\nplt.savefig('a.png')\nplt.close()\nplt.plot([2])\nplt.savefig('b.png')\nplt.close()", 2),
        ("plt.figure()\nfig, ax = plt.subplots()\nax.plot([1])", 1),
    ],
    ids=["one", "saved twice", "shown twice", "open", "closed", "empty left open"],
)
def test_figures_are_counted(sandbox: Sandbox, script: str, figures: int) -> None:
    assert figure_of(sandbox, script).figures == figures


def test_bar_chart(sandbox: Sandbox) -> None:
    figure = figure_of(sandbox, BAR_CHART)
    assert figure.inches == (5, 4)
    assert figure.size == (500, 400)
    assert figure.complete
    assert texts(figure, "title") == ["Sales"]
    assert texts(figure, "xlabel") == ["product"]
    assert texts(figure, "xtick") == ["a", "b", "c"]
    assert texts(figure, "legend") == ["units"]
    (axes,) = figure.axes
    assert axes.calls() == {"bar": 1}
    assert axes.grid == Grid(1, 1, 0, 1, 0, 1)
    assert axes.legend
    assert not axes.grid_lines
    bars = only(axes)
    assert (bars.kind, bars.orientation, bars.label) == ("bars", "vertical", "units")
    assert bars.series["position"] == (0, 1, 2)
    assert bars.series["length"] == (3, 1, 2)
    assert bars.colors == ("#1f77b4",)


def test_the_picture_is_the_figure(sandbox: Sandbox) -> None:
    script = """
figure = plt.figure(figsize=(2, 1), facecolor="red")
figure.add_axes([0.5, 0, 0.5, 1], facecolor="blue").set_axis_on()
plt.gca().spines[:].set_visible(False); plt.gca().tick_params(length=0, labelsize=0)
plt.gca().set_xticks([]); plt.gca().set_yticks([])
"""
    image = figure_of(sandbox, script).image()
    assert image.size == (200, 100)
    assert image.getpixel((20, 50)) == (255, 0, 0)
    assert image.getpixel((150, 50)) == (0, 0, 255)


def test_transparent_figures_are_drawn_over_white(sandbox: Sandbox) -> None:
    assert figure_of(sandbox, "plt.figure(facecolor='none')").image().getpixel((5, 5)) == (255, 255, 255)


def test_horizontal_and_stacked_bars(sandbox: Sandbox) -> None:
    figure = figure_of(sandbox, "plt.barh([0, 1], [5, 7], color=['r', 'g'])\nplt.barh([0, 1], [1, 2], left=[5, 7])")
    first, second = figure.axes[0].elements
    assert first.orientation == "horizontal"
    assert first.series["length"] == (5, 7)
    assert first.colors == ("#ff0000", "#008000")
    assert second.series["base"] == (5, 7)
    assert figure.axes[0].calls() == {"barh": 2}


def test_lines(sandbox: Sandbox) -> None:
    script = "plt.plot([1, 2, 3], [4, np.nan, 6], 'g--o', label='l')\nplt.axhline(5, color='k')\nplt.axvline(2)"
    line, horizontal, vertical = figure_of(sandbox, script).axes[0].elements
    assert (line.kind, line.label, line.line_style, line.marker) == ("line", "l", "--", "o")
    assert line.series["x"] == (1, 2, 3)
    assert line.series["y"][::2] == (4, 6)
    assert math.isnan(line.series["y"][1])
    assert line.colors == ("#008000",)
    assert (horizontal.kind, horizontal.call, horizontal.series["y"]) == ("horizontal", "axhline", (5, 5))
    assert (vertical.kind, vertical.call, vertical.series["x"]) == ("vertical", "axvline", (2, 2))


def test_scatter(sandbox: Sandbox) -> None:
    plain, shaded = figure_of(
        sandbox, "plt.scatter([1, 2], [3, 4], color='r')\nplt.scatter([1, 2], [3, 4], c=[5, 6], cmap='magma')"
    ).axes[0].elements  # fmt: skip
    assert (plain.kind, plain.colors, plain.colormap) == ("points", ("#ff0000",), "")
    assert (plain.series["x"], plain.series["y"], plain.series["value"]) == ((1, 2), (3, 4), ())
    assert (shaded.colors, shaded.colormap, shaded.series["value"]) == ((), "magma", (5, 6))


def test_pie(sandbox: Sandbox) -> None:
    figure = figure_of(sandbox, "plt.pie([1, 3], labels=['a', 'b'], colors=['r', 'b'], wedgeprops={'width': 0.4})")
    pie = only(figure.axes[0])
    assert (pie.kind, pie.call, pie.colors) == ("wedges", "pie", ("#ff0000", "#0000ff"))
    assert pie.series["share"] == (0.25, 0.75)
    assert pie.series["thickness"] == pytest.approx((0.4, 0.4))
    assert texts(figure, "annotation") == ["a", "b"]


def test_statistics_belong_to_the_outermost_call(sandbox: Sandbox) -> None:
    script = """
rng = np.random.default_rng(0)
_, axes = plt.subplots(2, 2)
axes[0, 0].hist(rng.normal(size=100), bins=7)
axes[0, 1].boxplot([rng.normal(size=20)] * 2)
axes[1, 0].violinplot(rng.normal(size=20))
axes[1, 1].errorbar([1, 2], [3, 4], yerr=1)
"""
    figure = figure_of(sandbox, script)
    assert [axes.calls() for axes in figure.axes] == [{"hist": 1}, {"boxplot": 1}, {"violinplot": 1}, {"errorbar": 1}]
    assert sum(only(figure.axes[0]).series["length"]) == 100
    assert [axes.grid for axes in figure.axes] == [
        Grid(2, 2, row, row + 1, column, column + 1) for row in (0, 1) for column in (0, 1)
    ]


def test_images_meshes_and_contours(sandbox: Sandbox) -> None:
    script = """
values = np.arange(6.0).reshape(2, 3)
_, axes = plt.subplots(1, 4)
axes[0].imshow(values, cmap="hot")
axes[1].pcolormesh(values)
axes[2].contourf(values, levels=[0, 2, 4])
axes[3].imshow(np.zeros((4, 5, 3)))
plt.colorbar(axes[0].images[0], ax=axes[0])
"""
    figure = figure_of(sandbox, script)
    image, mesh, contour, photograph = (only(axes) for axes in figure.axes[:4])
    assert (image.kind, image.shape, image.colormap, image.series["value"]) == ("image", (2, 3), "hot", tuple(range(6)))
    assert (mesh.kind, mesh.shape, mesh.series["value"]) == ("mesh", (2, 3), tuple(range(6)))
    assert (contour.kind, contour.series["level"]) == ("filled_contour", (0, 2, 4))
    assert (photograph.shape, photograph.series["value"], photograph.colormap) == ((4, 5), (), "")
    assert [axes.colorbar for axes in figure.axes] == [False] * 4 + [True]


def test_other_projections(sandbox: Sandbox) -> None:
    script = """
figure = plt.figure()
solid = figure.add_subplot(121, projection="3d")
solid.scatter([1, 2], [3, 4], [5, 6])
solid.plot_surface(*np.meshgrid([0.0, 1], [0.0, 1]), np.ones((2, 2)))
solid.set_zlabel("height")
figure.add_subplot(122, projection="polar").plot([0, 1], [1, 2])
"""
    figure = figure_of(sandbox, script)
    solid, polar = figure.axes
    assert (solid.projection, polar.projection) == ("3d", "polar")
    assert solid.calls() == {"scatter": 1, "plot_surface": 1}
    assert solid.elements[0].series["z"] == (5, 6)
    assert texts(figure, "zlabel") == ["height"]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("plt.fill_between([0, 1], [1, 2])", "polygons"),
        ("plt.stackplot([0, 1], [1, 2])", "polygons"),
        ("plt.vlines([1, 2], 0, 1)", "segments"),
        ("plt.quiver([0, 1], [0, 1], [1, 1], [1, 0])", "arrows"),
        ("plt.barbs([0, 1], [0, 1], [1, 1], [1, 0])", "arrows"),
        ("plt.hexbin(np.arange(50), np.arange(50), gridsize=5)", "points"),
        ("plt.gca().add_patch(plt.Circle((0, 0), 1))", "patch"),
        ("plt.axvspan(0, 1)", "patch"),
        ("plt.step([0, 1], [1, 2])", "line"),
        ("plt.stairs([1, 2])", "patch"),
        ("plt.tripcolor([0, 1, 0], [0, 0, 1], [1, 2, 3])", "polygons"),
        ("plt.contour([[1, 2], [3, 4]])", "contour"),
        ("plt.eventplot([1, 2])", "segments"),
        ("plt.triplot([0, 1, 0], [0, 0, 1])", "line"),
        ("plt.matshow([[1, 2]])", "image"),
        ("plt.bar([], [])", None),
        ("plt.plot([], [])", "line"),
        ("plt.scatter([], [])", "points"),
        ("plt.stem([1, 2])", "line"),
        ("plt.broken_barh([(0, 1)], (0, 1))", "polygons"),
        ("plt.table([['a', 'b']])", None),
        ("plt.streamplot(np.arange(3), np.arange(3), np.ones((3, 3)), np.ones((3, 3)))", "segments"),
        ("plt.arrow(0, 0, 1, 1)", "patch"),
        ("plt.axline((0, 0), (1, 1))", "other"),
        ("plt.figure().add_subplot(projection='3d').bar([1, 2], [3, 4], zs=1)", "patch"),
        ("plt.figure().add_subplot(projection='3d').plot_wireframe(*np.ones((3, 2, 2)), axlim_clip=True)", "segments"),
        (
            "import matplotlib.collections as c\nplt.gca().add_collection(c.PatchCollection([plt.Circle((0, 0), 1)]))",
            "polygons",
        ),
    ],
)
def test_every_plotting_function_is_read(sandbox: Sandbox, script: str, kind: str | None) -> None:
    figure = figure_of(sandbox, script)
    kinds = [element.kind for axes in figure.axes for element in axes.elements]
    assert kind is None or kind in kinds, kinds


def test_texts_know_place_and_role(sandbox: Sandbox) -> None:
    script = """
figure, axes = plt.subplots()
axes.plot([0, 10], [0, 1e7], label="line")
axes.set_title("left", loc="left"); axes.set_title("middle")
axes.text(5, 5e6, "free", color="red", fontsize=20)
axes.annotate("there", (1, 1e6), (2, 2e6), arrowprops={})
axes.set_ylabel("ordinate"); axes.legend(title="kinds")
axes.table([["cell"]])
figure.suptitle("all"); figure.supxlabel("below"); figure.text(0.25, 0.5, "loose")
axes.set_xlabel("hidden").set_visible(False)
"""
    figure = figure_of(sandbox, script)
    found = {text.text: text for text in figure.texts}
    roles = {
        **dict(left="title", middle="title", free="annotation", there="annotation", ordinate="ylabel"),
        **dict(kinds="legend_title", line="legend", cell="table", loose="annotation"),
        **dict(all="figure_title", below="figure_xlabel"),
    }
    assert {name: found[name].role for name in roles} == roles
    assert texts(figure, "yoffset") == ["1e7"]
    assert "hidden" not in found
    assert found["loose"].axes is None
    assert (found["free"].axes, found["free"].color, found["free"].points) == (0, "#ff0000", 20)
    assert 0.5 < found["free"].x < 0.6
    assert (found["free"].position, found["loose"].position) == ((5, 5e6), (0.25, 0.5))
    assert found["all"].y > found["middle"].y > found["below"].y


def test_a_text_at_a_category_has_no_number_for_its_place(sandbox: Sandbox) -> None:
    figure = figure_of(sandbox, "plt.bar(['a', 'b'], [1, 2])\nplt.text('b', 1, 'here')")
    (text,) = (text for text in figure.texts if text.text == "here")
    assert math.isnan(text.position[0])
    assert text.position[1] == 1


def test_long_data_is_cut_and_said_to_be(sandbox: Sandbox) -> None:
    figure = figure_of(sandbox, "plt.plot(np.arange(5000))")
    assert not figure.complete
    assert len(only(figure.axes[0]).series["y"]) == MAX_SERIES
    figure = figure_of(sandbox, "for _ in range(600): plt.plot([1, 2])\nplt.title('x' * 10_000)")
    assert not figure.complete
    assert len(figure.axes[0].elements) == MAX_ELEMENTS
    many = figure_of(sandbox, "for number in range(1200): plt.text(0.5, 0.5, str(number))")
    assert len(many.texts) == MAX_TEXTS


def test_pandas_draws_too(sandbox: Sandbox) -> None:
    pytest.importorskip("pandas")
    script = "import pandas as pd\npd.DataFrame({'n': ['a', 'b'], 'v': [1, 2]}).plot.bar(x='n', y='v')"
    assert figure_of(sandbox, script).axes[0].calls() == {"bar": 1}


# Which figure counts


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("plt.title('only')", "only"),
        ("plt.title('saved')\nplt.savefig('x.png')\nplt.close()", "saved"),
        ("plt.title('saved')\nplt.savefig('x.png')\nplt.clf()", "saved"),
        ("plt.title('saved')\nplt.savefig('x.png')\nplt.figure()\nplt.title('never shown')", "saved"),
        ("plt.title('first')\nplt.show()\nplt.figure()\nplt.title('second')\nplt.show()", "second"),
        ("plt.figure()\nplt.title('first')\nplt.figure()\nplt.title('last')", "last"),
        ("plt.title('before')\nplt.savefig('x.png')\nplt.title('after')", "before"),
        ("import matplotlib\nmatplotlib.use('Agg')\nplt.title('agg')\nplt.show()", "agg"),
        (
            "from matplotlib.figure import Figure\nf = Figure()\nf.subplots().set_title('own')\nf.savefig('x.pdf')",
            "own",
        ),
        ("from matplotlib.pylab import *\ntitle('pylab')\nshow()", "pylab"),
        ("if __name__ == '__main__':\n  plt.title('main')", "main"),
        ("import sys\nplt.title('exit')\nsys.exit()", "exit"),
        ("import os\nos.makedirs('out', exist_ok=True)\nplt.title('folder')\nplt.savefig('out/x.svg')", "folder"),
    ],
)
def test_the_last_figure_shown_counts(sandbox: Sandbox, script: str, title: str) -> None:
    assert texts(figure_of(sandbox, script), "title") == [title]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("", "drew no figure"),
        ("plt.close()", "drew no figure"),
        ("plt.savefig('x.png')\n1 / 0", "line 4: ZeroDivisionError"),
        ("import sys\nplt.plot([1])\nsys.exit('no')", "SystemExit: no"),
        ("plt.plot([1, 2], [1])", "ValueError"),
        ("plt.savefig('x.nonsense')", "not supported"),
        ("plt.plot([1]\n", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_a_script_that_fails_has_no_figure(sandbox: Sandbox, script: str, message: str) -> None:
    (outcome,) = sandbox.run([IMPORTS + script])
    assert outcome.status is Status.ERROR
    assert outcome.figure is None
    assert message in outcome.message


def test_saving_to_a_buffer_saves(sandbox: Sandbox) -> None:
    script = """
import io
from PIL import Image
picture, drawing = io.BytesIO(), io.StringIO()
plt.plot([1, 2]); plt.savefig(picture, dpi=50); plt.savefig(drawing, format="svg")
assert Image.open(picture).size == (320, 240)
assert "<svg" in drawing.getvalue()
"""
    assert figure_of(sandbox, script).size == (640, 480)


# Lies


def a_figure() -> dict[str, Any]:
    element = dict(
        kind="line", call="plot", call_number=1, label="", series={"x": [1, 2.5], "y": [None, 3]}, colors=["#00ff00"],
        colormap="", line_style="-", marker="", orientation="", shape=None,
    )  # fmt: skip
    axes = dict(
        projection="rectilinear", grid=[1, 1, 0, 1, 0, 1], position=[0, 0, 1, 1], x_limits=[0, 1], y_limits=[0, 1],
        x_scale="linear", y_scale="log", colorbar=False, legend=False, grid_lines=True, elements=[element],
    )  # fmt: skip
    text = dict(role="title", text="t", axes=0, x=0.5, y=0.5, points=10, color="#000000", position=[0.5, None])
    return dict(inches=[1, 1], size=[2, 1], axes=[axes], texts=[text], complete=True, figures=1)


PIXELS = bytes(6)


def test_a_well_formed_figure_is_read() -> None:
    figure = parse(a_figure(), PIXELS, 100)
    assert figure.axes[0].elements[0].series["x"] == (1, 2.5)
    assert figure.axes[0].y_scale == "log"


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def changed(path: tuple[Any, ...], change: Any) -> Any:
    root = [copy.deepcopy(a_figure())]
    at: Any = root
    for key in (0, *path)[:-1]:
        at = at[key]
    change(at, (0, *path)[-1])
    return root[0]


@pytest.mark.parametrize("path", places(a_figure()), ids=str)
@pytest.mark.parametrize(
    "wrong",
    [{"a": 1}, [[]], "x" * 301, 10**400, -math.inf, math.nan, object()],
    ids=["object", "list", "long string", "huge integer", "infinity", "nan", "foreign"],
)
def test_a_wrong_value_anywhere_is_refused(path: tuple[Any, ...], wrong: Any) -> None:
    def replace(container: Any, key: Any) -> None:
        container[key] = wrong

    with pytest.raises(InvalidResult):
        parse(changed(path, replace), PIXELS, 100)


@pytest.mark.parametrize("path", [path for path in places(a_figure()) if path and isinstance(path[-1], str)], ids=str)
def test_a_missing_or_an_extra_field_is_refused(path: tuple[Any, ...]) -> None:
    def rename(container: Any, key: Any) -> None:
        container["surprise"] = container.pop(key)

    with pytest.raises(InvalidResult):
        parse(changed(path, rename), PIXELS, 100)


@pytest.mark.parametrize(
    ("facts", "pixels"),
    [
        (a_figure(), PIXELS[1:]),
        (a_figure() | {"size": [0, 1]}, b""),
        (a_figure() | {"size": [1000, 1000]}, bytes(3_000_000)),
        (a_figure() | {"axes": a_figure()["axes"] * 65}, PIXELS),
        (a_figure() | {"axes": []}, PIXELS),
        (json.loads(json.dumps(a_figure()).replace("#00ff00", "red")), PIXELS),
        (json.loads(json.dumps(a_figure()).replace("true", "1")), PIXELS),
        (json.loads(json.dumps(a_figure()).replace('"line"', '"bars"')), PIXELS),
    ],
)
def test_figures_that_do_not_fit_together_are_refused(facts: Any, pixels: bytes) -> None:
    with pytest.raises(InvalidResult):
        parse(facts, pixels, 100)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*a_figure(), "x"]), inner),
)


@given(_json)
def test_any_json_is_a_figure_or_refused(value: Any) -> None:
    with pytest.raises(InvalidResult):
        parse(value, b"", 100)


FINISHED = {"stopped_for": "", "signal": 0, "code": 0, "cpu_seconds": 0.1}


def test_a_whole_result_is_ok() -> None:
    result = json.dumps({"result": a_figure()}).encode() + b"\n" + PIXELS
    assert outcome_of(FINISHED, result, Limits()).status is Status.OK


@pytest.mark.parametrize(
    ("answer", "fault"), [({"refused": "no seccomp"}, True), ({"error": "x"}, False), ({"result": {}}, False)]
)
def test_only_the_sandboxs_own_refusal_is_its_fault(answer: dict[str, Any], fault: bool) -> None:
    assert outcome_of(FINISHED, json.dumps(answer).encode() + b"\n", Limits()).fault is fault


@pytest.mark.parametrize(
    "result",
    [
        b"[" * 100_000,
        b"9" * 100_000,
        b"\xff",
        b"null",
        b'{"error": 1}',
        b'{"error": "x", "result": {}}',
        b" " * (3 << 20),
        json.dumps({"result": a_figure()}).replace("2.5", "NaN").encode() + b"\n" + PIXELS,
        json.dumps({"result": a_figure()}).encode() + b"\n",
    ],
    ids=["nested", "digits", "bytes", "null", "number", "both", "long", "nan", "no pixels"],
)
def test_malformed_results_are_refused(result: bytes) -> None:
    assert outcome_of(FINISHED, result, Limits()).status is Status.REFUSED


@given(st.binary(min_size=1))
def test_any_bytes_have_an_outcome(result: bytes) -> None:
    assert outcome_of(FINISHED, result, Limits()).status in (Status.REFUSED, Status.ERROR)
