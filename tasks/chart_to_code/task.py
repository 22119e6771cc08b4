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
from vlmrl.evaluation.statistics import Estimate, mean_estimate
from vlmrl.geometry import ImageRecord, Size
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import THOUGHT, ScoredRow, Split, Task, group_reward, metric, reward
from vlmrl.types import Code, Group, PromptMode, Rollout, Sample, Score

from .attacks import EVERY_KIND, SCRIPTS
from .drawing import Agreement, Studio
from .judge import load_judge, rated
from .loaders import FORMATS, load_rows
from .synthetic import PREAMBLE, QUESTION, Chart, draw_chart, scattered

NO_SCRIPT = Agreement(problem="the answer is no script")


@dataclass
class ChartToCode(Task):
    """Write the Python code that draws a chart."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    workers: int = 2
    """Scripts that run at the same time; each keeps one core busy."""
    judge: str = ""
    """FILE.py:FUNCTION that rates an answer's picture beside gold's, for ChartMimic's high-level score (README)."""

    answer_type = CODE
    formats: ClassVar[Mapping[str, str]] = FORMATS

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"task.options.workers is {self.workers}: at least one script must run at a time")
        self._studio = Studio(self.workers)
        self._judge = load_judge(self.judge) if self.judge else None

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
        own.append(Attack("a script that draws all kinds of charts", fenced(EVERY_KIND), guess=True, blind=True))
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
        return self._scored(answer, sample).low_level

    @metric
    def executes(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Share of scripts that draw one chart."""
        return float(self._scored(answer, sample).runs)

    @metric
    def data_score(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Agreement of the numbers; that of the types where gold has no numbers that can be read."""
        found = self._scored(answer, sample)
        return found.type if found.data is None else found.data

    @metric
    def image_score(self, answer: Code, sample: Sample, rollout: Rollout) -> float:
        """Similarity of the pictures."""
        return self._scored(answer, sample).image

    def _scored(self, answer: Code, sample: Sample) -> Agreement:
        """Raises RuntimeError if nothing can be said about the script: evaluation counts such rows apart."""
        found = self._agreement(answer, sample)
        if found.fault:
            raise RuntimeError(found.fault)
        return found

    def corpus_metrics(self, rows: Sequence[ScoredRow]) -> Mapping[str, Estimate]:
        """The four parts of ChartMimic's low-level score; Plot2Code's text match, over the charts that are drawn, as
        there; with a judge, ChartMimic's high-level score and the overall one, the mean of both levels.

        A script that fails scores 0 in all but the text match, which is 0 of 0 rows where no script draws a chart.
        """
        found = [self._agreement(answer, sample) if isinstance(answer, Code) else NO_SCRIPT for sample, answer in rows]
        parts = {f"{name}_f1": [getattr(one, name) for one in found] for name in ("text", "layout", "type", "color")}
        estimates = {name: mean_estimate(values) for name, values in parts.items()}
        drawn = [one.text_match for one in found if one.runs]
        estimates["text_match"] = mean_estimate(drawn) if drawn else Estimate(0.0, 0.0, 1.0, 0)
        if self._judge is not None:
            high = [
                self._rated(answer, sample) if isinstance(answer, Code) and one.runs else 0.0
                for (sample, answer), one in zip(rows, found, strict=True)
            ]
            estimates["high_level"] = mean_estimate(high)
            estimates["overall"] = mean_estimate(
                [(one.low_level + rating) / 2 for one, rating in zip(found, high, strict=True)]
            )
        return estimates

    def _rated(self, answer: Code, sample: Sample) -> float:
        outcomes = self._studio.draw(self._scripts(answer, sample=sample))
        answered, gold = (outcome.figure for outcome in outcomes)
        return rated(self._judge, gold, answered) if self._judge and gold and answered else 0.0

    def _agreement(self, answer: Code, sample: Sample) -> Agreement:
        return self._agreements([answer], sample)[0]

    def _agreements(self, answers: Sequence[Code], sample: Sample) -> list[Agreement]:
        *scripts, gold = self._scripts(*answers, sample=sample)
        return self._studio.agreements(scripts, gold)

    def _scripts(self, *answers: Code, sample: Sample) -> list[str]:
        """What is run for the answers, and last for gold."""
        preamble = sample.extra.get("preamble", "")
        return [preamble + source for source in (*(answer.source for answer in answers), _gold(sample))]


def _gold(sample: Sample) -> str:
    if not isinstance(sample.gold, Code):
        raise TypeError(f"row {sample.id}: the target of chart to code is a script, not {sample.gold}")
    return sample.gold.source


def _score(found: Agreement, value: float | None) -> float | Score:
    if found.fault:
        return Score(unscorable=found.fault)
    return Score(unscorable="the row's chart has no numbers that can be read") if value is None else value
