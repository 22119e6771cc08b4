"""Scores a model on rows: greedy answers through the same prompts, pixels and parser as training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlmrl.engine.base import Engine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.evaluation.statistics import cells, mean_interval
from vlmrl.rollout.groups import sample_groups
from vlmrl.task import Task, metric_values, reward_weights
from vlmrl.types import Group, Sample, Unparsed

CHUNK_ROWS = 64
"""Rows whose pictures are decoded at one time."""


@dataclass(frozen=True)
class Evaluated:
    """One row's answer and its metrics."""

    group: Group
    """A group of one rollout."""
    metrics: dict[str, float]


@dataclass(frozen=True)
class ScoreCard:
    """A model's result on a set of rows. Unparsed answers count as 0 and stay in the denominator."""

    metric: str
    """The task's headline metric, which the fields below describe."""
    score: float
    """Micro average: the mean over rows."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    n: int
    unparsed: int
    macro: float
    """Unweighted mean over the cells."""
    cells: dict[str, dict[str, float]]
    """Per combination of tags: n and score."""
    metrics: dict[str, float]
    """Mean of every metric of the task, and the task's figures over all rows together."""

    def record(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_rows(
    engine: Engine,
    task: Task,
    samples: Sequence[Sample],
    max_tokens: int,
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[Evaluated]:
    """Greedy answers for all rows, in order; `advance` is told how many rows were just done."""
    settings = SamplingSettings(temperature=0.0, max_tokens=max_tokens)
    weights = reward_weights(task, {})
    for start in range(0, len(samples), CHUNK_ROWS):
        chunk = [samples[i] for i in range(start, min(start + CHUNK_ROWS, len(samples)))]
        ids = [f"eval-{start + i}" for i in range(len(chunk))]
        for group in sample_groups(engine, task, chunk, settings, [[0]] * len(chunk), weights, ids):
            yield Evaluated(group, metric_values(task, group.sample, group.rollouts[0]))
        advance(len(chunk))


def score_card(task: Task, evaluated: Sequence[Evaluated], cell_tags: Sequence[str]) -> ScoreCard:
    """Averages and interval of evaluated rows; `cell_tags` name the breakdown."""
    headline = task.metrics()[0]
    values = [item.metrics[headline] for item in evaluated]
    by_cell = cells(values, [item.group.sample.tags for item in evaluated], cell_tags)
    low, high = mean_interval(values)
    return ScoreCard(
        metric=headline,
        score=sum(values) / len(values),
        low=low,
        high=high,
        n=len(values),
        unparsed=sum(isinstance(item.group.rollouts[0].answer, Unparsed) for item in evaluated),
        macro=sum(sum(v) / len(v) for v in by_cell.values()) / len(by_cell),
        cells={name: {"n": len(v), "score": sum(v) / len(v)} for name, v in by_cell.items()},
        metrics={
            **{name: sum(item.metrics[name] for item in evaluated) / len(evaluated) for name in task.metrics()},
            **task.corpus_metrics([(item.group.sample, item.group.rollouts[0].answer) for item in evaluated]),
        },
    )
