"""Short questions about charts, documents and other pictures, answered with a word, a number or a phrase."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.text import SHORT_ANSWER
from vlmrl.geometry import ImageRecord, Size
from vlmrl.rewards import short_answers
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.synthetic.shapes import COLOURS
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import PromptMode, Rollout, Sample, Text

from .loaders import load_rows
from .schemas import SCHEMAS, Scorer
from .synthetic import Chart, draw_chart

SCATTER = 1
"""Scattered numbers are off by up to this much."""
SCATTERED_NAMES = 0.5
"""Share of the scattered colours that are replaced by another one."""


@dataclass
class VisualQa(Task):
    """Answer a question about a chart, a document or another picture with a word, a number or a phrase."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    scorer: Scorer = "exact_match"
    """What one's own rows are scored by, unless they state it; published data sets bring their own."""

    answer_type = SHORT_ANSWER
    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, PromptMode(self.mode), self.scorer)

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw_chart, self._row)

    def _row(self, chart: Chart, id_: str) -> Sample:
        question = chart.question
        return Sample(
            id=id_,
            images=(chart.image,),
            records=(ImageRecord(0, Size(*chart.image.size)),),
            question=question.text,
            gold=Text(question.answer),
            mode=PromptMode(self.mode),
            tags={"kind": question.kind},
            extra={"accepted": (question.answer,), "scorer": "relaxed_accuracy"},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Text:
        """An answer near a drawn row's gold, for the embedded model's last warm-up stage."""
        gold = _accepted(sample)[0]
        if not gold.isdigit():
            return Text(rng.choice(list(COLOURS)) if rng.random() < SCATTERED_NAMES else gold)
        return Text(str(max(int(gold) + rng.randint(-SCATTER, SCATTER), 0)))

    @reward(weight=1.0)
    def agreement(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """The official score of the row's data set: relaxed accuracy, ANLS or exact match."""
        return _official(answer, sample)

    @reward(weight=0.1)
    def format(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def exact(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """1 for an accepted answer's very text, case and spaces folded, whatever the row is scored by."""
        return short_answers.exact_match(answer.text, _accepted(sample))

    @metric
    def official_score(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """What the row's data set is scored by: relaxed accuracy, ANLS or exact match."""
        return _official(answer, sample)

    @metric
    def relaxed_accuracy(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """ChartQA's score: a number within 5%, or the very text."""
        return short_answers.relaxed_accuracy(answer.text, _accepted(sample))

    @metric
    def anls(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """DocVQA's score: edit similarity with the nearest accepted answer, 0 below a half."""
        return short_answers.anls(answer.text, _accepted(sample))

    @metric
    def exact_match(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """An accepted answer's very text, case and spaces folded."""
        return short_answers.exact_match(answer.text, _accepted(sample))


def _official(answer: Text, sample: Sample) -> float:
    return short_answers.SCORERS[sample.extra["scorer"]](answer.text, _accepted(sample))


def _accepted(sample: Sample) -> tuple[str, ...]:
    accepted: tuple[str, ...] = sample.extra["accepted"]
    return accepted
