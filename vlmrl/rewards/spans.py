"""Rewards of time spans: pure functions of typed answers, all in 0..1. Spans of two clips raise FrameError."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from vlmrl.geometry import FrameError, Span


def distance_tiou(answer: Span, target: Span) -> float:
    """tIoU x (1 - |start - start*| / D) x (1 - |end - end*| / D), D the clip's duration.

    Source: Time-R1 (arXiv 2503.13377), iou_timestamp_reward_v2 in main.py, the reward of its post-training. There a
    factor turns negative for a time more than D away; here it stops at 0.
    """
    duration = target.clip.duration
    near_start = max(0.0, 1 - abs(answer.start - target.start) / duration)
    near_end = max(0.0, 1 - abs(answer.end - target.end) / duration)
    return answer.tiou(target) * near_start * near_end


def best_tiou(answer: Span, targets: Sequence[Span]) -> float:
    """tIoU with the target that it fits best.

    Source: the R1 score of QVHighlights' standalone_eval/eval.py, which compares the first predicted window with the
    best of the annotated ones.
    """
    return max(answer.tiou(target) for target in targets)


def matched_tiou(answers: Sequence[Span], targets: Sequence[Span]) -> float:
    """Sum of the tIoU of the best one-to-one matching, divided by the larger number of spans.

    A span too many or too few costs as much as one that misses, and no target is paid twice. For one answer and one
    target it is their tIoU. 0 without answers; raises ValueError without targets.
    """
    if not targets:
        raise ValueError("nothing to match with: a row needs at least one target span")
    if not answers:
        return 0.0
    if len(answers) == len(targets) == 1:
        return answers[0].tiou(targets[0])
    overlaps = np.array([[answer.tiou(target) for target in targets] for answer in answers])
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return float(overlaps[rows, columns].sum() / max(len(answers), len(targets)))


def set_iou(answers: Sequence[Span], targets: Sequence[Span]) -> float:
    """Seconds in both sets of spans divided by seconds in either; overlapping spans of a set count once.

    Source: VideoChat-R1 (arXiv 2504.06958), the evidence reward of its grounded question answering. Two empty sets
    score 1 there and 0 here: a row's target is never empty.
    """
    if len({span.clip for span in (*answers, *targets)}) > 1:
        raise FrameError("cannot compare spans of two clips")
    mine, theirs = _merged(answers), _merged(targets)
    both = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in mine for b in theirs)
    either = sum(end - start for start, end in (*mine, *theirs)) - both
    return min(both / either, 1.0) if either > 0 else 0.0  # sums of many spans round


def average_precisions(ranked: Sequence[Span], targets: Sequence[Span], thresholds: Sequence[float]) -> list[float]:
    """Interpolated average precision of spans ranked best first, for each threshold: the mean over targets of the
    precision at the rank that hits the target, or at a later rank where it is higher; 0 for a target that none hits.

    A span hits the target that it fits best of those not hit before (of equals the later one), if their tIoU is the
    threshold or more. Raises ValueError without targets.
    Source: compute_average_precision_detection of QVHighlights' standalone_eval/utils.py, copied from MMAction2.
    """
    if not targets:
        raise ValueError("average precision needs at least one target span")
    overlaps = [[span.tiou(target) for target in targets] for span in ranked]
    best_first = [sorted(range(len(targets)), key=lambda i: (row[i], i), reverse=True) for row in overlaps]
    precisions = []
    for threshold in thresholds:
        taken: set[int] = set()
        hits: list[bool] = []
        for row, order in zip(overlaps, best_first, strict=True):
            best = next((i for i in order if i not in taken), None)
            hits.append(best is not None and row[best] >= threshold)
            if best is not None and hits[-1]:
                taken.add(best)
        precisions.append(_interpolated(hits) / len(targets))
    return precisions


def _interpolated(hits: Sequence[bool]) -> float:
    """Sum over the hits of the highest precision at their rank or a later one."""
    found, envelope, area = sum(hits), 0.0, 0.0
    for rank in range(len(hits), 0, -1):
        if hits[rank - 1]:
            envelope = max(envelope, found / rank)
            area += envelope
            found -= 1
    return area


def _merged(spans: Sequence[Span]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted((span.start, span.end) for span in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
