"""`vlmrl eval`: a model's score card on a benchmark or on a task's own rows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vlmrl.config import Config
from vlmrl.engine.choose import make_engine
from vlmrl.errors import UserError
from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.evaluation.rows import ScoreCard, evaluate_rows, score_card
from vlmrl.loading.hub import local_data
from vlmrl.models.load import load_policy, resolve_device
from vlmrl.records import group_record
from vlmrl.registry import PluginError, find_tasks
from vlmrl.task import Task
from vlmrl.task_mix import TaskMix, only_task
from vlmrl.training.data import Subset, load_rows
from vlmrl.types import Sample


def find_benchmark(name: str) -> tuple[str, Benchmark]:
    """The benchmark of that name and the task it belongs to. Raises UserError listing the known ones."""
    known: list[str] = []
    broken: list[str] = []
    for task_name, folder in find_tasks().items():
        if not (folder.path / "benchmarks.py").is_file():
            continue
        try:
            benchmarks = folder.submodule("benchmarks").BENCHMARKS
        except PluginError as error:  # must not keep the others from being used
            broken.append(f"\n  {error}")
            continue
        for benchmark in benchmarks:
            if benchmark.name == name:
                return task_name, benchmark
            known.append(benchmark.name)
    raise UserError(f"unknown benchmark {name!r}; known benchmarks: {', '.join(sorted(known))}{''.join(broken)}")


def evaluate(config: Config, save: Path | None) -> dict[str, Any]:
    """Evaluates greedily, prints the card and returns it. `save` gets one JSON line per row: answer and score."""
    benchmark = None
    if config.eval.benchmark is not None:
        task_name, benchmark = find_benchmark(config.eval.benchmark)
        config = replace(config, task=replace(config.task, name=task_name))
    part = only_task(config, "eval")
    task, task_name = part.task, part.name
    rows, data = _rows(task, benchmark, config)
    device = resolve_device(config.run.device)
    policy = load_policy(config.model, device, trainable=False)
    engine = make_engine(policy, config.engine)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("rows", total=len(rows))
        advance = lambda done: progress.advance(bar, done)  # noqa: E731
        evaluated = list(evaluate_rows(engine, TaskMix(part), rows, config.rollout.max_completion_tokens, advance))
    tags = benchmark.cells if benchmark else tuple(sorted({tag for row in evaluated for tag in row.group.sample.tags}))
    card = score_card(task, evaluated, tags)
    if save is not None:
        lines = [group_record(0, item.group, None) | {"metrics": item.metrics} for item in evaluated]
        save.write_text("".join(json.dumps(line) + "\n" for line in lines))
    Console(highlight=False).print(card_table(card, benchmark.name if benchmark else task_name))
    return {
        "task": task_name,
        "benchmark": benchmark and benchmark.name,
        "model": config.model.path,
        "data": data,
        "processor": policy.family.settings(),
        **card.record(),
    }


def _rows(task: Task, benchmark: Benchmark | None, config: Config) -> tuple[Sequence[Sample], str]:
    if config.data.held_out is None:
        if benchmark:
            raise UserError(f"benchmark {benchmark.name} needs its data: --data {benchmark.files}")
        return task.synthetic("held_out", config.data.max_rows or config.data.held_out_rows, 0), "synthetic"
    path = config.data.held_out
    if benchmark:
        try:
            place = local_data(path, config.data.download)
        except UserError as error:
            raise UserError(f"{error}; benchmark {benchmark.name} reads {benchmark.files}") from error
        rows = benchmark.load(place)
    else:
        rows = load_rows(task, path, config.data.download)
    limit = config.data.max_rows or len(rows)
    return Subset(rows, range(min(limit, len(rows)))), path


def card_table(card: ScoreCard, title: str) -> Table:
    """The score with its interval, both averages named, and the cells."""
    table = Table(title, "n", card.metric, "95% interval", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    interval = f"[{100 * card.low:.1f}, {100 * card.high:.1f}]"
    table.add_row("micro (mean over rows)", str(card.n), f"{card.score:.1%}", interval)
    table.add_row(f"macro (mean over {len(card.cells)} cells)", "", f"{card.macro:.1%}", "")
    for name, cell in card.cells.items():
        table.add_row(f"  {name}", str(cell.n), f"{cell.value:.1%}", "")
    for name, figure in card.metrics.items():
        if name != card.metric:
            table.add_row(name, "", f"{figure.value:.1%}", f"[{100 * figure.low:.1f}, {100 * figure.high:.1f}]")
    table.add_row("unparsed (scored 0)", str(card.unparsed), f"{card.unparsed / card.n:.1%}", "")
    return table
