"""Scores the gold answer and every attack of a row with the task's real parser, rewards and metrics."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from vlmrl.models.families import Family
from vlmrl.task import Task, metric_values, score_group
from vlmrl.types import Finish, Group, Prompt, Rollout, Score

GOLD = "gold"
TOLERANCE = 1e-6
ENOUGH_ROWS = 8
"""A guess that fits fewer rows of a mixed data set is not judged by its mean: a letter is right once in a while."""

Outcome = dict[str, float]
"""Value of each reward component that has one, the total `reward`, and each metric."""


class RowCheck:
    """The answers of one row and what each of them earns."""

    def __init__(self, task: Task, family: Family, prompt: Prompt, weights: Mapping[str, float]) -> None:
        self.task, self.family, self.prompt, self.weights = task, family, prompt, weights
        sample = prompt.sample
        self.gold_text = task.render(sample, family.convention)
        self.attacks = task.attacks(sample, family.convention)
        self.errors: list[str] = []
        self.outcomes = {GOLD: self._outcome(self.gold_text)} | {a.name: self._outcome(a.text) for a in self.attacks}

    def problems(self) -> Iterator[str]:
        """Why this row cannot be trained on, one line each."""
        row, headline = self.prompt.sample.id, self.task.metrics()[0]
        yield from (f"row {row}: {error}" for error in dict.fromkeys(self.errors))
        gold = self.outcomes[GOLD]
        if gold[headline] < 1 - TOLERANCE:
            yield (
                f"row {row}: the gold answer {self.gold_text!r} scores {headline} = {gold[headline]:g}, not 1: either "
                "the target is finer than the model's coordinates (raise model.max_pixels or drop the row), or its box "
                "is wrong"
            )
        for attack in self.attacks:
            outcome = self.outcomes[attack.name]
            if not attack.guess and self._pays(outcome):
                yield (
                    f"row {row}: {attack.name} earns {headline} = {outcome[headline]:g}, reward {outcome['reward']:g}: "
                    f"{shortened(attack.text)!r}"
                )

    def _pays(self, outcome: Outcome) -> bool:
        floor = self._outcome("")["reward"]
        return outcome[self.task.metrics()[0]] > TOLERANCE or outcome["reward"] > max(floor, 0.0) + TOLERANCE

    def _outcome(self, text: str) -> Outcome:
        sample = self.prompt.sample
        answer = self.task.parse(text, Finish.STOP, sample, self.family.convention)
        rollout = Rollout([], [], 0.0, text, Finish.STOP, answer)
        score_group(self.task, Group("check", self.prompt, [rollout]), self.weights)
        for name, score in rollout.scores.items():
            if score.error:
                self.errors.append(f"reward {name} failed: {score.error.splitlines()[-1]}")
        components = {name: value for name, score in rollout.scores.items() if (value := _value(score)) is not None}
        return {**components, "reward": rollout.reward, **metric_values(self.task, sample, rollout)}


def _value(score: Score) -> float | None:
    return None if score.error else score.value


def overpaid(earned: Mapping[str, Sequence[tuple[float, float]]], rows: int) -> Iterator[str]:
    """Guesses that on average earn as much as gold on the same rows.

    `earned` has the rewards of a guess and of gold on each row that the guess fits. One that fits few of all rows is
    not judged by its mean.
    """
    for name, rewards in earned.items():
        guess, gold = (fmean(values) for values in zip(*rewards, strict=True))
        if len(rewards) >= min(rows, ENOUGH_ROWS) and guess >= gold - TOLERANCE:
            yield f"{name} earns {guess:.3f} on average, as much as gold: no picture is needed for that"


def shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
