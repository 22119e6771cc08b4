"""Drawn screens as rows of a data set, drawn when they are asked for."""

import random
from collections.abc import Sequence
from typing import Any

from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.task import Split
from vlmrl.types import PromptMode, Sample

from .synthetic import Screen, draw_screen

ATTEMPTS = 4096
"""Screen seeds reserved for each row; the first screen of the right split is taken."""


class DrawnRows(Sequence[Sample]):
    """`rows` rows of one split, one question each. Row i of a seed is always the same."""

    def __init__(self, split: Split, rows: int, seed: int, mode: PromptMode) -> None:
        self.split, self.rows, self.seed, self.mode = split, rows, seed, mode

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < self.rows:
            raise IndexError(row)
        first = (self.seed * 2**20 + row) * ATTEMPTS
        screens = (draw_screen(first + attempt) for attempt in range(ATTEMPTS))
        return self._sample(next(screen for screen in screens if screen.split == self.split), row)

    def _sample(self, screen: Screen, row: int) -> Sample:
        question = random.Random(f"question {screen.seed}").choice(screen.questions())
        record = ImageRecord(0, Size(*screen.image.size))
        return Sample(
            id=f"{self.split}-{self.seed}-{row}",
            images=(screen.image,),
            records=(record,),
            question=question.instruction,
            gold=Box(*question.target.box, record.frame(Unit.ORIGINAL)),
            mode=self.mode,
            tags={"platform": screen.device, "kind": "icon" if question.target.kind == "icon" else "text"},
        )
