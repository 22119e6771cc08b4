"""What a training step's line in metrics.jsonl says about its groups; the recorder's table describes the keys."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from vlmrl.task import metric_values
from vlmrl.task_mix import TaskMix, TaskPart
from vlmrl.types import Group, Rollout, Unparsed


def headline(part: TaskPart, group: Group) -> list[float]:
    """The value of the task's first metric for each rollout."""
    name = part.task.metrics()[0]
    return [metric_values(part.task, group.sample, rollout)[name] for rollout in group.rollouts]


def group_metrics(
    mix: TaskMix, groups: Sequence[Group], sampled: Mapping[str, int], dead: Collection[str]
) -> dict[str, Any]:
    """Means over the groups; in a run of several tasks also those of each task, under `tasks`.

    `sampled` counts the groups sampled for each task, `dead` holds the ids of groups whose rewards do not vary.
    """
    found = _means(mix, groups, sampled, dead)
    if mix.several:
        found["tasks"] = {
            part.name: _means(TaskMix(part), [g for g in groups if mix.of(g.sample) is part], sampled, dead)
            for part in mix.parts
        }
    return found


def _means(mix: TaskMix, groups: Sequence[Group], sampled: Mapping[str, int], dead: Collection[str]) -> dict[str, Any]:
    rollouts = [r for group in groups for r in group.rollouts]
    counts = {"groups": len(groups), "sampled_groups": sum(sampled[part.name] for part in mix.parts)}
    if not rollouts:
        return counts
    lengths = [len(r.token_ids_T) for r in rollouts]
    scores = [score for r in rollouts for score in r.scores.values()]
    return {
        "reward": fmean(r.reward for r in rollouts),
        "rewards": _reward_means(mix, groups),
        "accuracy": fmean(value for group in groups for value in headline(mix.of(group.sample), group)),
        "unparsed": fmean(isinstance(r.answer, Unparsed) for r in rollouts),
        "truncated": fmean(r.truncated for r in rollouts),
        "reward_errors": sum(score.error is not None for score in scores),
        **counts,
        "dead_groups": fmean(group.id in dead for group in groups),
        "advantage_abs": fmean(abs(r.advantage) for r in rollouts),
        "entropy": fmean(r.entropy for r in rollouts),
        "completion_tokens": fmean(lengths),
        "completion_tokens_max": max(lengths),
    }


def _reward_means(mix: TaskMix, groups: Sequence[Group]) -> dict[str, float | None]:
    """Mean of each reward component; among several tasks a component is named with its task's name first."""
    means = {}
    for part in mix.parts:
        own = [r for group in groups if mix.of(group.sample) is part for r in group.rollouts]
        for name in part.task.rewards():
            means[f"{part.name}.{name}" if mix.several else name] = _component_mean(own, name)
    return means


def _component_mean(rollouts: Sequence[Rollout], name: str) -> float | None:
    """Mean of a reward component; None if it applies to no parsed answer, whatever unparsed ones earn by rule."""
    scores = [(r.scores[name].value, isinstance(r.answer, Unparsed)) for r in rollouts]
    known = [value for value, _ in scores if value is not None]
    applies = any(value is not None for value, unparsed in scores if not unparsed)
    return fmean(known) if applies else None


def count_sampled(mix: TaskMix, groups: Sequence[Group]) -> Counter[str]:
    """How many groups there are of each task."""
    return Counter(mix.of(group.sample).name for group in groups)
