"""Detection: find all objects of the asked classes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.boxes import BOXES, BoxesAnswer
from vlmrl.evaluation.statistics import Estimate
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.rewards import average_precision as precision
from vlmrl.rewards import matching
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import ScoredRow, Split, Task, metric, reward
from vlmrl.types import Answer, Boxes, LabelledBox, PromptMode, Rollout, Sample, Score

from .coco import DESCRIPTION, NAME
from .figures import coco_estimates, gold_boxes, ignored_boxes
from .loaders import load_rows
from .rows import count_tag
from .schemas import SCHEMAS
from .synthetic import Drawing, draw

SCATTER = 0.38
"""Scattered corners are moved by up to this share of their box's sides: the mean IoU with gold is then about 0.5."""

NO_CONFIDENCE = Score(unscorable="boxes have no confidences; set task.options.confidence=true")


@dataclass
class Detection(Task):
    """Find all objects of the asked classes: a box with a label for each."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    confidence: bool = False
    """Ask for a confidence with every box; average precision then ranks boxes by it."""

    formats: ClassVar[Mapping[str, str]] = {NAME: DESCRIPTION} | {schema.name: schema.description for schema in SCHEMAS}

    def answers_with(self, sample: Sample) -> BoxesAnswer:
        return BoxesAnswer(confident=True) if self.confidence else BOXES

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, mode=PromptMode(self.mode))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw, self._row)

    def _row(self, drawing: Drawing, id_: str) -> Sample:
        record = ImageRecord(0, Size(*drawing.image.size))
        frame = record.frame(Unit.ORIGINAL)
        question = drawing.question
        return Sample(
            id=id_,
            images=(drawing.image,),
            records=(record,),
            question=question.text,
            gold=Boxes(tuple(LabelledBox(shape.name, Box(*shape.box, frame)) for shape in question.targets)),
            mode=PromptMode(self.mode),
            tags={"objects": count_tag(len(question.targets))},
            extra={"classes": question.classes, "ignored": Boxes(())},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Answer:
        """An imprecise answer near gold, for the embedded model's last warm-up stage."""
        return Boxes(tuple(LabelledBox(item.label, _moved(item.box, rng)) for item in gold_boxes(sample).items))

    @reward(weight=1.0)
    def matched_iou(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """Sum of the IoU of one-to-one pairs over the larger number of boxes, class by class."""
        return matching.matched_iou(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.1)
    def format(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def f1(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """F1 of the boxes at IoU 0.5."""
        return matching.f1(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def matched_iou_above_half(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """`matched_iou` of pairs with an IoU above 0.5 (Visual-RFT)."""
        return matching.matched_iou(answer, gold_boxes(sample), ignored_boxes(sample), minimum=matching.HIT_IOU)

    @reward(weight=0.0)
    def location_and_class(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """IoU of one-to-one pairs, half of it where the label is wrong (after Perception-R1)."""
        return matching.location_and_class(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def hits_and_corners(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """IoU above 0.5 and close corners, half each, of one-to-one pairs (VisionReasoner)."""
        return matching.hits_and_corners(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def coco_ap(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """COCO AP of the picture; boxes after the good ones are free, so prefer `od_length`."""
        return precision.average_precision(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def voc_ap(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """PASCAL VOC AP of the picture; boxes after the good ones are free."""
        return precision.voc_average_precision(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def od_length(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """COCO AP of the picture times gold boxes over predictions, where there are too many (VLM-R1)."""
        return precision.od_length(answer, gold_boxes(sample), ignored_boxes(sample))

    @reward(weight=0.0)
    def confidence_agreement(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float | Score:
        """How sure of its right boxes and unsure of its wrong ones an answer is (Visual-RFT)."""
        if not self.confidence:
            return NO_CONFIDENCE
        return matching.confidence_agreement(answer, gold_boxes(sample), ignored_boxes(sample))

    @metric
    def f1_50(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """F1 of the boxes at IoU 0.5, labels included."""
        return matching.f1(answer, gold_boxes(sample), ignored_boxes(sample))

    @metric
    def f1_95(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """F1 of the boxes at IoU 0.95."""
        return matching.f1(answer, gold_boxes(sample), ignored_boxes(sample), 0.95)

    @metric
    def f1_mean(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """Mean F1 over the IoU thresholds 0.50, 0.55, ..., 0.95."""
        gold, ignored = gold_boxes(sample), ignored_boxes(sample)
        return sum(matching.f1(answer, gold, ignored, step / 100) for step in range(50, 100, 5)) / 10

    @metric
    def mean_iou(self, answer: Boxes, sample: Sample, rollout: Rollout) -> float:
        """The reward `matched_iou`."""
        return matching.matched_iou(answer, gold_boxes(sample), ignored_boxes(sample))

    def corpus_metrics(self, rows: Sequence[ScoredRow]) -> Mapping[str, Estimate]:
        """COCO's twelve figures, see `figures.coco_estimates`."""
        return coco_estimates(rows)


def _moved(box: Box, rng: random.Random) -> Box:
    """The box with each edge moved on its own, kept on the picture."""
    frame = box.frame
    across, down = SCATTER * box.width, SCATTER * box.height

    def edge(at: float, reach: float, extent: float) -> float:
        return min(max(at + rng.uniform(-reach, reach), 0.0), extent)

    return Box(
        edge(box.x1, across, frame.width),
        edge(box.y1, down, frame.height),
        edge(box.x2, across, frame.width),
        edge(box.y2, down, frame.height),
        frame,
    )
