"""GUI actions: given a screenshot, a goal and what was done so far, answer with the next action."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.action import ACTION, Argument, action_space
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.rewards import actions
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Action, Answer, PromptMode, Rollout, Sample

from .loaders import SCHEMAS, load_rows
from .scorers import ScoredStep, odyssey_step, osatlas_step, qwen_step
from .spaces import DRAWN
from .steps import Shown
from .synthetic import Screen, draw_screen

SCATTER = 2.0
"""Scattered clicks are uniform in the target's box stretched by this factor about its centre."""
SCATTERED_WORDS = 0.25
"""Share of the actions without a place that are scattered to another action."""


@dataclass
class GuiAction(Task):
    """Choose the next action on a device: where to click, what to type, where to scroll."""

    answer_type = ACTION

    level: Literal["high", "low"] = "high"
    """What recorded episodes are asked with: the goal, or the goal and the instruction of the step."""
    history: int = 8
    """Earlier actions named in the question, at most."""
    screenshots: int = 0
    """Earlier screenshots shown before the current one, at most (recorded episodes)."""
    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""

    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, Shown(self.level, self.history, self.screenshots, PromptMode(self.mode)))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw_screen, self._row)

    def _row(self, screen: Screen, id_: str) -> Sample:
        record = ImageRecord(0, Size(*screen.image.size))
        frame = record.frame(Unit.ORIGINAL)
        target = None if screen.target is None else Box(*screen.target, frame)
        kind = DRAWN.kind(screen.kind)
        if kind is None:
            raise ValueError(f"drawn screens have no action {screen.kind}")
        return Sample(
            id=id_,
            images=(screen.image,),
            records=(record,),
            question=screen.goal,
            gold=kind.action(screen.argument if target is None else target.center),
            mode=PromptMode(self.mode),
            tags={"platform": screen.device, "action": screen.kind},
            extra={"actions": DRAWN, "target": target, "candidates": () if target is None else (target,)},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Answer:
        """An imprecise answer near gold, for the embedded model's last warm-up stage.

        A click is uniform in the target stretched to twice its sides, on the picture; one in four of the other actions
        becomes another one that needs no place.
        """
        gold, target = _gold(sample), _target(sample)
        if gold.point is not None:
            frame = gold.point.frame
            width, height = (SCATTER * side for side in ((target.width, target.height) if target else (0.0, 0.0)))
            x = gold.point.x + rng.uniform(-width, width) / 2
            y = gold.point.y + rng.uniform(-height, height) / 2
            return replace(gold, point=Point(min(max(x, 0.0), frame.width), min(max(y, 0.0), frame.height), frame))
        kinds = [kind for kind in action_space(sample).kinds if kind.argument is not Argument.POINT]
        others = [action for kind in kinds for action in kind.actions() if action != gold]
        return rng.choice(others) if rng.random() < SCATTERED_WORDS else gold

    @reward(weight=0.2)
    def kind(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """1 if the action is of the recorded kind."""
        return float(actions.same_kind(answer, _gold(sample)))

    @reward(weight=0.8)
    def argument(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """How well place, text or direction agree; 0 for another kind, 1 for a kind that needs none."""
        return actions.argument_agreement(answer, _gold(sample), _target(sample))

    @reward(weight=0.1)
    def format(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """1 for an action of the declared space; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def step(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """All or nothing: 1 if kind and argument are right."""
        return float(actions.step_success(answer, _gold(sample), _target(sample)))

    @metric
    def step_success(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """The kind is right, and so is its argument: in the target box (without one, within 0.14), same direction,
        same text once case and spaces are folded."""
        return float(actions.step_success(answer, _gold(sample), _target(sample)))

    @metric
    def type_accuracy(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """The kind is right."""
        return float(actions.same_kind(answer, _gold(sample)))

    @metric
    def ac_osatlas(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """Step success by OS-Atlas' AndroidControl scorer."""
        return float(osatlas_step(ScoredStep.of(sample, answer)))

    @metric
    def ac_qwen(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """Step success by the AndroidControl scorer of Qwen2.5-VL and InfiGUI-R1."""
        return float(qwen_step(ScoredStep.of(sample, answer)))

    @metric
    def odyssey_ams(self, answer: Action, sample: Sample, rollout: Rollout) -> float:
        """GUI-Odyssey's action matching score."""
        return float(odyssey_step(ScoredStep.of(sample, answer)))


def _gold(sample: Sample) -> Action:
    if not isinstance(sample.gold, Action):
        raise TypeError(f"row {sample.id}: the gold answer of an action task is an action, not {sample.gold}")
    return sample.gold


def _target(sample: Sample) -> Box | None:
    target = sample.extra.get("target")
    if target is not None and not isinstance(target, Box):
        raise TypeError(f"row {sample.id}: extra['target'] must be a box, not {target}")
    return target
