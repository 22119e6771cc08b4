"""Run folders of the shipped tasks with drawn rows and made-up answers: right, near, wrong, and none at all."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import POINT
from vlmrl.geometry import Box, Point, Unit
from vlmrl.media.kept import MediaFolder
from vlmrl.records import group_record
from vlmrl.registry import find_task
from vlmrl.task import Split, Task, metric_values, reward_weights, score_group
from vlmrl.types import Answer, Finish, Group, Prompt, Rollout, Sample, Unparsed

CONVENTION = Convention(Unit.NORM1000, "json")


class DrawnTask:
    """One shipped task and answers to its drawn rows."""

    def __init__(self, name: str) -> None:
        self.task: Any = find_task(name).create({})
        self.weights = reward_weights(self.task, {})

    def group(self, sample: Sample, id_: str, members: int, rng: random.Random) -> Group:
        """Scored answers: scattered around gold, the last one not in the task's format."""
        answers: list[Answer | str] = [self._near(sample, rng) for _ in range(members - 1)]
        return self._scored(sample, id_, [*answers, "I cannot see it <b>anywhere</b>."])

    def answered(self, sample: Sample, id_: str, right: float, rng: random.Random) -> Group:
        """One answer: gold with probability `right`, else one near it."""
        return self._scored(sample, id_, [sample.gold if rng.random() < right else self._near(sample, rng)])

    def _near(self, sample: Sample, rng: random.Random) -> Answer:
        if hasattr(self.task, "scattered"):
            return self.task.scattered(sample, rng)
        gold = sample.gold
        assert isinstance(gold, Box)
        x, y = rng.gauss(gold.center.x, gold.width), rng.gauss(gold.center.y, gold.height)
        return Point(min(max(x, 0.0), gold.frame.width), min(max(y, 0.0), gold.frame.height), gold.frame)

    def _scored(self, sample: Sample, id_: str, answers: list[Answer | str]) -> Group:
        request = self.task.request(sample, CONVENTION)
        prompt = Prompt(sample, f"<|im_start|>user\n{request}<|im_end|>\n", torch.zeros(4, dtype=torch.int64), {})
        group = Group(id_, prompt, [self._rollout(sample, answer) for answer in answers])
        score_group(self.task, group, self.weights)
        mean = sum(rollout.reward for rollout in group.rollouts) / len(group.rollouts)
        for rollout in group.rollouts:
            rollout.advantage = rollout.reward - mean
        return group

    def _rollout(self, sample: Sample, answer: Answer | str) -> Rollout:
        text = answer if isinstance(answer, str) else _rendered(self.task, sample, answer)
        parsed = self.task.parse(text, Finish.STOP, sample, CONVENTION)
        return Rollout([1] * 12, [-0.5] * 12, 0.7, text, Finish.STOP, parsed)


def _rendered(task: Task, sample: Sample, answer: Answer) -> str:
    if isinstance(answer, Point) or task.answers_with(sample) is POINT:
        place = answer.center if isinstance(answer, Box) else answer
        assert isinstance(place, Point)
        x, y = CONVENTION.coordinates(place, sample.asked)
        return f'{{"point_2d": [{x}, {y}]}}'
    return task.render(replace(sample, gold=answer), CONVENTION)


def drawn_run(run: Path, *tasks: str, steps: int = 2, groups: int = 2, members: int = 6, rows: int = 4) -> Path:
    """A finished run of the tasks with an evaluation before the first and after the last step."""
    rng, media = random.Random(0), MediaFolder(run / "images")
    drawn = {name: DrawnTask(name) for name in tasks}
    for folder in ("rollouts", "evals"):
        (run / folder).mkdir(parents=True)
    metrics: list[dict[str, Any]] = []

    def rows_of(split: Split, count: int, seed: int) -> list[tuple[DrawnTask, Sample]]:
        found = []
        for name, task in drawn.items():
            for sample in task.task.synthetic(split, count, seed):
                found.append((task, _named(sample, name) if len(tasks) > 1 else sample))
        return found

    def evaluate(step: int, right: float) -> None:
        held_out = [
            (t, t.answered(s, f"eval-{i}", right, rng)) for i, (t, s) in enumerate(rows_of("held_out", rows, 1))
        ]
        lines, values = [], []
        for task, group in held_out:
            found = metric_values(task.task, group.sample, group.rollouts[0])
            values.append(next(iter(found.values())))
            lines.append(
                group_record(step, group, media.keep(group.sample)) | {"metrics": {"right": values[-1], **found}}
            )
        _write(run / "evals" / f"step-{step:06}.jsonl", lines)
        score = sum(values) / len(values)
        low, high = max(0.0, score - 0.1), min(1.0, score + 0.1)
        metrics.append({"kind": "eval", "step": step, "metric": "right", "score": score, "low": low, "high": high,
                        "n": len(values), "unparsed": 0, "cells": {}, "macro": score})  # fmt: skip

    evaluate(0, 0.2)
    for step in range(1, steps + 1):
        scored = [t.group(s, f"{step}-{i}", members, rng) for i, (t, s) in enumerate(rows_of("train", groups, step))]
        _write(
            run / "rollouts" / f"step-{step:06}.jsonl", [group_record(step, g, media.keep(g.sample)) for g in scored]
        )
        metrics.append(_step_metrics(step, scored))
    evaluate(steps, 0.8)
    _write(run / "metrics.jsonl", metrics)
    (run / "config.yaml").write_text(
        f"task:\n  name: {','.join(tasks)}\nmodel:\n  path: tiny\nrun:\n  steps: {steps}\n"
    )
    (run / "summary.json").write_text(json.dumps({"task": ",".join(tasks), "model": "tiny", "steps": steps}))
    return run


def _named(sample: Sample, task: str) -> Sample:
    return replace(sample, task=task, id=f"{task}/{sample.id}")


def _step_metrics(step: int, groups: list[Group]) -> dict[str, Any]:
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    names = dict.fromkeys(name for rollout in rollouts for name in rollout.scores)
    means = {}
    for name in names:
        values = [r.scores[name].value for r in rollouts if name in r.scores and r.scores[name].value is not None]
        means[name] = sum(values) / len(values) if values else None
    return {
        "kind": "train",
        "step": step,
        "reward": sum(rollout.reward for rollout in rollouts) / len(rollouts),
        "rewards": means,
        "unparsed": sum(isinstance(rollout.answer, Unparsed) for rollout in rollouts) / len(rollouts),
        "entropy": 0.7,
        "kl": 0.01 * step,
        "lr": 1e-4,
    }


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
