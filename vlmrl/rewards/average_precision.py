"""Average precision of one picture's box list: COCO's by pycocotools, PASCAL VOC's, and VLM-R1's odLength.

Both depend on the order in which a model writes its boxes (`vlmrl.rewards.coco` says why), unlike the rewards of
`vlmrl.rewards.matching`. Boxes are in original pixels of their picture.
"""

import contextlib
import io
from functools import lru_cache

import numpy as np

from vlmrl.rewards.coco import AREAS, MAX_DETECTIONS, Picture, coco_evaluation, targets_of
from vlmrl.rewards.matching import HIT_IOU, NO_BOXES, counted_predictions, iou_matrix
from vlmrl.types import Boxes


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
    categories = {label: k for k, label in enumerate(sorted(present), start=1)}
    picture = Picture(predicted, targets_of(gold, ignored, categories))
    evaluation = coco_evaluation([picture], categories, {"all": AREAS["all"]}, MAX_DETECTIONS[-1:])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    per_class = evaluation.eval["precision"][..., 0, 0].mean(axis=(0, 1))
    return min(float(per_class.sum()) / len(classes), 1.0)


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
