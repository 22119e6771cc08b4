"""What long phases show: a bar with the remaining time on a terminal, and nothing elsewhere.

A phase inside another one shows nothing: a terminal has one place for what is going on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")
Advance = Callable[[int], None]

_running = 0
"""Phases that have begun and not ended."""


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


COUNTED: tuple[ProgressColumn, ...] = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=20),
    MofNCompleteColumn(),
    RateColumn(),
    TimeRemainingColumn(),
)
UNCOUNTED: tuple[ProgressColumn, ...] = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())


def bars(console: Console, columns: Iterable[ProgressColumn] = COUNTED) -> Progress:
    """Bars that leave nothing behind and do not appear where `console` is no terminal."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def phase(what: str, total: int | None = None, console: Console | None = None) -> Iterator[Advance]:
    """Shows how far a phase of `total` items is, or how long it has taken where nobody can count.

    Yields the function that is told how many more items are done.
    """
    global _running
    console = Console(quiet=True) if _running else console or Console()
    _running += 1
    try:
        with bars(console, UNCOUNTED if total is None else COUNTED) as shown:
            bar = shown.add_task(what, total=total)
            yield lambda done: shown.advance(bar, done)
    finally:
        _running -= 1


def tracked(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, while a bar shows how many of them have been worked off."""
    with phase(what, total) as advance:
        for item in items:
            yield item
            advance(1)
