"""What `vlmrl benchmarks` prints."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.table import Table

from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.evaluation.find import benchmarks, find_benchmark
from vlmrl.evaluation.show import anchor_table
from vlmrl.registry import PluginError, find_task


def all_benchmarks() -> Iterator[Table]:
    """A block for every benchmark; a task folder that cannot be loaded gives its error instead."""
    for task, benchmark in benchmarks():
        if isinstance(benchmark, PluginError):
            yield _grid({task: f"broken: {benchmark}"})
        else:
            yield _grid(_facts(task, benchmark) | {"": _published(benchmark)})


def one_benchmark(name: str) -> Iterator[Table]:
    """One benchmark with every published figure. Raises UserError for an unknown name."""
    task, benchmark = find_benchmark(name)
    yield _grid(_facts(task, benchmark))
    if benchmark.anchors:
        anchors = [asdict(anchor) for anchor in benchmark.anchors]
        yield anchor_table(anchors, _metric(task, benchmark), "measured with", None)


def _facts(task: str, benchmark: Benchmark) -> dict[str, str]:
    rows = "" if benchmark.rows is None else f"{benchmark.rows:,}"
    splits = ", ".join(f"{split} ({count:,})" for split, count in benchmark.splits.items())
    return {
        benchmark.name: benchmark.description,
        "task": task,
        "data": benchmark.files,
        "rows": f"{rows}{': ' if rows and splits else ''}{splits}",
        "metric": f"{_metric(task, benchmark)}, {benchmark.average} average"
        + (f"; cells by {' and '.join(benchmark.cells)}" if benchmark.cells else ""),
        "scorer": benchmark.scorer,
    }


def _published(benchmark: Benchmark) -> str:
    whole = [anchor for anchor in benchmark.anchors if not anchor.metric and not anchor.cell]
    if not whole:
        return ""
    low, high = (pick(whole, key=lambda anchor: anchor.score) for pick in (min, max))
    return (
        f"{len(benchmark.anchors)} published figures, {low.score:.1%} ({low.model}) to {high.score:.1%} ({high.model})"
    )


def _metric(task: str, benchmark: Benchmark) -> str:
    return benchmark.metric or find_task(task).task_class.metrics()[0]


def _grid(facts: dict[str, str]) -> Table:
    """Labels and texts; the first label is a heading."""
    table = Table.grid(padding=(0, 2))
    for place, (label, text) in enumerate(facts.items()):
        if text:
            table.add_row(label if place == 0 else f"  {label}", text)
    table.add_row()
    return table
