"""What a run prints: one line per step and a live bar on a terminal, one line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vlmrl.evaluation.card import ScoreCard
from vlmrl.progress import Advance, bars

PLAIN_EVERY = 10
"""Steps between two lines when the output is not a terminal."""
HEAD_EVERY = 20
"""Lines between two heads of the columns."""
COLUMNS = (("step", 13), ("reward", 8), ("accuracy", 9), ("unparsed", 9), ("dead", 6), ("tokens", 9), ("entropy", 8))
"""Head and width of a step's columns, the seconds after them: 71 characters."""
SECONDS = ("seconds", 9)


def percent(card: ScoreCard) -> str:
    """A score with its 95% interval, e.g. 40.6% [34.8, 46.7]."""
    return f"{card.score:.1%} [{100 * card.low:.1f}, {100 * card.high:.1f}]"


class Progress:
    """Reports steps and evaluations of one run."""

    def __init__(self, total_steps: int) -> None:
        self.console = Console(highlight=False)
        self.total_steps = total_steps
        self.bars = bars(self.console)
        self.training = self.bars.add_task("training", total=total_steps)
        self._lines = 0
        self._since = time.perf_counter()

    def __enter__(self) -> "Progress":
        self._since = time.perf_counter()
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def step(self, step: int, metrics: dict[str, Any]) -> None:
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self.bars.update(self.training, completed=step)
        if metrics["split_passes"]:
            self.console.print(
                f"step {step}: {metrics['split_passes']} passes ran out of memory and were split in two; "
                "a lower engine.max_tokens_per_pass avoids the loss of time"
            )
        if self.console.is_terminal or step % PLAIN_EVERY == 0 or step == self.total_steps:
            if self._lines % HEAD_EVERY == 0:
                self.console.print(_columns([name for name, _ in COLUMNS], SECONDS[0]))
            self._lines += 1
            self.console.print(_columns(self._figures(step, metrics), f"{seconds:.1f}"))

    def _figures(self, step: int, metrics: dict[str, Any]) -> list[str]:
        place = f"{step}/{self.total_steps}"
        if not metrics["groups"]:
            return [place, f"  none of {metrics['sampled_groups']} sampled groups varies"]
        return [
            place,
            f"{metrics['reward']:.3f}",
            *(f"{metrics[name]:.1%}" for name in ("accuracy", "unparsed")),
            f"{metrics['dead_groups']:.0%}",
            f"{metrics['completion_tokens']:.1f}",
            f"{metrics['entropy']:.2f}",
        ]

    @contextmanager
    def evaluating(self, rows: int) -> Iterator[Advance]:
        """A bar for the rows of one evaluation; yields the function that advances it."""
        bar = self.bars.add_task("held-out", total=rows)
        try:
            yield lambda done: self.bars.advance(bar, done)
        finally:
            self.bars.remove_task(bar)
            self._since = time.perf_counter()

    def evaluated(self, step: int, card: ScoreCard) -> None:
        self.console.print(f"held-out {card.metric} at step {step}: {percent(card)}, n = {card.n}")


def _columns(figures: list[str], seconds: str) -> str:
    """Figures under their heads, aligned to the right."""
    width = sum(size for _, size in COLUMNS)
    line = "".join(f"{figure:>{size}}" for figure, (_, size) in zip(figures, COLUMNS, strict=False))
    return f"{line:<{width}}{seconds:>{SECONDS[1]}}"


def before_after_table(before: ScoreCard, after: ScoreCard, rows: str) -> Table:
    """The result of a run: the score of some rows at its start and at its end, with 95% intervals."""
    table = Table(rows, "n", "before", "after", "change", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    change = 100 * (after.score - before.score)
    table.add_row(before.metric, str(before.n), percent(before), percent(after), f"{change:+.1f}")
    for name in after.cells if len(after.cells) > 1 else ():
        b, a = before.cells[name].value, after.cells[name].value
        table.add_row(f"  {name}", str(after.cells[name].n), f"{b:.1%}", f"{a:.1%}", f"{100 * (a - b):+.1f}")
    unparsed = [card.unparsed / card.n for card in (before, after)]
    table.add_row("unparsed", "", *(f"{share:.1%}" for share in unparsed), f"{100 * (unparsed[1] - unparsed[0]):+.1f}")
    return table
