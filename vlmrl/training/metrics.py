"""What a training step's line in metrics.jsonl says about its groups; the recorder's table describes the keys."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from vlmrl.task_mix import TaskMix
from vlmrl.types import Group, Rollout, Source, Unparsed


def group_metrics(
    mix: TaskMix, groups: Sequence[Group], sampled: Mapping[str, int], dead: Collection[str]
) -> dict[str, Any]:
    """Means over the groups of a step; in a run of several tasks also those of each task, under `tasks`.

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
    counts: dict[str, Any] = {
        "groups": len(groups),
        "sampled_groups": sum(sampled[part.name] for part in mix.parts),
        "rollouts": len(rollouts),
    }
    if not rollouts:
        return counts
    lengths = [len(r.token_ids_T) for r in rollouts]
    scores = [score for r in rollouts for score in r.scores.values()]
    sources = Counter(r.source for r in rollouts)
    contrast = [r.accuracy for group in groups for r in group.contrast]
    return {
        "reward": fmean(r.reward for r in rollouts),
        "reward_std": pstdev(r.reward for r in rollouts),
        "rewards": _components(mix, groups, fmean),
        "rewards_std": _components(mix, groups, pstdev),
        "accuracy": fmean(r.accuracy for r in rollouts),
        "unparsed": fmean(isinstance(r.answer, Unparsed) for r in rollouts),
        "truncated": fmean(r.truncated for r in rollouts),
        "reward_errors": sum(score.error is not None for score in scores),
        **counts,
        "dead_groups": fmean(group.id in dead for group in groups),
        "advantage": fmean(r.advantage for r in rollouts),
        "advantage_abs": fmean(abs(r.advantage) for r in rollouts),
        "entropy": fmean(r.entropy for r in rollouts),
        "completion_tokens": fmean(lengths),
        "completion_tokens_max": max(lengths),
        **{source.value: sources[source] for source in Source if source is not Source.SAMPLED},
        "contrast_accuracy": fmean(contrast) if contrast else None,
    }


def _components(
    mix: TaskMix, groups: Sequence[Group], summary: Callable[[Sequence[float]], float]
) -> dict[str, float | None]:
    """A summary of each reward component; among several tasks a component is named with its task's name first."""
    found = {}
    for part in mix.parts:
        own = [r for group in groups if mix.of(group.sample) is part for r in group.rollouts]
        for name in part.task.rewards():
            known = _known(own, name)
            found[f"{part.name}.{name}" if mix.several else name] = summary(known) if known else None
    return found


def _known(rollouts: Sequence[Rollout], name: str) -> list[float]:
    """Values of a reward component; none if it applies to no parsed answer, whatever unparsed ones earn by rule."""
    scores = [(r.scores[name].value, isinstance(r.answer, Unparsed)) for r in rollouts]
    applies = any(value is not None for value, unparsed in scores if not unparsed)
    return [value for value, _ in scores if value is not None] if applies else []


def count_sampled(mix: TaskMix, groups: Sequence[Group]) -> Counter[str]:
    """How many groups there are of each task."""
    return Counter(mix.of(group.sample).name for group in groups)
