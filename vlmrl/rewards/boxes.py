"""Rewards for a point or a box that should lie on a target box.

All take typed answers, so the frames of answer and target are known: an answer in another frame of the same picture is
converted, one on another picture raises FrameError. All results are in [0, 1]. IoU is `Box.iou`.
"""

from math import hypot

from vlmrl.geometry import Box, Point


def click_point(answer: Point | Box) -> Point:
    """Where an answer clicks: the point itself, or the centre of a box.

    Source: SeeClick, pretrain/screenspot_test.py, and every ScreenSpot scorer since.
    """
    return answer.center if isinstance(answer, Box) else answer


def point_in_box(answer: Point | Box, target: Box) -> float:
    """1 if the click lies in the target, edges included, else 0.

    Source: SeeClick (left <= x <= right and top <= y <= bottom), ScreenSpot-Pro. GUI-R1 excludes the edges.
    """
    return float(target.contains(click_point(answer).to(target.frame)))


def closeness(answer: Point | Box, target: Box) -> float:
    """1 - (d / d_max)^2: 1 at the target's centre, 0 in the corner of the picture that is farthest from it.

    d is the distance from the click to the target's centre and d_max that of the farthest corner, both measured in
    fractions of the picture's width and height, so that the value does not depend on the picture's size or aspect.
    Source: SE-GUI (arXiv 2505.12370), the dense term of its point reward. SE-GUI's code drops the term to 0 beyond
    d = 1; without that step the reward stays monotone. Clicks off the picture earn 0.
    """
    click, center = click_point(answer).to(target.frame), target.center
    width, height = target.frame.width, target.frame.height
    distance = hypot((click.x - center.x) / width, (click.y - center.y) / height)
    farthest = hypot(max(center.x, width - center.x) / width, max(center.y, height - center.y) / height)
    return max(0.0, 1 - (distance / farthest) ** 2)


def giou(predicted: Box, target: Box) -> float:
    """Generalised IoU in [-1, 1]: IoU - (hull - union) / hull, the hull being the smallest box around both.

    It is IoU minus the share of the hull that neither box covers, so boxes that do not overlap still differ: the farther
    apart, the nearer to -1. Two boxes without a hull's area earn -1, so that a box without area never earns more
    than one that has some.
    Source: Rezatofighi et al. (arXiv 1902.09630); Visual-RFT's grpo_lisa.py rewards GIoU + 1.
    """
    predicted = predicted.to(target.frame)
    intersection = predicted.intersection_area(target)
    union = predicted.area + target.area - intersection
    width = max(predicted.x2, target.x2) - min(predicted.x1, target.x1)
    height = max(predicted.y2, target.y2) - min(predicted.y1, target.y1)
    hull = width * height
    # A union of 0 in a hull with an area is two boxes without area; their IoU is 0 as in Box.iou.
    overlap = intersection / union if union > 0 else 0.0
    return overlap - (hull - union) / hull if hull > 0 else -1.0


def edge_agreement(predicted: Box, target: Box) -> float:
    """4 / sum(1 / s_k): the harmonic mean of how close each of the four edges is to the target's.

    s_k = 1 - |difference of edge k| / side of the picture along it. An edge off by a whole side or more makes it 0,
    where the formula would divide by zero or turn negative.
    Source: GUI-G1 (arXiv 2505.15810), the box size reward in grpo_rec.py, before its weight of 0.125.
    """
    predicted = predicted.to(target.frame)
    width, height = target.frame.width, target.frame.height
    agreements = (
        1 - abs(predicted.x1 - target.x1) / width,
        1 - abs(predicted.y1 - target.y1) / height,
        1 - abs(predicted.x2 - target.x2) / width,
        1 - abs(predicted.y2 - target.y2) / height,
    )
    if min(agreements) <= 0:
        return 0.0
    return 4 / sum(1 / agreement for agreement in agreements)
