"""Grounding: given one or more pictures and a referring expression, answer with the box of what it refers to."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX
from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.rewards import boxes
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Answer, PromptMode, Rollout, Sample

from . import reasonseg, refer
from .loaders import load_rows
from .reasonseg import load_reasonseg, reasonseg_folders
from .refer import load_refer, refs_file
from .schemas import SCHEMAS, locate
from .synthetic import Picture, draw_picture

STAGES = {"first": (0.5, 0.75), "second": (0.75, 0.9)}
"""Vision-R1's thresholds of the two phases of its progressive rule (arXiv 2503.18013)."""
SCATTER = 0.28
"""Corners of scattered boxes are off by up to this share of the target's side, and the box is shifted by as much: the
mean IoU with the target is about a half."""


@dataclass
class Grounding(Task):
    """Find the box of what a referring expression names."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    threshold: float = 0.5
    """IoU from which `iou_reached` pays."""
    stage: Literal["first", "second"] = "first"
    """Phase of `staged_iou`: thresholds 0.5 and 0.75, or 0.75 and 0.9."""
    split: str = "train"
    """Split to read of RefCOCO's refs(X).p and of ReasonSeg, which hold all: train, val, test, testA or testB."""

    answer_type = BOX
    formats: ClassVar[dict[str, str]] = {
        refer.NAME: refer.DESCRIPTION,
        reasonseg.NAME: reasonseg.DESCRIPTION,
        **{schema.name: schema.description for schema in SCHEMAS},
    }

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"task.options.threshold={self.threshold}: an IoU lies above 0 and up to 1")

    def load(self, path: Path) -> Sequence[Sample]:
        mode = PromptMode(self.mode)
        if (refs := refs_file(path)) is not None:
            return load_refer(refs, (self.split,), mode)
        if reasonseg_folders(path, (self.split,)):
            return load_reasonseg(path, (self.split,), mode)
        return load_rows(path, mode)

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw_picture, self._row)

    def _row(self, picture: Picture, id_: str) -> Sample:
        reference = random.Random(f"question {picture.seed}").choice(picture.references())
        record = ImageRecord(0, Size(*picture.image.size))
        return Sample(
            id=id_,
            images=(picture.image,),
            records=(record,),
            question=locate(reference.expression),
            gold=Box(*reference.target.box, record.frame(Unit.ORIGINAL)),
            mode=PromptMode(self.mode),
            tags={"by": reference.by},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Answer:
        """An imprecise box near gold, for the embedded model's last warm-up stage."""
        gold = _target(sample)
        xs = _scattered(gold.x1, gold.x2, gold.frame.width, rng)
        ys = _scattered(gold.y1, gold.y2, gold.frame.height, rng)
        return Box(xs[0], ys[0], xs[1], ys[1], gold.frame)

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        gold = _target(sample)
        dot = Box(gold.center.x, gold.center.y, gold.center.x, gold.center.y, gold.frame)
        width, height = gold.frame.width, gold.frame.height
        middle = Box(width / 4, height / 4, 3 * width / 4, 3 * height / 4, gold.frame)
        return [
            *super().attacks(sample, convention),
            Attack("gold shrunk to a dot", self.render(replace(sample, gold=dot), convention), guess=True),
            Attack("the middle of the picture", self.render(replace(sample, gold=middle), convention), guess=True),
        ]

    @reward(weight=1.0)
    def iou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """Intersection over union with the target."""
        return answer.iou(_target(sample))

    @reward(weight=0.1)
    def format(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def giou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """(GIoU + 1) / 2: tells near misses from far ones where IoU is 0."""
        return (boxes.giou(answer, _target(sample)) + 1) / 2

    @reward(weight=0.0)
    def squared_iou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """IoU squared."""
        return boxes.squared_iou(answer, _target(sample))

    @reward(weight=0.0)
    def iou_reached(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """1 from the IoU `threshold` on."""
        return boxes.iou_reaches(answer, _target(sample), self.threshold)

    @reward(weight=0.0)
    def staged_iou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """IoU, 0 below the stage's lower threshold and 1 from its upper one on."""
        return boxes.staged_iou(answer, _target(sample), *STAGES[self.stage])

    @reward(weight=0.0)
    def capped_iou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """IoU / 0.7, at most 1."""
        return boxes.capped_iou(answer, _target(sample))

    @reward(weight=0.0)
    def corners_near(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """1 if the edges are off by less than 10/840 of the picture on average."""
        return boxes.corners_near(answer, _target(sample))

    @metric
    def acc(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """The official score: IoU >= 0.5."""
        return boxes.iou_reaches(answer, _target(sample), 0.5)

    @metric
    def mean_iou(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        return answer.iou(_target(sample))

    @metric
    def acc_03(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        return boxes.iou_reaches(answer, _target(sample), 0.3)

    @metric
    def acc_07(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        return boxes.iou_reaches(answer, _target(sample), 0.7)

    @metric
    def acc_09(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        return boxes.iou_reaches(answer, _target(sample), 0.9)

    @metric
    def center_acc(self, answer: Box, sample: Sample, rollout: Rollout) -> float:
        """Whether the centre lies in the target, edges included."""
        return boxes.point_in_box(answer, _target(sample))


def _target(sample: Sample) -> Box:
    if not isinstance(sample.gold, Box):
        raise TypeError(f"row {sample.id}: the target is a {type(sample.gold).__name__}, not a box")
    return sample.gold


def _scattered(low: float, high: float, extent: float, rng: random.Random) -> tuple[float, float]:
    """Both ends of one side, off by a common shift and each by itself, within the picture."""
    reach = SCATTER * (high - low)
    shift = rng.uniform(-reach, reach)
    start, end = (min(max(edge + shift + rng.uniform(-reach, reach), 0.0), extent) for edge in (low, high))
    return min(start, end), max(start, end)
