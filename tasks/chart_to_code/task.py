"""Chart to code: given the picture of a chart, write the Python script that draws it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.attack import Attack
from vlmrl.answers.code import CODE, fenced
from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Size
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import THOUGHT, Split, Task, group_reward, metric, reward
from vlmrl.types import Code, Group, PromptMode, Rollout, Sample, Score

from .attacks import EVERY_KIND, SCRIPTS
from .drawing import Agreement, Studio
from .loaders import FORMATS, load_rows
from .synthetic import PREAMBLE, QUESTION, Chart, draw_chart, scattered


@dataclass
class ChartToCode(Task):
    """Write the Python code that draws a chart."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    workers: int = 2
    """Scripts that run at the same time; each keeps one core busy."""

    answer_type = CODE
    formats: ClassVar[Mapping[str, str]] = FORMATS

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"task.options.workers is {self.workers}: at least one script must run at a time")
        self._studio = Studio(self.workers)

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, self._studio, PromptMode(self.mode))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        if find_spec("matplotlib") is None:
            raise UserError("charts are drawn by matplotlib, which is missing: pip install 'vlmrl[chart]'")
        return DrawnRows(split, rows, seed, draw_chart, self._row)

    def _row(self, chart: Chart, id_: str) -> Sample:
        picture = chart.picture()
        return Sample(
            id=id_,
            images=(picture,),
            records=(ImageRecord(0, Size(*picture.size)),),
            question=QUESTION,
            gold=Code(chart.script()),
            mode=PromptMode(self.mode),
            tags={"type": chart.kind},
            extra={"preamble": PREAMBLE, "chart": chart},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Code:
        """A script near a drawn row's gold, some of its values and sometimes its colour another."""
        return Code(scattered(sample.extra["chart"], rng).script())

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Those of every task, and scripts that get round drawing the chart."""
        own = [Attack(f"a script that {name}", fenced(source)) for name, source in SCRIPTS.items()]
        own.append(Attack("a script that draws all kinds of charts", fenced(EVERY_KIND), guess=True))
        if sample.mode is PromptMode.THINK:
            own = [replace(attack, text=THOUGHT.format("", attack.text)) for attack in own]
        return [*super().attacks(sample, convention), *own]

    @group_reward(weight=0.1)
    def runs(self, group: Group) -> list[float | Score]:
        """1 if the script ends without a fault and draws exactly one figure with something plotted in it."""
        answers = [rollout.answer for rollout in group.rollouts]
        scripts = [answer for answer in answers if isinstance(answer, Code)]
        found = iter(self._agreements(scripts, group.sample))
        return [_score(one := next(found), float(one.runs)) if isinstance(answer, Code) else 0.0 for answer in answers]

    @reward(weight=0.2)
    def text(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """F1 of the texts, ticks left out (ChartMimic)."""
        found = self._agreement(answer, sample)
        return _score(found, found.text)

    @reward(weight=0.1)
    def layout(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """F1 of the axes' places in the grid of subplots (ChartMimic)."""
        found = self._agreement(answer, sample)
        return _score(found, found.layout)

    @reward(weight=0.2)
    def type(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """F1 of the plotting functions called (ChartMimic)."""
        found = self._agreement(answer, sample)
        return _score(found, found.type)

    @reward(weight=0.2)
    def color(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """F1 of the colours per plotting function (ChartMimic)."""
        found = self._agreement(answer, sample)
        return _score(found, found.color)

    @reward(weight=0.4)
    def data(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """Agreement of the numbers that are plotted."""
        found = self._agreement(answer, sample)
        return _score(found, found.data)

    @reward(weight=0.2)
    def image(self, answer: Code, sample: Sample, rollout: Rollout) -> float | Score:
        """Similarity of the two pictures, what a blank canvas has taken off."""
        found = self._agreement(answer, sample)
        return _score(found, found.image)

    @metric
    def low_level(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """ChartMimic's low-level score: the mean of text, layout, type and colour; 0 for a script that fails."""
        found = self._agreement(answer, sample)
        return (found.text + found.layout + found.type + found.color) / 4

    @metric
    def executes(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Share of scripts that draw one chart."""
        return float(self._agreement(answer, sample).runs)

    @metric
    def data_score(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Agreement of the numbers; that of the types where gold has no numbers that can be read."""
        found = self._agreement(answer, sample)
        return found.type if found.data is None else found.data

    @metric
    def image_score(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Similarity of the pictures."""
        return self._agreement(answer, sample).image

    def _agreement(self, answer: Code, sample: Sample) -> Agreement:
        return self._agreements([answer], sample)[0]

    def _agreements(self, answers: Sequence[Code], sample: Sample) -> list[Agreement]:
        preamble = sample.extra.get("preamble", "")
        gold = preamble + _gold(sample)
        return self._studio.agreements([preamble + answer.source for answer in answers], gold)


def _gold(sample: Sample) -> str:
    if not isinstance(sample.gold, Code):
        raise TypeError(f"row {sample.id}: the target of chart to code is a script, not {sample.gold}")
    return sample.gold.source


def _score(found: Agreement, value: float | None) -> float | Score:
    if found.fault:
        return Score(unscorable=found.fault)
    return Score(unscorable="the row's chart has no numbers that can be read") if value is None else value
