"""The user's own judge of two charts, for ChartMimic's high-level score; none comes with the project."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.sandbox import Figure

from .drawing import encoded

Judge = Callable[[bytes, bytes], float]
"""Gold's picture and the answer's, both PNG -> 0..100, as ChartMimic's judge rates them."""
HIGHEST = 100


def load_judge(written: str) -> Judge:
    """The function that `FILE.py:FUNCTION` names. Raises UserError if there is none, or its file cannot be run."""
    setting = f"task.options.judge={written}"
    name, _, function = written.rpartition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{setting}: must be FILE.py:FUNCTION, and {name or written} is no Python file here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{setting}: {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{setting}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    judge: Judge | None = getattr(module, function, None)
    if not callable(judge):
        raise UserError(f"{setting}: {path} has no function {function}")
    return judge


def rated(judge: Judge, gold: Figure, answer: Figure) -> float:
    """The judge's rating in [0, 1]. Raises UserError for a rating outside of 0..100."""
    rating = judge(encoded(gold), encoded(answer))
    if not isinstance(rating, int | float) or not 0 <= rating <= HIGHEST:
        raise UserError(f"task.options.judge: rates a chart {rating!r}; it must return a number from 0 to {HIGHEST}")
    return rating / HIGHEST
