"""Runs scripts in the sandbox and says how far what they drew agrees with a row's own script."""

import io
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vlmrl.rewards import figures
from vlmrl.rewards.images import image_similarity
from vlmrl.sandbox import Figure, Limits, Outcome, Sandbox

Key = TypeVar("Key")
Value = TypeVar("Value")

LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10)
"""Twice the sandbox's own times: a chart that takes a second must not fail because the machine is busy."""
KEPT_OUTCOMES = 128
"""Scripts whose figures are kept, up to 3 MB each: gold's for its group, and failures that recur."""
KEPT_AGREEMENTS = 8192
"""Scripts whose scores are kept, about 1 kB each: all rewards and metrics of a rollout ask for the same ones."""


@dataclass(frozen=True)
class Agreement:
    """What became of an answer, and how far its figure agrees with gold's. All scores are in 0..1."""

    problem: str = ""
    """Why the script counts as failed; empty if it drew one chart."""
    fault: str = ""
    """Why nothing can be said about the script, through no fault of its own."""
    text: float = 0.0
    layout: float = 0.0
    type: float = 0.0
    color: float = 0.0
    data: float | None = 0.0
    """None if gold has no numbers that can be read."""
    image: float = 0.0
    text_match: float = 0.0
    """Plot2Code's, over the texts and their places."""

    @property
    def runs(self) -> bool:
        return not self.problem and not self.fault

    @property
    def low_level(self) -> float:
        """ChartMimic's low-level score."""
        return (self.text + self.layout + self.type + self.color) / 4


class Studio:
    """One sandbox, started when it is first needed, and what it drew lately."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._sandbox: Sandbox | None = None
        self._outcomes: Recent[str, Outcome] = Recent(KEPT_OUTCOMES)
        self._agreements: Recent[tuple[str, str], Agreement] = Recent(KEPT_AGREEMENTS)

    def draw(self, scripts: Sequence[str]) -> list[Outcome]:
        """Run all scripts, several at a time. One that the sandbox itself failed on is run once more."""
        if self._sandbox is None:
            self._sandbox = Sandbox(self._workers, LIMITS)
            weakref.finalize(self, self._sandbox.close)
        outcomes = self._sandbox.run(scripts)
        again = [index for index, outcome in enumerate(outcomes) if outcome.fault]
        for index, outcome in zip(again, self._sandbox.run([scripts[i] for i in again]), strict=True):
            outcomes[index] = outcome
        return outcomes

    def agreements(self, answers: Sequence[str], gold: str) -> list[Agreement]:
        """How each script agrees with the row's own; every different script is run once, all of them in parallel."""
        found = {answer: self._agreements.get((gold, answer)) for answer in answers}
        missing = [answer for answer, agreement in found.items() if agreement is None]
        if missing:
            outcomes = {script: self._outcomes.get(script) for script in (gold, *missing)}
            to_run = [script for script, outcome in outcomes.items() if outcome is None]
            drawn = dict(zip(to_run, self.draw(to_run), strict=True))
            for script, outcome in drawn.items():
                if not outcome.fault:
                    self._outcomes.keep(script, outcome)
            target = outcomes[gold] or drawn[gold]
            for answer in missing:
                compared_now = compared(outcomes[answer] or drawn[answer], target)
                self._agreements.keep((gold, answer), compared_now)
                found[answer] = compared_now
        return [agreement for answer in answers if (agreement := found[answer]) is not None]


class Recent(Generic[Key, Value]):
    """The values kept or asked for last, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def keep(self, key: Key, value: Value) -> None:
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)


def problem_of(outcome: Outcome) -> str:
    """Why a script's outcome is not one chart; empty if it is."""
    figure = outcome.figure
    if figure is None:
        return f"{outcome.status.value}: {outcome.message}"
    if figure.figures > 1:
        return f"it draws {figure.figures} figures, not one"
    return "nothing is plotted in its figure" if figures.is_blank(figure) else ""


def compared(answer: Outcome, gold: Outcome) -> Agreement:
    """The scores of one outcome against gold's."""
    if gold_problem := problem_of(gold):
        return Agreement(fault=f"the row's own script cannot be compared with: {gold_problem}")
    if answer.fault:
        return Agreement(fault=f"{answer.status.value}: {answer.message}")
    if problem := problem_of(answer):
        return Agreement(problem=problem)
    mine, target = _figure(answer), _figure(gold)
    return Agreement(
        text=figures.text_f1(mine, target),
        layout=figures.layout_f1(mine, target),
        type=figures.type_f1(mine, target),
        color=figures.color_f1(mine, target),
        data=figures.data_agreement(mine, target),
        image=image_similarity(mine.image(), target.image()),
        text_match=figures.text_match(mine, target),
    )


def encoded(figure: Figure) -> bytes:
    """The figure's picture as a PNG file's content."""
    content = io.BytesIO()
    figure.image().save(content, "PNG")
    return content.getvalue()


def _figure(outcome: Outcome) -> Figure:
    if outcome.figure is None:
        raise ValueError(f"no figure: {outcome.message}")
    return outcome.figure
