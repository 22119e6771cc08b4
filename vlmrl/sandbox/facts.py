"""Reads a drawn matplotlib figure into plain numbers and strings, inside the script's process.

The result is the JSON that `vlmrl.sandbox.figure.parse` checks and types; the two files describe the same fields. Which
plotting function made an artist is recorded while the script runs: only outermost calls count, so that the lines inside
a box plot belong to `boxplot`.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import BarContainer
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import AxLine, Line2D
from matplotlib.patches import Patch, Rectangle, Wedge
from matplotlib.quiver import Barbs, Quiver
from matplotlib.spines import Spine
from matplotlib.table import Table
from matplotlib.text import Annotation, Text
from matplotlib.transforms import BboxBase
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3D, Path3DCollection, Poly3DCollection

from vlmrl.sandbox.figure import MAX_AXES, MAX_COLORS, MAX_ELEMENTS, MAX_NUMBERS, MAX_SERIES, MAX_STRING, MAX_TEXTS

_PLOTTING = """
    acorr angle_spectrum arrow axhline axhspan axline axvline axvspan bar bar3d barbs barh boxplot broken_barh bxp
    cohere contour contour3D contourf contourf3D csd ecdf errorbar eventplot fill fill_between fill_betweenx
    grouped_bar hexbin hist hist2d hlines imshow loglog magnitude_spectrum matshow pcolor pcolorfast pcolormesh
    phase_spectrum pie plot plot3D plot_surface plot_trisurf plot_wireframe psd quiver quiver3D scatter scatter3D
    semilogx semilogy specgram spy stackplot stairs stem stem3D step streamplot table tricontour tricontourf
    tripcolor triplot violin violinplot vlines voxels xcorr
