"""What a run prints: a live bar on a terminal, one line now and then elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from vlmrl.evaluation.card import ScoreCard

PLAIN_EVERY = 10
"""Steps between two lines when the output is not a terminal."""


def percent(card: ScoreCard) -> str:
    """A score with its 95% interval, e.g. 40.6% [34.8, 46.7]."""
    return f"{card.score:.1%} [{100 * card.low:.1f}, {100 * card.high:.1f}]"


class Progress:
    """Reports steps and evaluations of one run."""

    def __init__(self, total_steps: int) -> None:
        self.console = Console(highlight=False)
        self.total_steps = total_steps
        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.training = self.bars.add_task("training", total=total_steps, note="")

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def step(self, step: int, metrics: dict[str, Any]) -> None:
        if metrics["groups"]:
            note = (
                f"reward {metrics['reward']:.3f}  accuracy {metrics['accuracy']:.1%}  "
                f"entropy {metrics['entropy']:.2f}  unparsed {metrics['unparsed']:.1%}"
            )
        else:
            note = f"no group out of {metrics['sampled_groups']} varies: nothing to learn from"
        if metrics["split_passes"]:
            self.console.print(
                f"step {step}: {metrics['split_passes']} passes ran out of memory and were split in two; "
                "a lower engine.max_tokens_per_pass avoids the loss of time"
            )
        self.bars.update(self.training, completed=step, note=note)
        if not self.console.is_terminal and (step % PLAIN_EVERY == 0 or step == self.total_steps):
            self.console.print(f"step {step}/{self.total_steps}  {note}")

    @contextmanager
    def evaluating(self, rows: int) -> Iterator[Callable[[int], None]]:
        """A bar for the rows of one evaluation; yields the function that advances it."""
        bar = self.bars.add_task("held-out", total=rows, note="")
        try:
            yield lambda done: self.bars.advance(bar, done)
        finally:
            self.bars.remove_task(bar)

    def evaluated(self, step: int, card: ScoreCard) -> None:
        self.console.print(f"held-out {card.metric} at step {step}: {percent(card)}, n = {card.n}")


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
