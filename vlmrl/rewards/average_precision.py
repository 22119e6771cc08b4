"""Average precision of box lists without scores: COCO's by pycocotools, PASCAL VOC's, and VLM-R1's odLength.

Models write no scores, so a rule must rank their boxes, and it is named with every figure (`ScoreRule`). Within one
picture both rules rank a model's boxes in the order in which it wrote them, because COCOeval's sort is stable; the
precisions here therefore depend on that order, unlike the rewards of `vlmrl.rewards.matching`.

Boxes are in original pixels of their picture. pycocotools is part of `vlmrl[detection]`.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlmrl.geometry import Box, Unit
from vlmrl.rewards.matching import HIT_IOU, NO_BOXES, counted_predictions, iou_matrix
from vlmrl.types import Boxes

MAX_DETECTIONS = 100
"""Boxes per picture and class that COCO's official figures look at; further ones are left out."""


class ScoreRule(Enum):
    """How boxes without scores are ranked among all pictures."""

    ONES = "ones"
    """Every score is 1: pictures in their order, boxes in the order they were written. Perception-R1, VLM-R1 and the
    Qwen team's ODinW evaluation do this."""
    ORDER = "order"
    """Score 1 / (1 + rank in its answer): every picture's first box ranks above every picture's second one."""


@dataclass(frozen=True)
class Detections:
    """One picture's predicted and gold boxes."""

    predicted: Boxes
    gold: Boxes
    ignored: Boxes = NO_BOXES
    """COCO's crowd regions."""


@dataclass(frozen=True)
class CocoFigures:
    """COCO's figures over a set of pictures: means over the classes that have a gold box."""

    ap: float
    """Mean over the IoU thresholds 0.50, 0.55, ..., 0.95."""
    ap50: float
    ap75: float
    ar100: float
    """Recall with at most 100 boxes per picture and class, mean over the thresholds."""
    per_class: dict[str, float]
    """AP of every class with a gold box."""


def coco_figures(pictures: Sequence[Detections], rule: ScoreRule) -> CocoFigures:
    """COCOeval's AP over `pictures`. Raises ValueError if there is no gold box in any of them: AP is undefined then.

    A predicted label that is no class of any gold box is in no class's precision, as in COCOeval.
    """
    labels = sorted({item.label for picture in pictures for item in picture.gold.items})
    if not labels:
        raise ValueError("average precision needs a gold box in at least one picture")
    evaluation = _evaluated(pictures, labels, rule)
    precision, recall = evaluation.eval["precision"][..., 0, 0], evaluation.eval["recall"][..., 0, 0]
    thresholds = evaluation.params.iouThrs
    per_class = {label: float(precision[:, :, k].mean()) for k, label in enumerate(labels)}
    return CocoFigures(
        ap=float(precision.mean()),
        ap50=float(precision[np.isclose(thresholds, 0.5)].mean()),
        ap75=float(precision[np.isclose(thresholds, 0.75)].mean()),
        ar100=float(recall.mean()),
        per_class=per_class,
    )


@lru_cache(maxsize=256)
def average_precision(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    """COCO AP (thresholds 0.50 to 0.95) of one picture: the mean over its gold and predicted classes.

    VLM-R1 takes the gold classes only, so that boxes of absent classes are free; here such a class has AP 0.
    Both lists empty: 1. Results are in [0, 1].
    """
    counted = counted_predictions(predicted, gold, ignored)
    present = {item.label for item in gold.items}
    classes = present | {predicted.items[i].label for i in counted}
    if not classes:
        return 1.0
    if not present:
        return 0.0
    figures = coco_figures([Detections(predicted, gold, ignored)], ScoreRule.ONES)
    return min(sum(figures.per_class.values()) / len(classes), 1.0)


def od_length(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    """AP x min(1, gold boxes / predictions): VLM-R1's odLength (arXiv 2504.07615, grpo_jsonl.py).

    The factor closes the hack of AP alone, where boxes after the good ones are free. Both lists empty: 1.
    """
    counted = len(counted_predictions(predicted, gold, ignored))
    excess = min(1.0, len(gold.items) / counted) if counted else 1.0
    return average_precision(predicted, gold, ignored) * excess


def voc_average_precision(
    predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES, threshold: float = HIT_IOU
) -> float:
    """PASCAL VOC AP of one picture: area under the precision envelope, mean over gold and predicted classes.

    As in the VOC devkit since 2010: a box takes the gold box of its class that it overlaps most; it is right if that
    IoU reaches `threshold` and no earlier box took the same one, and wrong otherwise. Coordinates are continuous, so
    widths have no +1. Boxes in ignored regions are left out, as VOC does with difficult objects.
    """
    counted = counted_predictions(predicted, gold, ignored)
    ious = iou_matrix(predicted, gold)
    classes = {item.label for item in gold.items} | {predicted.items[i].label for i in counted}
    if not classes:
        return 1.0
    precisions = []
    for label in classes:
        ranked = [i for i in counted if predicted.items[i].label == label]
        targets = [j for j, item in enumerate(gold.items) if item.label == label]
        precisions.append(_voc_precision(ious[np.ix_(ranked, targets)], threshold))
    return min(sum(precisions) / len(classes), 1.0)


def _voc_precision(ious: np.ndarray, threshold: float) -> float:
    """AP of one class from the IoU of its ranked predictions (rows) with its gold boxes (columns)."""
    if not ious.size:
        return 0.0
    best = ious.argmax(axis=1)
    taken: set[int] = set()
    right = np.zeros(len(ious))
    for rank, target in enumerate(best):
        if ious[rank, target] >= threshold and target not in taken:
            taken.add(int(target))
            right[rank] = 1.0
    precision = right.cumsum() / np.arange(1, len(ious) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * right).sum() / ious.shape[1])


def _evaluated(pictures: Sequence[Detections], labels: Sequence[str], rule: ScoreRule) -> Any:
    """COCOeval over all pictures, accumulated, for one area range and one limit of detections."""
    category = {label: k + 1 for k, label in enumerate(labels)}
    gold: list[dict[str, Any]] = []
    predicted: list[dict[str, Any]] = []
    for image, picture in enumerate(pictures, start=1):
        for crowd, boxes in ((0, picture.gold), (1, picture.ignored)):
            gold += [
                _annotation(item.box, image, category[item.label]) | {"iscrowd": crowd}
                for item in boxes.items
                if item.label in category
            ]
        for rank, item in enumerate(picture.predicted.items):
            if item.label in category:
                score = 1.0 if rule is ScoreRule.ONES else 1.0 / (1 + rank)
                predicted.append(_annotation(item.box, image, category[item.label]) | {"iscrowd": 0, "score": score})
    images = [{"id": image} for image in range(1, len(pictures) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluation = COCOeval(_coco(images, category, gold), _coco(images, category, predicted), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _annotation(box: Box, image: int, category: int) -> dict[str, Any]:
    if box.frame.unit is not Unit.ORIGINAL:
        raise ValueError(f"average precision needs boxes in original pixels, not in {box.frame}")
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [box.x1, box.y1, box.width, box.height],
        "area": box.area,
    }


def _coco(images: list[dict[str, Any]], category: dict[str, int], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": [{"id": id_, "name": name} for name, id_ in category.items()],
        "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
