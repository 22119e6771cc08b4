"""The tasks of a run: one, or several whose rows are mixed. A row names its task, and everything else follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlmrl.algorithms.advantages import Scale
from vlmrl.config import Config, DataConfig, OneOfSeveralConfig
from vlmrl.errors import UserError
from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.evaluation.card import Evaluated, ScoreCard, score_card
from vlmrl.evaluation.find import find_benchmark
from vlmrl.registry import find_task
from vlmrl.task import Task, reward_weights
from vlmrl.types import Sample


@dataclass(frozen=True)
class TaskPart:
    """One task of a run and what is set for it."""

    name: str
    task: Task
    weights: Mapping[str, float]
    """Weight of every reward component."""
    data: DataConfig = field(default_factory=DataConfig)
    """Where its rows come from."""
    ratio: float = 1.0
    """Its share of the prompts, relative to the other tasks' ratios."""
    scale: Scale | None = None
    """What its advantages are divided by instead of the algorithm's scale."""
    benchmark: Benchmark | None = None
    """What the held-out rows are read and scored as, if not as the task's own."""
    split: str | None = None
    """The benchmark's split that is held out; None takes all."""

    @property
    def metric(self) -> str:
        """What an evaluation of this task is about."""
        return (self.benchmark.metric if self.benchmark else "") or self.task.metrics()[0]

    def card(self, evaluated: Sequence[Evaluated]) -> ScoreCard:
        """The score card of rows of this task, with the breakdown of its benchmark, or by every tag the rows have."""
        tags = sorted({tag for item in evaluated for tag in item.group.sample.tags})
        cells, figures = (self.benchmark.cells, self.benchmark.figures) if self.benchmark else (tags, None)
        return score_card(self.task, evaluated, cells, self.metric, figures)


class TaskMix:
    """All tasks of a run. Rows are dispatched by `Sample.task`; the rows of a lone task need not name it."""

    def __init__(self, *parts: TaskPart) -> None:
        self.parts = parts
        self._by_name = {part.name: part for part in parts}

    @property
    def several(self) -> bool:
        return len(self.parts) > 1

    def of(self, sample: Sample) -> TaskPart:
        """The task that a row belongs to."""
        return self._by_name[sample.task] if self.several else self.parts[0]

    def rows_of(self, part: TaskPart, rows: Sequence[Sample]) -> Sequence[Sample]:
        """A task's rows as this run knows them: among several tasks they bear its name."""
        return NamedRows(rows, part.name) if self.several else rows


class NamedRows(Sequence[Sample]):
    """Rows that name their task, also in their ids: ids are unique in one data set only."""

    def __init__(self, rows: Sequence[Sample], name: str) -> None:
        self.rows, self.name = rows, name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        row = self.rows[i]
        return replace(row, task=self.name, id=f"{self.name}/{row.id}")


def task_names(config: Config) -> list[str]:
    """The names in task.name. Raises UserError for one that is empty or given twice."""
    names = [name.strip() for name in config.task.name.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"task.name={config.task.name}: give every task once, with one comma between two names")
    return names


def only_task(config: Config, command: str) -> TaskPart:
    """The task of a command that takes one. Raises UserError if several are named."""
    if len(names := task_names(config)) > 1:
        raise UserError(f"vlmrl {command} takes one task at a time: --task {' or --task '.join(names)}")
    return task_mix(config).parts[0]


def task_mix(config: Config) -> TaskMix:
    """The configured tasks, ready to score. Raises UserError for an unknown task, option or reward, and for a setting
    that does not say which of several tasks it means."""
    names = task_names(config)
    if unknown := sorted(set(config.task.each) - set(names)):
        raise UserError(f"task.each.{unknown[0]}: task.name is {config.task.name}, which has no such task")
    if len(names) > 1:
        return TaskMix(*(_one_of_several(config, name) for name in names))
    if config.task.each:
        name, setting = names[0], "task.options, task.weights, data.train and data.held_out"
        raise UserError(f"task.each.{name} is for a run of several tasks; a run of {name} alone sets {setting}")
    task = find_task(names[0]).create(config.task.options)
    weights = reward_weights(task, config.task.weights)
    benchmark = _benchmark(config, names[0])
    return TaskMix(TaskPart(names[0], task, weights, config.data, benchmark=benchmark, split=config.eval.split))


def _benchmark(config: Config, task: str) -> Benchmark | None:
    if config.eval.benchmark is None:
        if config.eval.split is not None:
            raise UserError(f"eval.split={config.eval.split}: only a benchmark has splits; name it with eval.benchmark")
        return None
    owner, benchmark = find_benchmark(config.eval.benchmark)
    if owner != task:
        raise UserError(f"benchmark {benchmark.name} is one of the task {owner}, not of {task}")
    if config.data.held_out is None:
        raise UserError(f"benchmark {benchmark.name} needs its data: data.held_out={benchmark.files}")
    return benchmark


def _one_of_several(config: Config, name: str) -> TaskPart:
    for setting, given, instead in (
        ("task.options", config.task.options, "options"),
        ("task.weights", config.task.weights, "weights"),
        ("data.train", config.data.train, "train"),
        ("data.held_out", config.data.held_out, "held_out"),
        ("eval.benchmark", config.eval.benchmark, "held_out, with the task's own rows"),
    ):
        if given:
            raise UserError(
                f"{setting} does not say which of {config.task.name} it is for: use task.each.{name}.{instead}"
            )
    each = config.task.each.get(name, OneOfSeveralConfig())
    if not 0 < each.ratio < float("inf"):
        raise UserError(
            f"task.each.{name}.ratio={each.ratio:g}: must be above 0; leave {name} out of task.name instead"
        )
    task = find_task(name).create(each.options, f"task.each.{name}.options")
    return TaskPart(
        name=name,
        task=task,
        weights=reward_weights(task, each.weights, f"task.each.{name}.weights"),
        data=replace(config.data, train=each.train, held_out=each.held_out),
        ratio=each.ratio,
        scale=each.scale,
    )
