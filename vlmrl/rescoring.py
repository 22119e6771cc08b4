"""`vlmrl rescore`: the saved rollouts of a run through reward code as it is now, without a model.

Every completion is parsed and scored again from what the run folder keeps of its row: gold, sizes, options, and the
pictures of the logged groups. What a reward cannot find there fails as it would in training, and is counted.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vlmrl.answers.convention import Convention
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.geometry import Unit
from vlmrl.models.families import FAMILIES
from vlmrl.progress import tracked
from vlmrl.records import recorded_extra
from vlmrl.registry import find_tasks
from vlmrl.report.logged import Json, LoggedGroup, LoggedRollout, logged_group
from vlmrl.report.numbers import count, fixed, signed
from vlmrl.report.run_folder import RunFolder
from vlmrl.task import score_group
from vlmrl.task_mix import TaskMix, task_mix
from vlmrl.types import Group, Prompt, Rollout, Sample, Score

TOLERANCE = 1e-9
"""Rewards that differ by less are equal."""
EXAMPLES = 200
"""Groups that are kept to be looked at."""
HEAD = ("component", "old", "new", "change", "differ", "errors")


@dataclass(frozen=True)
class RescoredGroup:
    """A group as it was logged, and with the answers, scores and rewards that today's code gives it."""

    before: LoggedGroup
    after: LoggedGroup

    @property
    def flips(self) -> list[tuple[int, int]]:
        """Pairs of members, by their numbers from 1, of which the one that earned more now earns less."""
        old, new = ([rollout.reward for rollout in group.rollouts] for group in (self.before, self.after))
        return [
            (i + 1, j + 1)
            for i, j in combinations(range(len(old)), 2)
            if min(abs(old[i] - old[j]), abs(new[i] - new[j])) > TOLERANCE and (old[i] < old[j]) != (new[i] < new[j])
        ]

    @property
    def largest_change(self) -> float:
        """Of a member's reward."""
        pairs = zip(self.before.rollouts, self.after.rollouts, strict=True)
        return max(abs(new.reward - old.reward) for old, new in pairs)

    @property
    def fails(self) -> bool:
        """Whether today's code fails on a member."""
        return any(score.error is not None for rollout in self.after.rollouts for score in rollout.scores.values())


@dataclass
class Component:
    """What all rollouts together got of one reward component, or of the total."""

    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Of the values, logged and of today."""
    values: list[int] = field(default_factory=lambda: [0, 0])
    changed: int = 0
    """Rollouts whose outcome is another one: a value, a reason or a fault."""
    errors: int = 0
    """Rollouts on which today's code fails."""

    def add(self, old: Score | None, new: Score | None) -> None:
        for i, score in enumerate((old, new)):
            if score is not None and score.value is not None:
                self.sums[i] += score.value
                self.values[i] += 1
        self.changed += not same_outcome(old, new)
        self.errors += new is not None and new.error is not None

    def record(self) -> dict[str, Any]:
        old, new = (total / n if n else None for total, n in zip(self.sums, self.values, strict=True))
        return {"old": old, "new": new, "changed": self.changed, "errors": self.errors}


def same_outcome(old: Score | None, new: Score | None) -> bool:
    """Whether two scores say the same: one value, one reason, or both a fault."""
    if old and new and old.value is not None and new.value is not None:
        return abs(old.value - new.value) <= TOLERANCE
    # a traceback names lines of code, which move without a change of what the code does
    kinds = [score and (score.value, score.unscorable, score.error is not None) for score in (old, new)]
    return kinds[0] == kinds[1]


@dataclass
class Rescoring:
    """A run's rollouts under today's code."""

    run: RunFolder
    examples: Sequence[RescoredGroup] = ()
    """The groups with the most flips, then those with the largest changes, and those on which today's code fails."""
    groups: int = 0
    rollouts: int = 0
    answers_changed: int = 0
    groups_flipped: int = 0
    dead: list[int] = field(default_factory=lambda: [0, 0])
    """Groups whose rewards do not vary, as logged and today."""
    components: dict[str, Component] = field(default_factory=dict)
    """By name; among several tasks a component is named with its task's name first."""
    total: Component = field(default_factory=Component)

    def add(self, group: RescoredGroup, prefix: str) -> None:
        self.groups += 1
        self.groups_flipped += bool(group.flips)
        for i, side in enumerate((group.before, group.after)):
            self.dead[i] += _dead(side)
        for old, new in zip(group.before.rollouts, group.after.rollouts, strict=True):
            self.rollouts += 1
            self.answers_changed += old.answer != new.answer
            for name in dict.fromkeys([*old.scores, *new.scores]):
                component = self.components.setdefault(prefix + name, Component())
                component.add(old.scores.get(name), new.scores.get(name))
            self.total.add(Score(old.reward), Score(new.reward))

    def record(self) -> dict[str, Any]:
        return {
            "groups": self.groups,
            "rollouts": self.rollouts,
            "answers_changed": self.answers_changed,
            "groups_flipped": self.groups_flipped,
            "groups_dead": self.dead,
            "components": {name: component.record() for name, component in self.components.items()},
            "reward": self.total.record(),
        }

    def summary(self) -> str:
        """What changed, in a sentence."""
        before, now = self.dead
        return (
            f"{count(self.rollouts, 'rollout')} in {count(self.groups, 'group')}: "
            f"{count(self.answers_changed, 'answer')} parsed otherwise, "
            f"{count(self.groups_flipped, 'group')} with another ranking, {count(before, 'dead group')} before and "
            f"{now:,} now"
        )

    def table(self) -> list[list[str]]:
        """Name, old mean, new mean, change, how many differ and how many fail, for each component and the total."""
        rows = []
        for name, component in [*self.components.items(), ("reward", self.total)]:
            found = component.record()
            change = None if None in (found["old"], found["new"]) else found["new"] - found["old"]
            means = [fixed(found["old"], 3), fixed(found["new"], 3), signed(change, 3)]
            rows.append([name, *means, f"{component.changed:,}", f"{component.errors:,}"])
        return rows

    def print(self) -> None:
        console = Console(highlight=False)
        table = Table(*HEAD, box=SIMPLE_HEAD)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.table():
            table.add_row(*row)
        console.print(table)
        console.print(self.summary())


