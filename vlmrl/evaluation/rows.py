"""Scores a model on rows: greedy answers through the same prompts, pixels and parser as training."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlmrl.engine.base import Engine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.evaluation.statistics import cells, mean_interval
from vlmrl.rollout.groups import sample_groups
from vlmrl.task import Task, metric_values
from vlmrl.task_mix import TaskMix
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


MIXED_METRIC = "accuracy"
"""What the headline of a run of several tasks is called: the mean over the tasks of each one's own headline."""


def mean_card(cards: Mapping[str, ScoreCard]) -> ScoreCard:
    """One card about several tasks, which count alike however many rows each has; its cells are the tasks.

    The interval is that of a mean of independent estimates by the distances of their own limits (MOVER, G. Y. Zou and
    A. Donner, Statistics in Medicine 2008).
    """
    count = len(cards)
    score = sum(card.score for card in cards.values()) / count
    return ScoreCard(
        metric=MIXED_METRIC,
        score=score,
        low=score - math.hypot(*(card.score - card.low for card in cards.values())) / count,
        high=score + math.hypot(*(card.high - card.score for card in cards.values())) / count,
        n=sum(card.n for card in cards.values()),
        unparsed=sum(card.unparsed for card in cards.values()),
        macro=sum(card.macro for card in cards.values()) / count,
        cells={name: {"n": card.n, "score": card.score} for name, card in cards.items()},
        metrics={f"{name}.{metric}": value for name, card in cards.items() for metric, value in card.metrics.items()},
    )


def overall(cards: Mapping[str, ScoreCard]) -> ScoreCard:
    """A run's one card: that of its only task, or the mean of several."""
    return next(iter(cards.values())) if len(cards) == 1 else mean_card(cards)


def evaluate_rows(
    engine: Engine,
    mix: TaskMix,
    samples: Sequence[Sample],
    max_tokens: int,
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[Evaluated]:
    """Greedy answers for all rows, in order; `advance` is told how many rows were just done."""
    settings = SamplingSettings(temperature=0.0, max_tokens=max_tokens)
    for start in range(0, len(samples), CHUNK_ROWS):
        chunk = [samples[i] for i in range(start, min(start + CHUNK_ROWS, len(samples)))]
        ids = [f"eval-{start + i}" for i in range(len(chunk))]
        for group in sample_groups(engine, mix, chunk, settings, [[0]] * len(chunk), ids):
            yield Evaluated(group, metric_values(mix.of(group.sample).task, group.sample, group.rollouts[0]))
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
