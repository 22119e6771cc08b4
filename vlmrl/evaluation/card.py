"""Score cards: metrics of evaluated rows with intervals, averages over rows and over cells."""

import math
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlmrl.errors import UserError
from vlmrl.evaluation.statistics import Estimate, mean_estimate
from vlmrl.task import ScoredRow, Task, metric_values
from vlmrl.types import Answer, Group, Unparsed


@dataclass(frozen=True)
class Evaluated:
    """One row's answer and its metrics."""

    group: Group
    """A group of one rollout."""
    metrics: dict[str, float]
    error: str | None = None
    """Traceback of the scorer on this row, whose metrics are 0 then."""

    @property
    def answer(self) -> Answer | Unparsed:
        return self.group.rollouts[0].answer


@dataclass(frozen=True)
class ScoreCard:
    """A model's result on a set of rows. Unparsed answers count as 0 and stay in the denominator."""

    metric: str
    """What the score, its interval, its macro average and its cells are about."""
    score: float
    """Micro average: over all rows together."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    n: int
    unparsed: int
    unscorable: int
    """Rows on which a scorer failed; they count as 0 too."""
    macro: float
    """Unweighted mean over the cells."""
    cells: dict[str, Estimate]
    """The metric per combination of tags."""
    metrics: dict[str, Estimate]
    """Every metric of the task, and the figures over all rows together."""

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
        unscorable=sum(card.unscorable for card in cards.values()),
        macro=sum(card.macro for card in cards.values()) / count,
        cells={name: Estimate(card.score, card.low, card.high, card.n) for name, card in cards.items()},
        metrics={f"{name}.{metric}": value for name, card in cards.items() for metric, value in card.metrics.items()},
    )


def overall(cards: Mapping[str, ScoreCard]) -> ScoreCard:
    """A run's one card: that of its only task, or the mean of several."""
    return next(iter(cards.values())) if len(cards) == 1 else mean_card(cards)


def scored(task: Task, group: Group) -> Evaluated:
    """A group of one rollout with its metrics. A scorer that fails is noted, so that one row cannot end a long run."""
    try:
        return Evaluated(group, metric_values(task, group.sample, group.rollouts[0]))
    except Exception:  # noqa: BLE001  a plugin's fault must be counted and shown, whatever it is
        return Evaluated(group, dict.fromkeys(task.metrics(), 0.0), traceback.format_exc())


def score_card(
    task: Task,
    evaluated: Sequence[Evaluated],
    cell_tags: Sequence[str],
    metric: str = "",
    figures: Callable[[Sequence[ScoredRow]], Mapping[str, Estimate]] | None = None,
) -> ScoreCard:
    """Averages and intervals of evaluated rows; `cell_tags` name the breakdown.

    `metric` names what the card is about among the task's metrics, its corpus metrics and `figures`; empty is the
    headline.
    """
    metric = metric or task.metrics()[0]
    found = _estimates(task, evaluated, figures)
    if metric not in found:
        raise UserError(f"these rows have no {metric}, only {', '.join(found)}: nothing in them can be scored by it")
    grouped: dict[str, list[Evaluated]] = defaultdict(list)
    for item in evaluated:
        grouped["/".join(item.group.sample.tags.get(tag, "?") for tag in cell_tags)].append(item)
    by_cell = {}
    for name, items in sorted(grouped.items()):
        own = (
            mean_estimate([item.metrics[metric] for item in items])
            if metric in task.metrics()
            else (_estimates(task, items, figures).get(metric))
        )
        if own is not None:
            by_cell[name] = own
    overall_ = found[metric]
    return ScoreCard(
        metric=metric,
        score=overall_.value,
        low=overall_.low,
        high=overall_.high,
        n=len(evaluated),
        unparsed=sum(isinstance(item.answer, Unparsed) for item in evaluated),
        unscorable=sum(item.error is not None for item in evaluated),
        macro=sum(cell.value for cell in by_cell.values()) / len(by_cell),
        cells=by_cell,
        metrics=found,
    )


def _estimates(
    task: Task,
    evaluated: Sequence[Evaluated],
    figures: Callable[[Sequence[ScoredRow]], Mapping[str, Estimate]] | None,
) -> dict[str, Estimate]:
    rows = [(item.group.sample, item.answer) for item in evaluated]
    return {
        **{name: mean_estimate([item.metrics[name] for item in evaluated]) for name in task.metrics()},
        **task.corpus_metrics(rows),
        **(figures(rows) if figures else {}),
    }
