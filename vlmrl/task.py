"""What a task author writes against: a `Task` class with rewards and metrics, in the `task.py` of a folder.

class Clicking(Task):
    \"\"\"Click the named element.\"\"\"

    def load(self, path): ...
    @reward(weight=1.0)
    def point_in_box(self, answer, sample, rollout):
        return float(sample.gold.contains(answer))
    @metric
    def hit(self, answer, sample, rollout):
        return float(sample.gold.contains(answer))
"""

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import answer_block
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import POINT
from vlmrl.errors import UserError
from vlmrl.evaluation.statistics import Estimate
from vlmrl.types import Answer, Finish, Group, PromptMode, Rollout, Sample, Score, Unparsed

Split = Literal["train", "held_out"]
Method = TypeVar("Method", bound=Callable[..., Any])
ScoredRow = tuple[Sample, Answer | Unparsed]
"""An evaluated row and what a model answered."""

THOUGHT = "<think>{}</think><answer>{}</answer>"
THINK_REQUEST = "First think inside <think></think>, then put the answer inside <answer></answer>."


@dataclass(frozen=True)
class RewardSpec:
    """How a reward method takes part in the total."""

    weight: float
    bounds: tuple[float, float]
    whole_group: bool


def reward(*, weight: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Callable[[Method], Method]:
    """Marks a method `(self, answer, sample, rollout) -> float | Score` as a reward component.

    It is called only with a parsed answer; an unparsed completion earns the lower bound. A value outside `bounds` is an
    error of the reward, not a score.
    """
    return _marks(RewardSpec(weight, bounds, whole_group=False))


def group_reward(*, weight: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Callable[[Method], Method]:
    """Marks a method `(self, group) -> one float | Score per rollout` as a reward that compares a group's members."""
    return _marks(RewardSpec(weight, bounds, whole_group=True))


def _marks(spec: RewardSpec) -> Callable[[Method], Method]:
    def mark(method: Method) -> Method:
        method.__reward__ = spec  # type: ignore[attr-defined]
        return method

    return mark


def metric(method: Method) -> Method:
    """Marks a method `(self, answer, sample, rollout) -> float` in [0, 1] as a metric.

    An unparsed completion counts 0 and stays in the denominator. The first metric of a class is its headline: what
    evaluation reports, what selects the best checkpoint, and what dynamic sampling filters on.
    """
    method.__metric__ = True  # type: ignore[attr-defined]
    return method


class Task:
    """One task. A subclass is a dataclass if it has options; its fields are then settings (task.options.NAME=VALUE)."""

    answer_type: AnswerType = POINT
    """How answers are asked for, written and parsed. A task whose rows differ in it overrides `answers_with`."""
    formats: ClassVar[Mapping[str, str]] = {}
    """What `load` can read: name of the format -> one line about it."""

    def load(self, path: Path) -> Sequence[Sample]:
        """Rows of a file or folder. Raises UserError naming file, row and field for anything unusable."""
        raise UserError(f"task {type(self).__name__} reads no files; leave out --data to use its own rows")

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        """Rows made by the task's own generator; the two splits share no picture."""
        raise UserError(f"task {type(self).__name__} has no synthetic rows; give it a data file with --data PATH")

    def answers_with(self, sample: Sample) -> AnswerType:
        """How this row is answered."""
        return self.answer_type

    def request(self, sample: Sample, convention: Convention) -> str:
        """The user's message: the question and how to answer it."""
        answer_format = self.answers_with(sample).request(sample, convention)
        thinking = f"\n{THINK_REQUEST}" if sample.mode is PromptMode.THINK else ""
        return f"{sample.question}\n{answer_format}{thinking}"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The completion that answers `sample` perfectly, in the family's convention."""
        answer = self.answers_with(sample).render(sample, convention)
        return THOUGHT.format("", answer) if sample.mode is PromptMode.THINK else answer

    def parse(self, text: str, finish: Finish, sample: Sample, convention: Convention) -> Answer | Unparsed:
        """The typed answer of a completion in original pixels. A truncated completion is no answer."""
        if finish is Finish.LENGTH:
            return Unparsed("truncated: the completion reached the token limit")
        block = answer_block(text, sample.mode)
        return block if isinstance(block, Unparsed) else self.answers_with(sample).read(block, sample, convention)

    def corpus_metrics(self, rows: Sequence[ScoredRow]) -> Mapping[str, Estimate]:
        """Figures over all evaluated rows together that are no means over rows, such as average precision.

        `vlmrl.evaluation.statistics.bootstrap_estimates` makes the intervals of a function that is quick enough.
        """
        return {}

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Completions that must not pay on this row. A task that knows a hack of its own adds it here."""
        answers = self.answers_with(sample)
        gold = answers.render(sample, convention)
        attacks = [
            Attack("an empty completion", "", blind=True),
            Attack("gold inside the thoughts", THOUGHT.format(gold, "")),
            Attack("gold after an empty answer", THOUGHT.format("", "") + gold),
        ]
        for attack in answers.attacks(sample, convention):
            thinks = sample.mode is PromptMode.THINK
            attacks.append(replace(attack, text=THOUGHT.format("", attack.text) if thinks else attack.text))
        return attacks

    @classmethod
    def rewards(cls) -> dict[str, RewardSpec]:
        """Reward components in the order of their definition."""
        return {name: member.__reward__ for name, member in _members(cls) if hasattr(member, "__reward__")}

    @classmethod
    def metrics(cls) -> list[str]:
        """Metric names in the order of their definition; the first is the headline."""
        return [name for name, member in _members(cls) if hasattr(member, "__metric__")]


def _members(cls: type) -> Iterable[tuple[str, Any]]:
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        members.update(vars(base))
    return members.items()


def reward_weights(task: Task, overrides: Mapping[str, float], setting: str = "task.weights") -> dict[str, float]:
    """Weight per reward component: the declared ones, replaced by `overrides`. Raises UserError for unknown names,
    naming them below `setting`."""
    declared = {name: spec.weight for name, spec in task.rewards().items()}
    if unknown := set(overrides) - set(declared):
        names = ", ".join(declared)
        raise UserError(f"{setting}.{min(unknown)}: no such reward; {type(task).__name__} has: {names}")
    return declared | dict(overrides)


def score_group(task: Task, group: Group, weights: Mapping[str, float]) -> None:
    """Fills `scores` and `reward` of every rollout. A component of weight 0 is still scored, so that it can be watched.

    An exception in a reward becomes a Score with its traceback; the caller counts those.
    """
    for name, spec in task.rewards().items():
        method = getattr(task, name)
        if spec.whole_group:
            outcomes = _group_scores(method, spec, group)
        else:
            outcomes = [_rollout_score(method, spec, group.sample, rollout) for rollout in group.rollouts]
        for rollout, outcome in zip(group.rollouts, outcomes, strict=True):
            rollout.scores[name] = outcome
    for rollout in group.rollouts:
        rollout.reward = math.fsum(
            weights[name] * score.value for name, score in rollout.scores.items() if score.value is not None
        )


def _rollout_score(method: Callable[..., Any], spec: RewardSpec, sample: Sample, rollout: Rollout) -> Score:
    if isinstance(rollout.answer, Unparsed):
        return Score(value=spec.bounds[0])
    try:
        return _bounded(method(rollout.answer, sample, rollout), spec)
    except Exception:  # noqa: BLE001  a plugin's fault must be counted and shown, whatever it is
        return Score(error=traceback.format_exc())


def _group_scores(method: Callable[..., Any], spec: RewardSpec, group: Group) -> list[Score]:
    try:
        values = list(method(group))
        if len(values) != len(group.rollouts):
            raise ValueError(f"{method.__name__} gave {len(values)} scores for {len(group.rollouts)} rollouts")
        return [_bounded(value, spec) for value in values]
    except Exception:  # noqa: BLE001  as above
        return [Score(error=traceback.format_exc()) for _ in group.rollouts]


def _bounded(outcome: float | Score, spec: RewardSpec) -> Score:
    score = outcome if isinstance(outcome, Score) else Score(value=float(outcome))
    low, high = spec.bounds
    if score.value is not None and not low <= score.value <= high:
        raise ValueError(f"reward {score.value} is outside its declared bounds {low}..{high}")
    return score


def headline_value(task: Task, sample: Sample, rollout: Rollout) -> float:
    """The task's first metric of one rollout; 0 for an unparsed completion."""
    if isinstance(rollout.answer, Unparsed):
        return 0.0
    return float(getattr(task, task.metrics()[0])(rollout.answer, sample, rollout))


def metric_values(task: Task, sample: Sample, rollout: Rollout) -> dict[str, float]:
    """Every metric of one rollout; 0 for an unparsed completion."""
    if isinstance(rollout.answer, Unparsed):
        return dict.fromkeys(task.metrics(), 0.0)
    return {name: float(getattr(task, name)(rollout.answer, sample, rollout)) for name in task.metrics()}


def is_valid(rollout: Rollout) -> bool:
    """Whether a rollout takes part in its group's statistics: no component failed and at least one has a value."""
    scores = rollout.scores.values()
    return not any(score.error for score in scores) and any(score.value is not None for score in scores)
