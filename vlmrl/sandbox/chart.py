"""The matplotlib job: run a plotting script, and read its figure.

Which figure counts: the one last given to `savefig` or `show`, as it was at that moment; if the script calls neither,
pyplot's current figure at the script's end. The script has to reach its end without an exception. `show` opens
nothing; `savefig` to a path writes nothing, and to a file object writes as ever.
"""

import contextlib
import importlib
import math
import os
import random
import sys
import types
from pathlib import Path
from typing import Any

from vlmrl.sandbox.limits import Limits
from vlmrl.sandbox.worker import ScriptError

_SCRIPT = "chart.py"
_LEAST_DPI = 10
"""Below this a letter is smaller than a pixel, which FreeType refuses."""

_PRELOADED = (
    "numpy",
    "matplotlib.pyplot",
    "mpl_toolkits.mplot3d",
    "pandas",
    "scipy.stats",
    "seaborn",
    "networkx",
)
"""Imported once per worker if installed, so that no script pays for them."""


class ChartJob:
    """Runs matplotlib scripts; used by `vlmrl.sandbox.worker.Worker`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._snapshot: tuple[dict[str, Any], Any] | None = None
        self._given: list[Any] = []

    def prepare(self) -> None:
        for name in _PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        import matplotlib.pyplot as plt

        from vlmrl.sandbox import facts

        self._facts = facts
        facts.record_calls()
        self._replace_output()
        # The first figure builds caches that every fork inherits.
        figure, (left, right) = plt.subplots(1, 2)
        left.plot([1, 2], label="$x^2$")
        left.legend()
        right.bar(["a"], [1])
        right.set_title("title")
        self._take(figure)
        self._snapshot, self._given = None, []
        plt.close("all")

    def run(self, source: str) -> tuple[dict[str, Any], bytes]:
        """Facts of the figure that counts, and its pixels: rows of RGB bytes from the top.

        Raises:
            ScriptError: if the script raises, exits with an error, or draws nothing.
        """
        import matplotlib.pyplot as plt
        import numpy as np

        random.seed(0)
        np.random.seed(0)
        try:
            self._execute(source)
            if self._snapshot is None and plt.get_fignums():
                self._take(plt.gcf())
        except MemoryError:
            raise ScriptError(f"MemoryError: more than {self._limits.memory_bytes >> 20} MiB") from None
        except BaseException as failed:  # noqa: BLE001  (whatever a script raises is its outcome)
            raise ScriptError(_described(failed)) from None
        if self._snapshot is None:
            raise ScriptError("the script drew no figure")
        found, pixels = self._snapshot
        return found | {"figures": self._drawn_figures()}, pixels.tobytes()

    def _drawn_figures(self) -> int:
        """Figures that were given to `savefig` or `show` or are open at the end, those without axes left out."""
        import matplotlib.pyplot as plt

        figures = [*self._given, *map(plt.figure, plt.get_fignums())]
        return len({id(figure) for figure in figures if figure.get_axes()})

    def _execute(self, source: str) -> None:
        module = types.ModuleType("__main__")
        module.__file__ = os.path.join(os.getcwd(), _SCRIPT)
        sys.modules["__main__"] = module
        sys.argv = [_SCRIPT]
        try:
            exec(compile(source, _SCRIPT, "exec"), module.__dict__)
        except SystemExit as finished:
            if finished.code not in (None, 0):
                raise

    def _take(self, figure: Any) -> None:
        """Draw the figure and read it; it replaces the one taken before."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self._given.append(figure)

        width, height = figure.get_size_inches()
        resolution = min(self._limits.dpi, math.sqrt(self._limits.pixels / (width * height)))
        if resolution < _LEAST_DPI:
            raise ValueError(f"a figure of {width:g} x {height:g} inches is too large to draw")
        dpi, canvas = figure.dpi, figure.canvas
        drawn = FigureCanvasAgg(figure)
        try:
            figure.dpi = resolution
            drawn.draw()
            pixels = _on_white(drawn.buffer_rgba())
            self._snapshot = self._facts.read(figure, drawn.get_renderer(), pixels.shape[1::-1]), pixels
        finally:
            figure.dpi = dpi
            figure.set_canvas(canvas)

    def _replace_output(self) -> None:
        import matplotlib.pyplot as plt
        from matplotlib.figure import Figure

        original = Figure.savefig

        def savefig(figure: Any, fname: Any, **options: Any) -> None:
            suffix = Path(fname).suffix[1:] if isinstance(fname, str | os.PathLike) else ""
            kind = (options.get("format") or suffix or "png").lower()
            if kind not in figure.canvas.get_supported_filetypes():
                raise ValueError(f"Format {kind!r} is not supported")
            self._take(figure)
            if hasattr(fname, "write"):  # the script may go on to read it
                original(figure, fname, **options)

        def show(*_: Any, **__: Any) -> None:
            if plt.get_fignums():
                self._take(plt.gcf())

        def show_figure(figure: Any, *_: Any, **__: Any) -> None:
            self._take(figure)

        Figure.savefig = savefig  # type: ignore[method-assign, assignment]
        Figure.show = show_figure  # type: ignore[method-assign, assignment]
        plt.show = show


def _on_white(buffer: Any) -> Any:
    """A canvas's RGBA as RGB, height x width x 3, transparent parts over white."""
    import numpy as np

    rgba = np.asarray(buffer)
    if rgba[..., 3].min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _described(failed: BaseException) -> str:
    """`line 3: NameError: ...`; the deepest line that is the script's own."""
    line = failed.lineno if isinstance(failed, SyntaxError) else None
    trace = failed.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _SCRIPT:
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f"line {line}: " if line else ""
    return f"{place}{type(failed).__name__}: {failed}"
