"""Rewards for a list of labelled boxes against the gold list, by one-to-one matching.

Every prediction is matched with at most one gold box and every gold box with at most one prediction (Hungarian
matching, scipy's `linear_sum_assignment`), so that one good box is paid once however often it is written; what is left
over on either side is in the denominator. Labels are compared as they stand: the parser has already written asked
classes in their own spelling.

`ignored` are regions whose objects are not labelled one by one (COCO's crowds). A prediction without a match of its own
that lies in a region of its label by at least half of its area is not counted, as in COCOeval.

All functions take typed answers, so frames are known: boxes in another frame of the same picture are converted, boxes
on another picture raise FrameError. All results are in [0, 1] and 1 for the gold list; for an empty gold list, 1 for no
(counted) predictions and else 0.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vlmrl.geometry import Box, Frame
from vlmrl.types import Boxes

Floats = np.ndarray

NO_BOXES = Boxes(())
HIT_IOU = 0.5
"""IoU from which a box counts as found: PASCAL VOC's threshold, and AP50's."""
IGNORED_SHARE = 0.5
"""Share of a prediction's area in an ignored region from which it is not counted: COCOeval's IoU with a crowd (overlap
over the prediction's own area) at its lowest threshold."""
CORNER_TOLERANCE = 10 / 840
"""VisionReasoner accepts corners that are off by less than 10 pixels on average on its pictures of 840 x 840; as a
share of the picture's sides it means the same on every picture."""


def iou_matrix(predicted: Boxes, gold: Boxes) -> Floats:
    """IoU of every prediction (rows) with every gold box (columns), whatever their labels; 0 without area."""
    ours, theirs, overlaps = _overlaps(predicted, gold)
    unions = _areas(ours)[:, None] + _areas(theirs)[None, :] - overlaps
    return np.divide(overlaps, unions, out=np.zeros_like(overlaps), where=unions > 0)


def matched_iou(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES, minimum: float = 0.0) -> float:
    """Sum of the matched pairs' IoU / sum over labels of max(predictions, gold boxes) of the label.

    Pairs have one label and an IoU above `minimum`. For one class and minimum 0.5 this is the IoU reward of Visual-RFT
    (arXiv 2503.01785, grpo.py), whose greedy matching by confidence is replaced by the best one.
    """
    ious = _with_same_labels(iou_matrix(predicted, gold), predicted, gold)
    ious[ious <= minimum] = 0.0
    return _paid(ious, predicted, gold, ignored)


def f1(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES, threshold: float = HIT_IOU) -> float:
    """2 TP / (predictions + gold boxes); TP is the most one-to-one pairs of one label with IoU >= threshold.

    With one-to-one pairs, unlike the F1 of Rex-Omni (arXiv 2510.12798), which pays duplicates.
    """
    hits = _hits(predicted, gold, threshold)
    pairs = _assigned(hits)
    total = len(_counted(predicted, pairs, ignored)) + len(gold.items)
    return 2 * len(pairs) / total if total else 1.0


def location_and_class(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    """Sum over matched pairs of IoU x (1 + [labels agree]) / 2, divided by max(predictions, gold boxes).

    The matching maximises that sum over pairs of any labels. Source: the detection reward of Perception-R1 (arXiv
    2504.07954), whose location and class parts are published while their coefficients are not: here they are equal, and
    the normaliser counts both missing and spare boxes. The class part is multiplied by the IoU: added to it, as
    published, a box around the whole picture with a right label earns half the reward, and an honest miss nothing.
    """
    ious = iou_matrix(predicted, gold)
    parts = ious * (1 + _same_labels(predicted, gold)) / 2
    pairs = _assigned(parts)
    larger = max(len(_counted(predicted, pairs, ignored)), len(gold.items))
    return min(sum(pair.value for pair in pairs) / larger, 1.0) if larger else 1.0


def hits_and_corners(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    """Sum over matched pairs of one label of ([IoU > 0.5] + [mean corner error < tolerance]) / 2, divided as above.

    The corner error is the mean of the four edges' differences as shares of the picture's sides, the tolerance
    `CORNER_TOLERANCE`. Source: the accuracy reward of VisionReasoner (arXiv 2505.12081, vision_reasoner.py) without its
    points. Its lists are cut at 120 boxes before they are counted; here every box counts.
    """
    ious = iou_matrix(predicted, gold)
    if not ious.size:
        return _paid(ious, predicted, gold, ignored)
    frame = gold.items[0].box.frame
    sides = np.array([frame.width, frame.height, frame.width, frame.height])
    ours, theirs = (_corners(boxes, frame) / sides for boxes in (predicted, gold))
    errors = np.abs(ours[:, None, :] - theirs[None, :, :]).mean(axis=2)
    parts = ((ious > HIT_IOU).astype(float) + (errors < CORNER_TOLERANCE)) / 2
    return _paid(_with_same_labels(parts, predicted, gold), predicted, gold, ignored)


def confidence_agreement(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    """Mean over predictions of c if it is in a pair of one label with IoU > 0.5, else 1 - c; c is its confidence.

    Source: the confidence reward of Visual-RFT (arXiv 2503.01785, grpo.py), with the best matching in place of a greedy
    one. It pays wrong boxes of confidence 0 in full, so it needs a reward beside it that does not. Raises ValueError
    for boxes without confidences.
    """
    pairs = _assigned(_with_same_labels((iou_matrix(predicted, gold) > HIT_IOU).astype(float), predicted, gold))
    counted = _counted(predicted, pairs, ignored)
    if not counted:
        return float(not gold.items)
    matched = {pair.predicted for pair in pairs}
    total = 0.0
    for i in counted:
        confidence = predicted.items[i].confidence
        if confidence is None:
            raise ValueError("the boxes have no confidences")
        total += confidence if i in matched else 1 - confidence
    return total / len(counted)


def counted_predictions(predicted: Boxes, gold: Boxes, ignored: Boxes) -> list[int]:
    """Indices of the predictions that count: those with a hit (IoU 0.5) of their own, or outside ignored regions."""
    return _counted(predicted, _assigned(_hits(predicted, gold, HIT_IOU)), ignored)


def _hits(predicted: Boxes, gold: Boxes, threshold: float) -> Floats:
    """1 for the pairs of one label whose IoU reaches the threshold, else 0."""
    return _with_same_labels((iou_matrix(predicted, gold) >= threshold).astype(float), predicted, gold)


@dataclass(frozen=True)
class _Pair:
    predicted: int
    value: float


def _assigned(values: Floats) -> list[_Pair]:
    """The one-to-one pairs of the largest total value; pairs of value 0 are none."""
    rows, columns = linear_sum_assignment(values, maximize=True)
    return [_Pair(int(i), float(values[i, j])) for i, j in zip(rows, columns, strict=True) if values[i, j] > 0]


def _paid(values: Floats, predicted: Boxes, gold: Boxes, ignored: Boxes) -> float:
    """Total of the best pairs / sum over labels of the larger count; `values` are 0 where labels differ."""
    pairs = _assigned(values)
    ours = Counter(predicted.items[i].label for i in _counted(predicted, pairs, ignored))
    theirs = Counter(item.label for item in gold.items)
    larger = (ours | theirs).total()
    return min(sum(pair.value for pair in pairs) / larger, 1.0) if larger else 1.0


def _counted(predicted: Boxes, pairs: Sequence[_Pair], ignored: Boxes) -> list[int]:
    everything = range(len(predicted.items))
    if not ignored.items or not predicted.items:
        return list(everything)
    ours, _, overlaps = _overlaps(predicted, ignored)
    areas = _areas(ours)[:, None]
    shares = np.divide(overlaps, areas, out=np.zeros_like(overlaps), where=areas > 0)
    inside = np.any(_with_same_labels(shares, predicted, ignored) >= IGNORED_SHARE, axis=1)
    matched = {pair.predicted for pair in pairs}
    return [i for i in everything if i in matched or not inside[i]]


def _overlaps(predicted: Boxes, gold: Boxes) -> tuple[Floats, Floats, Floats]:
    """Corners (n, 4) of both lists in the gold list's frame, and the areas of their intersections."""
    if not predicted.items or not gold.items:
        return np.zeros((len(predicted.items), 4)), np.zeros((len(gold.items), 4)), np.zeros(_shape(predicted, gold))
    frame = gold.items[0].box.frame
    ours, theirs = _corners(predicted, frame), _corners(gold, frame)
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    return ours, theirs, np.maximum(high - low, 0.0).prod(axis=2)


def _corners(boxes: Boxes, frame: Frame) -> Floats:
    def corners(box: Box) -> tuple[float, float, float, float]:
        moved = box if box.frame == frame else box.to(frame)
        return moved.x1, moved.y1, moved.x2, moved.y2

    return np.array([corners(item.box) for item in boxes.items])


def _areas(corners: Floats) -> Floats:
    return (corners[:, 2:] - corners[:, :2]).prod(axis=1)


def _same_labels(predicted: Boxes, gold: Boxes) -> Floats:
    same = [[ours.label == theirs.label for theirs in gold.items] for ours in predicted.items]
    return np.array(same, dtype=float).reshape(_shape(predicted, gold))


def _with_same_labels(values: Floats, predicted: Boxes, gold: Boxes) -> Floats:
    return values * _same_labels(predicted, gold)


def _shape(predicted: Boxes, gold: Boxes) -> tuple[int, int]:
    return len(predicted.items), len(gold.items)