"""
_ADDING = ("add_artist", "add_collection", "add_image", "add_line", "add_patch", "add_table")
_CALL = "_vlmrl_call"

Json = dict[str, Any]


def record_calls() -> None:
    """From here on artists remember the outermost plotting call that added them to their axes."""
    running: list[tuple[str, int]] = []
    count = 0

    def outermost(original: Callable) -> Callable:
        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if running:
                return original(*arguments, **options)
            count += 1
            running.append((original.__name__, count))
            try:
                made = original(*arguments, **options)
                if isinstance(made, Artist):  # axline adds its line by itself
                    setattr(made, _CALL, running[0])
                return made
            finally:
                running.clear()

        return call

    def adding(original: Callable) -> Callable:
        @functools.wraps(original)
        def add(axes: Axes, artist: Artist, *arguments: Any, **options: Any) -> Any:
            if running:
                setattr(artist, _CALL, running[0])
            return original(axes, artist, *arguments, **options)

        return add

    for kind in (Axes, Axes3D):
        for name in set(_PLOTTING.split()) & vars(kind).keys():
            setattr(kind, name, outermost(vars(kind)[name]))
    for name in _ADDING:
        setattr(Axes, name, adding(getattr(Axes, name)))


def read(figure: Figure, renderer: Any, size: tuple[int, int]) -> Json:
    """The facts of a figure that has just been drawn with `renderer` on `size` (width, height) pixels."""
    reader = _Reader(renderer, size)
    width, height = figure.get_size_inches()
    all_axes = figure.get_axes()
    axes = [reader.axes(one) for one in all_axes[:MAX_AXES]]
    for index, one in enumerate(all_axes[:MAX_AXES]):
        reader.texts_of_axes(one, index)
    reader.texts_of_figure(figure)
    return {
        "inches": [_number(width), _number(height)],
        "size": list(size),
        "axes": axes,
        "texts": reader.texts,
        "complete": reader.complete and len(all_axes) <= MAX_AXES,
    }


class _Reader:
    """Collects texts and elements and stops at the bounds; `complete` says whether anything was left out."""

    def __init__(self, renderer: Any, size: tuple[int, int]) -> None:
        self._renderer = renderer
        self._size = size
        self._numbers_left = MAX_NUMBERS
        self._elements_left = MAX_ELEMENTS
        self.texts: list[Json] = []
        self.complete = True

    def axes(self, axes: Axes) -> Json:
        slot = axes.get_subplotspec()
        grid = None
        if slot is not None:
            rows, columns = slot.get_gridspec().get_geometry()
            row, column = slot.rowspan, slot.colspan
            grid = [rows, columns, row.start, row.stop, column.start, column.stop]
        position = axes.get_position()
        return {
            "projection": _string(axes.name),
            "grid": grid,
            "position": [_number(v) for v in (position.x0, position.y0, position.x1, position.y1)],
            "x_limits": [_number(v) for v in axes.get_xlim()],
            "y_limits": [_number(v) for v in axes.get_ylim()],
            "x_scale": _string(axes.get_xscale()),
            "y_scale": _string(axes.get_yscale()),
            "colorbar": axes.get_label() == "<colorbar>",
            "legend": axes.get_legend() is not None,
            "grid_lines": any(line.get_visible() for line in (*axes.get_xgridlines(), *axes.get_ygridlines())),
            "elements": self._elements(axes),
        }

    # Texts

    def texts_of_figure(self, figure: Figure) -> None:
        # Matplotlib's public getters give the strings without their artists.
        private = {"_suptitle": "figure_title", "_supxlabel": "figure_xlabel", "_supylabel": "figure_ylabel"}
        roles = {id(getattr(figure, attribute)): role for attribute, role in private.items()}
        for text in figure.texts:
            self._text(roles.get(id(text), "annotation"), text, None)
        for legend in figure.legends:
            self._legend(legend, None)

    def texts_of_axes(self, axes: Axes, index: int) -> None:
        free = {id(text) for text in axes.texts}
        for child in axes.get_children():
            if isinstance(child, Text) and not isinstance(child, Annotation) and id(child) not in free:
                self._text("title", child, index)
            elif isinstance(child, Table) and child.get_visible():
                for cell in child.get_celld().values():
                    self._text("table", cell.get_text(), index)
        if getattr(axes, "_axis3don", axes.axison):  # 3-D axes keep their own switch
            for name in ("x", "y", "z"):
                axis = getattr(axes, f"{name}axis", None)
                if axis is not None and axis.get_visible():
                    self._axis(name, axis, index)
        for text in axes.texts:
            self._text("annotation", text, index)
        legend = axes.get_legend()
        if legend is not None and legend.get_visible():
            self._legend(legend, index)

    def _axis(self, name: str, axis: Any, index: int) -> None:
        self._text(f"{name}label", axis.label, index)
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (high - low)
        for tick in axis.get_major_ticks():
            if low - slack <= tick.get_loc() <= high + slack:
                self._text(f"{name}tick", tick.label1, index)
                self._text(f"{name}tick", tick.label2, index)
        self._text(f"{name}offset", axis.get_offset_text(), index)

    def _legend(self, legend: Any, index: int | None) -> None:
        self._text("legend_title", legend.get_title(), index)
        for text in legend.get_texts():
            self._text("legend", text, index)

    def _text(self, role: str, text: Text, index: int | None) -> None:
        string = text.get_text().strip()
        if not string or not text.get_visible():
            return
        if len(self.texts) >= MAX_TEXTS:
            self.complete = False
            return
        box: BboxBase = text.get_window_extent(self._renderer)
        width, height = self._size
        self.texts.append(
            {
                "role": role,
                "text": _string(string),
                "axes": index,
                "x": _number((box.x0 + box.x1) / 2 / width),
                "y": _number((box.y0 + box.y1) / 2 / height),
                "points": _number(float(text.get_fontsize())),
                "color": _color(text.get_color()),
                "position": [_coordinate(value) for value in text.get_position()],
            }
        )

    # Elements

    def _elements(self, axes: Axes) -> list[Json]:
        found: list[Json] = []
        bars = [container for container in axes.containers if isinstance(container, BarContainer) and container.patches]
        bars = [container for container in bars if all(isinstance(patch, Rectangle) for patch in container)]
        first_bars = {id(container.patches[0]): container for container in bars}
        in_bars = {id(patch) for container in bars for patch in container.patches}
        pies: dict[int, list[Wedge]] = {}
        for child in axes.get_children():
            if not child.get_visible() or child is axes.patch or isinstance(child, Spine):
                continue
            if id(child) in first_bars:
                found.append(self._bars(first_bars[id(child)]))
            elif id(child) in in_bars:
                continue
            elif isinstance(child, Wedge):
                number = _call_of(child)[1] or id(child)
                if number not in pies:
                    found.append({})  # filled in below, once its wedges are known
                pies.setdefault(number, []).append(child)
            elif isinstance(child, Line2D | Patch | Collection | AxesImage):
                found.append(self._artist(axes, child))
        filled = iter(pies.values())
        found = [element or self._pie(next(filled)) for element in found]
        kept = found[: self._elements_left]
        self._elements_left -= len(kept)
        self.complete = self.complete and len(kept) == len(found)
        return kept

    def _element(self, kind: str, artist: Artist, series: dict[str, Any], label: Any = None, **more: Any) -> Json:
        call, number = _call_of(artist)
        label = artist.get_label() if label is None else label
        label = "" if str(label).startswith("_") else label
        numbers = {name: self._series(values) for name, values in series.items()}
        element: Json = {"kind": kind, "call": call, "call_number": number, "label": _string(label), "series": numbers}
        element |= {"colors": [], "colormap": "", "line_style": "", "marker": "", "orientation": "", "shape": None}
        return element | more

    def _series(self, values: Any) -> list[float | None]:
        flat: np.ndarray = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel()
        kept = min(len(flat), MAX_SERIES, self._numbers_left)
        self._numbers_left -= kept
        self.complete = self.complete and kept == len(flat)
        return [_number(value) for value in flat[:kept].tolist()]

    def _bars(self, container: BarContainer) -> Json:
        patches = container.patches
        boxes = np.array([(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in patches], dtype=float)
        x, y, width, height = boxes.T
        upright = container.orientation != "horizontal"
        start, thickness, base, length = (x, width, y, height) if upright else (y, height, x, width)
        return self._element(
            "bars",
            patches[0],
            {"position": start + thickness / 2, "length": length, "base": base, "thickness": thickness},
            label=container.get_label(),
            colors=_patch_colors(patches),
            orientation="vertical" if upright else "horizontal",
        )

    def _pie(self, wedges: list[Wedge]) -> Json:
        return self._element(
            "wedges",
            wedges[0],
            {
                "share": [(wedge.theta2 - wedge.theta1) / 360 for wedge in wedges],
                "radius": [wedge.r for wedge in wedges],
                "thickness": [wedge.r if wedge.width is None else wedge.width for wedge in wedges],
            },
            label="",
            colors=_patch_colors(wedges),
        )

    def _artist(self, axes: Axes, artist: Any) -> Json:
        if isinstance(artist, Line2D):
            return self._line(axes, artist)
        if isinstance(artist, Patch):
            points = artist.get_patch_transform().transform(artist.get_path().vertices)
            return self._element("patch", artist, _columns(points, "xy"), colors=_patch_colors([artist]))
        coloring = _coloring(artist)
        values = artist.get_array()
        if isinstance(artist, AxesImage):
            if values.ndim == 3:  # a photograph, not data
                return self._element("image", artist, {"value": []}, shape=list(values.shape[:2]))
            return self._element("image", artist, {"value": values}, shape=list(values.shape), **coloring)
        if isinstance(artist, QuadMesh):
            shape = list(values.shape) if values.ndim == 2 else None
            return self._element("mesh", artist, {"value": values}, shape=shape, **coloring)
        if isinstance(artist, ContourSet):
            kind = "filled_contour" if artist.filled else "contour"
            return self._element(kind, artist, {"level": artist.levels}, **coloring)
        if isinstance(artist, Quiver | Barbs):
            u, v = (artist.U, artist.V) if isinstance(artist, Quiver) else (artist.u, artist.v)
            x, y = np.asarray(artist.get_offsets()).T
            return self._element("arrows", artist, {"x": x, "y": y, "u": u, "v": v}, **coloring)
        if isinstance(artist, Path3DCollection):
            return self._element("points", artist, dict(zip("xyz", artist._offsets3d, strict=True)), **coloring)
        if isinstance(artist, Poly3DCollection):
            return self._element("surface", artist, {}, **coloring)
        if isinstance(artist, LineCollection):
            return self._element("segments", artist, _columns(_joined(artist.get_segments()), "xy"), **coloring)
        offsets: np.ndarray = np.ma.filled(np.ma.asarray(artist.get_offsets(), dtype=float), np.nan)
        if isinstance(artist, PathCollection) or len(offsets) > 1:
            series = _columns(offsets, "xy") | {"value": [] if values is None else values}
            return self._element("points", artist, series, **coloring)
        outlines = _joined([path.vertices for path in artist.get_paths()])
        return self._element("polygons", artist, _columns(outlines, "xy"), **coloring)

    def _line(self, axes: Axes, line: Line2D) -> Json:
        if isinstance(line, Line3D):
            series: dict[str, Any] = dict(zip("xyz", line.get_data_3d(), strict=True))
            kind = "line"
        else:
            series = (
                {} if isinstance(line, AxLine) else {"x": line.get_xdata(orig=False), "y": line.get_ydata(orig=False)}
            )
            # axhline, axvline: one of the two coordinates is a share of the axes, not data.
            in_data = line.get_transform().contains_branch_seperately(axes.transData)
            kinds = {(True, True): "line", (False, True): "horizontal", (True, False): "vertical"}
            kind = kinds.get((in_data[0], in_data[1]), "other")
        drawn = line.get_linestyle() not in ("None", "none", " ", "")
        return self._element(
            kind,
            line,
            series,
            colors=[_color(line.get_color() if drawn else line.get_markerfacecolor())],
            line_style=_string(line.get_linestyle() if drawn else ""),
            marker=_string("" if line.get_marker() in (None, "None", "none", " ", "") else line.get_marker()),
        )


def _call_of(artist: Artist) -> tuple[str, int]:
    return getattr(artist, _CALL, ("", 0))


def _coloring(artist: Any) -> Json:
    """The colours of a collection or image, or its colormap where it shows values."""
    if artist.get_array() is not None:
        return {"colormap": _string(artist.get_cmap().name)}
    faces = [color for color in artist.get_facecolor() if color[3] > 0]
    return {"colors": _distinct(faces if faces else artist.get_edgecolor())}


def _patch_colors(patches: Iterable[Patch]) -> list[str]:
    faces = ((to_rgba(patch.get_facecolor()), patch.get_edgecolor()) for patch in patches)
    return _distinct(face if face[3] > 0 else edge for face, edge in faces)


def _distinct(colors: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(map(_color, colors)))[:MAX_COLORS]


def _color(color: Any) -> str:
    return to_hex(color, keep_alpha=False)


def _joined(outlines: list[Any]) -> Any:
    """Outlines, each n x 2, one after the other with a gap between; empty ones are left out."""
    gap = np.full((1, 2), np.nan)
    pieces = [piece for outline in outlines if len(outline) for piece in (np.asarray(outline, dtype=float)[:, :2], gap)]
    return np.concatenate(pieces[:-1]) if pieces else np.empty((0, 2))


def _columns(points: Any, names: str) -> dict[str, Any]:
    return {name: points[:, column] for column, name in enumerate(names)}


def _number(value: float) -> float | None:
    """Seven digits are more than a picture shows; None stands for a gap."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _coordinate(value: Any) -> float | None:
    """A text's own coordinate, which may also be a date or a category."""
    return _number(float(value)) if isinstance(value, int | float | np.number) else None


def _string(value: Any) -> str:
    return str(value)[:MAX_STRING]
