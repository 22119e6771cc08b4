"""Checks data and rewards before training: every picture decodes, and a perfect answer earns full marks.

The gold answer of each row is written in the model's own convention, parsed back and scored by the task's real rewards
and metrics; an empty answer is scored too. This catches wrong coordinate frames, targets that the model's resolution
cannot express, and rewards that give something for nothing, before any GPU time is spent.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.media.pictures import open_picture, picture_key
from vlmrl.models.families import Family
from vlmrl.models.load import load_family
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.training.data import load_rows
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample

SYNTHETIC_ROWS = 200
"""Rows that are checked of a synthetic generator."""
QUICK_ROWS = 64
"""Rows whose gold answers are scored before training."""
QUICK_PICTURES = 500
"""Pictures that are decoded before training."""
SHOWN_PROBLEMS = 20


@dataclass
class CheckReport:
    """What was found."""

    task: str
    model: str
    data: str
    rows: int = 0
    pictures: int = 0
    prompt_tokens: dict[str, float] = field(default_factory=dict)
    """min, median and max prompt tokens of the rows whose picture was processed."""
    gold: dict[str, float] = field(default_factory=dict)
    """Mean of each reward and metric for the gold answers."""
    empty: dict[str, float] = field(default_factory=dict)
    """Mean of each reward and metric for empty answers."""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def record(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def print(self) -> None:
        console = Console()
        console.print(f"task {self.task}, model {self.model}, data {self.data}", highlight=False)
        console.print(f"{self.rows} rows on {self.pictures} pictures", highlight=False)
        if self.prompt_tokens:
            tokens = ", ".join(f"{name} {value:g}" for name, value in self.prompt_tokens.items())
            console.print(f"prompt tokens: {tokens}", highlight=False)
        if self.gold:
            table = Table("mean score", "gold answers", "empty answers", box=SIMPLE_HEAD)
            for name in self.gold | self.empty:
                table.add_row(name, *(_shown(means.get(name)) for means in (self.gold, self.empty)))
            console.print(table)
        for problem in self.problems[:SHOWN_PROBLEMS]:
            console.print(f"[red]problem[/red] {problem}", highlight=False)
        if len(self.problems) > SHOWN_PROBLEMS:
            console.print(f"... and {len(self.problems) - SHOWN_PROBLEMS} more (all of them with --json FILE)")
        console.print("[green]ok[/green]" if self.ok else f"[red]{len(self.problems)} problems[/red]")


def check(config: Config) -> CheckReport:
    """Checks every row of the configured data (or the first rows of the task's generator)."""
    task = find_task(config.task.name).create(config.task.options)
    family = load_family(config.model)
    if config.data.train is None:
        rows, data = task.synthetic("train", SYNTHETIC_ROWS, config.run.seed), "synthetic"
    else:
        rows, data = load_rows(task, config.data.train), config.data.train
    report = CheckReport(config.task.name, config.model.path, data)
    _check_rows(report, task, family, list(track(rows, "reading rows", transient=True)), config.task.weights)
    return report


def require_sound_rows(task: Task, family: Family, rows: Sequence[Sample], weights: dict[str, float]) -> None:
    """The quick check before training, on some rows spread over the data. Raises UserError for the first problem."""
    report = CheckReport("", "", "")
    _check_rows(report, task, family, _spread(rows, QUICK_ROWS), weights)
    if not report.ok:
        more = f" ({len(report.problems)} problems in {report.rows} checked rows)" if len(report.problems) > 1 else ""
        raise UserError(f"{report.problems[0]}{more}; `vlmrl check` lists every row")


def require_sound_pictures(rows: Sequence[Sample]) -> None:
    """Decodes the pictures of a data file (a few hundred of a large one). Raises UserError for the first bad one."""
    distinct = {
        picture_key(image): (image, f"row {row.id}, image {i}") for row in rows for i, image in enumerate(row.images)
    }
    chosen = _spread(list(distinct.values()), QUICK_PICTURES)
    with ThreadPoolExecutor() as pool:
        opened = pool.map(lambda picture: open_picture(*picture).close(), chosen)
        for _ in track(opened, "decoding pictures", total=len(chosen), transient=True):
            pass


def _spread(items: Sequence[Any], limit: int) -> list[Any]:
    chosen = random.Random(0).sample(range(len(items)), min(limit, len(items)))
    return [items[i] for i in sorted(chosen)]


def _check_rows(
    report: CheckReport, task: Task, family: Family, rows: Sequence[Sample], weights: dict[str, float]
) -> None:
    gold, empty, tokens = [], [], []
    seen: dict[Path | bytes | int, Prompt | None] = {}
    all_weights = reward_weights(task, weights)
    for row in track(rows, "checking rows", transient=True, disable=len(rows) <= QUICK_ROWS):
        report.rows += 1
        prompt = _prompt_of(row, task, family, seen, report)
        if prompt is None:
            continue
        tokens.append(len(prompt.token_ids_P))
        text = task.render(prompt.sample, family.convention)
        scores = _scores(task, family, prompt, text, all_weights)
        gold.append(scores)
        empty.append(_scores(task, family, prompt, "", all_weights))
        report.problems += _problems(task, row, text, scores, empty[-1], all_weights)
    report.pictures = len(seen)
    if tokens:
        report.prompt_tokens = {"min": min(tokens), "median": median(tokens), "max": max(tokens)}
        report.gold, report.empty = _means(gold), _means(empty)


def _prompt_of(
    row: Sample,
    task: Task,
    family: Family,
    seen: dict[Path | bytes | int, Prompt | None],
    report: CheckReport,
) -> Prompt | None:
    """The row's prompt; pictures are decoded and processed once, for the first row that shows them."""
    key = picture_key(row.images[0])
    if key not in seen:
        try:
            for image, record in zip(row.images, row.records, strict=True):
                open_picture(image, f"row {row.id}, image {record.index}")
            seen[key] = family.encode(row, task.request(row, family.convention))
        except UserError as error:
            report.problems.append(str(error))
            seen[key] = None
    first = seen[key]
    return first and replace(first, sample=replace(row, records=first.sample.records))


def _scores(task: Task, family: Family, prompt: Prompt, text: str, weights: dict[str, float]) -> dict[str, float | str]:
    """Reward components and metrics of one answer; the text of the fault where a reward failed."""
    answer = task.parse(text, Finish.STOP, prompt.sample, family.convention)
    rollout = Rollout([], [], 0.0, text, Finish.STOP, answer)
    score_group(task, Group("check", prompt, [rollout]), weights)
    components = {name: score.error or score.value for name, score in rollout.scores.items()}
    known = {name: value for name, value in components.items() if value is not None}
    return {**known, "reward": rollout.reward, **metric_values(task, prompt.sample, rollout)}


def _problems(
    task: Task,
    row: Sample,
    text: str,
    gold: dict[str, float | str],
    empty: dict[str, float | str],
    weights: dict[str, float],
) -> Iterator[str]:
    for name, value in {**empty, **gold}.items():
        if isinstance(value, str):
            yield f"row {row.id}: reward {name} failed: {value.splitlines()[-1]}"
    headline = task.metrics()[0]
    if gold[headline] != 1.0:
        yield (
            f"row {row.id}: the gold answer {text!r} scores {headline} = {gold[headline]}, not 1: either the target is "
            "finer than the model's coordinates (raise model.max_pixels or drop the row), or its box is wrong"
        )
    floor = sum(
        weights[name] * (spec.bounds[0] if weights[name] >= 0 else spec.bounds[1])
        for name, spec in task.rewards().items()
    )
    if empty[headline] != 0.0 or float(empty["reward"]) > max(floor, 0.0):
        yield f"row {row.id}: an empty answer earns {headline} = {empty[headline]}, reward {empty['reward']}"


def _shown(value: float | None) -> str:
    return "not scorable" if value is None else f"{value:.3f}"


def _means(rows: list[dict[str, float | str]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    means = {}
    for name in names:
        values = [value for row in rows if isinstance(value := row.get(name), int | float)]
        if values:
            means[name] = sum(values) / len(values)
    return means