def rescore(folder: Path, config: Config) -> Rescoring:
    """Scores every rollout of the run in `folder` with the tasks and weights of `config`.

    Raises UserError if it is no run folder, if it has no rollouts, or if its rows cannot be read by these tasks.
    """
    run = RunFolder(folder)
    if not run.rollout_files:
        raise UserError(f"{folder} has no rollouts yet; rescore a run that has trained for a step")
    trained = str(run.setting("task", "name"))
    if "," in trained and config.task.name != trained:
        raise UserError(f"{folder} trained {trained} together, and only the same tasks can score it; leave --task out")
    mix, convention = task_mix(config), _convention(run)
    _load_classes(trained)
    found = Rescoring(run)

    def changed() -> Iterator[RescoredGroup]:
        for file in tracked(run.rollout_files.values(), "scoring", len(run.rollout_files)):
            for line in run.lines(file):
                group = _rescored(line, run, mix, convention)
                found.add(group, f"{group.before.task}." if mix.several else "")
                if group.largest_change > TOLERANCE or group.fails:
                    yield group

    # of a long run not all groups fit into memory
    found.examples = heapq.nlargest(EXAMPLES, changed(), key=lambda group: (len(group.flips), group.largest_change))
    return found


def _convention(run: RunFolder) -> Convention:
    """How the run's model writes coordinates."""
    model_type = run.environment.get("model_type")
    if model_type not in FAMILIES:
        raise UserError(
            f"{run.path}/environment.json names no known model type (model_type: {model_type!r}); the run was recorded "
            "by another version of vlmrl and cannot be rescored"
        )
    return FAMILIES[model_type].convention


def _load_classes(trained: str) -> None:
    """Loads the run's own tasks, as far as they are still there: its records may name their classes."""
    found = find_tasks()
    for name in map(str.strip, trained.split(",")):
        if name in found:
            found[name].submodule("task")


def _rescored(line: Json, run: RunFolder, mix: TaskMix, convention: Convention) -> RescoredGroup:
    try:
        before = logged_group(line)
        sample = _sample(line["sample"], before, run)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise UserError(
            f"a group of step {line.get('step')} in {run.path}/rollouts cannot be read "
            f"({type(error).__name__}: {error}); it was cut off or recorded by another version of vlmrl"
        ) from error
    part = mix.of(sample)
    prompt = Prompt(sample, before.prompt, torch.empty(0, dtype=torch.int64), {})
    rollouts = [
        Rollout(
            token_ids_T=[int(token) for token in saved["token_ids"]],
            logprobs_T=[float(value) for value in saved["logprobs"]],
            entropy=float(saved["entropy"]),
            text=logged.text,
            finish=logged.finish,
            answer=part.task.parse(logged.text, logged.finish, sample, convention),
        )
        for saved, logged in zip(line["rollouts"], before.rollouts, strict=True)
    ]
    score_group(part.task, Group(before.id, prompt, rollouts), part.weights)
    after = tuple(_logged(old, new) for old, new in zip(before.rollouts, rollouts, strict=True))
    return RescoredGroup(before, replace(before, rollouts=after))


def _sample(saved: Json, group: LoggedGroup, run: RunFolder) -> Sample:
    frames = [record.frame(Unit.ORIGINAL) for record in group.records]
    clips = tuple(video.clip for video in group.videos)
    files = [run.picture(name) if name else None for name in group.pictures]
    return Sample(
        id=group.sample_id,
        images=tuple(file for file in files if file) if all(files) else (),
        records=group.records,
        question=group.question,
        gold=group.gold,
        mode=group.mode,
        tags=group.tags,
        clips=clips,
        asked_image=int(saved["asked_image"]),
        task=group.task,
        extra=recorded_extra(saved["extra"], frames, clips),
    )


def _logged(old: LoggedRollout, new: Rollout) -> LoggedRollout:
    return replace(old, answer=new.answer, scores=new.scores, reward=new.reward, advantage=math.nan)


def _dead(group: LoggedGroup) -> bool:
    rewards = [rollout.reward for rollout in group.rollouts]
    return max(rewards) - min(rewards) <= TOLERANCE
