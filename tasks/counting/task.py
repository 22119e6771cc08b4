"""Counting: how many of something a picture shows."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.count import COUNT
from vlmrl.geometry import ImageRecord, Size
from vlmrl.rewards import numbers
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import PromptMode, Rollout, Sample, Text

from .loaders import count_tag, load_rows
from .schemas import SCHEMAS
from .synthetic import Drawing, draw

SCATTER = 1
"""Scattered counts are off by up to this much."""


@dataclass
class Counting(Task):
    """Count the objects that a question names."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""

    answer_type = COUNT
    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, PromptMode(self.mode))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw, self._row)

    def _row(self, drawing: Drawing, id_: str) -> Sample:
        return Sample(
            id=id_,
            images=(drawing.image,),
            records=(ImageRecord(0, Size(*drawing.image.size)),),
            question=drawing.question,
            gold=Text(str(drawing.count)),
            mode=PromptMode(self.mode),
            tags={"count": count_tag(drawing.count)},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Text:
        """A count near gold, for the embedded model's last warm-up stage."""
        return Text(str(max(_count(sample.gold) + rng.randint(-SCATTER, SCATTER), 0)))

    @reward(weight=1.0)
    def exact(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """1 for the right count."""
        return float(_count(answer) == _count(sample.gold))

    @reward(weight=0.1)
    def format(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def closeness(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """1 less the error's share of the right count."""
        return numbers.relative_agreement(_count(answer), _count(sample.gold))

    @metric
    def correct(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """The official score: the very count."""
        return float(_count(answer) == _count(sample.gold))

    @metric
    def within_one(self, answer: Text, sample: Sample, rollout: Rollout) -> float:
        """A count that is off by one at most."""
        return float(abs(_count(answer) - _count(sample.gold)) <= 1)


def _count(answer: object) -> int:
    if not isinstance(answer, Text):
        raise TypeError(f"a count is a text of digits, not {answer}")
    return int(answer.text)
