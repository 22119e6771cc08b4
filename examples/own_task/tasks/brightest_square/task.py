"""Click the brightest of several grey squares: a complete task, drawn by its own generator."""

import random
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Rollout, Sample

SIDE = 128
CELL = 32
SQUARE = 24


class Squares(Sequence[Sample]):
    """Row i of a seed is always the same picture; the two splits use different seeds, of 10^12 pictures there are."""

    def __init__(self, split: Split, count: int, seed: int) -> None:
        self.name, self.count = f"{split}-{seed}", count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: Any) -> Sample:
        if not 0 <= row < self.count:
            raise IndexError(row)
        rng = random.Random(f"{self.name}-{row}")
        image = Image.new("RGB", (SIDE, SIDE), "black")
        cells = rng.sample([(x, y) for x in range(0, SIDE, CELL) for y in range(0, SIDE, CELL)], 3)
        corners = [(x + rng.randint(0, CELL - SQUARE), y + rng.randint(0, CELL - SQUARE)) for x, y in cells]
        greys = sorted(rng.sample(range(40, 256, 40), 3), reverse=True)
        for (x, y), grey in zip(corners, greys, strict=True):
            ImageDraw.Draw(image).rectangle((x, y, x + SQUARE - 1, y + SQUARE - 1), fill=(grey,) * 3)
        x, y = corners[0]
        record = ImageRecord(0, Size(SIDE, SIDE))
        target = Box(x, y, x + SQUARE, y + SQUARE, record.frame(Unit.ORIGINAL))
        return Sample(f"{self.name}-{row}", (image,), (record,), "click the brightest square", target)


class BrightestSquare(Task):
    """Click the brightest of three grey squares."""

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return Squares(split, rows, seed)

    @reward(weight=1.0)
    def on_target(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))

    @reward(weight=0.2)
    def nearness(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        return 1 - min(1.0, answer.distance(sample.gold.center) / SIDE)

    @metric
    def hit(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))
