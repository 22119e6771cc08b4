"""What a check found, as a table, as text and as JSON."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, quantiles
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

SHOWN_PROBLEMS = 20
FIRST_COLUMN = "mean score of"
PADDING = 3
"""Space around the text of a column and beside it, in characters."""
BINS = 10
"""Bars of the histogram of prompt lengths."""


@dataclass
class CheckReport:
    """Result of checking a task's rows with a model's processor and answer format."""

    task: str
    model: str
    data: str
    rows: int = 0
    pictures: int = 0
    prompts: list[tuple[str, int]] = field(default_factory=list)
    """Every row's id and the tokens of its prompt, picture included."""
    answers: dict[str, dict[str, float]] = field(default_factory=dict)
    """Kind of answer (gold, then the attacks) -> mean of each reward component and metric over the rows."""
    problems: list[str] = field(default_factory=list)
    """One line each; a line about a row begins with the row's id."""
    notes: list[str] = field(default_factory=list)
    """Worth knowing, but no reason to stop."""

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def prompt_tokens(self) -> list[int]:
        return [tokens for _, tokens in self.prompts]

    def record(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def print(self) -> None:
        console = Console(highlight=False)
        console.print(f"task {self.task}, model {self.model}, data {self.data}")
        console.print(f"{self.rows} rows on {self.pictures} pictures")
        if self.prompt_tokens:
            console.print(_histogram(self.prompt_tokens))
        if self.answers:
            for table in self._answer_tables(console.width):
                console.print(table)
        for note in self.notes:
            console.print(f"note     {note}")
        for problem in self.problems[:SHOWN_PROBLEMS]:
            console.print(f"[red]problem[/red]  {problem}", soft_wrap=True)
        if len(self.problems) > SHOWN_PROBLEMS:
            console.print(f"... and {len(self.problems) - SHOWN_PROBLEMS} more (all of them with --json FILE)")
        console.print("[green]ok[/green]" if self.ok else f"[red]{len(self.problems)} problems[/red]")

    def _answer_tables(self, width: int) -> Iterator[Table]:
        """The scores in as few tables as `width` characters allow: a task may have more components than fit in one."""
        columns = dict.fromkeys(["reward", *(name for means in self.answers.values() for name in means)])
        shown = [name for name in columns if any(means.get(name) for means in self.answers.values())]
        first = max(map(len, [FIRST_COLUMN, *self.answers])) + PADDING
        while shown:
            room = width - first
            names: list[str] = []
            while shown and (not names or room >= _column_width(shown[0])):
                names.append(shown.pop(0))
                room -= _column_width(names[-1])
            yield self._answer_table(names)

    def _answer_table(self, names: Sequence[str]) -> Table:
        table = Table(Column(FIRST_COLUMN, no_wrap=True), box=SIMPLE_HEAD)
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        for answer, means in self.answers.items():
            table.add_row(answer, *(f"{means[name]:.3f}" if name in means else "-" for name in names))
        return table


@dataclass
class MixedReport:
    """Results of checking several tasks."""

    reports: Sequence[CheckReport]

    @property
    def ok(self) -> bool:
        return all(report.ok for report in self.reports)

    def record(self) -> dict[str, Any]:
        return {"ok": self.ok, "tasks": {report.task: report.record() for report in self.reports}}

    def print(self) -> None:
        for report in self.reports:
            report.print()


def _column_width(name: str) -> int:
    """Characters of a column of scores: its header breaks between words."""
    return max(len("0.000"), *map(len, name.split("_"))) + PADDING


def _histogram(lengths: list[int]) -> Table:
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // BINS))
    counts: dict[int, int] = defaultdict(int)
    for length in lengths:
        counts[(length - low) // width] += 1
    p50, p95 = (quantiles(lengths, n=100)[i] for i in (49, 94)) if len(lengths) > 1 else (low, low)
    table = Table(
        "prompt tokens", "rows", "", box=SIMPLE_HEAD, caption=f"median {p50:.0f}, 95% up to {p95:.0f}, longest {high}"
    )
    for bin_ in range(max(counts) + 1):
        start = low + bin_ * width
        span = f"{start}" if width == 1 else f"{start} - {min(start + width - 1, high)}"
        table.add_row(span, str(counts[bin_]), "█" * round(30 * counts[bin_] / max(counts.values())))
    return table


def means(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every name over the rows that have it."""
    collected: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            collected[name].append(value)
    return {name: fmean(values) for name, values in collected.items()}
